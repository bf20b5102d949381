"""The training worker: a process that turns a run directory with a configuration into a trained model.

    python -m mythos.train.worker RUN_DIRECTORY LOCK_FD [--resume]

It is started in a session of its own with the run's lock already taken (see `launch`), and writes nothing but the run
directory. Whoever watches reads that; whoever wants something puts a command into `control/`.
"""

from __future__ import annotations

import argparse
import io
import sys
import time
import traceback
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from mythos.contract.changes import LIVE, Changes, change, current_config, differences, told
from mythos.contract.checkpoints import can_resume, list_checkpoints
from mythos.contract.config import RecurrentConfig
from mythos.contract.errors import CheckpointError, MythosError
from mythos.contract.rundir import RunPaths
from mythos.memory import keep_freed_memory
from mythos.threads import share_cores
from mythos.train.follower import follow
from mythos.train.journal import Control, Gone, Journal, Stop, cut_metrics, report_failure, say
from mythos.train.ranks import Ranks, together
from mythos.train.schedule import ended_by, seconds_left

if TYPE_CHECKING:
    from mythos.train.keeper import Outcome
    from mythos.train.meter import LeftOut


LINES_EVERY_S = 0.5
"""How often lines of metrics are worked out and written where steps are shorter: then several at once."""


class Worker:
    """One run from preparation to its end."""

    def __init__(self, journal: Journal, resume: bool, ranks: Ranks) -> None:
        self.journal, self.paths, self.resume, self.ranks = journal, journal.paths, resume, ranks
        self.config = self.wanted = current_config(self.paths)
        self.journal.status.update(steps=self.config.train.length, family=self.config.model.family)
        if resume:
            self._tell_where_it_was()
        self.journal.state("preparing", "resuming" if resume else "starting")
        self.control = Control(self.paths, self.journal, self._change)
        self.evaluated: dict[str, Any] = {}
        self.skipped: LeftOut = {}
        self.step_s = 1.0
        self.steps_timed = 0
        self.logged = 0.0
        self.doing = "training"

    def _tell_where_it_was(self) -> None:
        """As far as can be said before the newest checkpoint has been looked into."""
        for info in [info for info in list_checkpoints(self.paths.checkpoints) if info.resumable][:1]:
            self.journal.status.update(step=info.step, tokens=info.tokens, last_checkpoint=info.path.name)

    def run(self) -> None:
        """Prepare, train, finish. Raises Stop when asked to stop before the end."""
        from mythos.train.preparing import prepare_data

        self.corpus = prepare_data(self.config, self.journal, self.control)
        self._build_trainer()
        self._train()
        self._evaluate()
        self._answer(True, f"saved {self._save_now()}")
        self._close()
        self.journal.state("finished", f"{self._over()} is reached", 0, eta_s=0.0)

    def _build_trainer(self) -> None:
        """A trainer at its first step, or where the newest whole checkpoint left it."""
        self.journal.update(60.0, force=True, message="loading torch and measuring the machine", progress=None)
        from mythos.train.checkpoint import start_from
        from mythos.train.keeper import Keeper
        from mythos.train.loop import Trainer
        from mythos.train.preparing import prepare_device
        from mythos.train.records import Records
        from mythos.train.resume import as_before, find_checkpoint, go_on

        checkpoint = find_checkpoint(self.paths, self.journal, self.config) if self.resume else None
        config = as_before(self.config, checkpoint) if checkpoint else self.config
        device = prepare_device(config, self.journal, self.ranks)
        self.trainer = trainer = Trainer(self.config, self.corpus.split("train"), device, self.ranks)
        self.ranks.agree(int(checkpoint.name.removeprefix("step-")) if checkpoint else -1)
        if checkpoint:
            self.evaluated = go_on(checkpoint, trainer, self.journal)
        else:
            cut_metrics(self.paths, 0)
            if source := self.config.train.init_from:
                say(f"weights of {start_from(source, trainer, self.corpus.tokenizer_path)}")
        trainer.share_out()
        self.records = Records(self.journal, self.control, self.config, trainer.loader, trainer.steps_done)
        if checkpoint:
            self.skipped = self.records.restore(checkpoint)
        self.keeper = Keeper(self.paths, trainer, self.corpus.tokenizer_path, self._on_saved)
        self.journal.update(60.0, force=True, step=trainer.steps_done, tokens=trainer.tokens_done)

    # Training ---------------------------------------------------------------------------------------------------------

    def _train(self) -> None:
        from mythos.train.meter import Meter

        self.journal.state("running", self.doing, 600.0 if self.config.train.compile else 60.0)
        model, warmup = self.config.model, self.config.objective.warmup_loops
        deepest = model.max_loops + warmup if isinstance(model, RecurrentConfig) else 1
        self.meter = Meter(self.trainer.device.peak_flops, deepest, self.skipped)
        self.control.can_save = True
        self._evaluate_if_cut_short()
        while not self._over():
            self._turn()

    def _evaluate_if_cut_short(self) -> None:
        """A run that was stopped within an evaluation saved its step without one, which comes first then."""
        every, step = self.config.train.eval_every, self.trainer.steps_done
        if step and every and step % every == 0 and not self.evaluated:
            self._evaluate()
            self._save_now()

    def _turn(self) -> None:
        """One step and all that goes with it. What it does at every step is counted in microseconds."""
        self._heed()
        if not self._step():
            self._evaluate_and_save()

    def _over(self) -> str:
        """The limit that the run has reached, or ""."""
        return ended_by(self.trainer.steps_done, self.config, self.trainer.seconds_done)

    def _step(self) -> str:
        """One step, told of where that is due; returns the limit that the run has reached, or ""."""
        train = self.config.train
        began = time.perf_counter()
        result = self.trainer.step()
        seconds = time.perf_counter() - began
        self._time(seconds)
        self.trainer.seconds_done += seconds
        over = self._over()
        self.meter.add(result)
        if result.step % train.log_every == 0 or result.step == 1 or over:
            self.meter.close()
        if self.meter.has_lines and time.monotonic() >= self.logged + LINES_EVERY_S:
            self._log()
        self.journal.status.update(step=result.step, tokens=result.tokens)
        self._tell_what_learns("gate" in result.parts)
        if self.journal.is_due:
            left = seconds_left(result.step, self.config, self.trainer.seconds_done, self.step_s)
            self.journal.update(max(5.0, 5 * self.step_s), eta_s=left, message=self.doing)
        return over

    def _tell_what_learns(self, gate_only: bool) -> None:
        """Gradients and learning rates jump where the model is done and its gate begins."""
        doing = "training its gate alone" if gate_only else "training"
        if doing != self.doing:
            self.doing = doing
            self.journal.state("running", doing, max(5.0, 5 * self.step_s))

    def _time(self, seconds: float) -> None:
        """Running mean of the time of a step; the first one warms up and does not count."""
        if self.steps_timed:
            self.step_s += max(0.1, 1 / self.steps_timed) * (seconds - self.step_s)
        elif self.config.train.compile:
            self.journal.event("compiled", seconds=round(seconds, 1))
            say(time.strftime("%H:%M:%S"), f"compiled within the first step, which took {seconds:.1f} s")
        self.steps_timed += 1

    def _log(self) -> None:
        """Write the lines that are due. Whatever tells of the present step, or saves it, comes after them."""
        self.records.retry()
        if lines := self.meter.flush():
            self.records.lines(lines)
            self.journal.status["loss"] = lines[-1]["loss"]
            say("\n".join(f"step {x['step']}  loss {x['loss']:.4f}  {x['tokens_per_s']:.0f} tokens/s" for x in lines))
        self.logged = time.monotonic()

    def _evaluate_and_save(self) -> None:
        train, step = self.config.train, self.trainer.steps_done
        if train.eval_every and step % train.eval_every == 0:
            self._evaluate()
        if train.checkpoint_every and step % train.checkpoint_every == 0:
            began = time.perf_counter()
            self._log()
            if self.keeper.makes_wait:
                self.journal.update(120.0, force=True, message="saving a checkpoint")
            self.keeper.save(self._fresh_metrics(), self.records.state(self.meter.skipped))
            self._exclude(began)
            self.trainer.seconds_done += time.perf_counter() - began

    # What others ask for ----------------------------------------------------------------------------------------------

    def _heed(self) -> None:
        """Do what was asked between two steps, and hear what became of the last checkpoint."""
        began = time.perf_counter()
        self.control.poll()
        self.keeper.settle()
        if self.control.paused and not self.control.stop_requested:
            self._pause()
        self._save_if_asked()
        self._adopt()
        self._exclude(began)
        if self.control.stop_requested:
            raise Stop(self.control.stop_requested)

    def _pause(self) -> None:
        self._log()
        self.journal.state("paused", "paused", 5.0, eta_s=None)
        while self.control.paused and not self.control.should_stop():
            self.keeper.settle()
            self._save_if_asked()
            self._adopt()
            self.journal.update(5.0)
            time.sleep(0.1)
        if not self.control.stop_requested:
            self.journal.state("running", self.doing, 30.0)

    def _save_if_asked(self) -> None:
        if not self.control.save_ids:
            return
        try:
            ok, message = True, f"saved {self._save_now()}"
        except CheckpointError as error:
            ok, message = False, str(error)
        self._answer(ok, message)

    def _answer(self, ok: bool, message: str) -> None:
        """Tell those who asked for a checkpoint what became of it."""
        for identity in self.control.save_ids:
            self.control.acknowledge(identity, "save", ok, message)
        self.control.save_ids = []

    def _change(self, overrides: list[str]) -> str:
        """Put settings in force that may change live; they are taken up before the next step. Raises MythosError."""
        changes: Changes = change(self.paths, overrides, LIVE)
        self.wanted = current_config(self.paths)
        return told(changes)

    def _adopt(self) -> None:
        if self.wanted is not self.config:
            from mythos.train.resume import adopt

            if changes := differences(self.config, self.wanted):
                self.journal.event("setting", changed=changes)
            self.config = self.wanted
            self.ranks.order("adopt")
            adopt(self.trainer, self.config)
            self.records.guard.config = self.config

    def _exclude(self, began: float) -> None:
        self.meter.exclude(time.perf_counter() - began)

    # Evaluation and checkpoints ---------------------------------------------------------------------------------------

    def _evaluate(self) -> None:
        """Held-out loss and bits per byte of the current weights. Raises Stop when asked to stop meanwhile."""
        from mythos.train.held_out import score

        step = self.trainer.steps_done
        if self.evaluated.get("step") == step:
            return
        began = time.perf_counter()
        self._log()
        self.evaluated = {"step": step, **score(self.trainer, self.corpus, self._on_evaluated)}
        self.journal.status["step"] = step
        self.records.evaluation(self.evaluated)
        loss, bits = self.evaluated["loss"], self.evaluated["bits_per_byte"]
        say(f"held out: {loss:.4f} nats/token, {bits:.4f} bits per byte")
        self._exclude(began)
        self.trainer.seconds_done += time.perf_counter() - began

    def _on_evaluated(self, done: int, total: int) -> None:
        share = 100 * done // max(1, total)
        self.journal.update(60.0, message=f"evaluating on held-out documents {share}%")
        if self.control.should_stop():
            raise Stop(self.control.stop_requested)

    def _fresh_metrics(self) -> dict[str, Any]:
        """The evaluation of the current step, if there was one."""
        is_fresh = self.evaluated.get("step") == self.trainer.steps_done
        return {key: value for key, value in self.evaluated.items() if key != "step"} if is_fresh else {}

    def _save_now(self) -> str:
        """Have the current step on disk; returns the checkpoint's name. Raises CheckpointError where that fails.

        Its time is training's, as far as limits go, but no step's: whoever calls this takes it off throughput.
        """
        began = time.perf_counter()
        self._log()
        self.journal.update(120.0, force=True, message="saving a checkpoint")
        self.keeper.save(self._fresh_metrics(), self.records.state(self.meter.skipped), wait=True)
        self.trainer.seconds_done += time.perf_counter() - began
        if self.saved.error:
            raise CheckpointError(self.saved.error)
        return self.saved.name

    def _on_saved(self, outcome: Outcome) -> None:
        """A disk that refuses is told of, and training goes on."""
        self.saved = outcome
        if outcome.error:
            say(outcome.error)
            self.journal.event("alert", message=outcome.error)
            return
        self.journal.event("checkpoint", name=outcome.name, best=outcome.best)
        self.journal.update(60.0, force=True, last_checkpoint=outcome.name, message=self.doing)
        say(f"saved {outcome.name}{' (best so far)' if outcome.best else ''}")

    def stop(self, why: str) -> None:
        """End early with what there is."""
        try:
            if self.control.can_save:
                self._log()
            if self.control.can_save and self.trainer.steps_done and not self.control.discard:
                self._answer(True, f"saved {self._save_now()}")
            self._answer(False, "stopped without saving")
        except CheckpointError as error:
            self._answer(False, str(error))
            raise
        finally:
            self._close()
        way_on = f"; resume with: mythos train --resume {self.paths.name}"
        if not can_resume(self.paths.checkpoints):
            way_on = " before any checkpoint was saved"
        self.journal.state("stopped", f"stopped by {why}{way_on}", 0, eta_s=None)

    def fail(self, error: Exception) -> None:
        """After a failure: tell what the guard knows of it, and let what is being written come to its end."""
        if self.control.can_save:
            with suppress(RuntimeError):  # the device may be what failed
                self._log()
            self.records.failed(error)
        self._close()

    def _close(self) -> None:
        if self.control.can_save:
            self.keeper.settle(wait=True)
            self.records.close()


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
    ranks = Ranks.of_this_process()
    if not ranks.first:
        return follow(arguments.run, ranks)
    code = lead(Journal(RunPaths(arguments.run)), arguments.resume, ranks)
    return code if ranks.dismiss() else code or 1


def lead(journal: Journal, resume: bool, ranks: Ranks) -> int:
    """The one process that writes the run directory, or the first of several. Returns the exit code."""
    try:
        with together(journal.paths.root, ranks):
            return run(Worker(journal, resume, ranks))
    except Gone:
        say(f"{journal.paths.root} was removed: nothing left to do")
    except Exception as error:
        if not isinstance(error, MythosError):
            with suppress(OSError):
                traceback.print_exc()
        with suppress(Gone):
            report_failure(journal, error)
    return 1


def run(worker: Worker) -> int:
    """Work until the end or until asked to stop."""
    try:
        worker.run()
    except Stop as stop:
        worker.stop(str(stop))
    except Exception as error:
        worker.fail(error)
        raise
    return 0


if __name__ == "__main__":
    sys.exit(main())
