"""All documents that reading kept, as a table; their texts and identities stay on disk. N documents, in order."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice

import numpy as np

from mythos.data.pipeline.plan import Job
from mythos.data.pipeline.texts import ROW, read_ids, read_rows, read_texts
from mythos.data.pipeline.work import Work, part


@dataclass(frozen=True)
class Documents:
    """Those of text part b are rows[starts[b]:starts[b + 1]] and come from source sources[b]."""

    work: Work
    sources: list[int]
    starts: list[int]
    rows: np.ndarray  # ROW [N]

    def __len__(self) -> int:
        return len(self.rows)

    def part(self, number: int) -> slice:
        return slice(self.starts[number], self.starts[number + 1])

    @property
    def source(self) -> np.ndarray:
        """int64 [N]: number of the source of each."""
        return np.repeat(np.array(self.sources, dtype=np.int64), np.diff(self.starts))

    def bytes(self, which: np.ndarray) -> int:
        """UTF-8 bytes of some of them together."""
        return int(self.rows["bytes"][which].sum())

    def name(self, i: int) -> str:
        """Identity of one; reads as far as it, so for a few only."""
        number, row = self._locate(i)
        return next(islice(read_ids(part(self.work.texts, number)), row, None))

    def text(self, i: int) -> str:
        """The text of one; likewise."""
        number, row = self._locate(i)
        return next(islice(read_texts(part(self.work.texts, number)), row, None)).decode()

    def _locate(self, i: int) -> tuple[int, int]:
        number = int(np.searchsorted(self.starts, i, side="right")) - 1
        return number, i - self.starts[number]


def load_documents(job: Job, work: Work) -> Documents:
    """The table over all text parts, 48 bytes a document."""
    rows = [np.empty(0, dtype=ROW), *(read_rows(part(work.texts, block.number)) for block in job.blocks)]
    starts = np.cumsum([len(some) for some in rows]).tolist()
    return Documents(work, [block.source for block in job.blocks], starts, np.concatenate(rows))
