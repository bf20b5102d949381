"""What comes at an awkward moment: commands between two lines, stops before the first step, disks that refuse for a while."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from mythos.contract import rundir
from mythos.contract.alerts import Alert
from mythos.contract.changes import ON_RESUME, change, current_config
from mythos.contract.checkpoints import list_checkpoints
from mythos.contract.errors import CheckpointError, ConfigError
from mythos.contract.rundir import RunPaths, send_command
from mythos.contract.watch import JsonTail, read_json
from mythos.evals import bits
from mythos.train import checkpoint, fork, journal, keeper, launch
from mythos.train.alerts import Guard
from mythos.train.brake import Brake
from mythos.train.journal import Control, Journal
from mythos.train.loop import Trainer
from mythos.train.sinks import Sinks
from tests.crash_runs import make_run
from tests.train.inside import die_after, events, in_this_process, run  # noqa: F401

SAVES = ("train.checkpoint_every=10", "train.keep_checkpoints=1")


def lines(paths: RunPaths) -> list[dict[str, Any]]:
    return JsonTail(paths.metrics).read_objects(5)


def state(paths: RunPaths) -> str:
    return str((read_json(paths.status) or {})["state"])


def before_step(monkeypatch: pytest.MonkeyPatch, actions: dict[int, Callable[[], object]]) -> None:
    """Do something once so many steps are done; a command that it sends is heard before the step after the next."""
    step = Trainer.step

    def act(trainer: Trainer) -> Any:
        if action := actions.get(trainer.steps_done):
            action()
            time.sleep(1.1 * journal.INBOX_EVERY_S)
        return step(trainer)

    monkeypatch.setattr(Trainer, "step", act)


@pytest.mark.parametrize("text", ["2024-02-30", "0x_", "9" * 5000, "[" * 3000])
def test_a_value_that_is_no_yaml_ends_no_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str) -> None:
    """Dates, numbers and nests that YAML cannot read raise what are not its own errors: a running training failed."""
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=6")
    before_step(monkeypatch, {2: lambda: send_command(paths, "set", overrides=[f"train.lr={text}"])})
    assert run(paths) == 0 and state(paths) == "finished"
    (told,) = events(paths, "command")
    assert not told["ok"] and "train.lr" in told["message"]


def test_the_best_checkpoint_outlives_a_resume_that_stops_before_its_first_step(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its step was saved again without the evaluation, and the next one counted as the best."""
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=30", "train.eval_every=10", *SAVES)
    assert die_after(paths, 12) == ["step-00000010"]
    (before,) = list_checkpoints(paths.checkpoints)
    with monkeypatch.context() as patch:
        patch.setattr(Control, "poll", lambda control: setattr(control, "stop_requested", "SIGTERM"))
        assert run(paths, resume=True) == 0
    (after,) = list_checkpoints(paths.checkpoints)
    assert after.metrics == before.metrics and len(after.metrics) > 1
    evaluate = bits.evaluate
    monkeypatch.setattr(bits, "evaluate", lambda *a, **k: dataclasses.replace(evaluate(*a, **k), bits_per_byte=99.0))
    assert run(paths, resume=True) == 0
    assert [info.step for info in list_checkpoints(paths.checkpoints)] == [30, 10]
    assert (paths.checkpoints / "best").read_text() == "step-00000010\n"


def test_pointers_that_could_not_be_written_are_put_right_by_the_next_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=30", "train.eval_every=10", *SAVES)
    evaluate, worth = bits.evaluate, iter([3.0, 2.0, 4.0])
    monkeypatch.setattr(
        bits, "evaluate", lambda *a, **k: dataclasses.replace(evaluate(*a, **k), bits_per_byte=next(worth))
    )
    write = checkpoint.write_atomic

    def refuse(path: Path, text: str) -> None:
        if "step-00000020" in text:
            raise OSError(28, "No space left on device")
        write(path, text)

    with monkeypatch.context() as patch:
        patch.setattr(checkpoint, "write_atomic", refuse)
        assert die_after(paths, 22) == ["step-00000020", "step-00000010"]  # which a pointer names
    assert not events(paths, "alert") and (paths.checkpoints / "best").read_text() == "step-00000010\n"
    assert run(paths, resume=True) == 0
    assert [info.step for info in list_checkpoints(paths.checkpoints)] == [30, 20]
    assert (paths.checkpoints / "best").read_text() == "step-00000020\n"


def test_a_signal_after_a_stop_command_is_the_first(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_run(tmp_path, tmp_path, "a")
    control = Control(paths, Journal(paths), lambda _: "")
    ended: list[int] = []
    monkeypatch.setattr(journal.os, "_exit", ended.append)
    control.stop_requested = "stop command"
    os.kill(os.getpid(), signal.SIGTERM)
    assert control.stop_requested == "stop command" and not ended
    os.kill(os.getpid(), signal.SIGTERM)
    assert ended == [128 + signal.SIGTERM]


def test_lines_that_a_full_disk_refused_are_there_before_a_checkpoint(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=60", "train.log_every=5", "train.eval_every=0")
    write, full = os.write, [False]

    def refuse(descriptor: int, data: bytes) -> int:
        if full[0] and os.path.samestat(os.fstat(descriptor), paths.metrics.stat()):
            raise OSError(28, "No space left on device")
        return write(descriptor, data)

    monkeypatch.setattr(rundir.os, "write", refuse)

    def make_room() -> None:
        full[0] = False
        send_command(paths, "save")

    before_step(monkeypatch, {8: lambda: full.__setitem__(0, True), 20: make_room})
    die_after(paths, 22)
    (saved,) = list_checkpoints(paths.checkpoints)
    assert saved.step == 21 and [line["step"] for line in lines(paths)] == [1, 5, 10, 15, 20]


def test_a_save_between_two_lines_makes_no_step_fast(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its time was taken off twice: 256 billion tokens a second stood in the chart."""
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=12", "train.log_every=1")
    write = keeper.write
    monkeypatch.setattr(keeper, "write", lambda *arguments: (time.sleep(0.5), write(*arguments))[1])
    before_step(monkeypatch, {6: lambda: send_command(paths, "save")})
    assert run(paths) == 0
    found = {line["step"]: line["tokens_per_s"] for line in lines(paths)}
    usual = sorted(found.values())[len(found) // 2]
    assert events(paths, "command")[0]["ok"] and max(found.values()) < 20 * usual


def test_who_asked_for_a_checkpoint_within_an_evaluation_hears_of_it_and_the_evaluation_is_made_up_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=8", "train.eval_every=4", "train.checkpoint_every=4")
    evaluate = bits.evaluate

    def asked(*arguments: Any, **more: Any) -> Any:
        send_command(paths, "save")
        send_command(paths, "stop")
        time.sleep(1.1 * journal.INBOX_EVERY_S)
        return evaluate(*arguments, **more)

    with monkeypatch.context() as patch:
        patch.setattr(bits, "evaluate", asked)
        assert run(paths) == 0 and state(paths) == "stopped"
    assert {(told["command"], told["ok"]) for told in events(paths, "command")} == {("stop", True), ("save", True)}
    assert run(paths, resume=True) == 0
    assert [event["step"] for event in events(paths, "evaluation")] == [4, 8]
    assert all(info.metrics for info in list_checkpoints(paths.checkpoints))


def test_steps_that_were_left_out_before_a_stop_are_in_the_next_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    settings = ("train.steps=20", "train.log_every=10", "alerts.loss_spike=skip")
    paths = make_run(tmp_path, tmp_path, "a", *settings)
    steps = iter(range(1, 99))
    bad, fine = torch.tensor([False, True, False]), torch.zeros(3, dtype=torch.bool)
    monkeypatch.setattr(Brake, "judge", lambda *_: bad if next(steps) == 13 else fine)
    before_step(monkeypatch, {15: lambda: send_command(paths, "stop")})
    assert run(paths) == 0 and state(paths) == "stopped"
    assert run(paths, resume=True) == 0
    told = {line["step"]: line.get("skipped") for line in lines(paths)}
    assert told[10] is None and [step for step, _ in told[20]["loss_spike"]] == [13]
    assert [(event["step"], [*event["steps"]]) for event in events(paths, "skipped")] == [(20, ["loss_spike"])]


def test_an_alert_is_of_its_line_and_has_the_batches_of_before_a_resume(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=34", "train.log_every=10", "train.checkpoint_every=25")
    raised = lambda _, line: [Alert("rho_a", "note", 30, "x", "y", "note")] if line["step"] == 30 else []  # noqa: E731
    monkeypatch.setattr(Guard, "observe", raised)
    die_after(paths, 27)
    monkeypatch.setattr("mythos.train.worker.LINES_EVERY_S", 60.0)  # the line of step 30 comes with the last
    assert run(paths, resume=True) == 0
    (alert,) = events(paths, "alert")
    (file,) = paths.alerts.iterdir()
    assert alert["step"] == 30
    assert [batch["step"] for batch in json.loads(file.read_text())["batches"]] == list(range(19, 31))


def test_minutes_count_from_the_first_step_also_where_they_are_limited_later(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=100000", "train.checkpoint_every=10")
    step = Trainer.step
    monkeypatch.setattr(Trainer, "step", lambda trainer: (time.sleep(0.05), step(trainer))[1])
    die_after(paths, 12)
    change(paths, ["train.max_minutes=0.005"], ON_RESUME)  # 0.3 s: ten steps took half a second
    assert run(paths, resume=True) == 0
    assert (read_json(paths.status) or {})["step"] == 10


def test_a_fork_cannot_count_tokens_by_steps_of_another_size(tmp_path: Path) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=4", "train.max_tokens=100000", "train.batch_size=4")
    assert run(paths) == 0
    with pytest.raises(ConfigError, match=r"train\.batch_size cannot be changed under train\.max_tokens"):
        fork.fork(tmp_path, "a", None, ["train.batch_size=2", "train.steps=9"], "b", [])
    assert not (tmp_path / "b").exists()


def test_a_refused_resume_changes_nothing(tmp_path: Path) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=4", "train.checkpoint_every=2")
    die_after(paths, 3)
    for overrides, processes in ((["train.accumulate=4", "train.parallel=ddp"], 2), (["train.steps=1"], 1)):
        with pytest.raises(ConfigError):
            launch.resume(tmp_path, "a", processes, overrides)
        assert not (paths.root / "changes.json").exists()


def test_of_changes_to_one_setting_the_last_counts(tmp_path: Path) -> None:
    paths = make_run(tmp_path, tmp_path, "a")
    for override in ("alerts.nan=skip", "alerts={loss_spike: pause}", "alerts.nan=note"):
        change(paths, [override], ON_RESUME)
    assert current_config(paths).alerts.nan == "note"


def test_a_stop_that_cannot_save_closes_what_is_open(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    paths = make_run(tmp_path, tmp_path, "a", "train.steps=40", "train.checkpoint_every=0", "train.eval_every=0")
    closed: list[int] = []
    monkeypatch.setattr(Sinks, "close", lambda _: closed.append(1))

    def refuse(*_: Any) -> str:
        raise CheckpointError("It cannot be saved: No space left on device.")

    monkeypatch.setattr(keeper, "write", refuse)
    before_step(monkeypatch, {10: lambda: (send_command(paths, "save"), send_command(paths, "stop"))})
    assert run(paths) == 1 and state(paths) == "failed" and closed
    assert [(told["command"], told["ok"]) for told in events(paths, "command") if told["command"] == "save"] == [
        ("save", False)
    ]


def test_a_checkpoint_that_cannot_be_read_is_passed_over(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from mythos.contract import checkpoints

    paths = make_run(tmp_path, tmp_path, "a", "train.steps=20", "train.checkpoint_every=10")
    assert run(paths) == 0
    read = checkpoints.file_hash

    def refuse(path: Path, *rest: str) -> str:
        if path.parent.name == "step-00000020":
            raise OSError(5, "Input/output error")
        return read(path, *rest)

    monkeypatch.setattr(checkpoints, "file_hash", refuse)
    assert run(paths, resume=True) == 0
    assert "Input/output error" in events(paths, "alert")[0]["message"]
    assert events(paths, "resumed")[0]["checkpoint"] == "step-00000010"
