"""Watching run directories: states, growing files, restarts, damaged lines, bounded work."""

from __future__ import annotations

import json
import time
from pathlib import Path

import numpy as np
import pytest

from mythos_tui.messages import CommandAcknowledged, RunsListed, RunUpdated
from mythos_tui.runs.bulk import parse_columns
from mythos_tui.runs.choice import RunChoice
from mythos_tui.runs.columns import Metrics
from mythos_tui.runs.lister import RunLister
from mythos_tui.runs.memory import Memory
from mythos_tui.runs.reader import RunReader
from mythos_tui.runs.watcher import RunWatcher
from tests.fakes.runs import FakeRun, metrics_line


def read(reader: RunReader):
    snapshot, answers = reader.tick(1.0)
    assert snapshot is not None
    return snapshot, answers


def test_columns_grow_and_older_pictures_stay_as_they_were():
    metrics = Metrics()
    for step in range(300):
        metrics.append({"step": step, "loss": float(step), "expert_load": [0.25, 0.75]})
    early = metrics.scalars()["loss"]
    for step in range(300, 3000):
        metrics.append({"step": step, "loss": -1.0, "expert_load": [0.5, 0.5]})
    assert early.shape == (300,) and early[-1] == 299
    assert metrics.scalars()["loss"].shape == (3000,)
    assert metrics.vectors()["expert_load"].shape == (3000, 2)
    assert metrics.latest()["expert_load"].tolist() == [0.5, 0.5]


def test_a_live_hour_after_a_long_history_stays_in_the_arrays_of_that():
    """They were replaced after an eighth more lines: the old ones stayed in memory, 14% of it."""
    metrics = Metrics()
    metrics.make_room(1000)
    for step in range(1, 3):
        metrics.append({"step": step, "loss": 1.0, "load": [0.5, 0.5]})
    metrics.make_room(1000)
    early = metrics.scalars()["loss"], metrics.vectors()["load"], metrics.derived()["minutes"]
    metrics.extend([{"step": step, "loss": 1.0, "load": [0.5, 0.5]} for step in range(3, 1900)])
    late = metrics.scalars()["loss"], metrics.vectors()["load"], metrics.derived()["minutes"]
    assert all(np.shares_memory(one, other) for one, other in zip(early, late, strict=True))
    metrics.extend([{"step": 1900, "grad": 2.0}])
    assert np.isnan(metrics.scalars()["loss"][-1]) and np.isnan(metrics.vectors()["load"][-1]).all()
    assert np.isnan(metrics.scalars()["grad"][:-1]).all() and metrics.scalars()["grad"][-1] == 2.0


def test_a_metric_that_comes_and_goes_is_a_gap_and_nonsense_is_no_number():
    metrics = Metrics()
    nonsense = {"step": 3, "loss": float("nan"), "note": "text", "flag": True, "odd": [1, "x"]}
    for line in ({"step": 1, "loss": 2.0}, {"step": 2}, nonsense):
        metrics.append(line)
    loss = metrics.scalars()["loss"]
    assert loss[0] == 2.0 and np.isnan(loss[1:]).all()
    assert set(metrics.scalars()) == {"step", "loss"} and not metrics.vectors()


def test_vectors_may_differ_in_length():
    metrics = Metrics()
    metrics.extend([{"step": 1, "state_norm": [1.0, 2.0]}, {"step": 2, "state_norm": [1.0, 2.0, 3.0]}])
    early = metrics.vectors()["state_norm"]
    metrics.extend([{"step": 3, "state_norm": [5.0]}, {"step": 4, "state_norm": [1.0, 2.0, 3.0, 4.0]}])
    assert early.shape == (2, 3) and np.isnan(early[0, 2])
    late = metrics.vectors()["state_norm"]
    assert late.shape == (4, 4) and late[2, 0] == 5 and np.isnan(late[2, 1:]).all() and late[1, 2] == 3


def test_vectors_of_one_length_are_taken_at_once_and_only_numbers_count():
    metrics = Metrics()
    metrics.extend([{"step": 1, "v": [1, 2.5], "w": [True, 1.0]}, {"step": 2, "v": [3.0, 4], "w": ["1", 2.0]}])
    assert metrics.vectors()["v"].tolist() == [[1.0, 2.5], [3.0, 4.0]] and metrics.latest()["v"].tolist() == [3.0, 4.0]
    assert "w" not in metrics.vectors()
    metrics.extend([{"step": 3, "v": [10**400, 1.0]}])
    assert metrics.latest()["v"].tolist() == [3.0, 4.0]


def test_a_block_of_lines_means_the_same_as_its_lines():
    lines = [metrics_line(step) for step in range(1, 200)]
    for index, line in enumerate(lines):
        line["state_norm"] = [1.0, 2.0, 3.0][: 1 + index % 3]
        line["loss_parts"] = {"ponder": float(index)} if index % 5 else {}
        line["grad_norm"] = (float("nan"), float("inf"), 7)[index % 3]
        line["note"], line["odd"] = "text", {"deep": [1]}
    lines[50].pop("loss"), lines[60].pop("state_norm")
    slow, fast = Metrics(), Metrics()
    slow.extend(lines)
    columns = parse_columns("".join(json.dumps(line) + "\n" for line in lines).encode())
    assert columns is not None and fast.extend_columns(columns)
    for kind in ("scalars", "vectors", "derived", "latest"):
        one, other = getattr(slow, kind)(), getattr(fast, kind)()
        assert one.keys() == other.keys()
        for key in one:
            np.testing.assert_allclose(one[key], other[key], rtol=1e-6)
    assert not fast.extend_columns(columns), "steps that come again are for the slow way, which goes back"


@pytest.mark.parametrize(
    "lines",
    ['{"step": 1}\n{bad}', '{"a": 1}\n{"a": "x"}', '{"a": 1}\n5', '{"a":1,"a":2}', '{"a":[null, 1]}\n{"a":[1, 2]}'],
)
def test_an_irregular_block_is_left_to_the_slow_way(lines: str):
    assert parse_columns(lines.encode() + b"\n") is None


def test_a_long_history_with_damage_in_it_is_read_whole(tmp_path: Path):
    run = FakeRun(tmp_path)
    run.status("running", 10)
    pad = "x" * 1000
    text = [json.dumps({"step": step, "loss": 1.0 / step, "pad": pad}) for step in range(1, 9001)]
    text[4000] = "{damaged"
    text.insert(8000, json.dumps({"step": 7990, "loss": 5.0}))  # resumed
    run.paths.metrics.write_text("\n".join(text) + "\n")
    reader = RunReader(run.paths)
    while (snapshot := read(reader)[0]).loading:
        pass
    steps = snapshot.steps.tolist()
    assert steps == [step for step in range(1, 7991) if step != 4001] + list(range(8001, 9001))
    assert snapshot.scalars["loss"][steps.index(7990)] == 5.0


def test_a_resumed_run_that_repeats_steps_shows_the_later_ones():
    metrics = Metrics()
    metrics.extend([{"step": step, "loss": 1.0, "load": [1.0, 2.0]} for step in (1, 2, 3, 4)])
    before = metrics.scalars()["loss"]
    metrics.extend([{"step": 5, "loss": 1.0}, {"step": 3, "loss": 7.0}, {"step": 4, "loss": 8.0, "load": [3.0, 4.0]}])
    assert metrics.scalars()["step"].tolist() == [1, 2, 3, 4]
    assert metrics.scalars()["loss"].tolist() == [1, 1, 7, 8]
    assert np.isnan(metrics.vectors()["load"][2]).all() and metrics.vectors()["load"][3].tolist() == [3, 4]
    assert before.tolist() == [1, 1, 1, 1]


def test_evaluations_beyond_the_checkpoint_that_a_run_resumed_from_do_not_count_twice(tmp_path: Path):
    run = FakeRun(tmp_path)
    run.status("running", 40)
    for step, loss in ((10, 3.0), (20, 2.0), (30, 1.0)):
        run.event("evaluation", step=step, loss=loss, bits_per_byte=loss)
    run.event("resumed", step=15)
    run.event("evaluation", step=20, loss=2.5, bits_per_byte=2.5)
    snapshot, _ = read(RunReader(run.paths))
    assert snapshot.evaluations.step.tolist() == [10, 20] and snapshot.evaluations.loss.tolist() == [3.0, 2.5]


def test_parts_of_the_loss_have_columns_of_their_own(tmp_path: Path):
    run = FakeRun(tmp_path)
    run.status("running", 10)
    run.metrics(10, loss_parts={"cross_entropy": 2.0, "ponder": 0.1})
    snapshot, _ = read(RunReader(run.paths))
    assert snapshot.scalars["loss_parts.ponder"].tolist() == [0.1]


def test_half_a_surrogate_pair_in_an_event_is_read(tmp_path: Path):
    run = FakeRun(tmp_path)
    run.status("running", 10)
    reader = RunReader(run.paths)
    reader.tick()
    run.event("command", id="odd", command="\ud800", ok=False, message="no such command")
    assert [answer.id for answer in reader.tick()[1]] == ["odd"]


def test_only_whole_lines_count_and_a_damaged_one_is_passed_over(tmp_path: Path):
    run = FakeRun(tmp_path)
    run.status("running", 10)
    run.metrics(10, 20)
    reader = RunReader(run.paths)
    assert read(reader)[0].steps.tolist() == [10, 20]
    with open(run.paths.metrics, "ab") as file:
        file.write(b'{"step": 25, bad}\n' + json.dumps(metrics_line(30)).encode())
    assert read(reader)[0].steps.tolist() == [10, 20]
    with open(run.paths.metrics, "ab") as file:
        file.write(b"\n")
    assert read(reader)[0].steps.tolist() == [10, 20, 30]


def test_the_log_is_its_last_lines_and_older_pictures_stay_as_they_were(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr("mythos_tui.runs.reader.LOG_LINES", 4)
    run = FakeRun(tmp_path, "one")
    reader, pictures = RunReader(run.paths), []
    for n in range(30):
        run.log(f"line {n}\r\n")
        snapshot, _ = read(reader)
        pictures.append(snapshot.log)
        assert snapshot.log_total == n + 1
    for n, log in enumerate(pictures):
        assert list(log) == [f"line {k}" for k in range(max(0, n - 3), n + 1)]
    assert (pictures[-1][0], pictures[-1][-1], pictures[-1][1:3]) == ("line 26", "line 29", ["line 27", "line 28"])


def test_a_replaced_file_is_read_anew(tmp_path: Path):
    run = FakeRun(tmp_path)
    run.status("running", 10)
    run.metrics(*range(10, 200, 10))
    reader = RunReader(run.paths)
    first, _ = read(reader)
    run.paths.metrics.write_text(json.dumps(metrics_line(5)) + "\n")
    second, _ = read(reader)
    assert second.steps.tolist() == [5] and second.generation == first.generation + 1


def test_answers_to_commands_come_once_and_not_from_before(tmp_path: Path):
    run = FakeRun(tmp_path)
    run.status("running", 10)
    run.event("command", id="old", command="pause", ok=True, message="done")
    reader = RunReader(run.paths)
    assert read(reader)[1] == []
    run.event("command", id="new", command="save", ok=True, message="done", step=12)
    answers = read(reader)[1]
    assert [(one.id, one.command, one.step) for one in answers] == [("new", "save", 12)]
    assert read(reader)[1] == []


def test_answers_are_not_told_again_after_a_file_was_replaced(tmp_path: Path):
    """A run that goes on has its metrics cut off behind its checkpoint: every answer since its beginning came again."""
    run = FakeRun(tmp_path)
    run.status("running", 10)
    run.metrics(10, 20, 30)
    run.event("command", id="old", command="pause", ok=True, message="done")
    reader = RunReader(run.paths)
    read(reader)
    run.event("command", id="told", command="save", ok=True, message="done", step=12)
    assert [one.id for one in read(reader)[1]] == ["told"]
    run.paths.metrics.write_text(json.dumps(metrics_line(10)) + "\n")
    run.event("command", id="new", command="resume", ok=True, message="done")
    snapshot, answers = read(reader)
    assert snapshot.steps.tolist() == [10] and [one.id for one in answers] == ["new"]


def test_a_long_history_is_read_in_pieces_of_bounded_time(tmp_path: Path):
    run = FakeRun(tmp_path)
    run.status("running", 10)
    lines = "".join(json.dumps({"step": step, "loss": 1.0, "pad": "x" * 400}) + "\n" for step in range(60_000))
    run.paths.metrics.write_text(lines)
    reader = RunReader(run.paths)
    ticks = 0
    while True:
        begun = time.monotonic()
        snapshot, _ = reader.tick(0.02)
        assert time.monotonic() - begun < 1.5
        ticks += 1
        if not snapshot.loading:
            break
    assert snapshot.steps.size == 60_000 and ticks > 1


def test_lister_notices_death_and_life_without_a_new_status(tmp_path: Path):
    run = FakeRun(tmp_path, "one")
    run.status("running", 5)
    lister = RunLister(tmp_path)
    assert [one.state for one in lister.list()] == ["running"]
    run.close()
    assert [one.state for one in lister.list()] == ["crashed"]


def test_lister_reads_what_has_ended_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    for index in range(5):
        run = FakeRun(tmp_path, f"run-{index}", locked=False)
        run.status("finished", 10)
    lister = RunLister(tmp_path)
    assert len(lister.list()) == 5
    import mythos_tui.runs.lister as module

    monkeypatch.setattr(module, "read_summary", lambda paths: pytest.fail(f"{paths.name} was read again"))
    assert len(lister.list()) == 5


def test_lister_is_newest_first_and_ignores_what_is_no_run(tmp_path: Path):
    for name in ("a", "b", "c"):
        FakeRun(tmp_path, name, locked=False)
        time.sleep(0.01)
    (tmp_path / "not-a-run").mkdir()
    (tmp_path / "file").write_text("")
    assert [run.name for run in RunLister(tmp_path).list()] == ["c", "b", "a"]
    assert RunLister(tmp_path / "missing").list() == ()


def test_lister_passes_over_an_entry_that_cannot_be_looked_at(tmp_path: Path):
    """A link to itself emptied the whole list."""
    FakeRun(tmp_path, "a", locked=False)
    (tmp_path / "loop").symlink_to("loop")
    assert [run.name for run in RunLister(tmp_path).list()] == ["a"]


def test_two_workbenches_keep_each_other_s_pins(tmp_path: Path):
    one, other = (RunChoice(Memory(tmp_path / "memory.json"), tmp_path) for _ in range(2))
    assert one.toggle_pin("a") and other.toggle_pin("b") and one.toggle_pin("c")
    other.next_order()
    assert other.toggle_pin("c"), "the other one has pinned it already; what a person does not see is not let go"
    assert not one.toggle_pin("c")
    again = RunChoice(Memory(tmp_path / "memory.json"), tmp_path)
    assert (sorted(again.pins), again.order) == (["a", "b"], "name") and sorted(one.pins) == ["a", "b"]


def test_what_cannot_be_written_is_remembered_as_long_as_the_workbench(tmp_path: Path):
    (tmp_path / "state").write_text("no folder")
    choice = RunChoice(Memory(tmp_path / "state" / "memory.json"), tmp_path)
    assert choice.toggle_pin("a") and choice.toggle_pin("b") and not choice.toggle_pin("a")
    assert choice.pins == ["b"]


def test_watcher_posts_lists_pictures_and_answers(tmp_path: Path):
    run = FakeRun(tmp_path, "one")
    run.status("running", 10)
    run.metrics(10)
    posted: list[object] = []
    watcher = RunWatcher(tmp_path, posted.append)
    watcher.select("one")
    watcher.start()
    try:
        wait_for(lambda: any(isinstance(one, RunUpdated) for one in posted))
        run.event("command", id="x", command="pause", ok=True, message="done")
        wait_for(lambda: any(isinstance(one, CommandAcknowledged) for one in posted))
        run.close()
        begun = time.monotonic()
        wait_for(lambda: [one for one in posted if isinstance(one, RunsListed)][-1].runs[0].state == "crashed")
        assert time.monotonic() - begun < 3
    finally:
        watcher.stop()


def wait_for(holds, limit_s: float = 5.0) -> None:
    give_up = time.monotonic() + limit_s
    while not holds():
        assert time.monotonic() < give_up
        time.sleep(0.02)
