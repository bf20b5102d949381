"""A checkpoint is whole or it does not exist."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import xxhash

from mythos.contract.checkpoints import (
    describe,
    find_checkpoint,
    list_checkpoints,
    new_checkpoint,
    read_manifest,
    sweep,
)
from mythos.contract.config import Config
from mythos.contract.errors import CheckpointError
from mythos.contract.rundir import acquire_lock, create_run


def make(target: Path, step: int = 1, text: str = "weights", **hashes: Any) -> Path:
    facts = {"step": step, "tokens": 10, "family": "dense", "parameters": 3, "saved": 1.0}
    with new_checkpoint(target, facts, **hashes) as directory:
        for name in ("model.safetensors", "config.yaml", "tokenizer.json"):
            (directory / name).write_text(text)
        (directory / "state").mkdir()
        (directory / "state" / "x").write_text("state")
    return target


def test_a_whole_checkpoint_is_described(tmp_path: Path) -> None:
    info = describe(make(tmp_path / "runs/a/checkpoints/step-00000007", 7))
    assert info is not None
    assert (info.step, info.resumable, info.title) == (7, True, "a/step-00000007")
    assert info.size == 3 * len("weights")


def test_an_error_while_saving_leaves_the_old_one_and_no_litter(tmp_path: Path) -> None:
    make(tmp_path / "c", text="old")
    with pytest.raises(OSError, match="full"), new_checkpoint(tmp_path / "c", {}) as directory:
        (directory / "model.safetensors").write_text("new")
        raise OSError("disk is full")
    assert (tmp_path / "c" / "model.safetensors").read_text() == "old"
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


@pytest.mark.parametrize("damage", ["truncate", "remove", "no manifest", "broken manifest", "escape"])
def test_damage_is_found_and_named(tmp_path: Path, damage: str) -> None:
    path = make(tmp_path / "c")
    weights, manifest = path / "model.safetensors", path / "manifest.json"
    if damage == "truncate":
        weights.write_text("wei")
    elif damage == "remove":
        weights.unlink()
    elif damage == "no manifest":
        manifest.unlink()
    elif damage == "broken manifest":
        manifest.write_text(manifest.read_text()[:-9])
    else:
        manifest.write_text(manifest.read_text().replace("tokenizer.json", "../tokenizer.json"))
    with pytest.raises(CheckpointError):
        read_manifest(path)
    assert describe(path) is None
    assert list_checkpoints(tmp_path) == []


KNOWN = {"model.safetensors": xxhash.xxh3_128_hexdigest(b"weights")}


@pytest.mark.parametrize("hashes", [{}, {"algorithm": "xxh3_128"}, {"algorithm": "xxh3_128", "hashes": KNOWN}])
def test_a_flipped_byte_is_found_by_its_hash(tmp_path: Path, hashes: dict[str, Any]) -> None:
    path = make(tmp_path / "c", **hashes)
    read_manifest(path, check_hashes=True)
    (path / "model.safetensors").write_text("weighty")
    read_manifest(path)
    with pytest.raises(CheckpointError, match="contents differ"):
        read_manifest(path, check_hashes=True)


@pytest.mark.parametrize("entry", [{"size": 7}, {"size": 7, "md5": "0"}, {"size": 7, "sha256": None}])
def test_a_file_without_a_hash_that_is_known_is_not_taken_for_whole(tmp_path: Path, entry: dict[str, object]) -> None:
    path = make(tmp_path / "c")
    manifest = json.loads((path / "manifest.json").read_text())
    manifest["files"]["model.safetensors"] = entry
    (path / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(CheckpointError, match="contents differ"):
        read_manifest(path, check_hashes=True)


def test_a_checkpoint_without_state_is_whole_but_not_resumable(tmp_path: Path) -> None:
    path = make(tmp_path / "c")
    (path / "state" / "x").unlink()
    (path / "state").rmdir()
    info = describe(path)
    assert info is not None and not info.resumable


def test_the_latest_whole_checkpoint_of_a_run_is_found(tmp_path: Path) -> None:
    (tmp_path / "run.json").write_text("{}")
    with pytest.raises(CheckpointError, match="no whole checkpoint yet"):
        find_checkpoint(tmp_path)
    make(tmp_path / "checkpoints" / "step-00000001", 1)
    newest = make(tmp_path / "checkpoints" / "step-00000002", 2)
    assert find_checkpoint(tmp_path) == newest
    (newest / "config.yaml").unlink()
    assert find_checkpoint(tmp_path).name == "step-00000001"


def test_a_run_without_a_whole_checkpoint_says_which_are_damaged_or_the_way_to_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A finished run was told to save, which it cannot."""
    run = create_run(tmp_path / "my runs", "a", Config(), [])
    monkeypatch.chdir(run.root)
    with pytest.raises(CheckpointError, match="run a has no whole checkpoint yet") as refused:
        find_checkpoint(".")
    assert refused.value.hint == f"Start it anew: mythos train '{run.config}' --run NAME"
    lock = acquire_lock(run)
    with pytest.raises(CheckpointError) as refused:
        find_checkpoint(run.root)
    os.close(lock)
    assert refused.value.hint == f"Ask for one: mythos save '{run.root}'"
    for step in (1, 2):
        (make(run.checkpoints / f"step-0000000{step}", step) / "config.yaml").unlink()
    with pytest.raises(CheckpointError, match="only damaged ones: step-00000002, step-00000001") as refused:
        find_checkpoint(run.root)
    assert refused.value.hint == f"See what they lack: mythos doctor '{run.root}'"


def test_a_missing_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="no checkpoint at"):
        find_checkpoint(tmp_path / "ghost")


def test_what_a_cut_off_save_left_behind_is_cleared_and_nothing_whole_is_lost(tmp_path: Path) -> None:
    make(tmp_path / "step-00000001", 1)
    make(tmp_path / "step-00000002", 2)
    (tmp_path / ".step-00000003.0123abcd.tmp").mkdir()
    (tmp_path / ".step-00000001.0123abcd.old").mkdir()
    (tmp_path / "step-00000002").rename(tmp_path / ".step-00000002.4567abcd.old")  # died between two renames
    (tmp_path / ".latest.123.0123abcd.tmp").write_text("step-00000003")
    (tmp_path / ".other").mkdir()
    sweep(tmp_path)
    assert sorted(path.name for path in tmp_path.iterdir()) == [".other", "step-00000001", "step-00000002"]
    (tmp_path / "loop").symlink_to("loop")
    assert [info.step for info in list_checkpoints(tmp_path)] == [2, 1]


@pytest.mark.parametrize(
    "manifest",
    [
        "[]",
        '{"files": 3}',
        '{"files": {"model.safetensors": 3}}',
        "[" * 60_000,
        '{"files": {"model.safetensors\\u0000": {}, "model.safetensors": {}, "config.yaml": {}, "tokenizer.json": {}}}',
    ],
)
def test_no_manifest_stops_a_reader(tmp_path: Path, manifest: str) -> None:
    (make(tmp_path / "c") / "manifest.json").write_text(manifest)
    assert describe(tmp_path / "c") is None


@pytest.mark.parametrize("facts", [{"step": None}, {"step": "x"}, {"metrics": 3}, {"saved": []}])
def test_facts_of_the_wrong_kind_do_not_stop_a_list(tmp_path: Path, facts: dict) -> None:
    make(tmp_path / "good")
    make(tmp_path / "odd")
    manifest = tmp_path / "odd" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **facts}))
    assert [info.path.name for info in list_checkpoints(tmp_path)] == ["good"]
