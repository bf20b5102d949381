"""The recurrent family, OpenMythos: Prelude → one block, looped → Coda → RMSNorm → head.

    e = prelude(embed(ids))                           Prelude: dense blocks, once
    h = initial_state(e)
    repeat: h = A·h + B·e + lora(block(norm(h + e)))  one loop: attention and mixture of experts, LTI injection
            exit check per token
    logits = head(norm(coda(read_out)))               Coda: dense blocks, once

B batch, T positions, S cached positions, D width, H query heads, K key/value heads, E experts, L loops, V vocabulary.

Depth-recurrence: Dehghani et al. 2019 (Universal Transformer), Geiping et al. 2025 (recurrent depth). A token that has
stopped after loop τ keeps its state, and at later loops others see its keys and values of loop τ. τ depends on the past
alone, so one forward pass, prefill and decode, and any cut into chunks give the same logits and the same loop counts.

Two ways through the loop compute the same function: `unroll` evaluates every token at every loop and carries gradients;
`_advance` evaluates only tokens that still run and keeps a cache.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import nullcontext
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from torch.utils.checkpoint import checkpoint as recompute

from mythos.contract.config import RecurrentConfig
from mythos.models import lone
from mythos.models.block import Block, check_length, initialise
from mythos.models.cache import Cache, Causal, ChunkView, LayerCache, Selection, within_documents, within_window
from mythos.models.halting import ActRule, ExitRule, Halt, RunAll
from mythos.models.injection import LTIInjection
from mythos.models.ledger import Ledger, join
from mythos.models.lora import LoopLoRA
from mythos.models.moe import MoE
from mythos.models.norm import RMSNorm
from mythos.models.rope import Positions
from mythos.models.telemetry import Output, Telemetry


class RecurrentModel(nn.Module):
    """`model(ids, n_loops=…, exit=…)` → Output. With a `cache`, `ids` continue it."""

    def __init__(self, config: RecurrentConfig) -> None:
        super().__init__()
        c = self.config = config
        self.embedding = nn.Embedding(c.vocab_size, c.width)
        self.prelude = nn.ModuleList(Block(c) for _ in range(c.prelude_layers))
        self.loop_norm = RMSNorm(c.width, c.norm_eps)
        self.block = Block(c, MoE(c) if c.n_experts else None)
        self.injection = LTIInjection(c.width, c.a_max) if c.injection == "lti" else None
        self.lora = LoopLoRA(c.width, c.loop_lora_rank, c.max_loops) if c.loop_lora_rank else None
        self.halt = Halt(c.width, c.gate_width if c.halting == "gate" else 0) if c.halting != "none" else None
        self.coda = nn.ModuleList(Block(c) for _ in range(c.coda_layers))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.head = None if c.tie_embeddings else nn.Linear(c.width, c.vocab_size, bias=False)
        self.fused_loop: Callable[..., Any] | None = None
        self._noise: Tensor | None = None
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Initial weights. ACT starts halting at about a third per loop, adapters start small but not at zero."""
        c = self.config
        initialise(self, c.init_std, c.prelude_layers + c.loops + c.coda_layers)
        if self.injection is not None and not self.injection.B.is_meta:
            self.injection.reset()
        if self.halt is not None and not self.halt.bias.is_meta:
            nn.init.zeros_(self.halt.weight)
            nn.init.constant_(self.halt.bias, -0.7)
        if self.lora is not None and not self.lora.scale.is_meta:
            nn.init.normal_(self.lora.scale, 1.0, 0.3)

    # The verbs of the recurrence; the fourth, the exit check, is the ledger's ---------------------------------------

    def initial_state(self, e: Tensor, start: int) -> Tensor:
        """State before the first loop, [B, T, D] in float32 (float64 for a float64 model)."""
        e = e if e.dtype == torch.float64 else e.float()
        if self.config.initial_state == "prelude":
            return e
        if self.config.initial_state == "zero":
            return torch.zeros_like(e)
        size = e.detach().square().mean(-1, keepdim=True).sqrt()  # per position, so that no other token matters
        if self.training:
            return torch.randn_like(e) * size
        if self._noise is None or self._noise.shape[0] < self.config.context:  # by position, so that chunks agree
            with torch.inference_mode(False):
                self._noise = torch.randn(
                    self.config.context, self.config.width, generator=torch.Generator().manual_seed(0)
                )
        return self._noise[start : start + e.shape[1]].to(e) * size

    def one_loop(
        self,
        h: Tensor,
        e: Tensor,
        loop: int,
        positions: Positions,
        memory: Any,
        active: Tensor | None = None,
        a: Tensor | None = None,
    ) -> tuple[Tensor, Any]:
        """Loop number `loop` (0-based) for states h and injections e, [B, n, D] each → (next h, router statistics).

        `active` [B, n] bool are the tokens that count for the router, `a` [D] is the injection's A where it is known.
        """
        entering = h + self.loop_code(loop, h) if self.config.loop_index_embedding else h
        x = self.loop_norm(entering + e).to(e.dtype)
        x, stats = self.block(x, positions, memory, active)
        if self.lora is not None:
            x = self.lora(x, loop)
        return (self.injection(h, e, x, a) if self.injection is not None else x.to(h.dtype)), stats

    def read_out(
        self, state: Tensor, positions: Positions, cache: Cache | None, start: int, mask: Tensor | None = None
    ) -> Tensor:
        """Coda and head: [B, T, D] → logits [B, T, V]."""
        x = state.to(self.embedding.weight.dtype) if not torch.is_autocast_enabled(state.device.type) else state
        x = self._run("coda", x, positions, cache, start, mask)
        return F.linear(self.norm(x), self.embedding.weight if self.head is None else self.head.weight)

    # ------------------------------------------------------------------------------------------------------------------

    def forward(
        self, ids: Tensor, n_loops: int | None = None, *, cache: Cache | None = None, exit: ExitRule | None = None
    ) -> Output:
        """ids [B, T] int64 → logits [B, T, V].

        `n_loops` is the most loops a token may run (default: `config.loops`; more than `max_loops` extrapolates),
        `exit` the rule by which a token stops earlier (default: ACT for a model with ACT, else none).
        Raises ValueError for n_loops < 1 and for sequences longer than the context.
        """
        loops = self.config.loops if n_loops is None else n_loops
        if loops < 1:
            raise ValueError(f"n_loops must be at least 1, not {loops}")
        rule = exit or self.default_rule()
        if cache is None and torch.is_grad_enabled():
            readouts, telemetry = self.unroll(ids, loops, exit=rule)
            return Output(readouts[0], telemetry)
        cache = cache if cache is not None else Cache()
        check_length(cache.length + ids.shape[1], self.config.context)
        if not rule.reads_out or ids.shape[1] == 1:
            return self._advance(ids, loops, rule, cache)
        return join([self._advance(ids[:, i : i + 1], loops, rule, cache) for i in range(ids.shape[1])])

    def default_rule(self) -> ExitRule:
        """ACT at the configured threshold for a model that has it, else no early stop."""
        return ActRule(self.config.act_threshold) if self.config.halting == "act" else RunAll()

    def unroll(
        self,
        ids: Tensor,
        n_loops: int,
        *,
        read_at: Sequence[int] = (),
        exit: ExitRule | None = None,
        gradient_loops: int = 0,
        checkpoint: bool = False,
        documents: Tensor | None = None,
    ) -> tuple[list[Tensor], Telemetry]:
        """Differentiable pass over whole sequences: logits [B, T, V] after each loop of `read_at` (ascending; default: the last).

        Only the last `gradient_loops` loops carry gradient (0: all). With `exit`, tokens stop as at inference, and
        only the last loop can be read. With `checkpoint`, a loop keeps its state alone and is computed again in the
        backward pass (Chen et al. 2016). `documents` [B, T] number the document of each token, which then sees no other.
        """
        check_length(ids.shape[1], self.config.context)
        rule = exit or RunAll()
        if rule.reads_out:
            raise ValueError(f"exit rule {rule.name!r} reads out at every loop and needs torch.no_grad()")
        read_at = tuple(read_at) or (n_loops,)
        if read_at[-1] != n_loops:
            raise ValueError(f"the last depth to read is n_loops = {n_loops}, not {read_at[-1]}")
        halts = not isinstance(rule, RunAll)
        freeze = halts and self.config.halted_tokens == "freeze"
        positions = Positions(torch.arange(ids.shape[1], device=ids.device), ids.shape[1])
        mask = None if documents is None else within_documents(documents)
        mask = within_window(ids, self.config.attention_window, mask)
        read_out = partial(self.read_out, positions=positions, cache=None, start=0, mask=mask)
        e = self._run("prelude", self.embedding(ids), positions, None, 0, mask)
        h, run = self.initial_state(e, 0), Ledger(self.config, self.halt, rule, ids.shape, ids.device)
        frozen, logits = None, []
        experts = self.block.ffn.cast_once() if isinstance(self.block.ffn, MoE) else nullcontext()
        a = self.injection.A() if self.injection is not None else None
        one_loop = self.fused_loop or self.one_loop
        if checkpoint:
            one_loop = partial(recompute, one_loop, use_reentrant=False, preserve_rng_state=False)
        with experts:
            for loop in range(n_loops):
                with torch.no_grad() if gradient_loops and loop < n_loops - gradient_loops else nullcontext():
                    memory = Causal(mask, frozen, ~run.active) if freeze else Causal(mask)
                    counted = run.active if halts else None
                    new, stats = one_loop(h, e, loop, positions, memory, counted, a)
                    if freeze:
                        new, frozen = torch.where(run.active.unsqueeze(-1), new, h), memory.entries
                run.observe(h, new, stats)
                if loop + 1 in read_at[:-1]:
                    logits.append(read_out(run.peek()))
                run.exit_check(loop, h, new, last=loop == n_loops - 1)
                h = new
        logits.append(read_out(run.reader.value()))
        return logits, run.telemetry(n_loops, a)

    @torch.no_grad()
    def _advance(self, ids: Tensor, n_loops: int, rule: ExitRule, cache: Cache) -> Output:
        """One chunk onto the cache: only tokens that still run are evaluated."""
        start, length = cache.length, ids.shape[1]
        end = start + length
        positions = Positions(torch.arange(start, end, device=ids.device), end)
        with lone.few_threads(self.block, ids):
            e = self._run("prelude", self.embedding(ids), positions, cache, start)
            h, a = self.initial_state(e, start), self.injection.A() if self.injection is not None else None
            read_out = partial(self.read_out, positions=positions, cache=cache, start=start)
            run = Ledger(self.config, self.halt, rule, ids.shape, ids.device, read_out)
            one_token = lone.LoneLoop(self, e, a) if lone.fits(self.block, e) else None
            may_stop = not run.whole and self.config.halted_tokens == "freeze"
            executed = 0
            while executed < n_loops and (not may_stop or bool(run.active.any())):
                view, selection = cache.loop(executed), Selection.of(run.active) if may_stop else Selection()
                if one_token is not None:
                    h_next, stats = one_token(h, executed, positions, self._view(view, start, 1))
                else:
                    h_next, stats = self._loop_of_chunk(h, e, executed, positions, view, start, selection, cache, a)
                run.observe(h, h_next, stats, selection.count(ids.shape))
                run.exit_check(executed, h, h_next, last=executed == n_loops - 1)
                h, executed = h_next, executed + 1
            cache.freeze_from(executed, end)
            logits = self.read_out(run.reader.value(), positions, cache, start)
        cache.length = end
        return Output(logits, run.telemetry(n_loops, a))

    def _loop_of_chunk(
        self,
        h: Tensor,
        e: Tensor,
        loop: int,
        positions: Positions,
        layer: LayerCache,
        start: int,
        selection: Selection,
        cache: Cache,
        a: Tensor | None,
    ) -> tuple[Tensor, Any]:
        if selection.index is None:
            return self.one_loop(h, e, loop, positions, self._view(layer, start, h.shape[1]), None, a)
        layer.copy_from(cache.loop(loop - 1), start, positions.end)  # tokens that stopped show their last entries
        chosen = Positions(start + selection.index, positions.end)
        memory = self._view(layer, start, h.shape[1], selection)
        new, stats = self.one_loop(selection.take(h), selection.take(e), loop, chosen, memory, selection.valid, a)
        return selection.put(h, new), stats

    def _view(self, layer: LayerCache, start: int, length: int, selection: Selection | None = None) -> ChunkView:
        return ChunkView(layer, start, length, self.config.attention_window, selection)

    def _run(
        self, part: str, x: Tensor, positions: Positions, cache: Cache | None, start: int, mask: Tensor | None = None
    ) -> Tensor:
        """The dense blocks of Prelude or Coda."""
        for number, block in enumerate(getattr(self, part)):
            memory = (
                self._view(cache.layer(f"{part}.{number}"), start, x.shape[1]) if cache is not None else Causal(mask)
            )
            x, _ = block(x, positions, memory)
        return x

    def loop_code(self, loop: int, h: Tensor) -> Tensor:
        """Sinusoidal code of the loop's number on the first eighth of the channels, [D]."""
        half = max(self.config.width // 16, 1)
        frequency = self.config.loop_index_theta ** (-torch.arange(half, device=h.device, dtype=h.dtype) / half)
        code = torch.zeros(self.config.width, device=h.device, dtype=h.dtype)
        code[:half], code[half : 2 * half] = torch.sin(loop * frequency), torch.cos(loop * frequency)
        return code


def moe_layers(model: nn.Module) -> list[MoE]:
    """The routed layers of a model, for whoever updates their biases."""
    return [module for module in model.modules() if isinstance(module, MoE)]
