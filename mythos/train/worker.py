"""The training worker: a process that turns a run directory with a configuration into a trained model.

    python -m mythos.train.worker RUN_DIRECTORY LOCK_FD [--resume]

It is started in a session of its own with the run's lock already taken (see `launch`), and writes nothing but the run
directory. Whoever watches reads that; whoever wants something puts a command into `control/`.
"""

from __future__ import annotations

import argparse
import io
import math
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mythos.contract.config import RecurrentConfig
from mythos.contract.errors import CheckpointError, MythosError
from mythos.contract.load import load_config
from mythos.contract.rundir import LineWriter, RunPaths
from mythos.memory import keep_freed_memory
from mythos.threads import share_cores
from mythos.train.journal import Control, Gone, Journal, Stop, say

if TYPE_CHECKING:
    from mythos.data.progress import Progress
    from mythos.data.shards import Corpus
    from mythos.train.loop import Trainer


class Worker:
    """One run from preparation to its end."""

    def __init__(self, journal: Journal, resume: bool) -> None:
        self.journal, self.paths, self.resume = journal, journal.paths, resume
        self.config = load_config(self.paths.config)
        self.journal.status.update(steps=self.config.train.steps, family=self.config.model.family)
        self.journal.state("preparing", "resuming" if resume else "starting")
        self.control = Control(self.paths, self.journal)
        self.best: float | None = None
        self.evaluated: dict[str, Any] = {}
        self.step_s = 1.0
        self.steps_timed = 0

    def run(self) -> None:
        """Prepare, train, finish. Raises Stop when asked to stop before the end."""
        self.corpus = self._prepare_data()
        self.trainer = self._build_trainer()
        self.metrics = LineWriter(self.paths.metrics)
        self._train()
        self._evaluate()
        self._save(must=True)
        self.journal.state("finished", f"finished after {self.trainer.steps_done} steps", 0, eta_s=0.0)

    # Preparation ------------------------------------------------------------------------------------------------------

    def _prepare_data(self) -> Corpus:
        from mythos.data.prepare import prepare
        from mythos.data.progress import Cancelled

        try:
            corpus = prepare(
                self.config.data, self.config.model.vocab_size, self._on_progress, self.control.should_stop
            )
        except Cancelled:
            raise Stop(self.control.stop_requested) from None
        train, held_out = corpus.split("train"), corpus.split("held_out")
        self.journal.event(
            "data",
            path=str(corpus.path),
            train_tokens=train.n_tokens,
            held_out_tokens=held_out.n_tokens,
            held_out_documents=len(held_out.identities),
            bytes_per_token=train.n_bytes / max(1, train.n_tokens),
        )
        say(f"data: {train.n_tokens:,} training and {held_out.n_tokens:,} held-out tokens")
        return corpus

    def _on_progress(self, progress: Progress) -> None:
        share = f" {100 * progress.done / progress.total:.0f}%" if progress.total else ""
        facts: dict[str, Any] = {"stage": progress.stage, "done": progress.done, "total": progress.total}
        facts |= {"unit": progress.unit, "rate": round(progress.rate, 1), "eta_s": progress.eta_s}
        self.journal.event("progress", **facts, seconds=progress.seconds)
        self.journal.update(10.0, message=f"data: {progress.stage}{share}", progress=facts)

    def _build_trainer(self) -> Trainer:
        self.journal.update(60.0, force=True, message="loading torch and measuring the machine", progress=None)
        from mythos.train.checkpoint import restore, start_from
        from mythos.train.device import choose_device
        from mythos.train.loop import Trainer

        device = choose_device(self.config.train)
        facts = {
            "device": device.name,
            "precision": device.precision,
            "threads": device.threads,
            "matmul_peak_flops": device.peak_flops,
        }
        self.journal.event("device", **facts)
        peak = f"{device.peak_flops / 1e9:.0f} GFLOP/s peak"
        say(f"device: {device.name}, {device.precision}, {device.threads} threads, {peak}")
        self.device = device
        trainer = Trainer(self.config, self.corpus.split("train"), device)
        checkpoint = None
        if self.resume:
            checkpoint = self._latest_whole()
            if checkpoint is None:
                say("no checkpoint yet: starting from the beginning")
            else:
                restore(checkpoint, trainer)
                self.journal.update(60.0, last_checkpoint=checkpoint.name)
                say(f"resumed from {checkpoint.name}")
        if checkpoint is None and self.config.train.init_from:
            taken = start_from(self.config.train.init_from, trainer, self.corpus.tokenizer_path)
            say(f"weights of {taken}")
        self._recall_best()
        self.journal.update(60.0, force=True, step=trainer.steps_done, tokens=trainer.tokens_done)
        return trainer

    def _latest_whole(self) -> Path | None:
        from mythos.contract.checkpoints import list_checkpoints, sweep

        sweep(self.paths.checkpoints)
        whole = [info.path for info in list_checkpoints(self.paths.checkpoints) if info.resumable]
        return whole[0] if whole else None

    def _recall_best(self) -> None:
        from mythos.contract.checkpoints import describe
        from mythos.train.checkpoint import pointer

        name = pointer(self.paths, "best")
        info = describe(self.paths.checkpoints / name) if name else None
        self.best = info.metrics.get("bits_per_byte") if info else None

    # Training ---------------------------------------------------------------------------------------------------------

    def _train(self) -> None:
        from mythos.train.meter import Meter

        train = self.config.train
        self.journal.state("running", "training", 600.0 if train.compile else 60.0)
        model, warmup = self.config.model, self.config.objective.warmup_loops
        deepest = model.max_loops + warmup if isinstance(model, RecurrentConfig) else 1
        self.meter = Meter(self.device.peak_flops, deepest)
        while self.trainer.steps_done < train.steps:
            self._heed()
            began = time.perf_counter()
            result = self.trainer.step()
            seconds = time.perf_counter() - began
            self._time(seconds)
            if train.compile and self.steps_timed == 1:
                self.journal.event("compiled", seconds=round(seconds, 1))
                say(time.strftime("%H:%M:%S"), f"compiled within the first step, which took {seconds:.1f} s")
            self.meter.add(result)
            if result.step % train.log_every == 0 or result.step == 1 or result.step == train.steps:
                self._log()
            self.journal.update(
                max(5.0, 5 * self.step_s),
                step=result.step,
                tokens=result.tokens,
                eta_s=self.step_s * (train.steps - result.step),
                message="training",
            )
            if result.step == train.steps:
                break
            if train.eval_every and result.step % train.eval_every == 0:
                self._evaluate()
            if train.checkpoint_every and result.step % train.checkpoint_every == 0:
                self._save()

    def _time(self, seconds: float) -> None:
        """Running mean of the time of a step; the first one warms up and does not count."""
        if self.steps_timed:
            self.step_s += max(0.1, 1 / self.steps_timed) * (seconds - self.step_s)
        self.steps_timed += 1

    def _heed(self) -> None:
        """Do what was asked between two steps."""
        self.control.poll()
        began = time.perf_counter()
        if self.control.paused and not self.control.stop_requested:
            self.journal.state("paused", "paused", 5.0, eta_s=None)
            while self.control.paused and not self.control.should_stop():
                self._save_if_asked()
                self.journal.update(5.0)
                time.sleep(0.1)
            if not self.control.stop_requested:
                self.journal.state("running", "training", 30.0)
        self._save_if_asked()
        self._exclude(began)
        if self.control.stop_requested:
            raise Stop(self.control.stop_requested)

    def _exclude(self, began: float) -> None:
        self.meter.exclude(time.perf_counter() - began)

    def _save_if_asked(self) -> None:
        if not self.control.save_ids:
            return
        refusal = self._save()
        for identity in self.control.save_ids:
            name = self.journal.status["last_checkpoint"]
            self.control.acknowledge(identity, "save", not refusal, refusal or f"saved {name}")
        self.control.save_ids = []

    def _log(self) -> None:
        line = self.meter.flush()
        self.metrics.write(line)
        self.journal.status["loss"] = line["loss"]
        say(f"step {line['step']}  loss {line['loss']:.4f}  {line['tokens_per_s']:.0f} tokens/s")

    def _evaluate(self) -> None:
        """Held-out loss and bits per byte of the current weights."""
        from mythos.data.tokenizer import Tokenizer
        from mythos.evals.bits import evaluate

        if self.evaluated.get("step") == self.trainer.steps_done:
            return
        began = time.perf_counter()
        self.journal.update(300.0, force=True, message="evaluating on held-out documents")
        model = self.trainer.model.eval()
        with self.device.autocast():
            result = evaluate(
                model,
                self.corpus.split("held_out"),
                context=self.config.train.sequence,
                max_tokens=self.config.train.eval_tokens,
                byte_lengths=Tokenizer.load(self.corpus.tokenizer_path).byte_lengths,
            )
        facts = {
            "loss": result.loss,
            "bits_per_byte": result.bits_per_byte,
            "tokens": result.tokens,
            "documents": result.documents,
        }
        self.evaluated = {"step": self.trainer.steps_done, **facts}
        self.journal.status["step"] = self.trainer.steps_done
        self.journal.event("evaluation", **facts)
        say(f"held out: {result.loss:.4f} nats/token, {result.bits_per_byte:.4f} bits per byte")
        self._exclude(began)

    def _save(self, must: bool = False) -> str:
        """Checkpoint the current step. A disk that refuses is told of, and training goes on unless it `must` be saved.

        Returns why it could not be saved; empty if it was.
        """
        from mythos.train.checkpoint import save

        began = time.perf_counter()
        self.journal.update(120.0, force=True, message="saving a checkpoint")
        fresh = self.evaluated if self.evaluated.get("step") == self.trainer.steps_done else {}
        metrics = {key: value for key, value in fresh.items() if key != "step"}
        bits = metrics.get("bits_per_byte")
        best = bits is not None and math.isfinite(bits) and (self.best is None or bits < self.best)
        try:
            name = save(self.paths, self.trainer, self.corpus.tokenizer_path, metrics, best)
        except CheckpointError as error:
            if must:
                raise
            say(error)
            self.journal.event("alert", message=str(error))
            self._exclude(began)
            return str(error)
        self.best = bits if best else self.best
        self.journal.event("checkpoint", name=name, best=best)
        self.journal.update(60.0, force=True, last_checkpoint=name, message="training")
        say(f"saved {name}{' (best so far)' if best else ''}")
        self._exclude(began)
        return ""

    def stop(self, why: str) -> None:
        """End early with what there is."""
        if hasattr(self, "meter") and self.trainer.steps_done:
            self._save(must=True)
        way_on = f"; resume with: mythos train --resume {self.paths.name}"
        if self._latest_whole() is None:
            way_on = " before any checkpoint was saved"
        self.journal.state("stopped", f"stopped by {why}{way_on}", 0, eta_s=None)


def report_failure(journal: Journal, error: BaseException) -> None:
    """Tell the run directory what went wrong, in words a person can act on."""
    message = error.message if isinstance(error, MythosError) else str(error) or type(error).__name__
    hint = error.hint if isinstance(error, MythosError) else "output.log holds the details."
    if (
        isinstance(error, MemoryError)
        or "out of memory" in message.lower()
        or "can't allocate memory" in message.lower()
    ):
        hint = "Use a smaller train.batch_size or train.sequence."
    facts = {"type": type(error).__name__, "message": message, "hint": hint}
    journal.event("error", **facts)
    journal.state("failed", message, 0, error=facts, eta_s=None)


def main(argv: list[str] | None = None) -> int:
    """Entry of the worker process. The lock's descriptor is inherited and stays open for life."""
    parser = argparse.ArgumentParser(prog="python -m mythos.train.worker")
    parser.add_argument("run", type=Path)
    parser.add_argument("lock", type=int)
    parser.add_argument("--resume", action="store_true")
    arguments = parser.parse_args(argv)
    share_cores()
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):  # whatever the locale, no name or message can fail to be printed
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(encoding="utf-8", errors="backslashreplace")
    journal = Journal(RunPaths(arguments.run))
    try:
        return run(journal, arguments.resume)
    except Gone:
        say(f"{arguments.run} was removed: nothing left to do")
    except Exception as error:
        if not isinstance(error, MythosError):
            with suppress(OSError):
                traceback.print_exc()
        with suppress(Gone):
            report_failure(journal, error)
    return 1


def run(journal: Journal, resume: bool) -> int:
    """Work until the end or until asked to stop."""
    worker = Worker(journal, resume)
    try:
        worker.run()
    except Stop as stop:
        worker.stop(str(stop))
    return 0


if __name__ == "__main__":
    sys.exit(main())
