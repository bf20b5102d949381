"""What this machine trains on: device, arithmetic, threads, and the matmul peak that utilisation is measured against."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from mythos.contract.config import TrainConfig
from mythos.contract.errors import MythosError
from mythos.memory import host_memory
from mythos.train.ranks import Ranks

BF16_MUST_GAIN = 1.3
DTYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


@dataclass(frozen=True)
class Device:
    """`peak_flops` is measured with large matmuls in the arithmetic that training uses."""

    name: str
    precision: str
    threads: int
    peak_flops: float

    @property
    def memory_bytes(self) -> int | None:
        """What there is of its memory for this process; None where the system does not tell."""
        if self.name == "cuda":
            return int(torch.cuda.get_device_properties(torch.cuda.current_device()).total_memory)
        return host_memory() if self.name == "cpu" else None

    def autocast(self) -> Any:
        """Context for the forward pass."""
        dtype = torch.float16 if self.precision == "fp16" else torch.bfloat16
        return torch.autocast(self.name, dtype=dtype, enabled=self.precision != "fp32")

    @property
    def update_dtype(self) -> torch.dtype:
        """Arithmetic of Muon's iteration, which needs the range of float32 but little precision."""
        return torch.bfloat16 if self.precision == "bf16" else torch.float32

    def scaler(self) -> torch.amp.GradScaler:
        """What keeps small gradients from vanishing in float16; idle in any other arithmetic."""
        return torch.amp.GradScaler(self.name, enabled=self.precision == "fp16")

    def place(self, array: np.ndarray) -> Tensor:
        """An array on the device. To a GPU it goes from pinned memory, while the host goes on."""
        tensor = torch.from_numpy(array)
        return tensor.pin_memory().to("cuda", non_blocking=True) if self.name == "cuda" else tensor.to(self.name)


def choose_device(train: TrainConfig, ranks: Ranks | None = None) -> Device:
    """Apply `train.device`, `train.precision` and `train.threads`; measures where they say auto, and finds other ranks.

    Rank 0's choice of arithmetic holds for all, and `peak_flops` is that of all together. Raises MythosError.
    """
    ranks = ranks or Ranks()
    name = _choose_kind(train.device)
    ranks.connect(name)
    threads = train.threads or max(1, available_cores() // ranks.beside)
    torch.set_num_threads(threads)
    if name == "cuda":
        torch.set_float32_matmul_precision("high")  # TF32
    peaks = {precision: matmul_peak(name, dtype) for precision, dtype in DTYPES.items() if _can(name, precision)}
    wanted = _choose_precision(name, peaks) if train.precision == "auto" else train.precision
    if wanted not in peaks:
        raise MythosError(f"train.precision is {wanted}, which {name} cannot do here.", f"Use {' or '.join(peaks)}.")
    (agreed,) = ranks.agree([*DTYPES].index(wanted))
    precision = [*DTYPES][agreed]
    return Device(name, precision, threads, peaks[precision] * ranks.world)


def can_compute(train: TrainConfig, precision: str) -> bool:
    """Whether the device of `train.device` does this arithmetic, one of DTYPES. Raises MythosError where it is not there."""
    return _can(_choose_kind(train.device), precision)


def _choose_kind(wanted: str) -> str:
    """`auto` is CUDA where there is any. MPS must be asked for: what it lacks is computed on the CPU (see `launch`)."""
    there = {"cpu": True, "cuda": torch.cuda.is_available(), "mps": torch.backends.mps.is_available()}
    if wanted == "auto":
        return "cuda" if there["cuda"] else "cpu"
    if not there[wanted]:
        raise MythosError(f"train.device is {wanted}, but there is no such device.", "Use train.device=auto or cpu.")
    return wanted


def _can(name: str, precision: str) -> bool:
    """GPUs compute in bfloat16 from compute capability 8 on (Ampere), and emulate it before; float16 is for them alone."""
    if name == "cuda":
        return precision != "bf16" or torch.cuda.get_device_capability() >= (8, 0)
    return precision != "fp16" and (precision == "fp32" or name == "cpu")


def _choose_precision(name: str, peaks: dict[str, float]) -> str:
    if name == "cuda":
        return "bf16" if "bf16" in peaks else "fp16"
    return "bf16" if peaks.get("bf16", 0.0) > BF16_MUST_GAIN * peaks["fp32"] else "fp32"


def available_cores() -> int:
    """Cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def matmul_peak(device: str, dtype: torch.dtype, seconds: float = 0.25) -> float:
    """FLOP/s of a square matmul: the best of repeated runs, of a large one unless that alone would take over `seconds`.

    On a processor without bfloat16 it takes two seconds.
    """
    best, end = 0.0, time.perf_counter() + seconds
    for size in (256, 1024) if device == "cpu" else (8192,):
        if best and 2 * size**3 / best > seconds:
            break
        a, b = (torch.randn(size, size, device=device).to(dtype) for _ in range(2))
        a @ b
        best = max(best, _flops_per_s(a, b))
    while time.perf_counter() < end:
        best = max(best, _flops_per_s(a, b))
    return best


def _flops_per_s(a: Tensor, b: Tensor) -> float:
    start = time.perf_counter()
    a @ b
    if a.device.type != "cpu":
        torch.accelerator.synchronize()
    return float(2 * len(a) ** 3 / (time.perf_counter() - start))
