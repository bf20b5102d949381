"""Throughput of every step that prepares text, and what deduplication finds and wrongly removes.

    python benchmarks/data.py [--megabytes N] [--documents N] [--json]

One process, one thread; MB/s are of CPU time, so that a busy machine measures the same. Code is the standard library,
prose its documentation topics and the licences and descriptions of the installed packages.

Recall is measured on real prose with planted edits: windows of W words whose copies have some words replaced, with
the true Jaccard similarity counted on their 5-word shingles. "Verify" shows what the comparison of whole signatures
costs and saves: the chance that a pair of a given similarity is removed, computed from the binomial distribution.
"""

from __future__ import annotations

import argparse
import importlib.metadata
import json
import math
import os
import random
import re
import sys
import time
import tracemalloc
from collections.abc import Callable, Iterable, Sequence
from typing import Any

os.environ |= {"TOKENIZERS_PARALLELISM": "false", "RAYON_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}

import numpy as np

from mythos.contract.config import DataConfig
from mythos.data.clean import Cleaner, exact_key, find_duplicates, signature
from mythos.data.clean.duplicates import VERIFY
from mythos.data.clean.encoding import repair
from mythos.data.clean.fingerprints import BANDS, ROWS, SIGNATURE, shingles
from mythos.data.clean.language import likeliest
from mythos.data.sources import documents
from mythos.data.tokenizer import Tokenizer

WINDOW = 120  # words
DECILES = [step / 10 for step in range(3, 10)]


def stdlib() -> list[str]:
    """The standard library's source files."""
    return [document.text for document in documents(DataConfig(source="stdlib"))]


def topics() -> list[str]:
    """The language reference that comes with Python, by topic; those of 50 words and more."""
    from pydoc_data.topics import topics as found

    return [text for text in found.values() if len(text.split()) >= 50]


def package_texts(pattern: str) -> list[str]:
    """Each text once, of files of installed packages whose name matches; METADATA without its header."""
    found = {}
    for package in importlib.metadata.distributions():
        for file in package.files or ():
            if re.search(pattern, file.name, re.IGNORECASE) and "dist-info" in str(file):
                text = file.read_text("utf-8") if file.locate().is_file() else ""
                body = text.partition("\n\n")[2] if file.name == "METADATA" else text
                found[" ".join(body.split())] = body
    return [text for key, text in found.items() if len(key.split()) >= 50]


def licences() -> list[str]:
    return package_texts(r"licen[sc]e|copying")


def speed(work: Callable[[str], Any], texts: Sequence[str]) -> float:
    """MB of UTF-8 per second of CPU time."""
    return timed(lambda: [work(text) for text in texts], texts)


def timed(work: Callable[[], Any], texts: Sequence[str]) -> float:
    begun = time.process_time()
    work()
    return sum(len(text.encode()) for text in texts) / 1e6 / max(time.process_time() - begun, 1e-9)


def throughput(code: list[str], prose: list[str]) -> dict[str, float]:
    """MB/s of each step."""
    as_prose, as_code = cleaner("prose"), cleaner("code")
    mojibake = [text.replace("'", "â€™").replace("e", "Ã©") for text in prose]
    for warm in (likeliest, repair, signature):
        warm("déjà vu")
    tokenizer: list[Tokenizer] = []
    return {
        "read": timed(stdlib, stdlib()),
        "repair": speed(repair, prose + code),
        "repair, all of it mojibake": speed(repair, mojibake),
        "language": speed(likeliest, prose),
        "quality of prose": speed(lambda text: as_prose(text, ""), prose),
        "quality of code": speed(lambda text: as_code(text, ""), code),
        "exact key": speed(exact_key, prose + code),
        "signature": speed(signature, prose + code),
        "tokenizer training": timed(lambda: tokenizer.append(Tokenizer.train(prose + code, 4096)), prose + code),
        "encoding": timed(lambda: tokenizer[0].encode_batch(prose + code), prose + code),
    }


def cleaner(quality: str) -> Cleaner:
    config = DataConfig.model_validate({"quality": quality})
    return Cleaner(config, config)


def kept(texts: Iterable[str], quality: str) -> float:
    """Share of the texts that the quality rules let through."""
    clean = cleaner(quality)
    return float(np.mean([clean(text, "").text is not None for text in texts]))


def planted(prose: Iterable[str], seed: int, width: int = WINDOW) -> tuple[list[str], list[str], np.ndarray]:
    """(windows of the prose, edited copies of them, true Jaccard similarity of each pair), from 0.2 to 1."""
    rng = random.Random(seed)
    words = [word for text in prose for word in text.split()]
    windows = [words[start : start + width] for start in range(0, len(words) - width, width)]
    copies = []
    for window in windows:
        wanted = rng.uniform(0.2, 1)
        share = 1 - (2 * wanted / (1 + wanted)) ** 0.2  # of the words: a shingle survives if all of its five do
        copies.append([rng.choice(words) if rng.random() < share else word for word in window])
    left, right = ([" ".join(words) for words in side] for side in (windows, copies))
    return left, right, np.array([jaccard(a, b) for a, b in zip(left, right, strict=True)])


def jaccard(left: str, right: str) -> float:
    """True similarity on 5-word shingles."""
    a, b = set(shingles(left)), set(shingles(right))
    return len(a & b) / len(a | b)


def found_as(texts: Sequence[str], verify: float = VERIFY) -> np.ndarray:
    """`find_duplicates` on texts."""
    keys = np.frombuffer(b"".join(map(exact_key, texts)), dtype=np.uint8).reshape(-1, 16)
    return find_duplicates(keys, np.stack(list(map(signature, texts))), verify)


def recall(prose: list[str], rounds: int) -> dict[str, Any]:
    """Share of planted pairs removed per decile of true similarity, and what was removed wrongly."""
    true, removed, wrong = [], [], 0
    for seed in range(rounds):
        windows, copies, similarity = planted(prose, seed)
        earlier = found_as([*windows, *copies])
        for i in np.flatnonzero(earlier >= 0):
            texts = [*windows, *copies]
            wrong += jaccard(texts[i], texts[earlier[i]]) < 0.5
        true.append(similarity)
        removed.append(earlier[len(windows) :] >= 0)
    similarity, hit = np.concatenate(true), np.concatenate(removed)
    by_decile = {}
    for low in DECILES:
        chosen = (similarity >= low) & (similarity < low + 0.1 + (low == DECILES[-1]))
        by_decile[f"{low:.1f}"] = {"pairs": int(chosen.sum()), "removed": float(hit[chosen].mean())}
    return {
        "by_decile": by_decile,
        "removed_at_0.8_or_more": float(hit[similarity >= 0.8].mean()),
        "pairs_at_0.8_or_more": int((similarity >= 0.8).sum()),
        "removed_below_0.5": int(wrong),
        "pairs_below_0.5": int((similarity < 0.5).sum()),
    }


def chance(similarity: float, verify: float) -> float:
    """That a pair shares a whole band and that its signatures agree in `verify` of the rows."""
    rows = [math.comb(ROWS, k) * similarity**k * (1 - similarity) ** (ROWS - k) for k in range(ROWS + 1)]
    every, without = np.ones(1), np.ones(1)
    for _ in range(BANDS):
        every, without = np.convolve(every, rows), np.convolve(without, rows[:ROWS])
    every[: len(without)] -= without
    return float(every[math.ceil(verify * SIGNATURE - 1e-9) :].sum())


def deduplication(n: int) -> dict[str, float]:
    """Seconds per million documents and bytes per document of `find_duplicates`, a third of them near copies."""
    rng = np.random.default_rng(0)
    signatures = rng.integers(0, 2**32, (n, SIGNATURE), dtype=np.uint32)
    copies = np.arange(2, n, 3)
    same = rng.random((len(copies), SIGNATURE)) < rng.uniform(0.5, 1, (len(copies), 1))
    signatures[copies] = np.where(same, signatures[copies - rng.integers(1, 3, len(copies))], signatures[copies])
    keys = rng.integers(0, 256, (n, 16), dtype=np.uint8)
    begun = time.process_time()
    find_duplicates(keys, signatures)
    seconds = time.process_time() - begun
    tracemalloc.start()
    find_duplicates(keys, signatures)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    return {"documents": n, "seconds_per_million": seconds / n * 1e6, "peak_bytes_per_document": peak / n}


def measure(megabytes: float, n_documents: int) -> dict[str, Any]:
    prose = topics() + licences() + package_texts("^METADATA$")
    code = stdlib()
    some = code[: int(np.searchsorted(np.cumsum([len(text) for text in code]), megabytes * 1e6)) + 1]
    return {
        "throughput_mb_s": {name: round(value, 2) for name, value in throughput(some, prose).items()},
        "deduplication": deduplication(n_documents),
        "kept": {
            "topics": kept(topics(), "prose"),
            "licences": kept(licences(), "prose"),
            "stdlib": kept(code, "code"),
        },
        "recall": recall(topics() + package_texts("^METADATA$"), rounds=6),
        "verify": {
            str(verify): {str(s): chance(s, verify) for s in (0.4, 0.5, 0.6, 0.7, 0.8, 0.9)}
            for verify in (0.0, 0.6, VERIFY, 0.75, 0.8)
        },
    }


def main() -> int:
    """Measure and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=float, default=6, help="code to measure with, besides about 3 MB of prose")
    parser.add_argument("--documents", type=int, default=500_000, help="signatures to deduplicate (0.5 kB each)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")
    options = parser.parse_args()
    result = measure(options.megabytes, options.documents)
    print(json.dumps(result) if options.json else table(result))
    return 0


def table(result: dict[str, Any]) -> str:
    dedup, found = result["deduplication"], result["recall"]
    rows = [f"{name:<28}{value:>10.1f} MB/s" for name, value in result["throughput_mb_s"].items()]
    rows.append(f"{'deduplication':<28}{dedup['seconds_per_million']:>10.1f} s per million documents")
    rows.append(f"{'':<28}{dedup['peak_bytes_per_document']:>10.0f} bytes per document")
    rows += [f"{'kept of ' + name:<28}{share:>10.1%}" for name, share in result["kept"].items()]
    rows += ["", f"{'similarity':<12}{'pairs':>8}{'removed':>10}"]
    rows += [f"{low:<12}{row['pairs']:>8}{row['removed']:>10.1%}" for low, row in found["by_decile"].items()]
    rows.append(f"0.8 or more {found['pairs_at_0.8_or_more']:>8}{found['removed_at_0.8_or_more']:>10.1%}")
    rows.append(f"removed though under 0.5: {found['removed_below_0.5']} of {found['pairs_below_0.5']}")
    rows += ["", "verify  " + "".join(f"{s:>10}" for s in next(iter(result["verify"].values())))]
    rows += [f"{v:<8}" + "".join(f"{x:>10.3%}" for x in row.values()) for v, row in result["verify"].items()]
    return "\n".join(rows)


if __name__ == "__main__":
    sys.exit(main())
