"""A recurrent-depth transformer in its plainest form: Prelude → one block looped with injection → Coda → head.

    e = prelude(embed(ids))
    h = e, or zeros
    repeat num_loops times: h = A·h + B·e + lora(block(norm(h + e)))      (a token may stop earlier, see `exit`)
    logits = head(norm(coda(what is read out of h)))

Needs torch and transformers alone. There is no cache of keys and values: generation computes the whole text for every
token. `num_loops` goes to forward and to generate, and may exceed the number of loops in training.

B batch, T positions, D width, H query heads, K key/value heads, d width of a head, E experts, k experts per token,
F hidden width, N = B·T tokens, V vocabulary.
"""

import math
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F
from transformers import GenerationMixin, PreTrainedModel
from transformers.modeling_outputs import CausalLMOutput

from .configuration_mythos import MythosRecurrentConfig

A_MIN = 0.01
"""The least that a loop keeps of a channel."""

Entries = tuple[Tensor, ...]
"""What attention sees of each position: GQA (key, value) [B, T, K, d]; MLA (latent [B, T, r], rotary key [B, T, 1, dr])."""


class RMSNorm(nn.Module):
    def __init__(self, width: int, eps: float) -> None:
        super().__init__()
        self.weight = nn.Parameter(torch.ones(width))
        self.eps = eps

    def forward(self, x: Tensor) -> Tensor:
        """x / sqrt(mean(x²) + eps) · weight in float32, put so that it rounds as where the model was trained."""
        size = torch.linalg.vector_norm(x, dim=-1, keepdim=True, dtype=torch.float32)
        size = torch.hypot(size, size.new_tensor((x.shape[-1] * self.eps) ** 0.5))
        return (x.float() * x.shape[-1] ** 0.5 / size * self.weight).to(x.dtype)


class Place:
    """Where tokens stand and what they may look at: `positions` [B, T], `mask` [B, 1, T, T] bool, or None for causal.

    With a `window`, a token sees that many, itself among them.
    """

    def __init__(self, ids: Tensor, attention_mask: Tensor | None, window: int) -> None:
        length = ids.shape[1]
        self.angles: dict[int, tuple[Tensor, Tensor]] = {}
        self.mask: Tensor | None = None
        self.positions = torch.arange(length, device=ids.device).expand(ids.shape)
        near = torch.ones(length, length, dtype=torch.bool, device=ids.device).tril()
        if window:
            near = near.triu(1 - window)
        if attention_mask is None or bool(attention_mask.all()):
            self.mask = near[None, None] if window else None
            return
        seen = attention_mask.bool()
        self.positions = (seen.cumsum(-1) - 1).clamp(min=0)
        self.mask = (near & seen[:, None, None, :]) | torch.eye(length, dtype=torch.bool, device=ids.device)

    def rotate(self, x: Tensor, theta: float) -> Tensor:
        """x [B, T, heads, d] turned, the first half of the channels against the second (Su et al. 2021)."""
        dim = x.shape[-1]
        if dim not in self.angles:
            exponent = torch.arange(0, dim, 2, dtype=torch.float64, device=x.device) / dim
            angle = self.positions.double()[..., None, None] * theta**-exponent
            sin = torch.cat((-angle.sin(), angle.sin()), dim=-1)
            self.angles[dim] = angle.cos().repeat(1, 1, 1, 2).float(), sin.float()
        cos, sin = self.angles[dim]
        return torch.addcmul(x * cos, x.roll(dim // 2, -1), sin).to(x.dtype)

    def attend(self, q: Tensor, k: Tensor, v: Tensor) -> Tensor:
        """q [B, T, H, d], k and v [B, T, K, d] → [B, T, H·dv]."""
        q, k, v = (part.transpose(1, 2) for part in (q, k, v))
        y = F.scaled_dot_product_attention(
            q, k, v, attn_mask=self.mask, is_causal=self.mask is None, enable_gqa=q.shape[1] != k.shape[1]
        )
        return y.transpose(1, 2).flatten(2)


class GQA(nn.Module):
    """Grouped-query attention (Ainslie et al. 2023)."""

    def __init__(self, c: MythosRecurrentConfig) -> None:
        super().__init__()
        self.heads, self.kv_heads, self.dim, self.theta = c.n_heads, c.n_kv_heads, c.width // c.n_heads, c.rope_theta
        self.qkv = nn.Linear(c.width, (self.heads + 2 * self.kv_heads) * self.dim, bias=False)
        self.out = nn.Linear(self.heads * self.dim, c.width, bias=False)

    def project(self, x: Tensor, place: Place) -> tuple[Tensor, Entries]:
        """x [B, T, D] → queries [B, T, H, d] and entries."""
        rows = self.qkv(x).unflatten(-1, (-1, self.dim))
        q, k, v = rows.split((self.heads, self.kv_heads, self.kv_heads), dim=2)
        return place.rotate(q, self.theta), (place.rotate(k, self.theta), v)

    def forward(self, q: Tensor, entries: Entries, place: Place) -> Tensor:
        return self.out(place.attend(q, *entries))


class MLA(nn.Module):
    """Multi-head latent attention (DeepSeek-V2, 2024)."""

    def __init__(self, c: MythosRecurrentConfig) -> None:
        super().__init__()
        self.heads, self.rank, self.theta = c.n_heads, c.mla_kv_rank, c.rope_theta
        self.nope, self.rot, self.value = c.mla_nope_dim, c.mla_rope_dim, c.mla_v_dim
        self.q_down = nn.Linear(c.width, c.mla_q_rank, bias=False) if c.mla_q_rank else nn.Identity()
        self.q_norm = RMSNorm(c.mla_q_rank, c.norm_eps) if c.mla_q_rank else nn.Identity()
        self.q_up = nn.Linear(c.mla_q_rank or c.width, self.heads * (self.nope + self.rot), bias=False)
        self.kv_down = nn.Linear(c.width, self.rank + self.rot, bias=False)
        self.kv_norm = RMSNorm(self.rank, c.norm_eps)
        self.kv_up = nn.Linear(self.rank, self.heads * (self.nope + self.value), bias=False)
        self.out = nn.Linear(self.heads * self.value, c.width, bias=False)

    def project(self, x: Tensor, place: Place) -> tuple[Tensor, Entries]:
        """x [B, T, D] → queries [B, T, H, d] and entries."""
        rows = self.q_up(self.q_norm(self.q_down(x))).unflatten(-1, (self.heads, -1))
        still, turned = rows.split((self.nope, self.rot), dim=-1)
        latent, key = self.kv_down(x).split((self.rank, self.rot), dim=-1)
        entries = self.kv_norm(latent), place.rotate(key.unsqueeze(2), self.theta)
        return torch.cat((still, place.rotate(turned, self.theta)), dim=-1), entries

    def forward(self, q: Tensor, entries: Entries, place: Place) -> Tensor:
        latent, key = entries
        still, v = self.kv_up(latent).unflatten(-1, (self.heads, -1)).split((self.nope, self.value), dim=-1)
        k = torch.cat((still, key.expand(-1, -1, self.heads, -1)), dim=-1)
        return self.out(place.attend(q, k, v))


def activate(hidden: Tensor, activation: str) -> Tensor:
    """SwiGLU (Shazeer 2020): [..., 2F] (gate, up) → [..., F]; GeLU has no gate: [..., F] → [..., F]."""
    if activation == "gelu":
        return F.gelu(hidden, approximate="tanh")
    gate, up = hidden.chunk(2, dim=-1)
    return F.silu(gate) * up


class FeedForward(nn.Module):
    def __init__(self, c: MythosRecurrentConfig, hidden: int) -> None:
        super().__init__()
        self.activation = c.activation
        self.up = nn.Linear(c.width, hidden * (2 if c.activation == "swiglu" else 1), bias=False)
        self.out = nn.Linear(hidden, c.width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        return self.out(activate(self.up(x), self.activation))


class MoE(nn.Module):
    """Shared experts and k of E routed ones (DeepSeekMoE 2024); the router's bias shifts the choice, never the gates."""

    router_bias: Tensor

    def __init__(self, c: MythosRecurrentConfig) -> None:
        super().__init__()
        self.k, self.activation = c.experts_per_token, c.activation
        self.router = nn.Linear(c.width, c.n_experts, bias=False)
        self.register_buffer("router_bias", torch.zeros(c.n_experts))
        hidden = c.expert_width * (2 if c.activation == "swiglu" else 1)
        self.up = nn.Parameter(torch.empty(c.n_experts, hidden, c.width))
        self.out = nn.Parameter(torch.empty(c.n_experts, c.width, c.expert_width))
        shared = c.n_shared_experts * (c.shared_expert_width or c.expert_width)
        self.shared = FeedForward(c, shared) if shared else None

    def forward(self, x: Tensor) -> Tensor:
        """x [B, T, D] → [B, T, D]."""
        rows = x.flatten(0, 1)
        logits = F.linear(rows.float(), self.router.weight.float())
        chosen = (logits.detach() + self.router_bias).topk(self.k, dim=-1).indices
        gates = logits.gather(1, chosen).softmax(-1).to(x.dtype)
        done = rows.new_zeros(*chosen.shape, x.shape[-1])
        for expert in chosen.unique().tolist():
            token, slot = (chosen == expert).nonzero(as_tuple=True)
            done[token, slot] = activate(rows[token] @ self.up[expert].T, self.activation) @ self.out[expert].T
        y = torch.bmm(gates.unsqueeze(1), done).squeeze(1)
        y = y + self.shared(rows) if self.shared is not None else y
        return y.view_as(x)


class Block(nn.Module):
    """x + attention(norm(x)), then x + ffn(norm(x)), perhaps with a norm after each as well."""

    def __init__(self, c: MythosRecurrentConfig, routed: bool = False) -> None:
        super().__init__()
        after = c.norm == "sandwich"
        self.attention_norm = RMSNorm(c.width, c.norm_eps)
        self.attention = MLA(c) if c.attention == "mla" else GQA(c)
        self.attention_after = RMSNorm(c.width, c.norm_eps) if after else nn.Identity()
        self.ffn_norm = RMSNorm(c.width, c.norm_eps)
        self.ffn = MoE(c) if routed else FeedForward(c, c.ffn_width)
        self.ffn_after = RMSNorm(c.width, c.norm_eps) if after else nn.Identity()

    def forward(
        self, x: Tensor, place: Place, frozen: Entries | None = None, running: Tensor | None = None
    ) -> tuple[Tensor, Entries]:
        """x [B, T, D] → ([B, T, D], entries). Tokens that no longer are `running` [B, T] keep their `frozen` entries."""
        q, entries = self.attention.project(self.attention_norm(x), place)
        if frozen is not None and running is not None:
            keep = [running.view(*running.shape, *[1] * (new.dim() - 2)) for new in entries]
            entries = tuple(torch.where(*parts) for parts in zip(keep, entries, frozen, strict=True))
        x = x + self.attention_after(self.attention(q, entries, place))
        return x + self.ffn_after(self.ffn(self.ffn_norm(x))), entries


class Injection(nn.Module):
    """h ← A·h + B·e + block, with A between A_MIN and a_max for every value of its parameter; float32."""

    def __init__(self, c: MythosRecurrentConfig) -> None:
        super().__init__()
        self.raw_dt = nn.Parameter(torch.zeros(c.width))
        self.B = nn.Parameter(torch.zeros(c.width))
        self.low, self.high = -math.log(c.a_max * (1 - 1e-6)), -math.log(A_MIN)

    def forward(self, h: Tensor, e: Tensor, block: Tensor) -> Tensor:
        share = 0.5 + torch.atan(self.raw_dt.float()) / math.pi
        a = torch.exp(-(self.low + (self.high - self.low) * share))
        return torch.addcmul(torch.addcmul(block.float(), self.B.float(), e.float()), a, h)


class LoopLoRA(nn.Module):
    """Adapter whose scale differs per loop; loops beyond the table use its last row."""

    def __init__(self, c: MythosRecurrentConfig) -> None:
        super().__init__()
        self.down = nn.Linear(c.width, c.loop_lora_rank, bias=False)
        self.scale = nn.Parameter(torch.zeros(c.max_loops, c.loop_lora_rank))
        self.up = nn.Parameter(torch.zeros(c.loop_lora_rank, c.width))

    def forward(self, x: Tensor, loop: int) -> Tensor:
        return x + (self.down(x) * self.scale[min(loop, len(self.scale) - 1)]) @ self.up


class Halt(nn.Module):
    """The halting head of a loop from state g [D] to h [D]: w·h + b, or w·silu(U·[h, g] + c) + b with a hidden layer."""

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.weight, self.bias = nn.Parameter(torch.zeros(1, hidden or width)), nn.Parameter(torch.zeros(1))
        self.hidden = nn.Linear(2 * width, hidden) if hidden else None

    def forward(self, before: Tensor, after: Tensor) -> Tensor:
        """[..., D] each → [...]."""
        x = after
        if self.hidden is not None:
            both = torch.cat((after, before), dim=-1)
            x = F.silu(F.linear(both, self.hidden.weight.to(x.dtype), self.hidden.bias.to(x.dtype)))
        return x @ self.weight[0].to(x.dtype) + self.bias.to(x.dtype)


class ReadOut:
    """Who still runs, and what the Coda will read: the last state, the mean of the states, or ACT's weighted sum."""

    def __init__(self, c: MythosRecurrentConfig, halt: Halt | None, exit: str, h: Tensor) -> None:
        self.c, self.halt = c, halt
        self.rule, _, threshold = exit.partition(":")
        needs = self.rule if self.rule in ("act", "gate") else c.halting
        if self.rule not in ("fixed", "act", "gate", "state_delta") or needs != c.halting:
            raise ValueError(f"exit {exit!r} does not fit a model with halting {c.halting!r}")
        self.threshold = c.act_threshold if self.rule in ("fixed", "act") else float(threshold)
        self.kind = "act" if c.halting == "act" and c.state_read_out == "auto" else c.state_read_out
        self.running = torch.ones(h.shape[:2], dtype=torch.bool, device=h.device)
        self.cumulative, self.loops = torch.zeros_like(h[..., 0]), torch.zeros_like(h[..., :1])
        self.total = torch.zeros_like(h)

    def observe(self, before: Tensor, h: Tensor, last: bool) -> None:
        """A loop has led from state `before` to `h` [B, T, D]: take it in, and let those stop of whom the rule says so."""
        p, ran = self.halting_p(before, h), self.running.unsqueeze(-1)
        said = self.stops(before, h, p)
        stop = torch.ones_like(said) if last else said
        if self.kind == "act":
            self.total = self.total + self.weight(p, stop if self.c.act_remainder else said).unsqueeze(-1) * h
        elif self.kind == "mean":
            self.total = self.total + torch.where(ran, h, 0.0)
        else:
            self.total = torch.where(ran, h, self.total)
        self.loops, self.cumulative = self.loops + ran, self.cumulative + p
        self.running = self.running & ~stop

    def value(self) -> Tensor:
        """What is read out once every token has stopped, [B, T, D]."""
        return self.total / self.loops if self.kind == "mean" else self.total

    def halting_p(self, before: Tensor, h: Tensor) -> Tensor:
        """What the halting head says of each token, [B, T]; the gate looks at states at RMS 1."""
        if self.halt is None:
            return torch.zeros_like(h[..., 0])
        if self.c.halting == "gate":
            before, h = (F.rms_norm(x, x.shape[-1:]) for x in (before, h))
        return torch.sigmoid(self.halt(before, h))

    def stops(self, before: Tensor, h: Tensor, p: Tensor) -> Tensor:
        """Which tokens the rule stops, [B, T] bool."""
        if self.rule == "act":
            return self.cumulative + p >= self.threshold
        if self.rule == "gate":
            return p >= self.threshold
        if self.rule == "state_delta":
            return (h - before).norm(dim=-1) / h.norm(dim=-1) < self.threshold
        return torch.zeros_like(self.running)

    def weight(self, p: Tensor, filled: Tensor) -> Tensor:
        """Adaptive computation time (Graves 2016): p, and to the loop at which a token stops all that is left of 1."""
        left = (1 - self.cumulative).clamp(min=0)
        return torch.where(self.running, torch.where(filled, left, torch.minimum(p, left)), 0.0)


class MythosRecurrentForCausalLM(PreTrainedModel, GenerationMixin):
    config: MythosRecurrentConfig
    config_class = MythosRecurrentConfig
    base_model_prefix = ""
    _no_split_modules = ["Block"]  # noqa: RUF012  (the base class has it so)

    def __init__(self, config: MythosRecurrentConfig) -> None:
        super().__init__(config)
        c = config
        self.embedding = nn.Embedding(c.vocab_size, c.width)
        self.prelude = nn.ModuleList(Block(c) for _ in range(c.prelude_layers))
        self.loop_norm = RMSNorm(c.width, c.norm_eps)
        self.block = Block(c, routed=c.n_experts > 0)
        self.injection = Injection(c) if c.injection == "lti" else None
        self.lora = LoopLoRA(c) if c.loop_lora_rank else None
        self.halt = Halt(c.width, c.gate_width if c.halting == "gate" else 0) if c.halting != "none" else None
        self.coda = nn.ModuleList(Block(c) for _ in range(c.coda_layers))
        self.norm = RMSNorm(c.width, c.norm_eps)
        self.head = None if c.tie_word_embeddings else nn.Linear(c.width, c.vocab_size, bias=False)
        self.post_init()

    def get_input_embeddings(self) -> nn.Module:
        return self.embedding

    def forward(
        self,
        input_ids: Tensor,
        attention_mask: Tensor | None = None,
        labels: Tensor | None = None,
        num_loops: int | None = None,
        exit: str | None = None,
        **kwargs: Any,
    ) -> CausalLMOutput:
        """input_ids [B, T] → logits [B, T, V]. `num_loops` and `exit` default to the configuration's."""
        if input_ids.shape[1] > self.config.context:
            raise ValueError(f"a sequence of {input_ids.shape[1]} tokens exceeds the context of {self.config.context}")
        place = Place(input_ids, attention_mask, self.config.attention_window)
        e = self.embedding(input_ids)
        for block in self.prelude:
            e, _ = block(e, place)
        x = self.iterate(e, place, num_loops or self.config.num_loops, exit or self.config.exit).to(e.dtype)
        for block in self.coda:
            x, _ = block(x, place)
        logits = F.linear(self.norm(x), self.embedding.weight if self.head is None else self.head.weight)
        loss = None
        if labels is not None:
            loss = F.cross_entropy(logits[:, :-1].flatten(0, 1).float(), labels[:, 1:].flatten())
        return CausalLMOutput(loss=loss, logits=logits)

    def iterate(self, e: Tensor, place: Place, num_loops: int, exit: str) -> Tensor:
        """The looped block on the Prelude's output e [B, T, D]; what is read out of its states, [B, T, D] in float32."""
        h = torch.zeros_like(e).float() if self.config.initial_state == "zero" else e.float()
        books = ReadOut(self.config, self.halt, exit, h)
        freeze = self.config.halted_tokens == "freeze"
        entries: Entries | None = None
        for loop in range(num_loops):
            entering = h + self.loop_code(loop, h) if self.config.loop_index_embedding else h
            x, entries = self.block(
                self.loop_norm(entering + e).to(e.dtype), place, entries if freeze else None, books.running
            )
            x = self.lora(x, loop) if self.lora is not None else x
            new = self.injection(h, e, x) if self.injection is not None else x.float()
            new = torch.where(books.running.unsqueeze(-1), new, h) if freeze else new
            books.observe(h, new, last=loop == num_loops - 1)
            h = new
            if not bool(books.running.any()):
                break
        return books.value()

    def loop_code(self, loop: int, h: Tensor) -> Tensor:
        """Sinusoidal code of the loop's number on the first eighth of the channels, [D]."""
        half = max(self.config.width // 16, 1)
        frequency = self.config.loop_index_theta ** (-torch.arange(half, device=h.device, dtype=h.dtype) / half)
        code = torch.zeros(self.config.width, device=h.device, dtype=h.dtype)
        code[:half], code[half : 2 * half] = torch.sin(loop * frequency), torch.cos(loop * frequency)
        return code

    def prepare_inputs_for_generation(self, input_ids: Tensor, *args: Any, **kwargs: Any) -> dict[str, Any]:
        """Always the whole text: there is no cache."""
        chosen: dict[str, Any] = {
            name: kwargs[name] for name in ("attention_mask", "num_loops", "exit") if name in kwargs
        }
        return {"input_ids": input_ids, **chosen}
