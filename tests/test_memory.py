"""What is freed goes back to the system where the workbench wants it to."""

from __future__ import annotations

import platform
import subprocess
import sys
from pathlib import Path

import pytest

from mythos.memory import cgroup_limits

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


def printed(code: str) -> float:
    """The number that a fresh interpreter prints."""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return float(done.stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc has this bound")
@pytest.mark.parametrize(("asked", "least", "most"), [(True, 0.9, 1.1), (False, -0.1, 0.5)])
def test_holes_between_arrays_go_back(asked: bool, least: float, most: float) -> None:
    assert least <= printed(HOLES.format(asked=asked)) <= most


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
    assert printed(code) < 4 << 20


@pytest.mark.parametrize(
    ("own", "files", "limits"),
    [
        ("0::/a/b\n", {"a/b/memory.max": "700", "a/memory.max": "max", "memory.max": "900"}, [700, 900]),
        ("5:cpu:/x\n4:memory:/x\n0::/\n", {"memory/x/memory.limit_in_bytes": "500", "cpu/x/memory.max": "1"}, [500]),
        ("0::/gone\n", {}, []),
    ],
    ids=["version 2", "version 1", "none"],
)
def test_control_groups_limit_the_memory_of_a_process(
    tmp_path: Path, own: str, files: dict[str, str], limits: list[int]
) -> None:
    (tmp_path / "own").write_text(own)
    for name, text in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(text + "\n")
    assert list(cgroup_limits(tmp_path / "own", tmp_path)) == limits
    assert list(cgroup_limits(tmp_path / "not there", tmp_path)) == []


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere address space is not limited")
def test_a_limit_of_the_shell_is_what_there_is() -> None:
    code = (
        "import resource, psutil; from mythos.memory import host_memory\n"
        "assert host_memory() <= psutil.virtual_memory().total\n"
        "resource.setrlimit(resource.RLIMIT_AS, (2_000_000_000, 2_000_000_000)); print(host_memory())"
    )
    assert printed(code) <= 2_000_000_000
