"""The command tree."""

from __future__ import annotations

import typer

from mythos.cli import (
    asking,
    calibrating,
    doctor,
    evaluating,
    exporting,
    importing,
    inspecting,
    launching,
    machine,
    models,
    runs,
    scaling,
    studying,
    training,
    watching,
)
from mythos.cli import data as text

app = typer.Typer(
    name="mythos",
    help="Train and study small language models, above all recurrent-depth transformers.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    add_completion=False,
    rich_markup_mode=None,
)
data = typer.Typer(help="Prepare text for training.", no_args_is_help=True)
app.add_typer(data, name="data")
foreign = typer.Typer(help="Make a checkpoint of foreign weights.", no_args_is_help=True)
app.add_typer(foreign, name="import")
shipped = typer.Typer(help="Write a checkpoint for shipping or for other programs.", no_args_is_help=True)
app.add_typer(shipped, name="export")
app.add_typer(runs.app, name="runs")
cluster = typer.Typer(help="Train on several machines.", no_args_is_help=True)
app.add_typer(cluster, name="launch")
laws = typer.Typer(help="Scaling laws of trained runs, and what a budget should buy.", no_args_is_help=True)
app.add_typer(laws, name="scaling")
study = typer.Typer(help="Whether depth means something, measured over seeds.", no_args_is_help=True)
app.add_typer(study, name="study")

for name, function in {
    "train": training.train,
    "fork": training.fork,
    "watch": watching.watch,
    "doctor": doctor.doctor,
    "generate": inspecting.generate,
    "trace": inspecting.trace,
    "eval": evaluating.evaluate,
    "calibrate": calibrating.calibrate,
    "budget": models.budget,
    "machine": machine.machine,
    "config": models.config,
}.items():
    app.command(name)(function)  # type: ignore[type-var]
for name, help in training.CONTROL_HELP.items():
    app.command(name, help=help)(training.control_command(name))
data.command("prepare")(text.prepare)
data.command("report")(text.report)
foreign.command("openmythos")(importing.openmythos)
foreign.command("mythos-seed")(importing.mythos_seed)
foreign.command("hf")(importing.hf)
shipped.command("mythos")(exporting.mythos)
shipped.command("hf")(exporting.hf)
shipped.command("gguf")(exporting.gguf)
study.command("halting")(studying.halting)
study.command("extrapolation")(studying.extrapolation)
study.command("objectives")(studying.objectives)
study.command("ask")(asking.ask)
laws.command("fit")(scaling.fit)
laws.command("plan")(scaling.plan)
cluster.command("slurm")(launching.slurm)
cluster.command("node")(launching.node)
