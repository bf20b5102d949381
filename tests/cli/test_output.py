"""Where the output goes: a reader that has had enough, a disk that is full, a terminal that knows few characters."""

from __future__ import annotations

import errno
import io
import os
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from mythos.cli import main
from tests.fakes.runs import FakeRun


class Full(io.RawIOBase):
    """A disk without room."""

    def writable(self) -> bool:
        return True

    def write(self, data: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def closed_pipe() -> io.TextIOWrapper:
    read, write = os.pipe()
    os.close(read)
    return os.fdopen(write, "w")


Mythos = Callable[..., int]


@pytest.fixture
def mythos(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Mythos:
    """The command in this process with another stdout, over one run that has no loss; its exit code."""
    monkeypatch.chdir(tmp_path)
    FakeRun(tmp_path / "runs").close()

    def run(stdout: io.TextIOWrapper | None, *arguments: str) -> int:
        with monkeypatch.context() as patch, pytest.raises(SystemExit) as end:
            patch.setattr(sys, "stdout", stdout)
            patch.setattr(sys, "argv", ["mythos", *arguments])
            main()
        return int(end.value.code or 0)

    return run


@pytest.mark.parametrize("runs", ["runs", "nowhere"], ids=["written at the end", "written at once"])
def test_a_reader_that_has_had_enough_is_told_by_the_exit_code_alone(
    mythos: Mythos, capsys: pytest.CaptureFixture[str], runs: str
) -> None:
    assert mythos(closed_pipe(), "runs", "--runs", runs) == 141
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("runs", ["runs", "nowhere"], ids=["written at the end", "written at once"])
def test_a_full_disk_is_told_in_a_sentence(mythos: Mythos, capsys: pytest.CaptureFixture[str], runs: str) -> None:
    assert mythos(io.TextIOWrapper(io.BufferedWriter(Full())), "runs", "--runs", runs) == 2
    said = capsys.readouterr().err
    assert said.startswith("mythos: ") and said.count("\n") == 1 and "No space left on device. Make room" in said


def test_without_stdout_nothing_is_said(mythos: Mythos, capsys: pytest.CaptureFixture[str]) -> None:
    assert mythos(None, "runs") == 0
    assert capsys.readouterr().err == ""


def test_what_a_terminal_cannot_show_is_spelled_out(mythos: Mythos, monkeypatch: pytest.MonkeyPatch) -> None:
    out, err = (io.TextIOWrapper(io.BytesIO(), encoding="ascii") for _ in range(2))
    assert mythos(out, "runs") == 0
    assert rb"\u2013" in out.buffer.getvalue()  # type: ignore[attr-defined]
    monkeypatch.setattr(sys, "stderr", err)
    assert mythos(out, "train", "zählung.yaml") == 2
    err.flush()
    assert rb"z\xe4hlung.yaml" in err.buffer.getvalue()  # type: ignore[attr-defined]
