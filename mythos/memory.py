"""Memory: how much there is, and how large blocks of it, which come and go at every step and picture, are got and given back."""

from __future__ import annotations

import ctypes
import os
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

M_TRIM_THRESHOLD, M_TOP_PAD, M_MMAP_THRESHOLD, M_ARENA_MAX = -1, -2, -3, -8


def keep_freed_memory() -> None:
    """Have glibc keep freed blocks for the next step, and torch ask for huge pages; elsewhere nothing happens.

    By default each large tensor is mapped afresh and every page of 4 KiB faults on first touch: the step of
    `benchmarks/recurrent.py` took 3.3 s that way and 1.95 s with the pages kept. The process stays as large as it once was.
    To be called before torch makes its first tensor, which is when it reads the variable.
    """
    os.environ.setdefault("THP_MEM_ALLOC_ENABLE", "1")
    _set({M_MMAP_THRESHOLD: 1 << 30, M_TRIM_THRESHOLD: (1 << 31) - 1, M_TOP_PAD: 1 << 26})


def give_back_freed_memory() -> None:
    """Have glibc map every block of 256 KiB or more by itself, so that it goes back once it is freed; elsewhere nothing happens.

    By default the bound rises with what was freed, and arrays that grow or last for one picture leave holes that stay. Smaller
    blocks of all threads share one arena, so that what one frees another takes. numpy, where it is loaded after this, asks for
    no huge pages: a metric that grew into the room reserved for it took two megabytes at once. What an hour of live panels
    takes beyond its first minute is printed by `benchmarks/ui.py --only memory`.
    """
    os.environ.setdefault("NUMPY_MADVISE_HUGEPAGE", "0")
    _set({M_MMAP_THRESHOLD: 1 << 18, M_ARENA_MAX: 1})


def host_memory() -> int:
    """Bytes that this process may take: the machine's, or less where `ulimit -v` or a cgroup (a container, a SLURM job) says so."""
    import resource

    import psutil

    limits = [psutil.virtual_memory().total, *cgroup_limits(Path("/proc/self/cgroup"), Path("/sys/fs/cgroup"))]
    soft, _ = resource.getrlimit(resource.RLIMIT_AS)
    return min(limits if soft == resource.RLIM_INFINITY else [*limits, soft])


def cgroup_limits(own: Path, mounted: Path) -> Iterator[int]:
    """Bytes that the control groups named in the file `own`, of either version, and those above them allow.

    https://docs.kernel.org/admin-guide/cgroup-v2.html#memory-interface-files
    """
    with suppress(OSError):
        for line in own.read_text().splitlines():
            _, controllers, group = line.split(":", 2)
            if controllers and "memory" not in controllers.split(","):
                continue
            root, name = (mounted / "memory", "memory.limit_in_bytes") if controllers else (mounted, "memory.max")
            for folder in (Path(group), *Path(group).parents):
                with suppress(OSError, ValueError):  # "max" is no limit
                    yield int((root / folder.relative_to("/") / name).read_text())


def _set(values: dict[int, int]) -> None:
    try:
        mallopt = ctypes.CDLL(None).mallopt
    except (OSError, AttributeError, TypeError):
        return
    for parameter, value in values.items():
        mallopt(parameter, value)
