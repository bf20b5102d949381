"""`mythos eval`: how well a checkpoint predicts held-out text, any other text, or the answers of lm-eval's tasks."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mythos.cli.options import DEFAULT_RUNS, CheckpointPath, Exit, Json, Runs, locate_checkpoint, print_json, say
from mythos.contract.errors import ConfigError
from mythos.contract.words import counted

if TYPE_CHECKING:
    from mythos.checkpoint import Checkpoint
    from mythos.contract.config import SourceConfig

DATASET_TOKENS = 1 << 20
"""Tokens of a dataset that are scored unless told otherwise: some have more than anybody waits for."""
HELD_OUT = "the checkpoint's held-out text"
TEXT_OPTIONS = ("--max-tokens", "--text-key", "--context", "--stride")
TAKES = {
    "--tasks": ("--context", "--limit", "--few-shot"),
    "--dataset": TEXT_OPTIONS,
    "--text": TEXT_OPTIONS,
    HELD_OUT: ("--max-tokens", "--tenths"),
}
"""What can be evaluated on, and the options that go with it, besides --loops and --exit."""


def evaluate(
    checkpoint: CheckpointPath,
    loops: Annotated[
        str | None,
        typer.Option(
            "--loops", metavar="N[,N]…", help="Most loops per token; several, as in 1,2,4,8, are a sweep over depth."
        ),
    ] = None,
    exit: Exit = None,
    max_tokens: Annotated[
        int | None,
        typer.Option(
            "--max-tokens",
            min=0,
            help="Stop after so many tokens; 0 is all. Left out: all, of a dataset 1,048,576, in a sweep 16,384.",
        ),
    ] = None,
    text: Annotated[
        list[str] | None,
        typer.Option("--text", metavar="PATH", help="File or folder to score instead; may be repeated."),
    ] = None,
    dataset: Annotated[
        str | None,
        typer.Option(
            "--dataset", metavar="NAME[:SUBSET[:SPLIT]]", help="Dataset of the hub, or a folder, to score instead."
        ),
    ] = None,
    text_key: Annotated[
        str | None, typer.Option("--text-key", help="Key or column that holds the text; left out, text.")
    ] = None,
    context: Annotated[
        int | None,
        typer.Option("--context", min=2, help="Tokens per window; left out, as in training (--tasks: all it has)."),
    ] = None,
    stride: Annotated[
        int | None, typer.Option("--stride", min=1, help="Tokens between windows; left out, windows do not overlap.")
    ] = None,
    tasks: Annotated[
        str | None,
        typer.Option("--tasks", metavar="TASK[,TASK]…", help="Tasks of lm-eval, or YAML files in its format."),
    ] = None,
    limit: Annotated[int | None, typer.Option("--limit", min=1, help="Examples per task; left out, all.")] = None,
    few_shot: Annotated[
        int | None, typer.Option("--few-shot", min=0, help="Worked examples before each; left out, as the task says.")
    ] = None,
    by_tenths: Annotated[
        bool,
        typer.Option("--tenths", help="Loops of the most predictable to the hardest tenth, by the exit rule of chat."),
    ] = False,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Loss and bits per byte on the held-out documents of the checkpoint's corpus, beside a bigram model and gzip.

    With --text or --dataset: on that text. With --tasks: accuracy on tasks of lm-eval. With several loop counts: loss
    over depth with a fit, and every exit rule over its thresholds.
    """
    if tasks is not None:
        os.environ.setdefault("TQDM_DISABLE", "1")  # read at tqdm's first import; lm-eval draws a bar for every task
    import mythos
    from mythos.evals.depth import parse_loops

    given = {"--text": text, "--dataset": dataset, "--tasks": tasks, "--max-tokens": max_tokens, "--text-key": text_key}
    given |= {"--tenths": by_tenths or None}
    given |= {"--context": context, "--stride": stride, "--limit": limit, "--few-shot": few_shot}
    counts = parse_loops(loops) if loops is not None else ()
    check_together(given, sweep=len(counts) > 1)
    loaded = mythos.load(locate_checkpoint(checkpoint, runs))
    settings = {"loops": counts[0] if counts else None, "exit": exit or "auto"}
    if tasks is not None:
        on_tasks(loaded, tasks, as_json, limit=limit, few_shot=few_shot, context=context, **settings)
        return
    source = source_of(text, dataset, text_key)
    if dataset and max_tokens is None and len(counts) < 2:
        max_tokens = DATASET_TOKENS
    if by_tenths:
        on_tenths(loaded, counts[0] if counts else None, exit, max_tokens, as_json)
    elif len(counts) > 1:
        from mythos.cli.sweeping import run_sweep

        run_sweep(loaded, counts, exit, max_tokens, as_json, source, context)
    elif source:
        on_text(loaded, source, as_json, context=context, stride=stride, max_tokens=max_tokens or None, **settings)
    else:
        on_held_out(loaded, as_json, max_tokens=max_tokens or None, **settings)


def check_together(given: Mapping[str, Any], sweep: bool) -> None:
    """Tell before any work which options do not go together. Raises ConfigError."""
    named = [name for name, value in given.items() if value not in (None, [])]
    kind = next((kind for kind in TAKES if kind in named), HELD_OUT)
    if sweep and kind == "--tasks":
        raise ConfigError("--tasks takes one loop count.", "Give --loops one number, and evaluate again for others.")
    takes = [name for name in TAKES[kind] if not (sweep and name in ("--stride", "--tenths"))]
    for name in named:
        if name not in (kind, *takes):
            what = f"a sweep over depth of {kind}" if sweep else kind
            raise ConfigError(f"{name} does not go with {what}.", f"What goes with it: {', '.join(takes)}.")


def source_of(text: list[str] | None, dataset: str | None, text_key: str | None) -> SourceConfig | None:
    """Where the text is; None for the checkpoint's own corpus. Raises ConfigError."""
    from mythos.contract.config import SourceConfig

    key = text_key or "text"
    if text:
        return SourceConfig(source="files", paths=tuple(text), text_key=key)
    if dataset is None:
        return None
    name, _, rest = dataset.partition(":")
    subset, _, split = rest.partition(":")
    if not name:
        raise ConfigError("--dataset needs a name.", "For example: Salesforce/wikitext:wikitext-2-raw-v1:test.")
    return SourceConfig(source="hf", dataset=name, subset=subset, dataset_split=split or "train", text_key=key)


def on_held_out(checkpoint: Checkpoint, as_json: bool, **settings: Any) -> None:
    """Evaluate on the checkpoint's own held-out documents and print."""
    from mythos.evals.bits import perplexity
    from mythos.evals.checkpoint import evaluate_checkpoint

    result = evaluate_checkpoint(checkpoint, **settings)
    result["perplexity"] = perplexity(result["loss"])
    if as_json:
        print_json({"checkpoint": str(checkpoint.path), **result})
        return
    packed = result["gzip_bits_per_byte"]
    print_rows(
        ("held-out documents", f"{result['documents']:,}"),
        *shared_rows(result),
        ("  a bigram model", f"{result['bigram_bits_per_byte']:.4f}"),
        *([] if packed is None else [("  gzip -9 per file", f"{packed:.4f}")]),
    )


def on_text(checkpoint: Checkpoint, source: SourceConfig, as_json: bool, **settings: Any) -> None:
    """Evaluate on the text of a source and print."""
    from mythos.cli.sweeping import Progress
    from mythos.evals.text import evaluate_text

    result = evaluate_text(checkpoint, source, progress=Progress(), **settings)
    if as_json:
        print_json({"checkpoint": str(checkpoint.path), **result})
        return
    print_rows(
        ("documents", f"{result['documents']:,}"),
        ("bytes", f"{result['bytes']:,}"),
        ("windows", f"{result['context']:,} tokens, one every {result['stride']:,}"),
        *shared_rows(result),
        ("accuracy", f"{result['accuracy']:.2%}"),
    )
    if result["skipped"]:
        say(result["summary"])


def on_tenths(
    checkpoint: Checkpoint, loops: int | None, exit: str | None, max_tokens: int | None, as_json: bool
) -> None:
    """Loops in tenths of the held-out tokens, by the checkpoint's own exit rule and loops unless others are asked for."""
    from mythos.evals.bits import scored_pairs
    from mythos.evals.checkpoint import own_documents
    from mythos.evals.tenths import PARTS, tenths
    from mythos.infer.exits import make_exit

    infer = checkpoint.config.infer
    documents, context = own_documents(checkpoint, max_tokens or None)
    if (scored := sum(len(after) for _, after in scored_pairs(documents, context))) < PARTS:
        raise ConfigError(
            f"{counted(scored, 'token')} cannot be sorted into tenths.", "Give more --max-tokens, or leave it out."
        )
    spec, most = exit or infer.exit, loops or infer.loops or None
    found = tenths(checkpoint.model, documents, context, most, make_exit(spec, checkpoint.config.model))
    if as_json:
        facts = {"tokens": found.tokens, "exit": spec, "loss": found.losses, "loops": found.loops, "ratio": found.ratio}
        print_json({"checkpoint": str(checkpoint.path), **facts})
        return
    say(f"{found.tokens:,} held-out tokens, exit rule {spec}.")
    print(f"\n{'tenth':>5}{'nats':>9}{'loops':>8}")
    for number, (loss, ran) in enumerate(zip(found.losses, found.loops, strict=True), 1):
        print(f"{number:>5}{loss:>9.4f}{ran:>8.2f}")
    print(f"\nThe hardest tenth runs {found.ratio:.2f} times the loops of the easiest.")


def shared_rows(result: Mapping[str, Any]) -> list[tuple[str, str]]:
    """What is told of every text."""
    return [
        ("tokens scored", f"{result['tokens']:,}"),
        ("mean loops", f"{result['mean_loops']:.2f}"),
        ("loss", f"{result['loss']:.4f} nats/token"),
        ("perplexity", f"{result['perplexity']:.4g} per token"),
        ("bits per byte", f"{result['bits_per_byte']:.4f}"),
    ]


def on_tasks(checkpoint: Checkpoint, tasks: str, as_json: bool, **settings: Any) -> None:
    """Run tasks of lm-eval and print their metrics."""
    from mythos.evals.harness import evaluate_tasks

    names = [task.strip() for task in tasks.split(",") if task.strip()]
    if not names:
        raise ConfigError("--tasks names no task.", "For example: lambada_openai,hellaswag.")
    result = evaluate_tasks(checkpoint, names, progress=told_in_tenths(), **settings)
    if as_json:
        print_json({"checkpoint": str(checkpoint.path), **result})
        return
    print(f"{'task':<28}{'examples':>9}{'shots':>6}  {'metric':<18}{'value':>9}{'±':>8}")
    for name, facts in result["tasks"].items():
        print_metrics(f"{name:<28}{number(facts['samples']):>9}{number(facts['few_shot']):>6}", facts["metrics"])
    for name, metrics in result["groups"].items():
        print_metrics(f"{name + ' (group)':<43}", metrics)
    print(f"{result['mean_loops']:.2f} loops per token; prompts of at most {result['context']:,} tokens.")


def told_in_tenths() -> Callable[[int, int], None]:
    """Progress of tasks on stderr: at most ten lines for every kind of prompt."""
    from mythos.cli.sweeping import Progress

    tell, told = Progress(), 0

    def progress(done: int, total: int) -> None:
        nonlocal told
        if told != (told := done * 10 // total):
            tell(f"{done:,} of {total:,} prompts")

    return progress


def print_metrics(name: str, metrics: Mapping[str, Any]) -> None:
    """A line per metric, the name before the first."""
    for metric, found in metrics.items():
        say(f"{name:<43}  {metric:<18}{number(found['value']):>9}{number(found['stderr']):>8}".rstrip())
        name = ""


def number(value: Any) -> str:
    """For a column: four digits of a measurement, all of a count, nothing for what is not there."""
    return f"{value:.4g}" if isinstance(value, float) else "" if value is None else f"{value}"


def print_rows(*rows: tuple[str, str]) -> None:
    """Names and values in two columns."""
    for name, value in rows:
        print(f"{name:<22}{value}")
