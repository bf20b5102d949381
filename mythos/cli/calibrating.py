"""`mythos calibrate`: fit the gate and the threshold of every exit rule, and make the best the checkpoint's default."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from mythos.cli.options import (
    DEFAULT_RUNS,
    CheckpointPath,
    Json,
    Rules,
    Runs,
    check_folder,
    check_rules,
    chosen_rules,
    locate_checkpoint,
    print_json,
    quantity,
    say,
)
from mythos.contract.errors import CheckpointError

if TYPE_CHECKING:
    from mythos.evals.calibration import Calibration


def calibrate(
    checkpoint: CheckpointPath,
    to: Annotated[
        Path | None, typer.Option("--to", metavar="DST", help="Write a new checkpoint and leave this one alone.")
    ] = None,
    target: Annotated[
        float, typer.Option("--target", min=0, help="Nats per token that stopping early may cost.")
    ] = 0.01,
    loops: Annotated[
        int | None, typer.Option("--loops", min=2, max=1024, help="Full depth; left out, that of chat.")
    ] = None,
    max_tokens: Annotated[int, typer.Option("--max-tokens", min=64, help="Held-out tokens, for both halves.")] = 8192,
    rules: Rules = "",
    own: Annotated[
        bool,
        typer.Option("--own", help="Gate: judge a token by its own prediction, not by what later ones see of it."),
    ] = False,
    runs: Runs = DEFAULT_RUNS,
    as_json: Json = False,
) -> None:
    """Choose when tokens may stop, on held-out text: what chat and generate then do by default.

    One half of the text fits the gate (a probe of the state) and chooses the threshold of every exit rule; the other
    measures loops and FLOPs saved, the rule's own cost included. With --own, loops follow how predictable a token is, at
    some more of them.
    """
    import mythos
    from mythos.checkpoint import check_target
    from mythos.cli.sweeping import Progress
    from mythos.evals.calibration import calibrate as measure
    from mythos.evals.checkpoint import own_documents, save_calibrated

    path = locate_checkpoint(checkpoint, runs)
    if to is None and (path / "state").is_dir():
        raise CheckpointError(
            f"{path} can still be trained on, and a changed model would not fit its state.",
            "Give --to DST for a calibrated copy without training state.",
        )
    if to is not None:
        check_folder(to.parent)
        check_target(to)
    only, progress = chosen_rules(rules), Progress()
    loaded = mythos.load(path)
    check_rules(only, loaded.model.config)
    documents, context = own_documents(loaded, max_tokens)
    depth = loops or loaded.config.infer.loops or None
    found = measure(
        loaded.model,
        documents,
        context,
        target,
        loops=depth,
        max_tokens=max_tokens,
        only=only,
        careful=not own,
        progress=progress,
    )
    written = save_calibrated(loaded, found, to or path)
    if as_json:
        print_json({"checkpoint": str(written), **facts(found)})
        return
    print_calibration(found)
    say(f"Wrote {written}: {found.default} is the default there.")


def facts(found: Calibration) -> dict[str, Any]:
    """For --json."""
    rules = {rule.exit: {**asdict(rule.point), "loss_added": rule.loss_added} for rule in found.rules}
    whole = {name: getattr(found, name) for name in ("target", "loops", "fitted_on", "tokens", "loss", "default")}
    return {**whole, "rules": rules}


def print_calibration(found: Calibration) -> None:
    """The rules as a table of 80 columns."""
    say(f"{found.fitted_on:,} tokens to choose on, {found.tokens:,} others measured here.")
    say(f"{found.loops} loops for every token: {found.loss:.4f} nats per token. May be lost: {found.target:g}.")
    print(f"\n{'exit rule':<22}{'loops':>6}{'nats lost':>11}{'top-1':>8}{'FLOPs':>9}  saved: loops  FLOPs")
    for rule in found.rules:
        point = rule.point
        print(
            f"{rule.title:<22}{point.mean_loops:>6.2f}{rule.loss_added:>+11.4f}{point.accuracy:>8.1%}"
            f"{quantity(point.flops):>9}{point.loops_saved:>14.0%}{point.flops_saved:>7.0%}"
        )
    print()
