"""Several documents in a row: with their numbers given, each is computed as if it were alone."""

from __future__ import annotations

import pytest
import torch

from mythos.models.dense import DenseModel
from mythos.models.halting import ActRule
from tests.fakes.checkpoints import VOCAB, tiny_model

LENGTHS = (5, 1, 7)
DOCUMENTS = torch.tensor([[number for number, length in enumerate(LENGTHS) for _ in range(length)]])


@pytest.mark.parametrize("attention", ["gqa", "mla"])
@pytest.mark.parametrize("kind", ["dense", "recurrent", "act"])
def test_documents_of_a_row_do_not_see_each_other(kind: str, attention: str) -> None:
    settings = {"halting": "act"} if kind == "act" else {}
    family = "dense" if kind == "dense" else "recurrent"
    model = tiny_model(family, dtype=torch.float64, attention=attention, **settings).train()
    ids = torch.randint(0, VOCAB, (1, sum(LENGTHS)), generator=torch.Generator().manual_seed(0))

    def logits(part: torch.Tensor, documents: torch.Tensor | None) -> torch.Tensor:
        if isinstance(model, DenseModel):
            return model(part, documents=documents).logits
        rule = ActRule(0.9) if kind == "act" else None
        shallow, deep = model.unroll(part, 4, read_at=(4,), exit=rule, documents=documents)[0][0], None
        if kind == "recurrent":
            shallow, deep = model.unroll(part, 4, read_at=(2, 4), documents=documents)[0]
        return shallow if deep is None else torch.cat((shallow, deep), -1)

    together = logits(ids, DOCUMENTS)
    alone = torch.cat([logits(part, None) for part in ids.split(LENGTHS, dim=1)], dim=1)
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)  # tables of angles are float32
    assert (logits(ids, None) - together).abs().max() > 1e-3
