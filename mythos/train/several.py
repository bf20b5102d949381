"""torchrun around the workers of one run, and what is said where the first of them can say nothing any more.

    python -m mythos.train.several OPTIONS_OF_TORCHRUN -m mythos.train.worker RUN_DIRECTORY LOCK_FD [--resume]

Rank 0 tells of whatever goes wrong while it lives. Where it is the one that was killed, torchrun ends the others and this
process, which holds the run's lock, has the last word. On further machines of a run the lock is -1 and nothing is said.
"""

from __future__ import annotations

import signal
import sys
from contextlib import suppress
from pathlib import Path

from torch.distributed.elastic.multiprocessing.errors import ChildFailedError
from torch.distributed.run import main as torchrun

from mythos.contract.rundir import RunPaths
from mythos.contract.watch import read_json
from mythos.train.journal import Gone, Journal, report_failure
from mythos.train.ranks import RankLost

WORKER = "mythos.train.worker"


def main(argv: list[str]) -> None:
    root, lock = argv[argv.index(WORKER) + 1 :][:2]
    try:
        torchrun(argv)
    except Exception as error:
        if int(lock) >= 0:
            have_the_last_word(RunPaths(Path(root)), error)
        raise


def have_the_last_word(paths: RunPaths, error: Exception) -> None:
    """Mark a run as failed that its rank 0 left as if it were alive. `error` is torchrun's."""
    status = read_json(paths.status) or {}
    if status.get("state") in ("finished", "failed", "stopped"):
        return
    journal = Journal(paths)
    journal.status.update(status)
    hint = (
        "See output.log and output.rank-*.log, then resume the run. A SIGKILL that nobody sent means too little memory."
    )
    with suppress(Gone):  # then nobody is left to be told
        report_failure(journal, RankLost(_what_happened(error), hint))


def _what_happened(error: Exception) -> str:
    if not isinstance(error, ChildFailedError):
        return f"The processes of the run could not work together: {error}"
    first, failure = error.get_first_failure()
    rank, failure = (0, error.failures[0]) if 0 in error.failures else (first, failure)
    code = failure.exitcode
    end = f"was ended by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
    return f"Rank {rank} {end}, and the run with it."


if __name__ == "__main__":
    main(sys.argv[1:])
