"""What every rank but the first does: prepare as rank 0 does, then whatever it orders. Writes only output.rank-N.log."""

from __future__ import annotations

import signal
from pathlib import Path
from typing import TYPE_CHECKING

from mythos.contract.changes import current_config
from mythos.contract.rundir import RunPaths
from mythos.train.ranks import Ranks, redirect_output

if TYPE_CHECKING:
    from mythos.train.loop import Trainer


def follow(root: Path, ranks: Ranks) -> int:
    """Work for rank 0 until it says that it is done; returns the exit code.

    Whether to stop is for rank 0 to say, so signals are not heard here: where rank 0 has gone, torchrun ends the others.
    """
    redirect_output(root, ranks)
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    paths = RunPaths(root)
    trainer = _build(paths, ranks)
    while (order := ranks.order("dismiss")) != "dismiss":
        if order == "adopt":
            _adopt(trainer, paths)
            continue
        done = getattr(trainer, order).__wrapped__(trainer)
        if order == "hold":
            done.follow()
    return 0


def _build(paths: RunPaths, ranks: Ranks) -> Trainer:
    """The trainer where rank 0 has its own: at the start, or at the checkpoint that rank 0 goes on from."""
    from mythos.data.prepare import prepare
    from mythos.train.checkpoint import restore, start_from
    from mythos.train.device import choose_device
    from mythos.train.loop import Trainer

    config = current_config(paths)
    corpus = prepare(config.data, config.model.vocab_size)
    device = choose_device(config.train, ranks)
    trainer = Trainer(config, corpus.split("train"), device, ranks)
    (step,) = ranks.agree(-1)
    if step >= 0:
        restore(paths.checkpoints / f"step-{step:08d}", trainer)
    elif config.train.init_from:
        start_from(config.train.init_from, trainer, corpus.tokenizer_path)
    trainer.share_out()
    return trainer


def _adopt(trainer: Trainer, paths: RunPaths) -> None:
    from mythos.train.resume import adopt

    adopt(trainer, current_config(paths))
