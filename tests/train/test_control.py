"""A worker hears at any time, saves beside the training, keeps what it was told to, and never saves what is broken."""

from __future__ import annotations

import os
import shutil
import signal
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest
import torch

from mythos import tensor_file
from mythos.contract.checkpoints import list_checkpoints
from mythos.contract.errors import CheckpointError
from mythos.contract.rundir import RunPaths, send_command, write_json
from mythos.contract.watch import read_json
from mythos.evals import bits
from mythos.train import checkpoint, journal, keeper
from mythos.train.journal import Control, Journal
from mythos.train.loop import Trainer
from mythos.train.pieces import Pieces
from mythos.train.ranks import Ranks
from tests.crash_runs import equal_checkpoints, make_run
from tests.train.inside import die_after, events, in_this_process, run  # noqa: F401


def status(paths: RunPaths) -> dict[str, Any]:
    return read_json(paths.status) or {}


def test_a_stop_is_heard_within_an_evaluation(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=8", "train.eval_every=2")
    evaluate = bits.evaluate

    def asked(*arguments: Any, **more: Any) -> Any:
        send_command(paths, "stop")
        time.sleep(1.1 * journal.INBOX_EVERY_S)
        return evaluate(*arguments, **more)

    monkeypatch.setattr(bits, "evaluate", asked)
    assert run(paths) == 0
    assert status(paths)["state"] == "stopped" and not events(paths, "evaluation")
    assert [info.step for info in list_checkpoints(paths.checkpoints)] == [2]


def test_the_first_sigterm_asks_the_second_ends_and_sighup_is_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_run(tmp_path, tmp_path, "a")
    control = Control(paths, Journal(paths), lambda _: "")
    ended: list[int] = []
    monkeypatch.setattr(journal.os, "_exit", ended.append)
    os.kill(os.getpid(), signal.SIGHUP)
    assert not control.stop_requested
    os.kill(os.getpid(), signal.SIGTERM)
    assert control.stop_requested == "SIGTERM" and not ended
    os.kill(os.getpid(), signal.SIGTERM)
    assert ended == [128 + signal.SIGTERM]


def test_the_training_goes_on_while_a_checkpoint_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And what is written is the step at which it was begun, to the bit, by a thread that comes second to the training."""
    settings = ("train.steps=4", "train.checkpoint_every=2", "train.eval_every=0")
    plain = make_run(tmp_path, tmp_path, "plain", *settings)
    monkeypatch.setattr(keeper, "MEMORY_SHARE", 0.0)  # no room for a copy: the training waits
    assert run(plain) == 0
    monkeypatch.undo()
    beside = make_run(tmp_path, tmp_path, "beside", *settings)
    write, step, seen = keeper.write, Trainer.step, []

    def slow_write(*arguments: Any) -> str:
        end = time.monotonic() + 5
        while time.monotonic() < end and seen[-1] < 3:
            time.sleep(0.01)
        if seen[-1] < 3:
            raise CheckpointError("The training waited.")
        if sys.platform == "linux" and seen[-1] < 4:
            assert os.getpriority(os.PRIO_PROCESS, threading.get_native_id()) > os.getpriority(
                os.PRIO_PROCESS, os.getpid()
            )
        return write(*arguments)

    def count(trainer: Trainer) -> Any:
        result = step(trainer)
        seen.append(result.step)
        return result

    monkeypatch.setattr(keeper, "write", slow_write)
    monkeypatch.setattr(Trainer, "step", count)
    assert run(beside) == 0
    assert equal_checkpoints(plain, beside) == 2


def test_a_save_that_is_waited_for_does_not_rest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is written beside the training rests between its blocks, until somebody waits for it."""
    rests: list[bool] = []

    class Patient(threading.Event):
        def wait(self, timeout: float | None = None) -> bool:
            rests.append(super().wait(20))
            if not rests[-1]:
                raise TimeoutError("nobody said that it is waited for")
            return True

    monkeypatch.setattr(tensor_file, "IMAGE_BLOCK", 1 << 14)
    monkeypatch.setattr(keeper, "Event", Patient)
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=4", "train.checkpoint_every=2", "train.eval_every=0")
    assert run(paths) == 0
    assert rests and all(rests) and events(paths, "alert") == []
    assert [info.step for info in list_checkpoints(paths.checkpoints)] == [4, 2]


def test_a_save_that_fails_is_told_and_the_training_goes_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=6", "train.checkpoint_every=2", "train.eval_every=0")
    files = checkpoint.write_files

    def refuse_one(directory: Path, *rest: Any) -> None:
        if "step-00000004" in directory.name:
            raise OSError(28, "No space left on device")
        files(directory, *rest)

    monkeypatch.setattr(checkpoint, "write_files", refuse_one)
    assert run(paths) == 0
    assert [info.step for info in list_checkpoints(paths.checkpoints)] == [6, 2]
    (alert,) = events(paths, "alert")
    assert "step-00000004" in alert["message"] and "No space left" in alert["message"]
    assert not list(paths.checkpoints.glob(".*"))


def test_a_disk_that_refuses_to_the_end_is_a_failure_with_the_last_checkpoint_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=4", "train.checkpoint_every=2")
    die_after(paths, 3)
    monkeypatch.setattr(checkpoint, "write_files", lambda *_: (_ for _ in ()).throw(OSError(30, "Read-only")))
    assert run(paths, resume=True) == 1
    assert status(paths)["state"] == "failed" and "Read-only" in status(paths)["error"]["message"]
    assert [info.step for info in list_checkpoints(paths.checkpoints)] == [2]


def test_a_removed_run_is_not_made_again_by_its_last_save(tmp_path: Path) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=2")
    assert run(paths) == 0
    shutil.rmtree(paths.root)
    nothing = Pieces({}, Ranks())
    snapshot = checkpoint.Snapshot({}, True, {}, nothing, {}, "{}", None, {"step": 1})  # type: ignore[arg-type]
    with pytest.raises(CheckpointError, match="cannot be saved"):
        checkpoint.write(paths, snapshot, tmp_path / "tokenizer.json")
    assert not paths.root.exists()


def test_every_kth_checkpoint_stays_for_good(tmp_path: Path) -> None:
    keep = ("train.keep_checkpoints=1", "train.keep_every=4", "train.checkpoint_every=1", "train.eval_every=0")
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=10", *keep)
    assert run(paths) == 0
    assert [info.step for info in list_checkpoints(paths.checkpoints)] == [10, 8, 4]


def test_only_the_best_and_the_newest_checkpoints_are_kept(tmp_path: Path) -> None:
    keep = ("train.checkpoint_every=2", "train.keep_checkpoints=2", "train.eval_every=4")
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=10", *keep)
    die_after(paths, 5)
    manifest = paths.checkpoints / "step-00000004" / "manifest.json"
    facts = read_json(manifest) or {}
    write_json(manifest, {**facts, "metrics": {"bits_per_byte": 0.1}})  # nothing after it can be better
    assert run(paths, resume=True) == 0
    assert [info.step for info in list_checkpoints(paths.checkpoints)] == [10, 8, 4]
    assert (paths.checkpoints / "best").read_text() == "step-00000004\n"


def test_the_manifest_names_the_step_and_its_evaluation(tmp_path: Path) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=4", "train.eval_every=2", "train.checkpoint_every=3")
    assert run(paths) == 0
    three, four = (read_json(paths.checkpoints / f"step-0000000{step}" / "manifest.json") or {} for step in (3, 4))
    assert three["step"] == 3 and three["metrics"] == {}
    assert four["step"] == 4 and four["metrics"]["bits_per_byte"] > 0 and four["precision"] == "fp32"


def test_weights_that_are_not_finite_end_the_run_and_push_out_no_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    once = ("train.checkpoint_every=1", "train.keep_checkpoints=1", "train.eval_every=0", "train.log_every=3")
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=9", *once)
    step = Trainer.step

    def spoil(trainer: Trainer) -> Any:
        if trainer.steps_done == 4:
            with torch.no_grad():
                next(trainer.model.parameters()).fill_(float("nan"))
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", spoil)
    assert run(paths) == 0
    assert status(paths)["state"] == "stopped" and "nan" in status(paths)["message"]
    assert [info.step for info in list_checkpoints(paths.checkpoints)] == [4]
    told = " ".join(event["message"] for event in events(paths, "alert"))
    assert "step-00000005 is not saved: its weights are not finite" in told and "Loss or gradient is not" in told


def test_the_guard_goes_on_where_it_was(tmp_path: Path) -> None:
    settings = ("train.steps=6", "train.checkpoint_every=3", "train.eval_every=2")
    whole, torn = (make_run(tmp_path, tmp_path, name, *settings) for name in ("whole", "torn"))
    assert run(whole) == 0
    die_after(torn, 5)
    assert run(torn, resume=True) == 0
    one, other = (read_json(p.checkpoints / "step-00000006/state/guard.json") or {} for p in (whole, torn))
    assert one.pop("speed") and other.pop("speed")  # they look at the clock
    steps = [[kept["line"]["step"] for kept in state.pop("around")["window"]] for state in (one, other)]
    assert steps[0] == steps[1] and one == other and len(one["evaluations"]) == 3
