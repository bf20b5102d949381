"""What the machine is doing: processors, memory, disk, GPUs where there are any, and the worker's own share of them."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from mythos.contract.liveness import boot_id
from mythos.contract.rundir import RunPaths
from mythos.contract.watch import read_json

HISTORY = 120


@dataclass(frozen=True)
class Gpu:
    """One GPU: shares are 0..1, sizes bytes."""

    name: str
    used: float
    memory: int
    memory_total: int


@dataclass(frozen=True)
class WorkerUse:
    """What the worker of the selected run takes: processor cores, resident memory in bytes, threads."""

    pid: int
    cores: float
    memory: int
    threads: int


@dataclass(frozen=True)
class Machine:
    """The machine at one moment. `cpu` is the share of all cores that is busy, its history oldest first."""

    cores: tuple[float, ...]
    cpu: tuple[float, ...]
    memory: int
    memory_total: int
    swap: int
    disk_free: int | None
    gpus: tuple[Gpu, ...] = ()
    worker: WorkerUse | None = None


class Gauge:
    """Reads the machine; one instance reads again and again, since use is what passed since the last reading."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._history: deque[float] = deque(maxlen=HISTORY)
        self._process: psutil.Process | None = None
        self._nvml = _load_nvml()
        psutil.cpu_percent(percpu=True)

    def read(self, run: RunPaths | None = None) -> Machine:
        """The machine now, with the worker of `run` where it lives here."""
        cores = tuple(percent / 100 for percent in psutil.cpu_percent(percpu=True))
        self._history.append(sum(cores) / max(1, len(cores)))
        memory = psutil.virtual_memory()
        return Machine(
            cores=cores,
            cpu=tuple(self._history),
            memory=memory.total - memory.available,
            memory_total=memory.total,
            swap=psutil.swap_memory().used,
            disk_free=self._free(),
            gpus=tuple(_gpus(self._nvml)) if self._nvml else (),
            worker=self._worker(run) if run else None,
        )

    def _free(self) -> int | None:
        """Bytes left where runs are written: of the nearest folder that is there."""
        for folder in (self._folder.absolute(), *self._folder.absolute().parents):
            with suppress(OSError):
                return psutil.disk_usage(os.fspath(folder)).free
        return None

    def _worker(self, run: RunPaths) -> WorkerUse | None:
        status = read_json(run.status) or {}
        pid, start = status.get("pid"), status.get("pid_start")
        if not isinstance(pid, int) or not isinstance(start, float) or status.get("boot_id") != boot_id():
            return None
        try:
            if self._process is None or self._process.pid != pid or not self._process.is_running():
                self._process = psutil.Process(pid)
            process = self._process
            if abs(process.create_time() - start) > 1.0:
                return None
            with process.oneshot():
                cores, memory, threads = process.cpu_percent() / 100, process.memory_info().rss, process.num_threads()
        except (psutil.Error, ValueError):
            self._process = None
            return None
        return WorkerUse(pid, cores, memory, threads)


def _load_nvml() -> Any:
    """NVIDIA's management library, where the package for it and a driver are; None otherwise."""
    try:
        import pynvml

        pynvml.nvmlInit()
    except Exception:  # no package, no driver, no permission: there is no GPU to tell of
        return None
    return pynvml


def _gpus(nvml: Any) -> Iterator[Gpu]:
    with suppress(nvml.NVMLError):
        for index in range(nvml.nvmlDeviceGetCount()):
            device = nvml.nvmlDeviceGetHandleByIndex(index)
            name = nvml.nvmlDeviceGetName(device)
            memory = nvml.nvmlDeviceGetMemoryInfo(device)
            used = nvml.nvmlDeviceGetUtilizationRates(device).gpu / 100
            text = name.decode() if isinstance(name, bytes) else str(name)
            yield Gpu(text, used, int(memory.used), int(memory.total))
