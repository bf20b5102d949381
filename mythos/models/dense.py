"""The dense family: embedding → n blocks → RMSNorm → head. Numerically a Llama (Touvron et al. 2023).

B batch, T positions, S cached positions, D width, V vocabulary.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from mythos.contract.config import DenseConfig
from mythos.models.block import Block, check_length, initialise
from mythos.models.cache import Cache, Causal, ChunkView, within_documents
from mythos.models.norm import RMSNorm
from mythos.models.rope import Positions
from mythos.models.telemetry import Output, Telemetry


class DenseModel(nn.Module):
    """`model(ids)` → Output. With a `cache`, `ids` continue it."""

    def __init__(self, config: DenseConfig) -> None:
        super().__init__()
        self.config = config
        self.embedding = nn.Embedding(config.vocab_size, config.width)
        self.layers = nn.ModuleList(Block(config) for _ in range(config.n_layers))
        self.norm = RMSNorm(config.width, config.norm_eps)
        self.head = None if config.tie_embeddings else nn.Linear(config.width, config.vocab_size, bias=False)
        initialise(self, config.init_std, config.n_layers)

    def forward(
        self,
        ids: Tensor,
        n_loops: int | None = None,
        *,
        cache: Cache | None = None,
        exit: Any = None,
        documents: Tensor | None = None,
    ) -> Output:
        """ids [B, T] int64 → logits [B, T, V]. `n_loops` and `exit` are for the recurrent family and change nothing here.

        `documents` [B, T] number the document of each token, which then sees no other; without a cache only.
        """
        start = cache.length if cache else 0
        end = start + ids.shape[1]
        check_length(end, self.config.context)
        positions = Positions(torch.arange(start, end, device=ids.device), end)
        x, mask = self.embedding(ids), None if documents is None else within_documents(documents)
        for number, layer in enumerate(self.layers):
            memory = ChunkView(cache.layer(f"layers.{number}"), start, ids.shape[1]) if cache else Causal(mask)
            x, _ = layer(x, positions, memory)
        if cache:
            cache.length = end
        return Output(self.read_out(x), Telemetry(loops=torch.ones_like(ids)))

    def read_out(self, x: Tensor) -> Tensor:
        """[B, T, D] → logits [B, T, V]."""
        return F.linear(self.norm(x), self.embedding.weight if self.head is None else self.head.weight)
