"""`mythos generate` and `trace`: what a checkpoint says, and how it gets there."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from mythos.cli.options import (
    DEFAULT_RUNS,
    CheckpointPath,
    Exit,
    Json,
    Loops,
    Runs,
    locate_checkpoint,
    print_json,
    safe,
)
from mythos.contract.errors import MythosError
from mythos.contract.words import counted

if TYPE_CHECKING:
    import numpy as np

    from mythos.checkpoint import Checkpoint
    from mythos.inspect.trace import Trace


def generate(
    checkpoint: CheckpointPath,
    prompt: Annotated[str, typer.Option("--prompt", help="Text to continue.")],
    loops: Loops = None,
    exit: Exit = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, max=2**63 - 1, help="Seed of sampling; left out, every call differs.")
    ] = None,
    max_tokens: Annotated[int | None, typer.Option("--max-tokens", min=1, help="Most tokens to generate.")] = None,
    temperature: Annotated[
        float | None, typer.Option("--temperature", min=0, max=10, help="0 always takes the likeliest token.")
    ] = None,
    top_k: Annotated[int | None, typer.Option("--top-k", min=0, help="Sample among the k likeliest; 0 is all.")] = None,
    top_p: Annotated[
        float | None, typer.Option("--top-p", min=0.0, max=1, help="Sample among the likeliest that hold this share.")
    ] = None,
    min_p: Annotated[
        float, typer.Option("--min-p", min=0.0, max=1, help="Leave out tokens below this share of the likeliest.")
    ] = 0.0,
    repetition_penalty: Annotated[
        float, typer.Option("--repetition-penalty", min=0.1, max=10, help="Above 1: fewer repetitions.")
    ] = 1.0,
    stop: Annotated[
        list[str] | None, typer.Option("--stop", help="Text that ends the answer; may be repeated.")
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Continue a prompt, streaming."""
    import mythos

    loaded = mythos.load(locate_checkpoint(checkpoint, runs))
    stream = mythos.generate(
        loaded,
        prompt,
        max_tokens=max_tokens,
        temperature=temperature,
        top_k=top_k,
        top_p=top_p,
        min_p=min_p,
        repetition_penalty=repetition_penalty,
        stop=stop or (),
        loops=loops,
        exit=exit,
        seed=seed,
    )
    if not as_json:
        for token in stream:
            print(safe(token.text), end="", flush=True)
        print()
        return
    tokens = list(stream)
    counts = [token.loops for token in tokens]
    print_json(
        {
            "checkpoint": str(loaded.path),
            "prompt": prompt,
            "text": "".join(token.text for token in tokens),
            "tokens": [
                {"id": t.id, "text": t.text, "loops": t.loops, "probability": t.probability, "entropy": t.entropy}
                for t in tokens
            ],
            "mean_loops": sum(counts) / len(counts) if counts else None,
            "reason": stream.reason,
        }
    )


def trace(
    checkpoint: CheckpointPath,
    text: Annotated[str, typer.Option("--text", help="Text to run through the model.")],
    out: Annotated[Path | None, typer.Option("--out", help="File to write, .npz.")] = None,
    loops: Loops = None,
    exit: Exit = None,
    lens: Annotated[bool, typer.Option("--lens", help="Print what every loop or layer would say comes next.")] = False,
    top: Annotated[int, typer.Option("--top", min=1, max=1024, help="Candidates per read-out.")] = 8,
    sweep: Annotated[bool, typer.Option("--sweep", help="Also the loss of the text at every number of loops.")] = False,
    attention: Annotated[
        str | None,
        typer.Option("--attention", metavar="ROW:HEAD", help="Also what a head attends to, as in 'loop 2:1'."),
    ] = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Run a text through the model and show or save what happened inside: loops, halting, lens, attention, routes, loss."""
    import mythos

    loaded = mythos.load(locate_checkpoint(checkpoint, runs))
    result = mythos.trace(loaded, text, loops=loops, exit=exit, top=top)
    more = _more(loaded, result, text, loops, sweep, attention)
    if out is not None:
        result.save(out, **more)
    by_depth = [_mean_loss(row) for row in more["depth_loss"]] if sweep else None
    facts = {
        "file": None if out is None else str(out),
        "checkpoint": str(loaded.path),
        "tokens": len(result.tokens),
        "mean_loops": float(result.loops.mean()),
        "loss": _mean_loss(result.token_loss),
        "exit": result.exit,
        "attention_rows": list(result.attention_rows),
        "depth_loss": by_depth,
    }
    if as_json:
        print_json(facts)
        return
    (_print_lens if lens else _print_loops)(result)
    for depth, loss in enumerate(by_depth or (), 1):
        print(f"{depth:>3} loops  {loss:.4f} nats")
    if attention is not None:
        _print_pattern(result, more["attention_pattern"])
    where = f" → {safe(str(out))}" if out is not None else ""
    print(f"{counted(len(result.tokens), 'token')}, {facts['mean_loops']:.2f} loops each, exit {facts['exit']}{where}")


def _more(
    loaded: Checkpoint, result: Trace, text: str, loops: int | None, sweep: bool, attention: str | None
) -> dict[str, np.ndarray]:
    """The arrays that are asked for beside the trace."""
    from mythos.inspect.ondemand import attention_pattern, depth_losses

    found = {"depth_loss": depth_losses(loaded, text)} if sweep else {}
    if attention is not None:
        row, head = _row_and_head(attention, list(result.attention_rows))
        how = {"taken": result.loops.tolist(), "stopped": result.stopped.tolist(), "loops": loops}
        found["attention_pattern"] = attention_pattern(loaded, text, row, head, **how).weights
    return found


def _row_and_head(spec: str, rows: list[str]) -> tuple[int, int]:
    """`loop 2:1` → the row of that name and head 1, from 0 each. Raises MythosError."""
    name, _, head = spec.rpartition(":")
    if name not in rows or not head.isdecimal() or int(head) < 1:
        hint = f"Give one of {', '.join(rows)}, a colon, and the head's number from 1."
        raise MythosError(f"--attention {spec!r} names no head.", hint)
    return rows.index(name), int(head) - 1


def _mean_loss(losses: np.ndarray) -> float:
    """Over all tokens but the first."""
    return float(losses[1:].mean()) if len(losses) > 1 else float("nan")


def _print_loops(result: Trace) -> None:
    for token, count in zip(result.tokens, result.loops, strict=True):
        print(f"{int(count):>3}  {'▇' * int(count)}  {safe(token)!r}")


def _print_lens(result: Trace, width: int = 16) -> None:
    """A line per token: the likeliest next token after each step, with its probability; › where it changed."""
    texts, name = result.text_of(), result.steps[0].partition(" ")[0]
    head = "".join(f"{f'{name} {number + 1}':<{width}}" for number in range(len(result.steps)))
    print(f"{'token':<{width}}{head}settled")
    for token, ids, p, settled in zip(result.tokens, result.lens_ids, result.lens_p, result.settled, strict=True):
        cells, last = "", ids[0, 0]
        for id, share in zip(ids[:, 0].tolist(), p[:, 0].tolist(), strict=True):
            told = "·" if id < 0 else f"{'›' if id != last else ' '}{_short(texts[id], width - 8)} {share:.2f}"
            cells, last = cells + f"{told:<{width}}", id
        print(f"{_short(token, width - 2):<{width}}{cells}{settled}")


def _print_pattern(result: Trace, weights: np.ndarray, most: int = 5) -> None:
    """A line per token: the positions it attends to most."""
    for token, row in zip(result.tokens, weights, strict=True):
        best = [at for at in (-row).argsort(kind="stable")[:most].tolist() if row[at] > 0]
        print(f"{_short(token, 14):<16}" + "  ".join(f"{_short(result.tokens[at], 10)} {row[at]:.2f}" for at in best))


def _short(text: str, width: int) -> str:
    """A token in so many columns, its white space made visible."""
    shown = safe(text).replace("\n", "⏎").replace("\t", "⇥").replace(" ", "·")
    return shown if len(shown) <= width else shown[: width - 1] + "…"
