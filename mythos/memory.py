"""How large blocks of memory, which come and go at every training step, are got and given back."""

from __future__ import annotations

import ctypes
import os

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD = -1, -2, -3


def keep_freed_memory() -> None:
    """Have glibc keep freed blocks for the next step, and torch ask for huge pages; elsewhere nothing happens.

    By default each large tensor is mapped afresh and every page of 4 KiB faults on first touch: the step of
    `benchmarks/recurrent.py` took 3.3 s that way and 1.95 s with the pages kept. The process stays as large as it once was.
    To be called before torch makes its first tensor, which is when it reads the variable.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    for parameter, value in ((M_MMAP_THRESHOLD, 1 << 30), (M_TRIM_THRESHOLD, (1 << 31) - 1), (M_TOP_PAD, 1 << 26)):
        mallopt(parameter, value)
