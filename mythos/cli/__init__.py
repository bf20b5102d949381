"""The `mythos` command: every operation of the workbench, headless. Each subcommand imports only what it needs."""

from __future__ import annotations

import errno
import io
import os
import sys
from contextlib import suppress
from typing import NoReturn

from mythos.contract.errors import MythosError
from mythos.threads import share_cores

FULL = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG, errno.EIO)
"""Errors of a disk, or of a terminal that has gone, which name no file."""


def main() -> None:
    """Console entry. A MythosError, or a file or disk that refuses, becomes one paragraph on stderr and exit code 2.

    Where whoever reads the output has had enough, as `head` has, it ends without a word by 141, as a shell tells of SIGPIPE.
    """
    share_cores()
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
    try:
        run()
    except MythosError as error:
        fail(error)
    except BrokenPipeError:
        give_up_output()
        sys.exit(141)
    except OSError as error:
        if error.filename is not None:
            fail(MythosError(f"{error.filename}: {error.strerror}.", "Name another path, or mend this one."))
        if error.errno not in FULL:
            raise
        give_up_output()
        fail(MythosError(f"What was to be written is lost: {error.strerror}.", "Make room, or write to another disk."))


def run() -> None:
    """The command, all of its output written out. Ends by SystemExit, or by the error that ended it."""
    from mythos.cli.app import app

    try:
        app()
    except SystemExit as end:
        if isinstance(end.__context__, BrokenPipeError):  # of which typer makes exit code 1
            raise end.__context__ from None
        if sys.stdout:
            sys.stdout.flush()
        raise


def give_up_output() -> None:
    """What waits to be written to stdout goes nowhere: it would fail once more as the interpreter ends."""
    with suppress(OSError):  # of a stream that is no file
        nowhere = os.open(os.devnull, os.O_WRONLY)
        os.dup2(nowhere, sys.stdout.fileno())


def fail(error: MythosError) -> NoReturn:
    """Print what is wrong and the way out, with control characters made visible, and exit with code 2."""
    from mythos.cli.options import safe

    print(f"mythos: {safe(str(error))}", file=sys.stderr)
    sys.exit(2)
