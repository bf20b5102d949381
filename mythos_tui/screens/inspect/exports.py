"""What is shown, as files: the whole trace as .npz, a view as SVG or as a Markdown table."""

from __future__ import annotations

import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from rich.console import Console
from rich.segment import Segment, Segments
from textual.strip import Strip

from mythos_tui.screens.inspect.following import run_of
from mythos_tui.screens.inspect.tables import TABLES, Look
from mythos_tui.screens.inspect.trace import Trace
from mythos_tui.widgets.axis import compact
from mythos_tui.widgets.text import visible
from mythos_tui.workers.inference import Said

KEYS = re.compile(r"( \((v|, \.|< >)\)|; , \.| · (enter|z) .*)")
"""What an explanation says of keys, which a file has none of."""


@dataclass(frozen=True)
class Source:
    """What a trace is of: a checkpoint at a step of training, a text, and the settings of depth."""

    path: Path
    text: str
    loops: int
    exit: str
    family: str = ""
    step: int = 0
    said: Said | None = None

    @property
    def asked(self) -> dict[str, Any]:
        """The text as the worker takes it: where this checkpoint said it, in the very tokens that it was said in."""
        if self.said is not None and (self.said.checkpoint, self.said.text) == (self.path, self.text):
            return {"text": self.said.read, "then": self.said.then}
        return {"text": self.text}

    @property
    def name(self) -> str:
        """The checkpoint's name, after that of its run."""
        run = run_of(self.path)
        return self.path.name if run in (None, self.path) else f"{run.name}/{self.path.name}"

    @property
    def title(self) -> str:
        """The checkpoint in a few words."""
        return f"{self.name} · step {self.step:,}"


def save_npz(path: Path, trace: Trace, source: Source) -> None:
    """The arrays under the names that `mythos trace` writes, in six significant digits; `numpy.load` needs no pickle."""
    lens, ids = trace.lens, sorted(trace.lens.texts)
    arrays = {
        "family": np.array(source.family),
        "tokens": np.array([token.replace("\0", "␀") for token in trace.tokens]),
        "ids": trace.ids,
        "loops": trace.loops,
        "stopped": trace.stopped,
        "exit": np.array(trace.exit),
        "signal_name": np.array(trace.signal_name),
        "attention_rows": np.array(trace.rows),
        "experts": np.array(trace.experts),
        "routes": trace.routes,
        "steps": np.array(trace.steps),
        "lens_ids": lens.ids,
        "next_rank": lens.rank,
        "settled": lens.settled,
        "text_ids": np.array(ids, dtype=np.int64),
        "texts": np.array([lens.texts[one].replace("\0", "␀") for one in ids]),
    }
    numbers = {
        "exit_signal": trace.signal,
        "attention_entropy": trace.entropy,
        "attention_max": trace.most_entropy,
        "token_loss": trace.loss,
        "gates": trace.gates,
        "state_norm": trace.norm,
        "step_size": trace.change,
        "lens_p": lens.p,
        "lens_entropy": lens.entropy,
        "lens_kl": lens.kl,
        "next_p": lens.came,
    }
    with path.open("wb") as file:
        np.savez(file, **arrays, **{name: values.astype(np.float32) for name, values in numbers.items()})  # type: ignore[arg-type]


def save_svg(path: Path, lines: Sequence[Strip], width: int, title: str) -> None:
    """Lines of a widget as a picture."""
    console = Console(
        width=width,
        file=io.StringIO(),
        record=True,
        force_terminal=True,
        color_system="truecolor",
        legacy_windows=False,
    )
    console.print(Segments([segment for line in lines for segment in (*line, Segment.line())]), end="", soft_wrap=True)
    path.write_text(console.export_svg(title=title), encoding="utf-8")


def save_markdown(path: Path, view: str, title: str, look: Look, source: Source, explanation: str) -> None:
    """A view as a table that Markdown shows, with what it is of."""
    path.write_text(markdown(view, title, look, source, explanation), encoding="utf-8")


def markdown(view: str, title: str, look: Look, source: Source, explanation: str) -> str:
    """The text of `save_markdown`."""
    table = TABLES[view](look)
    head = [table.row_name, *(f"{table.col_name} {col}".strip() for col in table.cols)]
    if table.notes:
        head.insert(1, "loops")
    lines = [
        f"# {title}",
        "",
        f"{_escaped(source.title)} · exit {_escaped(look.trace.exit)}" + (f" · {table.unit}" if table.unit else ""),
        "",
        _escaped(KEYS.sub("", explanation).replace("colour:", "number:")),
        "",
        "| " + " | ".join(map(_escaped, head)) + " |",
        "|" + "---|" * len(head),
    ]
    for row, name in enumerate(table.rows):
        cells = [_code(name), *([table.notes[row].strip()] if table.notes else [])]
        for col in range(len(table.cols)):
            value = float(table.values[row, col])
            number = "" if math.isnan(value) else compact(value, 4)
            told = table.texts(row, col).strip() if table.texts and number else ""
            cells.append(f"{_code(told)} {number}" if told else number)
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join([*lines, "", "Text:", "", *("    " + visible(line) for line in source.text.splitlines()), ""])


def _code(text: str) -> str:
    """A token as code, whatever it holds."""
    shown = visible(text, spaces=True).replace("|", "\\|")
    fence = "``" if "`" in shown else "`"
    pad = " " if "`" in shown else ""
    return f"{fence}{pad}{shown}{pad}{fence}" if shown else ""


def _escaped(text: str) -> str:
    return visible(text).replace("|", "\\|").replace("<", "&lt;").replace("_", "\\_").replace("*", "\\*")


def file_name(view: str, source: Source, ending: str) -> str:
    """A name that tells what it is of, without anything that a file name must not hold."""
    stem = f"mythos-{source.name}-{view}"
    safe = "".join(char if char.isalnum() or char in "-_." else "-" for char in stem)
    return f"{safe}.{ending}"


def free(folder: Path, name: str) -> Path:
    """A path in the folder that is not taken yet: the name, or with a number."""
    path = folder / name
    stem, ending = path.stem, path.suffix
    number = 2
    while path.exists():
        path, number = folder / f"{stem}-{number}{ending}", number + 1
    return path
