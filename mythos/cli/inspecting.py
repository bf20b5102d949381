"""`mythos generate` and `trace`: what a checkpoint says, and how it gets there."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

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


def generate(
    checkpoint: CheckpointPath,
    prompt: Annotated[str, typer.Option("--prompt", help="Text to continue.")],
    loops: Loops = None,
    exit: Exit = None,
    seed: Annotated[
        int | None, typer.Option("--seed", min=0, help="Seed of sampling; left out, every call differs.")
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
    out: Annotated[Path, typer.Option("--out", help="File to write, .npz.")],
    loops: Loops = None,
    exit: Exit = None,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Run a text through the model and save what happened inside: loops, halting, attention entropy, routes, loss."""
    import mythos

    loaded = mythos.load(locate_checkpoint(checkpoint, runs))
    result = mythos.trace(loaded, text, loops=loops, exit=exit)
    result.save(out)
    facts = {
        "file": str(out),
        "checkpoint": str(loaded.path),
        "tokens": len(result.tokens),
        "mean_loops": float(result.loops.mean()),
        "exit": result.exit,
        "attention_rows": list(result.attention_rows),
    }
    if as_json:
        print_json(facts)
        return
    for token, count in zip(result.tokens, result.loops, strict=True):
        print(f"{int(count):>3}  {'▇' * int(count)}  {safe(token)!r}")
    print(f"{facts['tokens']} tokens, {facts['mean_loops']:.2f} loops each, exit {facts['exit']} → {out}")
