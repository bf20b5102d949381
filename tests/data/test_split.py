"""The held-out documents: the same everywhere, never none, never also trained on."""

import numpy as np
import pytest

from mythos.data.split import copies, cut, held_out, identity_hash, is_held_out, part_texts


def test_held_out_identities_never_change() -> None:
    """A change here would put held-out documents of published checkpoints into training."""
    names = ("argparse", "ast", "bdb", "calendar", "heapq", "locale", "re/_parser", "shelve", "stat", "this", "uuid")
    assert [n for n in names if is_held_out(f"stdlib/{n}.py", 5.0)] == ["bdb", "locale", "re/_parser", "stat"]
    assert [n for n in names if is_held_out(f"stdlib/{n}.py", 30.0)] == [
        "bdb",
        "locale",
        "re/_parser",
        "shelve",
        "stat",
        "uuid",
    ]


def test_share_and_nesting() -> None:
    ids = [f"doc-{i}" for i in range(4000)]
    few, many = ({i for i in ids if is_held_out(i, p)} for p in (5.0, 20.0))
    assert 150 < len(few) < 250
    assert 700 < len(many) < 900
    assert few < many


def hashes(n: int, prefix: str = "d") -> np.ndarray:
    return np.array([identity_hash(f"{prefix}{i}") for i in range(n)], dtype=np.uint64)


@pytest.mark.parametrize("n", [2, 3, 5, 50])
@pytest.mark.parametrize("percent", [0.001, 5.0, 50.0])
def test_both_splits_are_filled(n: int, percent: float) -> None:
    for prefix in "abcdefgh":
        held, moved = held_out(hashes(n, prefix), percent)
        assert 1 <= held.sum() < n
        alone = np.array([is_held_out(f"{prefix}{i}", percent) for i in range(n)])
        assert np.flatnonzero(held != alone).tolist() == ([] if moved is None else [moved])


def test_whole_weights_are_counts_and_fractions_shares_by_hash() -> None:
    found = hashes(4000)
    assert (copies(found, np.full(4000, 3.0)) == 3).all()
    half, more = (copies(found, np.full(4000, weight)) for weight in (0.5, 2.25))
    assert abs(half.mean() - 0.5) < 0.03 and set(half.tolist()) == {0, 1}
    assert abs(more.mean() - 2.25) < 0.03 and set(more.tolist()) == {2, 3}
    assert (copies(found, np.full(4000, 0.6)) >= half).all()  # a larger share holds the smaller one


def test_weights_choose_independently_of_the_split() -> None:
    found = hashes(4000)
    held, _ = held_out(found, 50.0)
    chosen = copies(found, np.full(4000, 0.5)) > 0
    assert abs(chosen[held].mean() - chosen[~held].mean()) < 0.05


def test_one_document_is_cut_after_a_line() -> None:
    text = "".join(f"line {i}\n" for i in range(100))
    head, tail = cut(text, 5.0) or ("", "")
    assert head + tail == text
    assert head.endswith("\n")
    assert 0.9 < len(head) / len(text) <= 0.95


def test_one_line_is_cut_anyway_and_one_character_cannot_be() -> None:
    assert cut("ab", 5.0) == ("a", "b")
    assert cut("a", 5.0) is None


@pytest.mark.parametrize(
    ("texts", "held", "expected", "twins"),
    [
        ("abcabd", "100010", "100010", "010100"),
        ("abcabd", "001000", "001000", "000000"),
        ("abab", "0011", "0001", "0100"),
        ("aabb", "0100", "0100", "1000"),
        ("aaa", "010", "000", "000"),
    ],
)
def test_no_text_is_in_both_splits(texts: str, held: str, expected: str, twins: str) -> None:
    """Nor is training left without any: then the first training document's text is not held out."""
    digests = np.array([[0] * 15 + [ord(text)] for text in texts], dtype=np.uint8)
    found = part_texts(np.array([flag == "1" for flag in held]), digests)
    assert ["".join(str(int(flag)) for flag in flags) for flags in found] == [expected, twins]


def test_texts_are_told_apart_by_every_byte_of_their_digests() -> None:
    digests = np.random.default_rng(0).integers(0, 3, (3000, 16)).astype(np.uint8)
    digests[2000:] = digests[1000:2000]
    digests[2000:2500, -1] += 1
    held = np.arange(3000) < 1500
    parted, twins = part_texts(held, digests)
    ours = {digest.tobytes() for digest in digests[held]}
    assert (parted == held).all()
    assert twins.tolist() == [not is_held and d.tobytes() in ours for d, is_held in zip(digests, held, strict=True)]
