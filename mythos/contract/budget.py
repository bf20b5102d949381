"""What a model will cost, from its configuration alone: parameters, FLOPs, cache and training memory.

Counts equal those of the built model exactly. FLOPs count a multiply-add as two and leave out norms, softmax and
nonlinearities, as is usual (Kaplan et al. 2020; Hoffmann et al. 2022, appendix F).
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from typing import Any

from mythos.contract.config import Config, DenseConfig, RecurrentConfig

BYTES = {"fp32": 4, "bf16": 2, "fp16": 2}
CHINCHILLA = 20
"""Tokens per parameter that a compute budget is best spent on, of dense models (Hoffmann et al. 2022, table 3)."""


@dataclass(frozen=True)
class Parameters:
    """Parameter counts. `active` are those that take part in computing one token, each counted once."""

    total: int
    active: int
    embedding: int
    prelude: int
    recurrent: int
    coda: int


@dataclass(frozen=True)
class Budget:
    """The cost of a configuration. FLOPs are per token at the given loops and mean attention span."""

    parameters: Parameters
    loops: int
    flops_forward: int
    flops_training: int
    kv_bytes: int
    training_bytes: int
    checkpoint_bytes: int
    tokens: int
    tokens_per_parameter: float

    def to_dict(self) -> dict[str, Any]:
        """For `mythos budget --json`."""
        return asdict(self)


Model = DenseConfig | RecurrentConfig


def attention_parameters(c: Model) -> int:
    """Weights of one attention sublayer, without its norms before and after."""
    if c.attention == "gqa":
        return 2 * c.width * c.n_heads * c.head_dim + 2 * c.width * c.n_kv_heads * c.head_dim
    head = c.mla_nope_dim + c.mla_rope_dim
    queries = c.width * c.n_heads * head if not c.mla_q_rank else c.mla_q_rank * (c.width + 1 + c.n_heads * head)
    keys_values = c.width * (c.mla_kv_rank + c.mla_rope_dim) + c.mla_kv_rank * (
        1 + c.n_heads * (c.mla_nope_dim + c.mla_v_dim)
    )
    return queries + keys_values + c.n_heads * c.mla_v_dim * c.width


def mlp_parameters(c: Model, hidden: int) -> int:
    """Weights of one feed-forward network of the given hidden width."""
    return (3 if c.activation == "swiglu" else 2) * c.width * hidden


def norm_parameters(c: Model) -> int:
    """Weights of the norms of one block."""
    return c.width * (4 if c.norm == "sandwich" else 2)


def dense_block_parameters(c: Model) -> int:
    """Weights of one dense block."""
    return attention_parameters(c) + mlp_parameters(c, c.ffn_width) + norm_parameters(c)


def _looped(c: RecurrentConfig) -> tuple[int, int]:
    """(total, active per token) weights of the recurrent part."""
    shared = attention_parameters(c) + norm_parameters(c) + c.width  # the last: norm of h + e
    if c.injection == "lti":
        shared += 2 * c.width
    if c.halting != "none":
        shared += halt_parameters(c)
    if c.loop_lora_rank:
        shared += c.loop_lora_rank * (2 * c.width + c.max_loops)
    if not c.n_experts:
        return (both := shared + mlp_parameters(c, c.ffn_width)), both
    shared += c.n_experts * c.width  # router
    if c.shared_width:
        shared += mlp_parameters(c, c.shared_width)
    expert = mlp_parameters(c, c.expert_width)
    return shared + c.n_experts * expert, shared + c.experts_per_token * expert


def halt_parameters(c: RecurrentConfig) -> int:
    """Weights of the halting head: one dot product, or a hidden layer before it."""
    hidden = c.gate_width if c.halting == "gate" else 0
    return hidden * (2 * c.width + 2) + 1 if hidden else c.width + 1


def _elementwise(c: RecurrentConfig) -> int:
    """Weights of the recurrent part that multiply element by element: norms, injection, scales of the adapters."""
    injection = 2 * c.width if c.injection == "lti" else 0
    return norm_parameters(c) + c.width + injection + c.loop_lora_rank * c.max_loops + (c.halting != "none")


def parameters(c: Model) -> Parameters:
    """Parameter counts of a model."""
    embedding = c.vocab_size * c.width * (1 if c.tie_embeddings else 2)
    if isinstance(c, DenseConfig):
        blocks = c.n_layers * dense_block_parameters(c)
        total = embedding + blocks + c.width
        return Parameters(total, total, embedding, blocks, 0, 0)
    block = dense_block_parameters(c)
    looped, active = _looped(c)
    prelude, coda = c.prelude_layers * block, c.coda_layers * block
    rest = embedding + prelude + coda + c.width
    return Parameters(rest + looped, rest + active, embedding, prelude, looped, coda)


def _attention_flops(c: Model, span: float) -> float:
    """Scores and weighted sum of one query over `span` keys, or a window of them, beyond the projections."""
    if isinstance(c, RecurrentConfig) and c.attention_window:
        span = min(span, c.attention_window)
    if c.attention == "gqa":
        return 4 * c.n_heads * c.head_dim * span
    return 2 * c.n_heads * (c.mla_nope_dim + c.mla_rope_dim + c.mla_v_dim) * span


def flops_forward(c: Model, span: float, loops: float | None = None, readouts: float = 1) -> float:
    """FLOPs of one token's forward pass with `span` keys in view. `readouts` counts passes through Coda and head."""
    norm_free = dense_block_parameters(c) - norm_parameters(c)
    block = 2 * norm_free + _attention_flops(c, span)
    head = 2 * c.vocab_size * c.width
    if isinstance(c, DenseConfig):
        return c.n_layers * block + head
    loop = 2 * (_looped(c)[1] - _elementwise(c)) + _attention_flops(c, span)
    return (
        c.prelude_layers * block
        + (c.loops if loops is None else loops) * loop
        + readouts * (c.coda_layers * block + head)
    )


def rule_flops(c: Model, rule: str, span: float, loops: float) -> float:
    """FLOPs per token of the exit rule itself over `loops` executed loops, on top of `flops_forward` with one read-out.

    `confidence` and `kl` read out through Coda and head after every loop, the last one included. `state_delta` takes a
    difference and two norms of width D. What `act` and `gate` look at is a head that `flops_forward` counts with
    the loop, because such a model computes it whatever the rule; `fixed` costs nothing.
    """
    if rule in ("confidence", "kl"):
        return loops * (flops_forward(c, span, 0, 1) - flops_forward(c, span, 0, 0))
    return loops * 5 * c.width if rule == "state_delta" else 0


def flops_spent(c: Model, rule: str, span: float, loops: float, limit: float) -> float:
    """FLOPs of one token that ran `loops` of the `limit` loops it was allowed, the exit rule's own included.

    Where halted tokens run on, all of `limit` is paid for.
    """
    if isinstance(c, DenseConfig):
        return flops_forward(c, span)
    computed = limit if rule != "fixed" and c.halted_tokens == "run" else loops
    return flops_forward(c, span, computed) + rule_flops(c, rule, span, computed)


def flops_training(
    config: Config, loops: float | None = None, readouts: float | None = None, gradient_loops: float | None = None
) -> float:
    """FLOPs of one token's share of a training step: forward, and twice that backward over the loops with gradient.

    `loops`, `readouts` and `gradient_loops` are those of a step (default: the mean of the configuration); a step without
    any loop that carries gradient, in which the gate alone learns, is forward only.
    """
    c, objective = config.model, config.objective
    span = (config.train.sequence + 1) / 2
    if isinstance(c, DenseConfig):
        return 3 * flops_forward(c, span)
    loops = c.loops if loops is None else loops
    if objective.kind == "act":
        readouts = 1
    elif readouts is None:
        readouts = objective.supervised_depths
    if gradient_loops is None:
        gradient_loops = min(loops, objective.backprop_loops or loops)
    backward = 2 * flops_forward(c, span, gradient_loops, readouts) if gradient_loops else 0
    return flops_forward(c, span, loops, readouts) + backward


def kv_bytes_per_token(c: Model, loops: int | None = None, bytes_per_value: int = 4) -> int:
    """Bytes that one token adds to the cache: an entry per layer, and one per loop of the recurrent block."""
    entry = 2 * c.n_kv_heads * c.head_dim if c.attention == "gqa" else c.mla_kv_rank + c.mla_rope_dim
    layers = c.n_layers if isinstance(c, DenseConfig) else c.prelude_layers + c.coda_layers + (loops or c.loops)
    return layers * entry * bytes_per_value


def training_bytes(config: Config, precision: str = "bf16") -> int:
    """Estimate of what the tensors of a training step take at the deepest loop count, in bytes.

    Weights, gradients and AdamW's two moments in float32 (Muon keeps one; the estimate stays on the safe side), plus
    activations of every block kept for the backward pass, plus logits of every supervised depth with their gradient.
    The factors of width and hidden width are fitted to what autograd keeps of this code's blocks. The process itself
    and what the allocator holds in reserve come on top: on a CPU, up to several times as much. Of a step in parts
    (`train.accumulate`) one counts at a time, of loops that are computed again (`train.checkpoint_loops`) one and the states.
    """
    c, train = config.model, config.train
    tokens = train.batch_size // train.accumulate * train.sequence
    value = BYTES[precision]
    inner = 16 * c.width + 4 * c.ffn_width
    if isinstance(c, DenseConfig):
        activations, readouts = c.n_layers * inner, 1
    else:
        kept = min(config.objective.backprop_loops or c.max_loops, c.max_loops)
        hidden = c.experts_per_token * c.expert_width + c.shared_width if c.n_experts else c.ffn_width
        readouts = config.objective.supervised_depths if config.objective.kind == "depth_supervised" else 1
        activations = (
            c.prelude_layers * inner
            + (1 if train.checkpoint_loops else kept) * (24 * c.width + 7 * hidden)
            + (kept * c.width if train.checkpoint_loops else 0)
            + readouts * c.coda_layers * inner
        )
    logits = 2 * 4 * readouts * tokens * c.vocab_size
    return 16 * parameters(c).total + tokens * activations * value + logits


def budget(config: Config, precision: str = "bf16") -> Budget:
    """Everything at once, for `mythos budget` and the Configure screen."""
    c, train = config.model, config.train
    count = parameters(c)
    span = (train.sequence + 1) / 2
    tokens = train.length * train.batch_size * train.sequence
    return Budget(
        parameters=count,
        loops=c.loops if isinstance(c, RecurrentConfig) else 1,
        flops_forward=round(flops_forward(c, span)),
        flops_training=round(flops_training(config)),
        kv_bytes=kv_bytes_per_token(c, bytes_per_value=4),
        training_bytes=training_bytes(config, precision),
        checkpoint_bytes=4 * count.total,
        tokens=tokens,
        tokens_per_parameter=tokens / count.total,
    )
