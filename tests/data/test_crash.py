"""Killed at any moment, out of disk, or ended from outside: the next attempt goes on, and ends with the same bytes."""

from __future__ import annotations

import random
import resource
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from mythos.contract.config import DataConfig
from mythos.contract.errors import DataError
from mythos.data.prepare import prepare
from tests.data._corpora import config, contents, files, write_texts

PARTS = 40  # of the corpus below, about
PREPARE = (
    "from mythos.contract.config import DataConfig\nfrom mythos.data.pipeline import plan\n"
    "from mythos.data.prepare import prepare\nplan.BLOCK_BYTES = 2048\n"
    "if __name__ == '__main__': prepare(DataConfig.model_validate_json({data!r}), 400)"
)


def start(data: DataConfig) -> subprocess.Popen[bytes]:
    """A process of its own that prepares in blocks of a few texts."""
    code = PREPARE.format(data=data.model_dump_json())
    return subprocess.Popen([sys.executable, "-c", code], stderr=subprocess.PIPE)


def finish(data: DataConfig) -> Path:
    """Prepare to the end; the folder."""
    process = start(data)
    _, told = process.communicate(timeout=100)
    assert process.returncode == 0, told.decode()
    return next(path.parent for path in Path(data.cache_dir).glob("corpora/*/meta.json"))


def whole_parts(data: DataConfig) -> int:
    """Parts that lie in the work folder, of texts and of tokens."""
    return sum(path.name.isdigit() for path in Path(data.cache_dir).glob("corpora/*.work/*/*"))


def killed_at_random(tmp_path: Path, data: DataConfig, kills: int, seed: int) -> None:
    """So many kills, spread over all stages of fresh attempts and of such that go on; then the bytes of one without any."""
    whole = finish(data.model_copy(update={"cache_dir": str(tmp_path / "whole"), "workers": 1}))
    moments = random.Random(seed)
    done = went_on = 0
    while done < kills:
        found = whole_parts(data)
        process, wanted = start(data), found + moments.randint(0 if went_on else 1, PARTS // 3)
        while process.poll() is None and whole_parts(data) < wanted:
            time.sleep(0.002)
        time.sleep(moments.uniform(0, 0.05))
        if process.poll() is not None:  # it had ended before
            process.communicate()
            shutil.rmtree(data.cache_dir)
            continue
        children = psutil.Process(process.pid).children(recursive=True)
        process.send_signal(moments.choice([signal.SIGKILL, signal.SIGTERM]))
        process.communicate()
        assert not psutil.wait_procs(children, timeout=10)[1], "a process outlived the one that started it"
        done, went_on = done + 1, went_on + (found > 0)
    again = finish(data)
    assert contents(again) == contents(whole)
    assert sorted(path.suffix for path in again.parent.iterdir()) == ["", ".lock"]
    print(f"{kills} kills, {went_on} of them of an attempt that went on; {len(contents(again))} files equal")
    assert went_on


def corpus(tmp_path: Path, workers: int) -> DataConfig:
    folder = write_texts(tmp_path / "a", 120)
    return config(tmp_path / "cache", files(folder), workers=workers, dedup="minhash")


def test_killed_three_times(tmp_path: Path) -> None:
    killed_at_random(tmp_path, corpus(tmp_path, workers=1), kills=3, seed=1)


@pytest.mark.slow
@pytest.mark.parametrize("workers", [1, 2])
def test_killed_twenty_times(tmp_path: Path, workers: int) -> None:
    killed_at_random(tmp_path, corpus(tmp_path, workers), kills=20, seed=workers)


def test_a_process_of_the_pool_that_is_killed_is_told_of_and_costs_nothing(tmp_path: Path) -> None:
    data = corpus(tmp_path, workers=2)
    process = start(data)
    while process.poll() is None and not whole_parts(data):
        time.sleep(0.01)
    children = psutil.Process(process.pid).children() if process.poll() is None else []
    for child in [child for child in children if "spawn_main" in " ".join(child.cmdline())][:1]:
        child.kill()
    _, told = process.communicate(timeout=60)
    if process.returncode:  # else the work was done just before
        assert b"A process that prepared the text was ended from outside" in told
    finish(data)


def test_a_disk_that_is_full_is_told_of_and_the_next_attempt_goes_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mythos.data.pipeline.plan.BLOCK_BYTES", 2048)
    data = corpus(tmp_path, workers=1)
    limit = resource.getrlimit(resource.RLIMIT_FSIZE)
    for size in (300, 6000):  # in the first text part; in the tokens or the shards
        resource.setrlimit(resource.RLIMIT_FSIZE, (size, limit[1]))
        try:
            with pytest.raises(DataError) as caught:
                prepare(data, 400)
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, limit)
        assert str(tmp_path / "cache/corpora") in caught.value.message
        assert "data.cache_dir" in caught.value.hint
        assert not list(Path(data.cache_dir).glob("corpora/*/meta.json"))
        assert not list(Path(data.cache_dir).glob("corpora/*.work/*/*.tmp"))
    again = prepare(data, 400)
    whole = prepare(data.model_copy(update={"cache_dir": str(tmp_path / "whole")}), 400)
    assert contents(again.path) == contents(whole.path)
