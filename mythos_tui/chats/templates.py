"""How a conversation becomes the one text that a base model continues. A few that came along, and a person's own."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import yaml
from pydantic import TypeAdapter, ValidationError

from mythos_tui.settings_file import settings_path


@dataclass(frozen=True)
class Parts:
    """The text to continue, in the pieces that `Generate` takes."""

    head: str
    history: tuple[str, ...]
    prompt: str


@dataclass(frozen=True)
class Template:
    """`turn` is what stands for a message of yours, with {text} in it; the answer follows it directly, then `after`.

    `head` opens the text where a system text is given, with {system} in it; "" takes none. With `history` everything said
    before is read again. `stop` lists texts that end an answer.
    """

    __pydantic_config__: ClassVar[dict[str, Any]] = {"extra": "forbid"}

    name: str
    about: str
    turn: str = "{text}"
    head: str = ""
    after: str = ""
    history: bool = False
    stop: tuple[str, ...] = ()

    @property
    def takes_system(self) -> bool:
        return bool(self.head)

    def render(self, system: str, past: Iterable[tuple[str, str]], text: str) -> Parts:
        """For a new message `text` after `past`, pairs of message and answer."""
        head = self.head.replace("{system}", system) if system.strip() else ""
        before = tuple(self._turn(said) + answer + self.after for said, answer in past) if self.history else ()
        return Parts(head, before, self._turn(text))

    def _turn(self, text: str) -> str:
        return self.turn.replace("{text}", text)


BUILT_IN = (
    Template("plain", "The model goes on from your text. Nothing said before is read."),
    Template("document", "One growing text: all that was said before, then yours; the model goes on.", history=True),
    Template("code", "Your text as a Python comment; the model goes on below it.", turn="# {text}\n"),
    Template(
        "chat",
        "Lines of a User and an Assistant. A base model only imitates such a talk.",
        head="{system}\n\n",
        turn="User: {text}\nAssistant:",
        after="\n",
        history=True,
        stop=("\nUser:",),
    ),
    Template(
        "question",
        "Questions and answers, each after Q: and A:, those before included.",
        head="{system}\n\n",
        turn="Q: {text}\nA:",
        after="\n\n",
        history=True,
        stop=("\nQ:",),
    ),
)


def templates_folder() -> Path:
    """`templates` beside settings.yaml."""
    return settings_path().with_name("templates")


def load_templates(folder: Path | None = None) -> tuple[dict[str, Template], list[str]]:
    """Those that came along and every *.yaml of the folder, by name; and a sentence for each file that has a fault."""
    found, faults = {one.name: one for one in BUILT_IN}, []
    for path in sorted((folder or templates_folder()).glob("*.yaml")):
        try:
            one = read_template(path)
            found[one.name] = one
        except (OSError, ValueError, yaml.YAMLError) as error:
            faults.append(f"{path} is left out: {' '.join(str(error).split())}")
    return found, faults


def read_template(path: Path) -> Template:
    """A template from YAML, named after its file. Raises OSError, ValueError or YAMLError saying what is wrong."""
    values = yaml.safe_load(path.read_text(encoding="utf-8"))
    if not isinstance(values, dict):
        raise ValueError("it holds no `key: value` lines; give it at least `about` and `turn`.")
    try:
        one = TypeAdapter(Template).validate_python({"name": path.stem, "about": "Your own template.", **values})
    except ValidationError as error:
        fault = error.errors()[0]
        raise ValueError(f"{'.'.join(map(str, fault['loc']))}: {fault['msg']}; keys are {KEYS}.") from None
    _want("{text}", "turn", one.turn)
    if one.head:
        _want("{system}", "head", one.head)
    return one


KEYS = "about, turn, head, after, history, stop"


def _want(mark: str, key: str, value: str) -> None:
    if mark not in value:
        raise ValueError(f"{key} must hold {mark}.")


def names_shown(templates: dict[str, Template]) -> Sequence[tuple[str, str]]:
    """(shown, name) for a list to choose from."""
    return [(name, name) for name in templates]
