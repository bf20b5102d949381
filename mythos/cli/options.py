"""Options that several commands share, and printing of results."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any

import typer

from mythos.contract.checkpoints import find_checkpoint
from mythos.contract.config import EXIT_RULES, DenseConfig, RecurrentConfig
from mythos.contract.errors import ConfigError
from mythos.contract.rundir import USUAL_RUNS

Runs = Annotated[Path, typer.Option("--runs", help="Folder of runs.", envvar="MYTHOS_RUNS")]
Json = Annotated[bool, typer.Option("--json", help="Print one JSON object.")]
Overrides = Annotated[
    list[str] | None,
    typer.Option("--set", metavar="KEY=VALUE", help="Override a key, such as train.steps=500; may be repeated."),
]
CheckpointPath = Annotated[
    str, typer.Argument(metavar="CHECKPOINT", help="A checkpoint directory, a run directory, or a run's name.")
]
Loops = Annotated[int | None, typer.Option("--loops", min=1, max=1024, help="Most loops per token.")]
Exit = Annotated[
    str | None,
    typer.Option("--exit", metavar="RULE", help="auto, act, fixed, gate:P, confidence:P, kl:EPS or state_delta:EPS."),
]
Rules = Annotated[str, typer.Option("--rules", metavar="RULE[,RULE]…", help="Exit rules to calibrate; empty is all.")]
DEFAULT_RUNS = USUAL_RUNS


def chosen_rules(rules: str) -> tuple[str, ...]:
    """Names of exit rules from `--rules`. Raises ConfigError for an unknown one."""
    chosen = tuple(rules.split(",")) if rules else ()
    if unknown := [rule for rule in chosen if rule not in EXIT_RULES]:
        raise ConfigError(f"--rules: there is no rule {unknown[0]!r}.", f"Choose from {', '.join(EXIT_RULES)}.")
    return chosen


def check_rules(rules: Sequence[str], model: DenseConfig | RecurrentConfig) -> None:
    """Raises ConfigError for a rule that calibration cannot try: ACT comes with training, a gate is fitted where there is none."""
    with_act = getattr(model, "halting", "none") == "act"
    takes = [rule for rule in EXIT_RULES if rule not in ("auto", "fixed", "gate" if with_act else "act")]
    if unfit := [rule for rule in rules if rule not in takes]:
        raise ConfigError(
            f"--rules: {unfit[0]!r} cannot be calibrated in this model.", f"Choose from {', '.join(takes)}."
        )


def check_folder(folder: Path) -> None:
    """Raises ConfigError where no folder can be made: before the work rather than after it."""
    there = next(path for path in (folder.absolute(), *folder.absolute().parents) if path.exists())
    if not there.is_dir():
        raise ConfigError(f"{there} is no folder, so nothing can be written into {folder}.", "Name another folder.")


def locate_checkpoint(name: str, runs: Path) -> Path:
    """A checkpoint by path, or the latest of the run of that name."""
    if not Path(name).exists() and (runs / name / "run.json").is_file():
        return find_checkpoint(runs / name)
    return find_checkpoint(name)


def print_json(value: Any) -> None:
    """One JSON object; NaN and infinities, which JSON lacks, become null."""
    print(json.dumps(_finite(value), indent=2, default=str))


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, dict):
        return {key: _finite(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(item) for item in value]
    return value


def quantity(value: float, unit: str = "") -> str:
    """1234567 → '1.23M'."""
    for power, letter in ((21, "Z"), (18, "E"), (15, "P"), (12, "T"), (9, "G"), (6, "M"), (3, "k")):
        factor = 10.0**power
        if abs(value) >= factor * 0.9995:
            return f"{value / factor:.3g} {letter}{unit}"
    return f"{value:.3g} {unit}".rstrip()


def duration(seconds: float | None) -> str:
    """95 → '1m35s'; None → '–'."""
    if seconds is None:
        return "–"
    whole = int(seconds)
    hours, rest = divmod(whole, 3600)
    minutes, last = divmod(rest, 60)
    return f"{hours}h{minutes:02d}m" if hours else f"{minutes}m{last:02d}s" if minutes else f"{last}s"


def safe(text: str) -> str:
    """Text of a model or of a file for a terminal: control characters are shown, never obeyed."""
    if text.isprintable():
        return text
    return "".join(c if c.isprintable() or c in "\n\t" else f"\\x{ord(c):02x}" for c in text)


def say(*parts: object) -> None:
    """Print a line made of facts from files."""
    print(safe(" ".join(map(str, parts))), flush=True)
