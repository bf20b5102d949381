"""What comes before the first step: text made into tokens, and a machine looked at."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, Any

from mythos.contract.alerts import Alert, as_event
from mythos.contract.budget import training_bytes
from mythos.contract.config import Config
from mythos.contract.words import counted
from mythos.data.prepare import prepare
from mythos.data.progress import Cancelled, Progress
from mythos.data.shards import Corpus
from mythos.train.journal import Control, Journal, Stop, say
from mythos.train.ranks import Ranks
from mythos.train.signs import relief

if TYPE_CHECKING:
    from mythos.train.device import Device


def prepare_data(config: Config, journal: Journal, control: Control) -> Corpus:
    """The corpus of a configuration, made or found. Commands are heard meanwhile; raises Stop when one asks to stop."""
    try:
        corpus = prepare(config.data, config.model.vocab_size, partial(_tell, journal), control.should_stop)
    except Cancelled:
        raise Stop(control.stop_requested) from None
    train, held_out = corpus.split("train"), corpus.split("held_out")
    journal.event(
        "data",
        path=str(corpus.path),
        train_tokens=train.n_tokens,
        held_out_tokens=held_out.n_tokens,
        held_out_documents=len(held_out.identities),
        bytes_per_token=train.n_bytes / max(1, train.n_tokens),
    )
    say(f"data: {train.n_tokens:,} training and {held_out.n_tokens:,} held-out tokens")
    return corpus


def _tell(journal: Journal, progress: Progress) -> None:
    share = f" {100 * progress.done / progress.total:.0f}%" if progress.total else ""
    facts: dict[str, Any] = {"stage": progress.stage, "done": progress.done, "total": progress.total}
    facts |= {"unit": progress.unit, "rate": round(progress.rate, 1), "eta_s": progress.eta_s}
    journal.event("progress", **facts, seconds=progress.seconds)
    journal.update(10.0, message=f"data: {progress.stage}{share}", progress=facts)


def prepare_device(config: Config, journal: Journal, ranks: Ranks) -> Device:
    """The device to train on, found together with the other ranks and told of in an event. Loads torch."""
    from mythos.train.device import choose_device
    from mythos.train.threads import choose_threads

    device = choose_device(config.train, ranks)
    if ranks.world == 1:
        device = choose_threads(config, device)
    facts = {"device": device.name, "precision": device.precision, "threads": device.threads}
    journal.event("device", **facts, matmul_peak_flops=device.peak_flops, memory_bytes=device.memory_bytes)
    peak = f"{device.peak_flops / 1e9:.0f} GFLOP/s peak"
    say(f"device: {device.name}, {device.precision}, {counted(device.threads, 'thread')}, {peak}")
    if ranks.world == 1 and (alert := lack_of_memory(config, device.precision, device.memory_bytes)):
        say(f"alert: {alert.message} {alert.advice}")
        journal.event("alert", **as_event(alert))
    return device


def lack_of_memory(config: Config, precision: str, there: int | None) -> Alert | None:
    """The alert for a training whose tensors alone take more bytes than are `there`: a system kills without a word."""
    needed = training_bytes(config, precision)
    if there is None or needed <= there:
        return None
    evidence = f"the tensors of a step take about {needed / 1e9:,.1f} GB, and there are {there / 1e9:,.1f}"
    return Alert("too_large", "warning", 0, evidence, relief(config), "note")
