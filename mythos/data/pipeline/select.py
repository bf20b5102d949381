"""Which documents are held out, how often the others appear, and which not at all. N documents in all."""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import blake2b

import numpy as np

from mythos.contract.errors import DataError
from mythos.data.pipeline.account import SAMPLES, Account
from mythos.data.pipeline.documents import Documents, load_documents
from mythos.data.pipeline.duplicates import without_duplicates
from mythos.data.pipeline.plan import Job
from mythos.data.pipeline.texts import TextWriter, read_rows
from mythos.data.pipeline.work import Work, new_folder, part
from mythos.data.progress import Tracker
from mythos.data.split import copies, cut, held_out, identity_hash, part_texts


class NoText(DataError):
    """Nothing that could be trained on and held out."""


@dataclass(frozen=True)
class Selection:
    """The fate of every document."""

    documents: Documents
    copies: np.ndarray  # int64 [N]: times that it appears in training; 0 for held-out and dropped ones
    held_out: np.ndarray  # bool [N]

    @property
    def used(self) -> np.ndarray:
        """bool [N]: whether it is in either split."""
        return (self.copies > 0) | self.held_out

    @property
    def train_bytes(self) -> int:
        """Bytes of training text, each document once."""
        return self.documents.bytes(self.copies > 0)

    @property
    def content(self) -> str:
        """Hash of all texts that are used, their order and their fate."""
        digest = blake2b(digest_size=16)
        rows = self.documents.rows
        for column in (rows["hash"], rows["digest"], self.copies, self.held_out):
            digest.update(np.ascontiguousarray(column[self.used]).tobytes())
        return digest.hexdigest()


def select(job: Job, work: Work, account: Account, tracker: Tracker) -> Selection:
    """Decide about every document; `account` learns what was dropped. Raises NoText."""
    documents = load_documents(job, work)
    if not len(documents):
        raise NoText(*_nothing_found(job, account))
    kept = np.flatnonzero(without_duplicates(documents, job.data.dedup, account, tracker))
    if len(kept) == 1:
        return _cut_in_two(job, documents, int(kept[0]), account)
    held, twins = _part(job, documents, kept, account)
    if not held.any():
        return _cut_in_two(job, documents, int(kept[0]), account)
    weights = np.array([source.weight for source in job.data.sources])[documents.source[kept]]
    times = np.where(held | twins, 0, copies(documents.rows["hash"][kept], weights))
    if not times.any():
        times[np.flatnonzero(~held & ~twins)[0]] = 1
        account.notes.append("the weights left no training document; the first one was kept")
    _tell_left_out(documents, kept[twins], "held-out text", "a held-out document has the same text", account)
    _tell_left_out(documents, kept[(times == 0) & ~held & ~twins], "weight", "weight below 1", account)
    selection = Selection(documents, np.zeros(len(documents), np.int64), np.zeros(len(documents), bool))
    selection.copies[kept], selection.held_out[kept] = times, held
    return selection


def _part(job: Job, documents: Documents, kept: np.ndarray, account: Account) -> tuple[np.ndarray, np.ndarray]:
    """Which of the kept documents are held out, and which must not be trained on because their text is: bool [kept].

    In a mixture a file of two sources has two identities, and they may fall to either split. Nothing is held out if all
    have the same text.
    """
    held, moved = held_out(documents.rows["hash"][kept], job.data.held_out_percent)
    if moved is not None:
        where = "held_out" if held[moved] else "train"
        name = documents.name(int(kept[moved]))
        account.notes.append(f"small corpus: {name} was moved to {where} so that neither split is empty")
    if not job.data.mixture:
        return held, np.zeros_like(held)
    parted, twins = part_texts(held, documents.rows["digest"][kept])
    if freed := kept[held & ~parted].tolist():
        name = documents.name(freed[0])
        account.notes.append(f"every training text was held out as well; {name} and its like were moved to train")
    return parted, twins


def _tell_left_out(documents: Documents, which: np.ndarray, rule: str, reason: str, account: Account) -> None:
    if len(which):
        samples = [{"id": documents.name(int(i)), "reason": reason} for i in which[:SAMPLES]]
        account.at("mixture", rule).add(len(which), documents.bytes(which), samples)


def _cut_in_two(job: Job, documents: Documents, i: int, account: Account) -> Selection:
    """A corpus of a single document: its two parts become a text part of their own, after all others."""
    name, percent = documents.name(i), job.data.held_out_percent
    halves = cut(documents.text(i), percent)
    if halves is None:
        raise NoText(f"The corpus is a single character ({name}).", "Add text to data.paths.")
    folder = part(documents.work.texts, len(documents.sources))
    if not folder.exists():
        with new_folder(folder) as new, TextWriter(new) as writer:
            for half, which in zip(halves, ("leading", "trailing"), strict=True):
                writer.add(f"{name}#{which}", identity_hash(f"{name}#{which}"), half.encode())
    account.notes.append(f"one document: its last {percent:g} % are held out")
    source, n = int(documents.source[i]), len(documents)
    rows = np.concatenate([documents.rows, read_rows(folder)])
    longer = Documents(documents.work, [*documents.sources, source], [*documents.starts, n + 2], rows)
    times = max(1, int(job.data.sources[source].weight))
    return Selection(longer, np.array([0] * n + [times, 0]), np.array([False] * (n + 1) + [True]))


def _nothing_found(job: Job, account: Account) -> tuple[str, str]:
    sources = job.data.sources
    where = ", ".join(path for source in sources for path in source.paths or (source.dataset or source.source,))
    if account.documents:
        return f"No text of {where} passed cleaning: {account.summary()}.", "Relax the cleaning rules under data."
    keys = " or ".join(sorted({repr(source.text_key) for source in sources}))
    return (
        f"No text in {where}: {account.summary()}.",
        "Name folders that hold text, source code, .json, .jsonl, .csv, .tsv or .parquet files, plain or as .gz or "
        f".zst, or text files themselves; records need their text under the key {keys} (data.text_key).",
    )
