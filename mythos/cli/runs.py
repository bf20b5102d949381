"""`mythos runs` and `mythos runs export`: what is there, and its metrics as a table for other programs."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterable, Iterator, Mapping
from enum import StrEnum
from pathlib import Path
from typing import Annotated, Any

import typer

from mythos.cli.options import DEFAULT_RUNS, Json, Runs, quantity, say
from mythos.cli.training import runs as list_all
from mythos.contract.errors import ConfigError, RunError
from mythos.contract.rundir import existing_run, is_stream, replacing, spoken
from mythos.contract.watch import JsonTail
from mythos.contract.words import counted

app = typer.Typer(help="List runs, newest first, with what their workers are doing.")
Columns = dict[str, list[float | None]]


class Format(StrEnum):
    """What a table is written as; the value is the file's suffix."""

    csv = "csv"
    parquet = "parquet"


@app.callback(invoke_without_command=True)
def runs(context: typer.Context, folder: Runs = DEFAULT_RUNS, as_json: Json = False) -> None:
    """List runs, newest first, with what their workers are doing."""
    command = context.invoked_subcommand
    if command is None:
        return list_all(folder, as_json)
    for option, name in (("--runs", "folder"), ("--json", "as_json")):
        source = context.get_parameter_source(name)
        if source and source.name == "COMMANDLINE":
            raise ConfigError(
                f"{option} before {command} says how runs are listed.",
                f"Options of {command} come after it: mythos runs {command} --help",
            )


@app.command()
def export(
    run: Annotated[str, typer.Argument(help="Name or directory of a run.")],
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="File to write; RUN-metrics.csv or .parquet if left out.")
    ] = None,
    as_csv: Annotated[bool, typer.Option("--csv", help="Text; a value that a step lacks is empty.")] = False,
    as_parquet: Annotated[bool, typer.Option("--parquet", help="Parquet; such a value is null.")] = False,
    force: Annotated[bool, typer.Option("--force", help="Replace the file if it exists.")] = False,
    runs: Runs = DEFAULT_RUNS,
) -> None:
    """Write all metrics of a run as a table: a row per logged step, a column per number. NaN and infinities stay."""
    paths = existing_run(runs, run)
    form = _format(file, as_csv, as_parquet)
    target = file or Path(f"{paths.name}-metrics.{form}")
    if target.exists() and not is_stream(target) and not force:
        raise ConfigError(f"{target} exists already.", "Name another file, or replace it with --force.")
    columns = table(whole_file(JsonTail(paths.metrics)))
    if not columns:
        raise RunError(f"{paths.name} has no metrics yet.", f"See what it is doing: mythos watch {spoken(paths)}")
    write_whole(target, lambda part: WRITERS[form](part, columns))
    if is_stream(target):  # which may be where this would be said
        return
    rows = len(next(iter(columns.values())))
    say(f"{target}: {counted(rows, 'step')}, {counted(len(columns), 'column')}, {quantity(target.stat().st_size, 'B')}")


def _format(file: Path | None, as_csv: bool, as_parquet: bool) -> Format:
    """The format that was asked for, or that of the file's name; CSV where nothing says. Raises ConfigError."""
    asked = {form for form, wanted in ((Format.csv, as_csv), (Format.parquet, as_parquet)) if wanted}
    named = {form for form in Format if file and file.suffix.lower() == f".{form}"}
    if len(asked) > 1:
        raise ConfigError("--csv and --parquet exclude each other.", "Choose one.")
    if file == Path("-"):
        raise ConfigError("- is no name of a file.", "For standard output: /dev/stdout --csv")
    if len(asked | named) > 1:
        raise ConfigError(f"--{asked.pop()} contradicts the name {file}.", "Leave it out, or name another file.")
    if file and not asked | named:
        raise ConfigError(f"{file} does not say what to write.", "Name it .csv or .parquet, or use --csv or --parquet.")
    return (asked | named or {Format.csv}).pop()


def whole_file(tail: JsonTail) -> list[dict[str, Any]]:
    """Every whole line there is now."""
    lines: list[dict[str, Any]] = []
    while more := tail.read_objects(1.0):
        lines += more
    return lines


def table(lines: Iterable[Mapping[str, Any]]) -> Columns:
    """Columns of equal length over all numbers of all lines, in the order of their first appearance; None where a line has none.

    Parts are `loss_parts.ponder`, elements of vectors `state_norm.0`. Where a resumed run went over steps again, the later
    lines count.
    """
    rows: list[dict[str, float]] = []
    for line in lines:
        row = dict(_numbers(line))
        if "step" in row:
            while rows and rows[-1]["step"] >= row["step"]:
                rows.pop()
            rows.append(row)
    names = dict.fromkeys(name for row in rows for name in row)
    return {name: [row.get(name) for row in rows] for name in names}


def _numbers(value: Any, name: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, Mapping | list):
        parts = value.items() if isinstance(value, Mapping) else enumerate(value)
        for key, part in parts:
            yield from _numbers(part, f"{name}.{key}" if name else str(key))
    elif isinstance(value, float) or (isinstance(value, int) and not isinstance(value, bool) and abs(value) < 2**63):
        yield name, value


def write_whole(target: Path, write: Callable[[Path], None]) -> None:
    """Let `write` make the file as `replacing` does. Raises ConfigError where the disk refuses."""
    try:
        with replacing(target) as part:
            write(part)
    except BrokenPipeError:
        raise
    except OSError as error:
        raise ConfigError(
            f"{target} cannot be written: {error.strerror or error}.", "Name a file in a folder you may write."
        ) from None


def _write_csv(path: Path, columns: Columns) -> None:
    with open(path, "w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file, lineterminator="\n")
        writer.writerow(columns)
        writer.writerows(zip(*columns.values(), strict=True))


def _write_parquet(path: Path, columns: Columns) -> None:
    import pyarrow
    from pyarrow import parquet

    def column(values: list[float | None]) -> Any:
        kind = pyarrow.float64() if any(isinstance(value, float) for value in values) else pyarrow.int64()
        return pyarrow.array(values, kind, from_pandas=False)

    with open(path, "wb") as file:  # which may be a pipe; given the path, Arrow would seek in it
        parquet.write_table(pyarrow.table({name: column(values) for name, values in columns.items()}), file)


WRITERS: dict[Format, Callable[[Path, Columns], None]] = {Format.csv: _write_csv, Format.parquet: _write_parquet}
