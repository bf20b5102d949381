"""What is freed goes back to the system where the workbench wants it to."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

HOLES = """
import numpy, psutil
from mythos.memory import give_back_freed_memory
if {asked}:
    give_back_freed_memory()
resident = lambda: psutil.Process().memory_info().rss
del_me = numpy.ones(3_000_000); del del_me  # glibc's bound rises to the size of what is freed
blocks = [numpy.ones(125_000) for _ in range(100)]
full = resident()
del blocks[::2]
print((full - resident()) / 50e6)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this bound")
@pytest.mark.parametrize(("asked", "least", "most"), [(True, 0.9, 1.1), (False, -0.1, 0.5)])
def test_holes_between_arrays_go_back(asked: bool, least: float, most: float) -> None:
    done = subprocess.run([sys.executable, "-c", HOLES.format(asked=asked)], capture_output=True, text=True, check=True)
    assert least <= float(done.stdout) <= most


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells of huge pages")
def test_room_that_is_reserved_takes_no_memory_before_it_is_used() -> None:
    """Of a large array, one touched byte took two megabytes of huge page."""
    code = (
        "from mythos.memory import give_back_freed_memory; give_back_freed_memory()\n"
        "import numpy, psutil; before = psutil.Process().memory_info().rss\n"
        "room = [numpy.empty(16 << 20, numpy.uint8) for _ in range(8)]\n"
        "for array in room: array[8 << 20] = 1\n"
        "print(psutil.Process().memory_info().rss - before)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert int(done.stdout) < 4 << 20
