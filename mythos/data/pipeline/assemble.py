"""Token parts → shards, index and meta.json of the corpus, still inside the work folder."""

from __future__ import annotations

from contextlib import ExitStack
from pathlib import Path
from typing import Any

import numpy as np
import tokenizers

from mythos.data.pipeline.account import Account
from mythos.data.pipeline.encode import read_tokens
from mythos.data.pipeline.plan import Job, names, settings
from mythos.data.pipeline.select import Selection
from mythos.data.pipeline.texts import read_ids
from mythos.data.pipeline.work import part
from mythos.data.progress import Tracker
from mythos.data.shards import SPLITS, SplitWriter, token_dtype, write_meta
from mythos.data.tokenizer import Tokenizer


def assemble(job: Job, selection: Selection, account: Account, tracker: Tracker) -> None:
    """Write the corpus. Further copies of a document follow after all first ones, as far from it as can be."""
    work = selection.documents.work
    work.corpus.mkdir()
    (work.corpus / "tokenizer.json").write_bytes(work.tokenizer.read_bytes())
    tokenizer = Tokenizer.load(work.tokenizer)
    dtype = token_dtype(tokenizer.vocab_size)
    tracker.stage("write", int(selection.copies.sum() + selection.held_out.sum()), "documents")
    with ExitStack() as stack:
        writers = {
            name: stack.enter_context(SplitWriter(work.corpus, name, dtype, job.data.shard_tokens)) for name in SPLITS
        }
        for copy in range(int(max(1, selection.copies.max()))):
            for number in range(len(selection.documents.sources)):
                _write_part(selection, number, copy, tokenizer, writers, tracker)
        splits = {name: writer.finish() for name, writer in writers.items()}
    write_meta(
        work.corpus,
        {
            "key": job.key,
            "content": selection.content,
            "vocab_size": tokenizer.vocab_size,
            "dtype": dtype.str,
            "shard_tokens": job.data.shard_tokens,
            "splits": splits,
            "sources": _by_source(job, work.corpus),
            "tokenizers": tokenizers.__version__,
            "data": settings(job.data),
            "report": account.as_dict(),
        },
    )


def _write_part(
    selection: Selection,
    number: int,
    copy: int,
    tokenizer: Tokenizer,
    writers: dict[Any, SplitWriter],
    tracker: Tracker,
) -> None:
    """One part's documents that appear more than `copy` times, each into its split."""
    documents, where = selection.documents, selection.documents.part(number)
    train = selection.copies[where] > copy
    held = selection.held_out[where] & (copy == 0)
    if not (train | held).any():
        return
    tokens, lengths = read_tokens(part(documents.work.tokens, number), token_dtype(tokenizer.vocab_size))
    stops = lengths.cumsum().tolist()
    sizes, source = documents.rows["bytes"][where].tolist(), documents.sources[number]
    closing = [] if tokenizer.start == tokenizer.eot else [tokenizer.eot]
    for i, identity in enumerate(read_ids(part(documents.work.texts, number))):
        if train[i] or held[i]:
            writer = writers["train" if train[i] else "held_out"]
            writer.begin(identity, sizes[i], tokenizer.start, source)
            writer.extend(tokens[stops[i] - lengths[i] : stops[i]])
            writer.extend(closing)
            tracker.advance(1)


def _by_source(job: Job, folder: Path) -> list[dict[str, Any]]:
    """Name, weight, documents, tokens and bytes of each source; those of training as often as they appear."""
    sources = job.data.sources
    found: list[dict[str, Any]] = [
        {"name": name, "weight": source.weight} for name, source in zip(names(sources), sources, strict=True)
    ]
    for split in SPLITS:
        index = np.load(folder / f"{split}.index.npy", mmap_mode="r", allow_pickle=False)
        _, tokens, sizes, source = index.T
        for number, facts in enumerate(found):
            mine = source == number
            totals = {"documents": mine.sum(), "tokens": tokens[mine].sum(), "bytes": sizes[mine].sum()}
            facts[split] = {name: int(total) for name, total in totals.items()}
    return found
