"""A workbench over folders of its own, that remembers nothing of the person who runs the tests."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from mythos.contract.machine import Machine
from mythos_tui.app import MythosApp
from mythos_tui.settings import Context
from mythos_tui.widgets import glyphs
from mythos_tui.workers import machine
from tests.fakes.workbench import make_app


@pytest.fixture(autouse=True)
def no_settings(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path_factory.mktemp("settings")
    monkeypatch.setenv("XDG_CONFIG_HOME", str(folder))
    monkeypatch.setenv("XDG_STATE_HOME", str(folder / "state"))
    return folder


@pytest.fixture
def context(tmp_path: Path) -> Context:
    configs = tmp_path / "configs"
    (configs / "model").mkdir(parents=True)
    (configs / "quickstart.yaml").write_text(
        "note: small\nmodel: {family: recurrent, width: 192}\ntrain: {steps: 300}\n"
    )
    (configs / "model" / "dense-10m.yaml").write_text("model: {family: dense, width: 128, n_layers: 3}\n")
    (tmp_path / "checkpoints").mkdir()
    return Context(runs=tmp_path / "runs", configs=configs, checkpoints=tmp_path / "checkpoints")


@pytest.fixture(autouse=True)
def true_colour(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """What a terminal can show is not that of the person who runs the tests, nor that of the test before."""
    for name in ("NO_COLOR", "LC_ALL", "LC_CTYPE"):
        monkeypatch.delenv(name, raising=False)
    for name, value in (("TERM", "xterm-256color"), ("COLORTERM", "truecolor"), ("LANG", "C.UTF-8")):
        monkeypatch.setenv(name, value)
    glyphs._automatic.cache_clear()
    yield
    glyphs._automatic.cache_clear()


@pytest.fixture(autouse=True)
def machine_measured(monkeypatch: pytest.MonkeyPatch) -> None:
    """A machine that nobody has to load torch for. `mythos machine` itself is tested with the command line."""

    async def measured() -> Machine:
        return Machine("cpu", "fp32", 2, 1e12)

    monkeypatch.setattr(machine, "measure", measured)


@pytest.fixture
def workbench(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., MythosApp]:
    """Makes an application over the named checkpoints, with the fake worker, in a folder of its own."""
    monkeypatch.chdir(tmp_path)
    return lambda *names: make_app(tmp_path, *names)
