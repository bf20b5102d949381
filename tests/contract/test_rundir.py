"""The run directory: nothing torn, nothing lost, and a dead worker is seen to be dead."""

from __future__ import annotations

import errno
import json
import math
import os
import shutil
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest

from mythos.contract.config import Config
from mythos.contract.errors import RunError
from mythos.contract.liveness import derive_state, is_locked, kill, process_identity
from mythos.contract.rundir import (
    NAME,
    LineWriter,
    RunPaths,
    acquire_lock,
    create_run,
    existing_run,
    fresh_name,
    run_paths,
    send_command,
    spoken,
    take_commands,
    write_atomic,
    write_json,
    write_named,
)
from mythos.contract.watch import JsonTail, Tail, list_runs, read_json, summarize


@pytest.fixture
def run(tmp_path: Path) -> RunPaths:
    return create_run(tmp_path / "runs", "a", Config(), ["mythos"])


@pytest.mark.parametrize("name", ["../out", "a/b", "", ".hidden", "-x", "a" * 101, "a\x1b[2J", "..", "a\n"])
def test_no_name_leaves_the_runs_folder(tmp_path: Path, name: str) -> None:
    with pytest.raises(RunError, match="cannot be the name"):
        run_paths(tmp_path, name)


def test_a_run_that_exists_is_not_overwritten(run: RunPaths) -> None:
    before = run.identity.read_text()
    with pytest.raises(RunError, match="exists already"):
        create_run(run.root.parent, "a", Config(), [])
    assert run.identity.read_text() == before


def test_a_folder_that_refuses_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(RunError, match="not a folder"):
        create_run(tmp_path / "file", "a", Config(), [])


def test_a_missing_run_is_named(tmp_path: Path) -> None:
    with pytest.raises(RunError, match="no run 'ghost'"):
        existing_run(tmp_path, "ghost")


PLACES = [("runs", "a/"), ("runs", "./a"), ("runs/a", "."), ("runs/a/control", ".."), (".", "runs/a"), (".", "runs//a/")]


@pytest.mark.parametrize(("where", "name"), PLACES)
def test_a_run_is_found_by_its_directory(
    run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, where: str, name: str
) -> None:
    monkeypatch.chdir(tmp_path / where)
    assert existing_run("elsewhere", name) == RunPaths(run.root.resolve())
    with pytest.raises(RunError, match="no run 'a' in elsewhere"):
        existing_run("elsewhere", "a")


def test_a_hint_names_a_run_so_that_a_command_finds_it(
    run: RunPaths, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("MYTHOS_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    assert spoken(run) == spoken(RunPaths(Path("runs/a"))) == "a" and spoken(RunPaths(Path("b"))) == "./b"
    monkeypatch.chdir(run.root)
    assert spoken(run) == str(run.root)
    lock = acquire_lock(run)
    with pytest.raises(RunError, match="already running a") as refused:
        acquire_lock(run, wait_s=0)
    os.close(lock)
    assert f"`mythos watch {run.root}`" in refused.value.hint


def test_a_file_is_replaced_behind_its_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir()
    (tmp_path / "link").symlink_to("real/file")
    for text in ("first", "second"):
        write_named(tmp_path / "link", text)
        assert (tmp_path / "link").is_symlink() and (tmp_path / "real/file").read_text() == text
    assert [path.name for path in (tmp_path / "real").iterdir()] == ["file"]


def test_a_link_in_a_run_leads_nowhere_else(tmp_path: Path) -> None:
    (tmp_path / "other").write_text("precious")
    (tmp_path / "status.json").symlink_to("other")
    write_atomic(tmp_path / "status.json", "{}")
    assert (tmp_path / "other").read_text() == "precious" and not (tmp_path / "status.json").is_symlink()


def test_what_is_no_file_is_never_replaced(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    reader = os.open(tmp_path / "pipe", os.O_RDONLY | os.O_NONBLOCK)
    write_named(tmp_path / "pipe", "text")
    assert os.read(reader, 9) == b"text" and (tmp_path / "pipe").is_fifo()
    os.close(reader)
    (tmp_path / "null").symlink_to(os.devnull)
    write_named(tmp_path / "null", "text")
    assert (tmp_path / "null").is_symlink()
    (tmp_path / "folder").mkdir()
    with pytest.raises(OSError, match="Not a file"):
        write_named(tmp_path / "folder", "text")
    assert {path.name for path in tmp_path.iterdir()} == {"pipe", "null", "folder"}


def test_nan_and_infinity_survive_the_round_trip(run: RunPaths) -> None:
    LineWriter(run.metrics).write({"a": math.nan, "b": -math.inf})
    (line,) = JsonTail(run.metrics).read_objects()
    assert math.isnan(line["a"]) and line["b"] == -math.inf


def test_a_reader_takes_whole_lines_only(run: RunPaths) -> None:
    tail = JsonTail(run.metrics)
    run.metrics.write_bytes(b'{"step": 1}\n{"st')
    assert tail.read_objects() == [{"step": 1}]
    with open(run.metrics, "ab") as file:
        file.write(b'ep": 2}\nnonsense\n{"step": 3}\n')
    assert tail.read_objects() == [{"step": 2}, {"step": 3}]
    assert tail.damaged == 1


def test_a_torn_last_line_does_not_spoil_the_next(run: RunPaths) -> None:
    run.metrics.write_bytes(b'{"step": 1}\n{"ste')
    LineWriter(run.metrics).write({"step": 2})
    assert JsonTail(run.metrics).read_objects() == [{"step": 1}, {"step": 2}]


def test_a_reader_notices_truncation_and_replacement(run: RunPaths) -> None:
    tail = JsonTail(run.metrics)
    run.metrics.write_bytes(b'{"step": 1}\n{"step": 2}\n')
    tail.read_objects()
    run.metrics.write_bytes(b'{"step": 9}\n')
    assert tail.read_objects() == [{"step": 9}]
    write_json(run.metrics, {"step": 10})
    assert tail.read_objects() == [{"step": 10}]
    assert tail.restarts == 2


@pytest.mark.parametrize(("late", "seen"), [(0, [3]), (5, [3]), (12, [2, 3]), (10_000, [1, 2, 3])])
def test_a_reader_that_starts_late_misses_nothing_written_after(run: RunPaths, late: int, seen: list[int]) -> None:
    """Starting exactly at the end once swallowed the next line: an acknowledgement nobody saw."""
    run.metrics.write_bytes(b'{"step": 1}\n{"step": 2}\n')
    tail = JsonTail(run.metrics, start_at_end_minus=late)
    LineWriter(run.metrics).write({"step": 3})
    assert [line["step"] for line in tail.read_objects()] == seen


def test_a_line_longer_than_a_chunk_is_read(run: RunPaths) -> None:
    tail = JsonTail(run.metrics)
    LineWriter(run.metrics).write({"x": "y" * 3_000_000})
    assert len(tail.read_objects(budget_s=5)[0]["x"]) == 3_000_000


def test_a_tail_comes_on_however_little_time_it_is_given(tmp_path: Path) -> None:
    """On a busy disk the opening alone took the whole time, and nothing was ever read."""
    (tmp_path / "log").write_text("first\nsecond\n")
    tail = Tail(tmp_path / "log")
    assert tail.read(budget_s=0) == [b"first", b"second"] and tail.read(budget_s=0) == []


def test_status_is_never_seen_half_written(run: RunPaths) -> None:
    write_json(run.status, {"n": 0, "pad": ""})
    torn: list[int] = []
    done = threading.Event()

    def read() -> None:
        while not done.is_set():
            if read_json(run.status) is None:
                torn.append(1)

    reader = threading.Thread(target=read)
    reader.start()
    for n in range(200):
        write_json(run.status, {"n": n, "pad": "x" * (n * 50)})
    done.set()
    reader.join()
    assert not torn


def test_reading_writes_nothing(run: RunPaths) -> None:
    os.close(acquire_lock(run))
    before = {path: path.stat().st_mtime_ns for path in [run.root, *run.root.rglob("*")]}
    summarize(run)
    list_runs(run.root.parent)
    JsonTail(run.metrics).read_objects()
    is_locked(run)
    assert {path: path.stat().st_mtime_ns for path in [run.root, *run.root.rglob("*")]} == before


def test_commands_arrive_in_order_and_once(run: RunPaths) -> None:
    sent = [send_command(run, "pause"), send_command(run, "save"), send_command(run, "resume")]
    (run.control / "0-damaged.json").write_text("{")
    (run.control / ".half.tmp").write_text("{")
    taken = take_commands(run)
    assert [command["command"] for command in taken] == ["", "pause", "save", "resume"]
    assert [command["id"] for command in taken[1:]] == sent
    assert take_commands(run) == []


def test_an_unknown_command_is_refused(run: RunPaths) -> None:
    with pytest.raises(RunError, match="no command"):
        send_command(run, "explode")


HOLDER = """
import sys, time
from pathlib import Path
from mythos.contract.liveness import process_identity
from mythos.contract.rundir import RunPaths, acquire_lock, write_json
paths = RunPaths(Path(sys.argv[1]))
acquire_lock(paths)
write_json(paths.status, {"state": "running", "updated": time.time(), "expect_next_in_s": 60, **process_identity()})
print("ready", flush=True)
time.sleep(60)
"""


def hold(run: RunPaths) -> subprocess.Popen[str]:
    process = subprocess.Popen([sys.executable, "-c", HOLDER, str(run.root)], stdout=subprocess.PIPE, text=True)
    assert process.stdout is not None and process.stdout.readline() == "ready\n"
    return process


def state_of(run: RunPaths) -> str:
    summary = summarize(run)
    assert summary is not None
    return summary.state


def test_a_killed_worker_is_crashed_at_once(run: RunPaths) -> None:
    process = hold(run)
    assert state_of(run) == "running"
    process.send_signal(signal.SIGKILL)
    process.wait()
    assert state_of(run) == "crashed"


def test_a_second_worker_is_refused(run: RunPaths) -> None:
    process = hold(run)
    with pytest.raises(RunError, match="already running"):
        acquire_lock(run, wait_s=0.1)
    process.kill()
    process.wait()


def test_kill_hits_the_recorded_process_and_no_other(run: RunPaths) -> None:
    process = hold(run)
    status = read_json(run.status)
    assert status is not None
    with pytest.raises(RunError, match="not the worker"):
        kill(run, {**status, "pid_start": status["pid_start"] - 1000})
    with pytest.raises(RunError, match="not the worker"):
        kill(run, {**status, **process_identity(), "boot_id": "another boot"})
    assert process.poll() is None
    kill(run, status)
    assert process.wait(10) == -signal.SIGKILL
    with pytest.raises(RunError, match="no living worker"):
        kill(run, status)


@pytest.mark.parametrize(
    ("status", "locked", "state"),
    [
        (None, True, "starting"),
        (None, False, "crashed"),
        ({"state": "running", "updated": 1000, "expect_next_in_s": 5}, True, "running"),
        ({"state": "running", "updated": 900, "expect_next_in_s": 5}, True, "stalled"),
        ({"state": "running", "updated": 900, "expect_next_in_s": 200}, True, "running"),
        ({"state": "paused", "updated": 0, "expect_next_in_s": 5}, True, "paused"),
        ({"state": "running", "updated": 1000, "expect_next_in_s": 5}, False, "crashed"),
        ({"state": "finished", "updated": 0}, False, "finished"),
        ({"state": "failed", "updated": 0}, False, "failed"),
        ({"state": "running", "updated": 5000, "expect_next_in_s": 5}, True, "running"),
        ({"state": "running", "updated": "noon"}, True, "stalled"),
        ({"state": "\x1b[2J"}, True, "starting"),
    ],
)
def test_states_follow_from_lock_and_promise(status: dict | None, locked: bool, state: str) -> None:
    assert derive_state(status, locked, now=1001) == state


def test_a_damaged_status_of_a_living_worker_is_not_called_dead(run: RunPaths) -> None:
    descriptor = acquire_lock(run)
    run.status.write_text("{")
    assert state_of(run) == "starting"
    os.close(descriptor)


def test_identity_tells_how_the_run_came_to_be(run: RunPaths) -> None:
    identity = json.loads(run.identity.read_text())
    assert identity["argv"] == ["mythos"] and identity["seed"] == Config().train.seed
    assert identity["versions"]["torch"] != "unknown"


def test_a_run_that_cannot_be_made_whole_leaves_its_name_free(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(path: Path, value: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patch, pytest.raises(RunError, match="No space left"):
        patch.setattr("mythos.contract.rundir.write_json", full)
        create_run(tmp_path, "a", Config(), [])
    assert create_run(tmp_path, "a", Config(), []).identity.is_file()


def test_what_is_no_command_is_left_alone_and_what_is_no_object_is_refused(run: RunPaths, tmp_path: Path) -> None:
    """A pipe would be waited for, a folder cannot be removed, a link leads elsewhere."""
    (tmp_path / "secret").write_text('{"command": "stop"}')
    (run.control / "1.json").mkdir()
    (run.control / "2.json").symlink_to(tmp_path / "secret")
    os.mkfifo(run.control / "3.json")
    (run.control / "4.json").write_text("[" * 60_000)
    (run.control / "5.json").write_text(" " * 70_000 + '{"command": "stop"}')
    (run.control / "6.json").write_bytes(b"\xff\xfe")
    (run.control / "7.json").write_text("3")
    taken = take_commands(run)
    assert [(command["id"], command["command"]) for command in taken] == [("4", ""), ("5", ""), ("6", ""), ("7", "")]
    assert sorted(path.name for path in run.control.iterdir()) == ["1.json", "2.json", "3.json"]


def test_a_command_that_cannot_be_removed_is_not_obeyed_for_ever(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch
) -> None:
    send_command(run, "pause")
    with monkeypatch.context() as patch:
        patch.setattr(Path, "unlink", lambda *_, **__: (_ for _ in ()).throw(PermissionError()))
        assert take_commands(run) == []
    assert [command["command"] for command in take_commands(run)] == ["pause"]


@pytest.mark.parametrize("takes_back", [True, False])
def test_a_full_disk_delays_lines_and_tears_none(
    run: RunPaths, monkeypatch: pytest.MonkeyPatch, takes_back: bool
) -> None:
    """A worker that was killed before the disk had room once left a piece of a line in the middle of its metrics."""
    writer, write = LineWriter(run.metrics), os.write

    def refuse(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    if not takes_back:
        monkeypatch.setattr(os, "ftruncate", refuse)
    assert writer.write({"step": 1})
    for step, full in ((2, lambda file, data: write(file, data[:5])), (3, refuse)):
        monkeypatch.setattr(os, "write", full)
        assert not writer.write({"step": step})
        assert run.metrics.read_bytes().endswith(b"\n") == takes_back
    monkeypatch.setattr(os, "write", lambda file, data: write(file, data[:16]))
    assert not writer.write({"step": 4})
    monkeypatch.setattr(os, "write", write)
    assert writer.write({"step": 5})
    tail = JsonTail(run.metrics)
    assert [line["step"] for line in tail.read_objects()] == [1, 2, 3, 4, 5]
    assert tail.damaged == (0 if takes_back else 2)


@pytest.mark.parametrize(
    "status",
    [
        b"\xff",
        b"[" * 60_000,
        b'{"state": "running", "step": null, "tokens": "many", "eta_s": [], "loss": {}, "error": "no", "updated": "x"}',
        b'{"state": 7, "step": NaN, "created": Infinity}',
    ],
)
def test_nothing_in_a_file_stops_a_reader(run: RunPaths, status: bytes) -> None:
    run.status.write_bytes(status)
    run.identity.write_text('{"created": "yesterday"}')
    found = summarize(run)
    assert found is not None and (found.step, found.tokens, found.error) == (0, 0, None)
    assert found.state == "crashed"


def test_only_names_of_runs_are_listed(run: RunPaths) -> None:
    odd = run.root.parent / "\x1b[2Jodd"
    odd.mkdir()
    (odd / "run.json").write_text("{}")
    assert [found.name for found in list_runs(run.root.parent)] == ["a"]


def test_an_entry_that_cannot_be_looked_at_hides_no_run(run: RunPaths) -> None:
    (run.root.parent / "loop").symlink_to("loop")
    assert [found.name for found in list_runs(run.root.parent)] == ["a"]


def test_a_folder_that_vanished_is_told_of(run: RunPaths) -> None:
    shutil.rmtree(run.root)
    with pytest.raises(RunError, match="cannot be locked"):
        acquire_lock(run)
    with pytest.raises(RunError, match="cannot be sent"):
        send_command(run, "stop")
    assert summarize(run) is None and list_runs(run.root.parent) == []


@pytest.mark.parametrize("stem", ["_draft", "__", ".x", "a b"])
def test_a_name_that_is_made_up_is_one_that_a_run_can_have(stem: str) -> None:
    assert NAME.fullmatch(fresh_name(stem))
