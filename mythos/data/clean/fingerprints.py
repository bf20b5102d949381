"""What makes two documents the same (`exact_key`) or nearly the same (`signature`).

Signatures are MinHashes (Broder 1997) of word 5-grams in 14 bands of 8 rows, as for FineWeb (Penedo et al. 2024,
section 3.4): documents of similarity s share a band with probability 1 - (1 - s^8)^14, which is 5 % at 0.5,
56 % at 0.7 and 92 % at 0.8.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterator
from hashlib import blake2b

import numpy as np

from mythos.data.clean.words import words

BANDS, ROWS = 14, 8
SIGNATURE = BANDS * ROWS
"""Values in a signature."""

SHINGLE = 5  # words
_SEED = 20_240_625  # part of the signature's meaning: another seed gives values that compare with no older ones


def exact_key(text: str) -> bytes:
    """16 bytes that are equal for the same text: after NFC, with every run of white space and line ends as one space."""
    plain = " ".join(unicodedata.normalize("NFC", text).split())
    return blake2b(plain.encode("utf-8", "surrogatepass"), digest_size=16).digest()


def signature(text: str) -> np.ndarray:
    """MinHash of the text, uint32 [SIGNATURE], the same in every process and on every machine."""
    from rensa import RMinHash

    sketch = RMinHash(SIGNATURE, _SEED)
    sketch.update(shingles(text))
    return np.array(sketch.digest(), dtype=np.uint32)


def shingles(text: str) -> Iterator[str]:
    """Every 5 words in a row; all of them if there are fewer, and the text itself if it has no words at all."""
    found = words(text)
    if len(found) < SHINGLE:
        return iter([" ".join(found) or text.strip()])
    return map(" ".join, zip(*(found[start:] for start in range(SHINGLE)), strict=False))
