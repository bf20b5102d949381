"""A configuration while it is being written: values as typed, what applies, and what is wrong. Knows no widgets."""

from __future__ import annotations

import re
from dataclasses import dataclass
from functools import cache
from typing import Any, Literal, get_args, get_origin

import yaml

from mythos.contract.config import AlertConfig, Config, DataConfig, InferConfig, ObjectiveConfig, TrainConfig
from mythos.contract.errors import ConfigError
from mythos.contract.load import FAMILIES, check_config, dump_config, fields_of
from mythos.contract.words import counted

Kind = Literal["choice", "switch", "whole", "number", "text", "list", "fixed"]
"""`fixed` is shown but not edited: it has parts of its own, which are written in YAML."""
SECTIONS = ("model", "data", "train", "objective", "infer", "alerts")
_TYPES: dict[str, Any] = {
    "data": DataConfig,
    "train": TrainConfig,
    "objective": ObjectiveConfig,
    "infer": InferConfig,
    "alerts": AlertConfig,
}
State = tuple[dict[str, Any], dict[str, Any]]
"""Values and base."""
UNDO_MOST = 200
_BOUNDS = (("ge", "at least"), ("gt", "above"), ("le", "at most"), ("lt", "below"))


@dataclass(frozen=True)
class Field:
    """One setting, described by the contract."""

    section: str
    name: str
    kind: Kind
    help: str
    unit: str
    default: Any
    choices: tuple[str, ...] = ()
    bounds: str = ""

    @property
    def key(self) -> str:
        return f"{self.section}.{self.name}"

    @property
    def explanation(self) -> str:
        """The sentence below the form: meaning, bounds, default."""
        return f"{self.help}{f' {self.bounds}.' if self.bounds else ''} Default {as_text(self.default) or 'empty'}."


@cache
def fields(section: str, family: str) -> tuple[Field, ...]:
    """The settings of a section, in the order of their definition."""
    kind = FAMILIES[family] if section == "model" else _TYPES[section]
    made = [_field(section, name, info) for name, info in fields_of(kind).items()]
    if section == "model":  # the family comes first: everything else depends on it
        made.sort(key=lambda field: field.name != "family")
    return tuple(made)


def _field(section: str, name: str, info: Any) -> Field:
    unit = (info.json_schema_extra or {}).get("unit", "")
    choices = get_args(info.annotation) if get_origin(info.annotation) is Literal else ()
    if section == "model" and name == "family":
        choices = tuple(reversed(FAMILIES))
    kind: Kind = "choice" if choices else "fixed" if name == "mixture" else _kind(info.annotation)
    return Field(section, name, kind, info.description or "", unit, info.default, choices, _bounds(info))


def _kind(annotation: Any) -> Kind:
    kinds: dict[Any, Kind] = {bool: "switch", int: "whole", float: "number", str: "text"}
    return kinds.get(annotation, "list")


def _bounds(info: Any) -> str:
    limits = [(words, getattr(rule, name, None)) for name, words in _BOUNDS for rule in info.metadata]
    found = [f"{words} {limit:,}" for words, limit in limits if limit is not None]
    return ", ".join(found).capitalize()


def as_text(value: Any) -> str:
    """A value as it is typed."""
    if isinstance(value, bool):
        return "on" if value else "off"
    if isinstance(value, list | tuple):
        if value and isinstance(value[0], dict):
            return f"{counted(len(value), 'source')}, from YAML"
        return ", ".join(map(str, value))
    if isinstance(value, float):
        text = f"{value:g}" if float(f"{value:g}") == value else repr(value)
        return text.replace("e-0", "e-").replace("e+0", "e").replace("e+", "e")
    if isinstance(value, int) and abs(value) >= 1_000_000:
        return f"{value:_}"
    return "" if value is None else str(value)


def from_text(field: Field, text: str) -> Any:
    """What was typed as a value; what cannot be converted stays text, and validation says what is wrong."""
    text = text.strip()
    if field.kind == "list":
        return [part.strip() for part in text.split(",") if part.strip()]
    plain = text.replace("_", "").replace(",", "").replace("\u2009", "").replace(" ", "")
    try:
        if field.kind == "whole":
            return int(plain)
        if field.kind == "number":
            return float(plain)
    except ValueError:
        return text
    return text


_BRIEF = (
    (re.compile(r", but the value is .*", re.S), ""),
    (re.compile(r"Input should be a valid integer.*"), "not a whole number"),
    (re.compile(r"Input should be a valid number.*"), "not a number"),
    (re.compile(r"Input should be a finite number"), "not a finite number"),
    (re.compile(r"Input should be greater than or equal to "), "at least "),
    (re.compile(r"Input should be less than or equal to "), "at most "),
    (re.compile(r"Input should be greater than "), "above "),
    (re.compile(r"Input should be less than "), "below "),
    (re.compile(r"Input should be "), ""),
)


def brief(sentence: str) -> str:
    """A fault in the few words that fit beside a field, where its value is seen anyway."""
    for pattern, words in _BRIEF:
        sentence = pattern.sub(words, sentence)
    return sentence


@dataclass(frozen=True)
class Difference:
    """A setting that is not as in the preset; "–" stands for a setting that the other family lacks."""

    key: str
    before: str
    now: str


class Draft:
    """Values of every section, nested as in YAML; always complete, not always valid.

    `base` holds them as the last preset left them. Sections are replaced and never changed in place, so a copy of the
    outermost mapping is a whole state: undoing goes through those.
    """

    def __init__(self) -> None:
        self.values: dict[str, Any] = Config().model_dump(mode="json")
        self.base = self.values
        self._past: list[State] = []
        self._future: list[State] = []
        self._last_edit = ""

    @property
    def family(self) -> str:
        """dense or recurrent."""
        return str(self.values["model"].get("family", "recurrent"))

    def load(self, given: dict[str, Any]) -> list[str]:
        """Take over what a preset says; returns the sections that changed.

        A preset with both a model and its training replaces everything; any other changes the sections that it has.
        Raises ConfigError.
        """
        whole = {"model", "train"} <= set(given)
        self._take(given, Config().model_dump(mode="json") if whole else dict(self.values))
        self.base = self.values
        return [section for section in SECTIONS if section in given]

    def replace(self, given: dict[str, Any]) -> None:
        """Take over a whole draft that was edited as YAML; what it was loaded from stays what it is compared with.

        Raises ConfigError.
        """
        self._take(given, Config().model_dump(mode="json"))

    def forget(self) -> None:
        """From here on there is nothing to undo."""
        self._past, self._future = [], []

    def _take(self, given: dict[str, Any], values: dict[str, Any]) -> None:
        """Raises ConfigError, and changes nothing, where a section is no mapping."""
        given = {name: _mapping(name, new) if name in SECTIONS else new for name, new in given.items()}
        self._remember("")
        for section, new in given.items():
            if section == "model":
                family = next((known for known in FAMILIES if known == new.get("family")), "recurrent")
                values["model"] = {**_defaults("model", family), **new, "family": family}
            elif section in _TYPES:
                values[section] = {**_defaults(section, "dense"), **new}
            else:
                values[section] = new
        self.values = values

    def set(self, field: Field, value: Any) -> None:
        """Change one setting. Another family keeps the settings that both have."""
        self._remember(field.key)
        if field.key == "model.family" and value != self.family:
            known = {one.name for one in fields("model", value)}
            kept = {name: old for name, old in self.values["model"].items() if name in known}
            self.values = {**self.values, "model": {**_defaults("model", value), **kept, "family": value}}
            if value == "dense":  # which has no read-out of ACT and no gate to be trained on
                objective = {**self.values["objective"], "kind": "depth_supervised"}
                self.values = {**self.values, "objective": objective}
            return
        self.values = {**self.values, field.section: {**self.values[field.section], field.name: value}}

    def _remember(self, edit: str) -> None:
        """Keep the present state for undoing; letters typed into one field one after the other are one edit."""
        if not edit or edit != self._last_edit:
            self._past = [*self._past[1 - UNDO_MOST :], (self.values, self.base)]
        self._last_edit, self._future = edit, []

    def undo(self) -> bool:
        """Back to the state before the last edit; False where there is none."""
        return self._travel(self._past, self._future)

    def redo(self) -> bool:
        """Forth again after `undo`; False where nothing was undone since the last edit."""
        return self._travel(self._future, self._past)

    def _travel(self, origin: list[State], other: list[State]) -> bool:
        if not origin:
            return False
        other.append((self.values, self.base))
        self.values, self.base = origin.pop()
        self._last_edit = ""
        return True

    def differences(self) -> list[Difference]:
        """What is not as the preset has it, in the order of the form."""
        found = []
        for section in SECTIONS:
            old, new = self.base[section], self.values[section]
            for name in dict.fromkeys([*(field.name for field in self.fields(section)), *old]):
                before, now = (as_text(part[name]) if name in part else "–" for part in (old, new))
                if before != now:
                    found.append(Difference(f"{section}.{name}", before, now))
        return found

    def yaml(self) -> str:
        """The draft as a preset: model and training, and of every section what differs from its defaults."""
        kept: dict[str, Any] = {"note": self.values["note"]} if self.values.get("note") else {}
        for section in SECTIONS:
            usual = _defaults(section, self.family if section == "model" else "recurrent")
            own = {key: value for key, value in self.values[section].items() if value != usual.get(key)}
            if section == "model":
                own = {"family": self.family, **own}
            if own or section == "train":
                kept[section] = own
        return yaml.safe_dump(kept, sort_keys=False, allow_unicode=True)

    def get(self, field: Field) -> Any:
        """A setting's present value."""
        return self.values[field.section].get(field.name, field.default)

    def fields(self, section: str) -> tuple[Field, ...]:
        """The settings of a section for the present family."""
        return fields(section, self.family if section == "model" else "recurrent")

    def changed(self, field: Field) -> bool:
        """Whether a setting differs from its default."""
        value = self.get(field)
        return bool(value != field.default and as_text(value) != as_text(field.default)) and field.name != "family"

    def applies(self, field: Field) -> bool:
        """Whether a setting makes a difference as the others stand."""
        rule = _RULES.get(field.key)
        return True if rule is None else all(self._holds(key, wanted) for key, wanted in rule)

    def _holds(self, key: str, wanted: Any) -> bool:
        section, name = key.split(".")
        value = self.values[section].get(name)
        return bool(value) if wanted is True else value in (wanted if isinstance(wanted, tuple) else (wanted,))

    def check(self) -> tuple[Config | None, dict[str, str]]:
        """The configuration, or None and the first fault of each key ("" for what concerns several sections)."""
        config, faults = check_config(self.values)
        found: dict[str, str] = {}
        for key, sentence in faults:
            found.setdefault(key, brief(sentence))
        return config, found

    @staticmethod
    def resolved(config: Config) -> str:
        """The YAML that a run keeps."""
        return dump_config(config)


def _mapping(section: str, given: Any) -> dict[str, Any]:
    """The settings of a section as YAML has them; one with nothing below it has none."""
    if given is None:
        return {}
    if not isinstance(given, dict):
        said = f"{section} holds a {type(given).__name__}, not a mapping of settings."
        raise ConfigError(said, f"Write its settings indented below {section}:, or leave it out.")
    return given


@cache
def _default_items(section: str, family: str) -> tuple[tuple[str, Any], ...]:
    return tuple(
        (field.name, list(field.default) if field.kind in ("list", "fixed") else field.default)
        for field in fields(section, family)
    )


def _defaults(section: str, family: str) -> dict[str, Any]:
    return dict(_default_items(section, family))


_RECURRENT = ("model.family", "recurrent")
_DEEP, _ACT = ("objective.kind", "depth_supervised"), ("objective.kind", "act")
_READS_MORE = ("objective.kind", ("depth_supervised", "entropy_gate"))
_HAS_ACT, _HAS_GATE = ("model.halting", "act"), ("model.halting", "gate")
_EXPERTS = ("model.n_experts", True)
_ONE_SOURCE: tuple[str, Any] = ("data.mixture", ([], ()))  # no mixture, as YAML or the defaults have it
_RULES: dict[str, list[tuple[str, Any]]] = {
    "model.n_kv_heads": [("model.attention", "gqa")],
    **{
        f"model.mla_{name}": [("model.attention", "mla")]
        for name in ("kv_rank", "q_rank", "rope_dim", "nope_dim", "v_dim")
    },
    **{f"model.{name}": [_EXPERTS] for name in ("experts_per_token", "expert_width", "n_shared_experts", "router")},
    "model.shared_expert_width": [_EXPERTS, ("model.n_shared_experts", True)],
    "model.a_max": [("model.injection", "lti")],
    "model.loop_index_theta": [("model.loop_index_embedding", True)],
    "model.act_threshold": [_HAS_ACT],
    "model.act_remainder": [_HAS_ACT],
    "data.mixture": [("data.mixture", True)],
    **{f"data.{name}": [_ONE_SOURCE] for name in ("source", "quality", "weight")},
    "data.paths": [_ONE_SOURCE, ("data.source", "files")],
    "data.text_key": [_ONE_SOURCE, ("data.source", ("files", "hf"))],
    "data.include_tests": [_ONE_SOURCE, ("data.source", "stdlib")],
    **{f"data.{name}": [_ONE_SOURCE, ("data.source", "hf")] for name in ("dataset", "subset", "dataset_split")},
    **{
        f"data.{name}": [_ONE_SOURCE, ("data.source", "synthetic")]
        for name in ("task", "task_seed", "task_skew", "task_ends")
    },
    "data.max_documents": [_ONE_SOURCE, ("data.source", ("hf", "synthetic"))],
    "train.muon_lr": [("train.optimizer", "muon")],
    "train.decay_share": [("train.schedule", "wsd")],
    "train.min_lr_ratio": [("train.schedule", ("cosine", "wsd", "linear"))],
    "train.checkpoint_loops": [_RECURRENT],
    **{
        f"objective.{name}": [_RECURRENT]
        for name in ("kind", "loop_sampling", "backprop_loops", "curriculum_steps", "warmup_loops")
    },
    "objective.supervised_depths": [_RECURRENT, _READS_MORE],
    "objective.warmup_loops_from": [_RECURRENT, ("objective.warmup_loops", True)],
    "objective.mixed_exits": [_RECURRENT, _DEEP],
    "objective.mixed_exits_spare": [_RECURRENT, _DEEP, ("objective.mixed_exits", True), ("data.answers_only", True)],
    "objective.ponder_cost": [_RECURRENT, _ACT],
    "objective.ponder_anneal_steps": [_RECURRENT, _ACT],
    "objective.gate_entropy": [_RECURRENT, ("objective.kind", "entropy_gate")],
    "objective.gate_share": [_RECURRENT, _HAS_GATE],
    "objective.gate_epsilon": [_RECURRENT, _HAS_GATE, ("objective.gate_share", True)],
    **{f"objective.{name}": [_RECURRENT, _EXPERTS] for name in ("balance_loss", "router_z_loss", "router_bias_rate")},
    "infer.exit": [_RECURRENT],
    "infer.loops": [_RECURRENT],
    "alerts.state_growth": [_RECURRENT],
    "alerts.expert_collapse": [_RECURRENT, _EXPERTS],
    "alerts.halting_collapse": [_RECURRENT, _ACT],
    "alerts.rho_a": [_RECURRENT, ("model.injection", "lti")],
}
