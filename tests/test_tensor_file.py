"""Files as the safetensors library would write them, with their hash, whatever the file system can do."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest
import torch
import xxhash
from safetensors.torch import load_file, save_file

from mythos import tensor_file
from mythos.tensor_file import BLOCK, Image, write_tensors

TENSORS = {
    "flags": torch.tensor([True, False, True]),
    "bytes": torch.arange(7, dtype=torch.uint8),
    "zoë": torch.randn(3, 5, generator=torch.Generator().manual_seed(1)),
    "half": torch.ones(3, dtype=torch.bfloat16),
    "count": torch.tensor(12),
    "nothing": torch.zeros(0, 4),
    "large": torch.arange(BLOCK // 4 + 1000, dtype=torch.float32),
}


@pytest.mark.parametrize("names", [[*TENSORS], ["bytes"], [], ["nothing"]])
@pytest.mark.parametrize("form", [dict, Image])
def test_the_bytes_are_those_of_the_library_and_so_is_their_hash(tmp_path: Path, names: list[str], form: type) -> None:
    tensors = {name: TENSORS[name] for name in names}
    digest = write_tensors(tmp_path / "ours", form(tensors))
    save_file(tensors, tmp_path / "theirs")
    assert (tmp_path / "ours").read_bytes() == (tmp_path / "theirs").read_bytes()
    assert digest == xxhash.xxh3_128_hexdigest((tmp_path / "theirs").read_bytes())


def test_an_image_is_of_one_moment_and_its_memory_serves_the_next_that_is_laid_out_alike(tmp_path: Path) -> None:
    live = {name: tensor.clone() for name, tensor in TENSORS.items()}
    first = Image(live)
    live["large"] += 1
    assert torch.equal(first["large"], TENSORS["large"])
    second = Image(live, first)
    assert second["large"].data_ptr() == first["large"].data_ptr()
    other = Image({"large": live["large"][:-1]}, second)
    assert other["large"].data_ptr() != second["large"].data_ptr()
    for name, image in (("second", second), ("other", other)):
        write_tensors(tmp_path / name, image)
    assert torch.equal(load_file(tmp_path / "second")["large"], TENSORS["large"] + 1)
    assert torch.equal(load_file(tmp_path / "other")["large"], TENSORS["large"][:-1] + 1)


def test_an_image_rests_between_its_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(tensor_file, "IMAGE_BLOCK", 1 << 18)
    written: list[int] = []
    image = Image(TENSORS, rest=lambda: written.append((tmp_path / "file").stat().st_size))
    write_tensors(tmp_path / "file", image)
    assert written == [*range(1 << 18, image.size, 1 << 18)]
    assert (tmp_path / "file").stat().st_size == image.size
    assert torch.equal(load_file(tmp_path / "file")["large"], TENSORS["large"])


@pytest.mark.parametrize("form", [dict, Image])
@pytest.mark.parametrize("refuses", ["open", "write"])
def test_a_file_system_that_only_writes_through_its_cache_is_served(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, refuses: str, form: type
) -> None:
    real, refused = getattr(os, refuses), []

    def refuse(*args: object) -> object:
        given = args[1] if refuses == "open" else tensor_file.fcntl.fcntl(args[0], tensor_file.fcntl.F_GETFL)
        if given & tensor_file.PAST_CACHE:  # type: ignore[operator]
            refused.append(args)
            raise OSError(errno.EINVAL, "Invalid argument")
        return real(*args)

    monkeypatch.setattr(tensor_file, "PAST_CACHE", getattr(os, "O_DIRECT", 0) or os.O_NOCTTY)
    monkeypatch.setattr(tensor_file.os, refuses, refuse)
    write_tensors(tmp_path / "file", form(TENSORS))
    monkeypatch.undo()
    assert refused
    found = load_file(tmp_path / "file")
    assert found.keys() == TENSORS.keys()
    assert all(torch.equal(found[name], TENSORS[name]) for name in TENSORS)


def test_other_errors_of_the_disk_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(tensor_file.os, "write", full)
    with pytest.raises(OSError, match="No space left"):
        write_tensors(tmp_path / "file", TENSORS)


def test_a_file_that_is_there_is_not_written_over(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("kept")
    with pytest.raises(FileExistsError):
        write_tensors(tmp_path / "file", TENSORS)
    assert (tmp_path / "file").read_text() == "kept"


def test_a_type_that_the_format_lacks_is_an_error_before_anything_is_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="complex64"):
        write_tensors(tmp_path / "file", {"odd": torch.zeros(1, dtype=torch.complex64)})
    assert not (tmp_path / "file").exists()
