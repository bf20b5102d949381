"""Documents that are the same as an earlier one, or nearly: found once over the whole corpus, and kept."""

from __future__ import annotations

import shutil

import numpy as np

from mythos.data.clean import SIGNATURE, find_duplicates
from mythos.data.pipeline.account import SAMPLES, Account
from mythos.data.pipeline.documents import Documents
from mythos.data.pipeline.work import new_file, part
from mythos.data.progress import Tracker


def without_duplicates(documents: Documents, kind: str, account: Account, tracker: Tracker) -> np.ndarray:
    """bool [N]: is no duplicate of an earlier document. `kind` is none, exact or minhash."""
    if kind == "none":
        return np.ones(len(documents), dtype=bool)
    tracker.stage("duplicates", len(documents), "documents")
    path = documents.work.duplicates
    if not path.exists():
        found = find_duplicates(documents.rows["exact"], _signatures(documents) if kind == "minhash" else None)
        with new_file(path) as stream:
            np.save(stream, found)
    earlier = np.load(path, allow_pickle=False)
    _tell(documents, earlier, kind, account)
    tracker.advance(len(documents))
    return np.asarray(earlier < 0)


def _signatures(documents: Documents) -> np.ndarray:
    """uint32 [N, 112], memory-mapped from one file."""
    path = documents.work.path / "signatures.bin"
    with new_file(path) as whole:
        for number in range(len(documents.sources)):
            with (part(documents.work.texts, number) / "signatures.bin").open("rb") as some:
                shutil.copyfileobj(some, whole, 1 << 20)
    shape = (len(documents), SIGNATURE)
    return np.memmap(path, dtype="<u4", mode="r", shape=shape) if len(documents) else np.empty(shape, dtype="<u4")


def _tell(documents: Documents, earlier: np.ndarray, kind: str, account: Account) -> None:
    which = np.flatnonzero(earlier >= 0)
    if len(which):
        pairs = [(documents.name(int(i)), documents.name(int(earlier[i]))) for i in which[:SAMPLES]]
        samples = [{"id": name, "reason": f"like {other}"} for name, other in pairs]
        account.at("duplicates", kind).add(len(which), documents.bytes(which), samples)
