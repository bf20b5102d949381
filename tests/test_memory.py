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
