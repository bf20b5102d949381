"""Blocks → text parts: every document read, cleaned, and signed for the search for duplicates."""

from __future__ import annotations

import json
from dataclasses import dataclass

from mythos.contract.config import DataConfig
from mythos.data.clean import Cleaner, check_languages, exact_key, signature
from mythos.data.pipeline import pool
from mythos.data.pipeline.account import Account
from mythos.data.pipeline.plan import Block, Job, names
from mythos.data.pipeline.pool import Advance
from mythos.data.pipeline.texts import TextWriter
from mythos.data.pipeline.work import Work, new_folder, part, whole_parts
from mythos.data.progress import Tracker
from mythos.data.sources import Document, Report, read
from mythos.data.split import identity_hash


@dataclass(frozen=True)
class BlockReader:
    """The task of one block; goes to the processes as it is."""

    data: DataConfig
    work: Work

    def __call__(self, block: Block, advance: Advance) -> None:
        source = self.data.sources[block.source]
        prefix = f"{names(self.data.sources)[block.source]}:" if self.data.mixture else ""
        clean = Cleaner(self.data, source)
        report, account = Report(), Account()
        with new_folder(part(self.work.texts, block.number)) as folder:
            with TextWriter(folder) as writer:
                for unit in block.units:
                    for document in read(unit, source, report, advance):
                        self._take(document, prefix, clean, account, writer)
            account.take_over(report)
            (folder / "account.json").write_text(json.dumps(account.as_dict()), encoding="utf-8")

    def _take(self, document: Document, prefix: str, clean: Cleaner, account: Account, writer: TextWriter) -> None:
        """One document. `prefix` makes its identity unique in a mixture; the split is decided without it, so that a
        mixture moves no document to the other split."""
        identity = prefix + document.id
        size = len(document.text.encode())
        account.documents += 1
        account.bytes += size
        verdict = clean(document.text, document.path)
        for step in verdict.changed:
            account.changed[step] = account.changed.get(step, 0) + 1
        if verdict.text is None:
            return account.drop(verdict.step, verdict.rule, identity, verdict.reason, size)
        text = verdict.text.encode()
        account.kept += 1
        account.kept_bytes += len(text)
        dedup = self.data.dedup
        writer.add(
            identity,
            identity_hash(document.id),
            text,
            exact_key(verdict.text) if dedup != "none" else b"",
            signature(verdict.text) if dedup == "minhash" else None,
        )


def read_blocks(job: Job, work: Work, tracker: Tracker) -> Account:
    """Read what an earlier attempt has not; returns what happened to all documents. Raises ConfigError for a language
    that is unknown."""
    if job.data.languages:
        check_languages(job.data.languages)
    blocks = job.blocks
    there = whole_parts(work.texts)
    missing = [block for block in blocks if block.number not in there]
    found = sum(block.size for block in blocks if block.number in there)
    tracker.stage("read", 0 if job.streamed else sum(block.size for block in blocks), found=found)
    pool.run(BlockReader(job.data, work), missing, job.processes(len(missing)), tracker)
    account = Account()
    for block in blocks:
        values = json.loads((part(work.texts, block.number) / "account.json").read_text(encoding="utf-8"))
        account.merge(Account.from_dict(values))
    return account
