"""The tokenizer of a corpus: trained on its training documents alone, or taken from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator

from mythos.data.pipeline.plan import Job
from mythos.data.pipeline.select import Selection
from mythos.data.pipeline.texts import read_texts
from mythos.data.pipeline.work import new_file, part
from mythos.data.progress import Tracker
from mythos.data.tokenizer import Tokenizer

TOKENIZER_BYTES = 256 << 20
"""Training text that the tokenizer sees; of a larger corpus, every n-th document."""


def learn(job: Job, selection: Selection, tracker: Tracker) -> None:
    """Put `tokenizer.json` into the work folder, if it is not there yet."""
    work = selection.documents.work
    if work.tokenizer.exists():
        return
    contents = job.tokenizer
    if contents is None:
        tracker.stage("tokenizer", min(selection.train_bytes, TOKENIZER_BYTES))
        contents = Tokenizer.train(_training_texts(selection, tracker), job.vocab_size).to_json()
    with new_file(work.tokenizer) as stream:
        stream.write(contents.encode())


def _training_texts(selection: Selection, tracker: Tracker) -> Iterator[str]:
    """Training documents only: a tokenizer that knew held-out words would flatter the model."""
    every = -(-selection.train_bytes // TOKENIZER_BYTES)
    seen = 0
    for number in range(len(selection.documents.sources)):
        training = selection.copies[selection.documents.part(number)] > 0
        if not training.any():
            continue
        texts = read_texts(part(selection.documents.work.texts, number))
        for taken, text in zip(training.tolist(), texts, strict=True):
            if taken and seen % every == 0:
                tracker.advance(len(text))
                yield text.decode()
            seen += taken
