"""The system panel: GPUs as their driver's library tells of them, also where it breaks off."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from mythos_tui.app import MythosApp
from mythos_tui.runs.machine import Gauge
from mythos_tui.settings import Context
from tests.fakes.screen_text import text_of, until

NAMES = ("NVIDIA H100 80GB HBM3", b"NVIDIA [red]T4[/]")


class DriverError(Exception):
    """What the library raises."""


@pytest.fixture
def driver(monkeypatch: pytest.MonkeyPatch) -> Any:
    """As much of `pynvml` as is asked: two GPUs, of which the second falls off the bus once `lost`."""

    def handle(index: int) -> int:
        if index and found.lost:
            raise DriverError("GPU is lost")
        return index

    found = SimpleNamespace(
        lost=False,
        NVMLError=DriverError,
        nvmlInit=lambda: None,
        nvmlDeviceGetCount=lambda: len(NAMES),
        nvmlDeviceGetHandleByIndex=handle,
        nvmlDeviceGetName=lambda device: NAMES[device],
        nvmlDeviceGetMemoryInfo=lambda device: SimpleNamespace(used=(60 << 30) >> device, total=(80 << 30) >> device),
        nvmlDeviceGetUtilizationRates=lambda device: SimpleNamespace(gpu=97 - 90 * device),
    )
    monkeypatch.setitem(sys.modules, "pynvml", found)
    return found


async def test_every_gpu_has_a_line_of_its_own(driver: Any, context: Context) -> None:
    app = MythosApp(context)
    (context.runs / "run").mkdir(parents=True)
    (context.runs / "run" / "run.json").write_text('{"name": "run", "created": 1.0}')
    async with app.run_test(size=(120, 46)) as pilot:
        await until(pilot, lambda: "run" in text_of(app))
        await pilot.press("m")
        await until(pilot, lambda: "GPU 1" in text_of(app))
        for line in ("97%  60 GiB of 80 GiB  NVIDIA H100 80GB HBM3", " 7%  30 GiB of 40 GiB  NVIDIA [red]T4[/]"):
            assert line in text_of(app)


def test_what_a_lost_gpu_leaves_is_still_told(driver: Any, tmp_path: Path) -> None:
    gauge = Gauge(tmp_path)
    assert [gpu.memory for gpu in gauge.read().gpus] == [60 << 30, 30 << 30]
    driver.lost = True
    assert [(gpu.name, gpu.used) for gpu in gauge.read().gpus] == [("NVIDIA H100 80GB HBM3", 0.97)]


def test_a_driver_that_does_not_answer_is_no_gpu(driver: Any, tmp_path: Path, monkeypatch: Any) -> None:
    def refuse() -> None:
        raise DriverError("driver not loaded")

    monkeypatch.setattr(driver, "nvmlInit", refuse)
    assert Gauge(tmp_path).read().gpus == ()
