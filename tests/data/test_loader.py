"""Batches: shifted once, every target once per epoch, the same again after a resume."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mythos.contract.config import DataConfig
from mythos.contract.errors import DataError
from mythos.data.loader import Loader, held_out_documents
from mythos.data.prepare import prepare
from mythos.data.shards import Corpus, Split, Tokens
from mythos.data.shuffle import Shuffle


@pytest.fixture(scope="module")
def corpus(tmp_path_factory: pytest.TempPathFactory) -> Corpus:
    root = tmp_path_factory.mktemp("text")
    for i in range(30):
        (root / f"{i}.txt").write_text(f"Text number {i} of thirty.\n" * (i + 1))
    cache = str(tmp_path_factory.mktemp("cache"))
    return prepare(DataConfig(source="files", paths=(str(root),), cache_dir=cache, held_out_percent=20.0), 280)


def counting_split(tmp_path: Path, n: int) -> Split:
    """A split whose token at position p is p."""
    np.arange(n, dtype="<u2").tofile(tmp_path / "train-00000.bin")
    totals = {"documents": 1, "tokens": n, "bytes": n}
    return Split(tmp_path, "train", {"splits": {"train": totals}, "dtype": "<u2", "shard_tokens": 1 << 20})


def batches(loader: Loader, n: int) -> list[tuple[Any, Any]]:
    return [tuple(part.tolist() for part in loader.next()) for _ in range(n)]


def test_targets_are_one_token_ahead(corpus: Corpus) -> None:
    split = corpus.split("train")
    inputs, targets = Loader(split, 16, 5, seed=1).next()
    assert inputs.shape == targets.shape == (5, 16)
    assert inputs.dtype == targets.dtype == np.int64
    assert (inputs[:, 1:] == targets[:, :-1]).all()


@pytest.mark.parametrize(("n", "sequence", "batch"), [(101, 10, 2), (105, 10, 5), (100, 7, 1), (11, 10, 3)])
def test_every_target_exactly_once_per_epoch_and_none_left_out_of_two(
    tmp_path: Path, n: int, sequence: int, batch: int
) -> None:
    loader = Loader(counting_split(tmp_path, n), sequence, batch, seed=3)
    epochs = 2 * batch  # so that whole batches end with an epoch
    seen: Counter[int] = Counter()
    for _ in range(epochs * loader.chunks // batch):
        inputs, targets = loader.next()
        assert (targets == inputs + 1).all()
        seen.update(targets.ravel().tolist())
    left_over = (n - 1) % sequence
    at_most = dict.fromkeys(range(1, n), epochs)
    at_most |= dict.fromkeys([*range(1, left_over + 1), *range(n - left_over, n)], epochs // 2)
    assert seen == at_most


def test_no_chunk_repeats_within_an_epoch_and_epochs_differ(tmp_path: Path) -> None:
    loader = Loader(counting_split(tmp_path, 506), 10, 7, seed=3)  # 50 chunks; 7 does not divide 50
    starts = [row[0] for inputs, _ in batches(loader, 50) for row in inputs]
    epochs = [starts[i : i + 50] for i in range(0, 350, 50)]
    assert all(sorted(epoch) == list(range(5 * (e % 2), 500, 10)) for e, epoch in enumerate(epochs))
    assert len({tuple(start // 10 for start in epoch) for epoch in epochs}) == 7
    assert loader.epoch == 6


@pytest.mark.parametrize("n", [1, 2, 3, 4, 5, 16, 17, 1000])
def test_a_shuffle_is_a_permutation_that_mixes(n: int) -> None:
    order, other = (list(Shuffle(n, np.random.default_rng(seed))) for seed in (0, 1))
    assert sorted(order) == sorted(other) == list(range(n))
    if n == 1000:
        assert order != other
        assert abs(np.corrcoef(range(n), order)[0, 1]) < 0.1  # three sigma of a random order
        assert sum(b - a == 1 for a, b in itertools.pairwise(order)) < 8  # 1 is expected


@pytest.mark.parametrize("world", [2, 3, 6])
def test_ranks_are_disjoint_and_together_read_what_one_process_reads(tmp_path: Path, world: int) -> None:
    split = counting_split(tmp_path, 501)
    single = Loader(split, 10, 6, seed=5)
    ranks = [Loader(split, 10, 6, seed=5, rank=rank, world=world) for rank in range(world)]
    for _ in range(20):  # beyond the epoch's end, in the midst of a batch
        whole = single.next()
        parts = [loader.next() for loader in ranks]
        for side in (0, 1):
            assert (np.concatenate([part[side] for part in parts]) == whole[side]).all()
        assert all(loader.state() == single.state() for loader in ranks)


def test_a_run_goes_on_with_another_number_of_ranks(tmp_path: Path) -> None:
    split = counting_split(tmp_path, 501)
    one = Loader(split, 10, 6, seed=5)
    batches(one, 7)
    pair = [Loader(split, 10, 6, seed=5, rank=rank, world=2) for rank in range(2)]
    for loader in pair:
        loader.restore(json.loads(json.dumps(one.state())))
    assert (np.concatenate([loader.next()[0] for loader in pair]) == one.next()[0]).all()


def test_a_batch_that_ranks_cannot_share_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="7 sequences does not divide into 2"):
        Loader(counting_split(tmp_path, 501), 10, 7, seed=5, rank=0, world=2)


def test_document_numbers_change_exactly_where_documents_begin(corpus: Corpus) -> None:
    loader, same = (Loader(corpus.split("train"), 16, 5, seed=1) for _ in range(2))
    rows = 0
    for _ in range(40):
        inputs, targets, documents = loader.next_with_documents()
        assert (np.stack([inputs, targets]) == np.stack(same.next())).all()
        assert documents.shape == inputs.shape and documents.dtype == np.int64
        assert (documents[:, 0] == 0).all()
        assert (np.diff(documents, axis=1) == (inputs[:, 1:] == 0)).all()  # 0 is the end-of-text token
        rows += int((documents[:, -1] > 0).sum())
    assert rows > 20


def test_order_follows_the_seed_alone(corpus: Corpus) -> None:
    split = corpus.split("train")
    one, same, other = (batches(Loader(split, 16, 4, seed), 5) for seed in (1, 1, 2))
    assert one == same
    assert one != other


@pytest.mark.parametrize("position", [0, 1, 6, 7, 8, 20, 43])
def test_resume_anywhere_gives_the_same_batches(tmp_path: Path, position: int) -> None:
    split = counting_split(tmp_path, 501)
    loader = Loader(split, 10, 7, seed=5)
    batches(loader, position)
    state = json.loads(json.dumps(loader.state()))
    expected = batches(loader, 20)
    resumed = Loader(split, 10, 7, seed=5)
    batches(resumed, 3)
    resumed.restore(state)
    assert batches(resumed, 20) == expected


@pytest.mark.parametrize(("change", "name"), [({"seed": 9}, "seed"), ({"sequence": 20}, "chunks")])
def test_a_foreign_state_is_refused(tmp_path: Path, change: dict[str, int], name: str) -> None:
    split = counting_split(tmp_path, 501)
    settings = {"sequence": 10, "batch_size": 7, "seed": 5}
    with pytest.raises(DataError, match=name):
        Loader(split, **{**settings, **change}).restore(Loader(split, **settings).state())


def test_too_short_a_split_is_refused_with_a_hint(tmp_path: Path) -> None:
    assert Loader(counting_split(tmp_path, 11), 10, 1, seed=0).chunks == 1
    with pytest.raises(DataError) as caught:
        Loader(counting_split(tmp_path, 10), 10, 1, seed=0)
    assert "train.sequence" in caught.value.hint


def test_held_out_documents_carry_their_bytes_and_come_in_a_fixed_mixed_order(corpus: Corpus) -> None:
    split = corpus.split("held_out")
    found = list(held_out_documents(split))
    assert sorted(d.identity for d in found) == sorted(split.identities)
    assert sum(d.bytes for d in found) == split.n_bytes
    assert sum(len(d.tokens) for d in found) == split.n_tokens
    assert all(d.tokens[0] == 0 and (d.tokens[1:] != 0).all() for d in found)
    assert [d.identity for d in found] == [d.identity for d in held_out_documents(split)]
    assert [d.identity for d in found] != split.identities


def test_tokens_cross_shards(tmp_path: Path) -> None:
    paths = [tmp_path / f"{i}.bin" for i in range(3)]
    for i, path in enumerate(paths):
        np.arange(10 * i, min(10 * i + 10, 25), dtype="<u4").tofile(path)
    tokens = Tokens(paths, np.dtype("<u4"), 25, 10)
    for start in range(26):
        for stop in range(start, 26):
            assert tokens.slice(start, stop).tolist() == list(range(start, stop))
