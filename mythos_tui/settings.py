"""What the workbench was started with, and what a person may set for every start."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any, ClassVar, Literal

from annotated_types import Ge, Le

PACKAGE_ROOT = Path(__file__).resolve().parent.parent
MIN_COLUMNS, MIN_ROWS = 60, 18


@dataclass(frozen=True)
class Context:
    """The folders that this workbench looks into."""

    runs: Path = Path("runs")
    configs: Path = Path("configs")
    checkpoints: Path = Path("checkpoints")
    imported: tuple[Path, ...] = ()


def default_folder(name: str) -> Path:
    """`./name` if it is there, else the one that came with the package."""
    here = Path(name)
    return here if here.is_dir() else PACKAGE_ROOT / name


def _told(help: str, allowed: str) -> dict[str, str]:
    """The meaning of a setting and, in words, what may stand there."""
    return {"help": help, "allowed": allowed}


_FOLDER = "a folder; `~` is your home, and a relative one counts from where the workbench is started"


@dataclass(frozen=True)
class Settings:
    """Everything that settings.yaml may hold. docs/settings.md is made from these fields."""

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    theme: str = field(
        default="mythos-dark",
        metadata=_told("Colours; `ctrl+t` chooses them and writes them here.", "the name of a theme"),
    )
    glyphs: Literal["auto", "braille", "block", "ascii"] = field(
        default="auto",
        metadata=_told(
            "Characters of charts and frames; `auto` looks at the locale and the terminal.",
            "auto, braille, block or ascii",
        ),
    )
    frames_per_second: Annotated[float, Ge(0.5), Le(20)] = field(
        default=4.0,
        metadata=_told("How often live charts, lists and log are drawn at most.", "a number from 0.5 to 20"),
    )
    runs: str | None = field(
        default=None, metadata=_told("Folder of the runs, by default `./runs`; `--runs` goes before it.", _FOLDER)
    )
    configs: str | None = field(
        default=None,
        metadata=_told(
            "Folder of the presets, by default `./configs`, else those that came along; `--configs` goes before it.",
            _FOLDER,
        ),
    )
    checkpoints: str | None = field(
        default=None,
        metadata=_told(
            "Folder of ready checkpoints, by default `./checkpoints`, else those that came along; `--checkpoints` goes "
            "before it.",
            _FOLDER,
        ),
    )
    imported: list[str] = field(
        default_factory=list,
        metadata=_told("More folders of checkpoints, such as `mythos import` writes.", "a list of folders"),
    )
    keys: dict[str, str | list[str]] = field(
        default_factory=dict,
        metadata=_told("Other keys for actions.", "lines of the form `action: key` or `action: [key, key]`"),
    )
