"""The architecture as a drawing that follows the values: what a token passes through, and what it costs in weights."""

from __future__ import annotations

from textual.content import Content
from textual.widget import Widget

from mythos.contract.budget import Parameters, dense_block_parameters, parameters
from mythos.contract.config import DenseConfig, RecurrentConfig
from mythos.contract.words import counted
from mythos_tui.screens.units import billions

Model = DenseConfig | RecurrentConfig
QUIET, NAME, EDGE = "$foreground-muted", "bold $primary", "$foreground-muted"
MOST = 56
"""Columns beyond which boxes grow no wider."""


def diagram(model: Model, columns: int) -> list[Content]:
    """Lines of at most `columns` cells, from the tokens at the top to the logits at the bottom."""
    width, count = min(columns, MOST) - 3, parameters(model)
    top = _between(f"tokens → embedding {model.vocab_size} × {model.width}", "")
    tied = "(tied)" if model.tie_embeddings else f"{model.width} × {model.vocab_size}"
    last = _between(f"RMSNorm → head {tied}", "→ logits")
    middle = _dense(model, width) if isinstance(model, DenseConfig) else _recurrent(model, count, width)
    return [top, *middle, last]


def _dense(model: DenseConfig, width: int) -> list[Content]:
    weights = model.n_layers * dense_block_parameters(model)
    return [_arrow(""), *_box(counted(model.n_layers, "block"), weights, _block(model), width), _arrow("")]


def _recurrent(model: RecurrentConfig, count: Parameters, width: int) -> list[Content]:
    lines = [_arrow("")]
    if model.prelude_layers:
        title = f"Prelude, {counted(model.prelude_layers, 'block')}"
        lines += _box(title, count.prelude, _block(model), width)
    start = {"prelude": "h = e", "zero": "h = 0", "random": "h = noise"}[model.initial_state]
    lines.append(_arrow(f"e, what every loop is given; {start}" if model.injection == "lti" else f"e; {start}"))
    title = f"Loop, {model.loops} times" + (f", up to {model.max_loops}" if model.max_loops > model.loops else "")
    lines += _box(title, count.recurrent, _loop(model), width, looped=True)
    lines.append(_arrow(_exit(model)))
    if model.coda_layers:
        lines += _box(f"Coda, {counted(model.coda_layers, 'block')}", count.coda, _block(model), width)
        lines.append(_arrow(""))
    return lines


def _loop(model: RecurrentConfig) -> list[str]:
    """What one loop does, a line per mechanism that is switched on."""
    lti = model.injection == "lti"
    rows = ["h ← A·h + B·e + block(h + e)" if lti else "h ← block(h + e)", _attention(model)]
    if model.n_experts:
        rows.append(f"MoE, {model.experts_per_token} of {model.n_experts} experts × {model.expert_width}")
        if model.n_shared_experts:
            rows.append(f"  and {model.n_shared_experts} shared, {model.shared_width} in all")
    else:
        rows.append(_feed_forward(model))
    extras = [f"A < {model.a_max:g}"] if lti else []
    extras += [f"LoRA {model.loop_lora_rank}"] if model.loop_lora_rank else []
    extras += ["loop index"] if model.loop_index_embedding else []
    extras += ["sandwich norms"] if model.norm == "sandwich" else []
    return [*rows, *([", ".join(extras)] if extras else [])]


def _exit(model: RecurrentConfig) -> str:
    return {
        "none": "h, when the exit rule says so",
        "act": "h, mean weighted by halting",
        "gate": "h, when gate or exit rule says so",
    }[model.halting]


def _block(model: Model) -> list[str]:
    norms = ", sandwich norms" if model.norm == "sandwich" else ""
    return [_attention(model), _feed_forward(model) + norms]


def _attention(model: Model) -> str:
    if model.attention == "mla":
        return f"MLA, {model.n_heads} heads, latent {model.mla_kv_rank}"
    if model.n_kv_heads == model.n_heads:
        return f"MHA, {model.n_heads} heads × {model.head_dim}"
    return f"GQA, {model.n_heads} heads × {model.head_dim} on {model.n_kv_heads} of keys"


def _feed_forward(model: Model) -> str:
    return f"{'SwiGLU' if model.activation == 'swiglu' else 'GeLU'} {model.ffn_width}"


def _between(text: str, rest: str) -> Content:
    return Content.assemble((f"  {text}", ""), (f" {rest}", QUIET))


def _arrow(text: str) -> Content:
    return Content.assemble(("  ↓", EDGE), (f" {text}" if text else "", QUIET))


def _box(title: str, weights: int, rows: list[str], width: int, looped: bool = False) -> list[Content]:
    """A frame `width` cells wide with its title and weights on the edge; the line of a loop runs along its right."""
    weight = f" {billions(weights)} "
    rule = "─" * max(1, width - len(title) - len(weight) - 5)
    back, side, up = ("◂┐", " │", "─┘") if looped else ("", "", "")
    lines = [Content.assemble(("╭ ", EDGE), (title, NAME), (f" {rule}{weight}─╮{back}", EDGE))]
    for row in rows:
        text = row if len(row) <= width - 4 else row[: width - 5] + "…"
        lines.append(Content.assemble(("│ ", EDGE), (text.ljust(width - 4), ""), (f" │{side}", EDGE)))
    return [*lines, Content.styled(f"╰{'─' * (width - 2)}╯{up}", EDGE)]


class Diagram(Widget):
    """The drawing of the model that is being configured. While it is wrong, the last right one stays."""

    DEFAULT_CSS = "Diagram { height: auto; width: 1fr; }"

    def __init__(self, model: Model | None = None) -> None:
        super().__init__()
        self.model = model

    def show(self, model: Model | None) -> None:
        """Draw this model; None leaves the last one."""
        if model is not None and model != self.model:
            self.model = model
            self.refresh(layout=True)

    def render(self) -> Content:
        return Content("\n").join(diagram(self.model, self.size.width or MOST)) if self.model else Content("")
