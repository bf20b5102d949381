"""Which documents are held out: decided by a hash of the identity alone, so the same ones on every machine.

Adding a document never moves another one, except in corpora so small that a split would be empty. N documents.
"""

from __future__ import annotations

import math
from hashlib import blake2b
from typing import Literal

import numpy as np

SplitName = Literal["train", "held_out"]


def identity_hash(identity: str) -> int:
    """64 bits, uniform, the same on every machine."""
    return int.from_bytes(blake2b(identity.encode("utf-8", "surrogatepass"), digest_size=8).digest(), "big")


def is_held_out(identity: str, percent: float) -> bool:
    """Whether the document belongs to the `percent` % that training must not see."""
    return bool(_below(np.array([identity_hash(identity)], dtype=np.uint64), percent)[0])


def held_out(hashes: np.ndarray, percent: float) -> tuple[np.ndarray, int | None]:
    """bool [N] for identity hashes uint64 [N], N ≥ 2, and the one document, if any, that was moved so that neither
    split is empty: the one closest to the border."""
    held = _below(hashes, percent)
    moved = None
    if held.all():
        moved = int(np.argmax(hashes))
    elif not held.any():
        moved = int(np.argmin(hashes))
    if moved is not None:
        held[moved] = not held[moved]
    return held, moved


def _below(hashes: np.ndarray, percent: float) -> np.ndarray:
    return np.asarray(hashes < np.uint64(math.ceil(percent / 100 * 2.0**64)))


def part_texts(held: np.ndarray, digests: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Leave no text in both splits: which are held out now, and which training documents repeat one of those; bool [N] both.

    `held` is bool [N] with a training document in it, `digests` of the texts are uint8 [N, 16]. Where every training
    document repeats a held-out one, the first one's text is no longer held out: of a single text, nothing is.
    """
    texts = np.ascontiguousarray(digests).view("V16")[:, 0]
    twins = _repeat(texts, held)
    if (held | twins).all():
        held = held & (texts != texts[np.argmin(held)])
        twins = _repeat(texts, held)
    return held, twins


def _repeat(texts: np.ndarray, held: np.ndarray) -> np.ndarray:
    """bool [N]: is not held out, but its text is."""
    ours = np.sort(texts[held])
    if not len(ours):
        return held
    at = np.minimum(np.searchsorted(ours, texts), len(ours) - 1)
    return ~held & np.asarray(ours[at] == texts)


def copies(hashes: np.ndarray, weights: np.ndarray) -> np.ndarray:
    """int64 [N]: how often documents appear at the weights float64 [N]; what is left of a whole number decides by hash.

    The hash is stirred first, because as it is it decides what is held out.
    """
    stirred = hashes ^ (hashes >> np.uint64(30))
    stirred *= np.uint64(0xBF58476D1CE4E5B9)  # modulo 2^64
    stirred ^= stirred >> np.uint64(27)
    stirred *= np.uint64(0x94D049BB133111EB)
    share = (stirred >> np.uint64(11)).astype(np.float64) * 2.0**-53
    whole = np.floor(weights)
    return (whole + (share < weights - whole)).astype(np.int64)


def cut(text: str, percent: float) -> tuple[str, str] | None:
    """Leading part and the last `percent` %, cut after a line where there is one; None for a single character."""
    wanted = min(max(round(len(text) * (1 - percent / 100)), 1), len(text) - 1)
    if wanted < 1:
        return None
    at = text.rfind("\n", 0, wanted) + 1 or wanted
    return text[:at], text[at:]
