"""The command tree."""

from __future__ import annotations

import typer

from mythos.cli import evaluating, importing, inspecting, models, training, watching

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

for name, function in {
    "train": training.train,
    "runs": training.runs,
    "watch": watching.watch,
    "generate": inspecting.generate,
    "trace": inspecting.trace,
    "eval": evaluating.evaluate,
    "budget": models.budget,
    "config": models.config,
    "export": models.export,
}.items():
    app.command(name)(function)  # type: ignore[type-var]
for name, help in training.CONTROL_HELP.items():
    app.command(name, help=help)(training.control_command(name))
data.command("prepare")(models.prepare)
foreign.command("openmythos")(importing.openmythos)
