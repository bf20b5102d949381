"""`mythos budget` and `config`: what a configuration means."""

from __future__ import annotations

from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic import BaseModel

from mythos.cli.options import DEFAULT_RUNS, Json, Overrides, Runs, duration, print_json, quantity
from mythos.contract.config import Config
from mythos.contract.load import load_config
from mythos.contract.machine import Machine, known_machine

ConfigPath = Annotated[Path, typer.Argument(metavar="CONFIG", help="A YAML configuration.")]


def budget(config: ConfigPath, overrides: Overrides = None, runs: Runs = DEFAULT_RUNS, as_json: Json = False) -> None:
    """Parameters, FLOPs, cache, memory and time of a configuration, by formula; nothing is built."""
    from mythos.contract.budget import CHINCHILLA
    from mythos.contract.budget import budget as compute

    loaded = load_config(config, overrides or [])
    machine = known_machine(runs, loaded.model.family)
    cost = compute(loaded, machine.precision_of(loaded)) if machine else compute(loaded)
    if as_json:
        print_json({**cost.to_dict(), "expected": machine and _expected(machine, loaded)})
        return
    p = cost.parameters
    there = f" of {quantity(machine.memory_bytes, 'B')} here" if machine and machine.memory_bytes else ""
    rows = [
        ("parameters", f"{p.total:,}"),
        ("  active per token", f"{p.active:,}"),
        ("  embedding and head", f"{p.embedding:,}"),
        ("  prelude / loop / coda", f"{p.prelude:,} / {p.recurrent:,} / {p.coda:,}")
        if p.recurrent
        else ("  blocks", f"{p.prelude:,}"),
        ("loops", f"{cost.loops}"),
        ("FLOPs per token, forward", quantity(cost.flops_forward)),
        ("FLOPs per token, training", quantity(cost.flops_training)),
        ("cache per token (fp32)", quantity(cost.kv_bytes, "B")),
        ("memory to train, estimate", quantity(cost.training_bytes, "B") + there),
        ("tokens of the run", f"{quantity(cost.tokens)} = {cost.tokens_per_parameter:.3g} per parameter"),
        ("  of Chinchilla's optimum", f"{cost.tokens_per_parameter / CHINCHILLA:.3g} times"),
        ("FLOPs of the run", quantity(cost.tokens * cost.flops_training)),
    ]
    if machine:
        speed = f"{quantity(machine.tokens_per_s(loaded), 'tokens/s')}, {duration(machine.seconds(loaded))} in all"
        rows.append((f"expected, as in {machine.run}", speed))
    for name, value in rows:
        print(f"{name:<28}{value}")


def _expected(machine: Machine, config: Config) -> dict[str, Any]:
    return {**asdict(machine), "tokens_per_s": machine.tokens_per_s(config), "seconds": machine.seconds(config)}


def config() -> None:
    """List every key of a configuration: default, unit, bounds, meaning."""
    from mythos.contract.config import (
        AlertConfig,
        DataConfig,
        DenseConfig,
        InferConfig,
        ObjectiveConfig,
        RecurrentConfig,
        TrainConfig,
    )

    sections: list[tuple[str, str, type[BaseModel]]] = [
        ("model", " (family: recurrent)", RecurrentConfig),
        ("model", " (family: dense)", DenseConfig),
        ("data", "", DataConfig),
        ("train", "", TrainConfig),
        ("objective", "", ObjectiveConfig),
        ("infer", "", InferConfig),
        ("alerts", "", AlertConfig),
    ]
    for prefix, title, section in sections:
        print(f"{prefix}{title}: {(section.__doc__ or '').strip()}")
        for name, field in section.model_fields.items():
            print(f"  {prefix}.{name} = {field.default!r}  {_allowed(field)}\n      {field.description}")
        print()


def _allowed(field: Any) -> str:
    """`1 … 64 tokens`, or the choices."""
    if get_origin(field.annotation) is Literal:
        return "one of " + ", ".join(map(str, get_args(field.annotation)))
    bounds: dict[str, Any] = {}
    for item in field.metadata:
        for key in ("ge", "gt", "le", "lt"):
            if hasattr(item, key):
                bounds[key] = getattr(item, key)
    low = bounds.get("ge", bounds.get("gt"))
    high = bounds.get("le", bounds.get("lt"))
    unit = (field.json_schema_extra or {}).get("unit", "")
    return f"{low} … {high} {unit}".rstrip() if low is not None else ""
