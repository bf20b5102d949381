"""What Configure knows without its screen: drafts, presets, faults, which settings matter, short numbers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import yaml

from mythos.contract.budget import budget
from mythos.contract.config import Config, RecurrentConfig
from mythos.contract.errors import ConfigError
from mythos.contract.load import parse_config
from mythos_tui.screens.configure.budget_panel import rows
from mythos_tui.screens.configure.draft import _RULES, SECTIONS, Draft, as_text, fields, from_text
from mythos_tui.screens.units import billions, short, size
from mythos_tui.workers.presets import list_presets


def test_every_field_of_every_section_has_an_editor_and_its_default_survives_the_text():
    for family in ("dense", "recurrent"):
        for section in SECTIONS:
            for field in fields(section, family):
                assert field.help and (field.kind != "choice" or field.choices)
                if field.kind in ("whole", "number", "text"):
                    assert from_text(field, as_text(field.default)) == field.default, field.key


def test_a_preset_with_a_model_only_changes_the_model():
    draft = Draft()
    draft.load({"model": {"family": "recurrent", "width": 64}, "train": {"steps": 7}})
    draft.load({"model": {"family": "dense", "width": 128}})
    assert draft.family == "dense" and draft.values["model"]["width"] == 128
    assert draft.values["train"]["steps"] == 7


def test_a_whole_preset_replaces_everything():
    draft = Draft()
    draft.load({"train": {"steps": 7, "lr": 0.5}})
    draft.load({"model": {"width": 64}, "train": {"steps": 9}})
    config, faults = draft.check()
    assert config is not None and not faults
    assert (config.train.steps, config.train.lr) == (9, Config().train.lr)


@pytest.mark.parametrize("section", SECTIONS)
@pytest.mark.parametrize("take", [Draft.load, Draft.replace])
def test_an_empty_section_has_its_defaults_and_one_that_is_no_mapping_is_refused(
    section: str, take: Callable[[Draft, dict[str, Any]], object]
):
    draft = Draft()
    before = draft.values
    for nonsense in (5, "dense", [{"width": 64}], True):
        with pytest.raises(ConfigError, match=f"^{section} holds a .* not a mapping"):
            take(draft, {"note": "x", section: nonsense})
        assert draft.values is before and not draft.undo()
    take(draft, {section: None})
    assert draft.values[section] == before[section] and draft.check()[0] is not None


def test_a_family_that_is_no_word_is_the_usual_one():
    draft = Draft()
    draft.load({"model": {"family": ["dense"]}})
    assert draft.family == "recurrent"


def test_another_family_keeps_what_both_have():
    draft = Draft()
    by_name = {field.name: field for field in draft.fields("model")}
    draft.set(by_name["width"], 512)
    draft.set(by_name["family"], "dense")
    config, _ = draft.check()
    assert config is not None and config.model.family == "dense" and config.model.width == 512
    assert "loops" not in draft.values["model"]


def test_faults_are_found_by_key_in_few_words():
    draft = Draft()
    by_key = {field.key: field for section in SECTIONS for field in draft.fields(section)}
    draft.set(by_key["model.width"], "wide")
    draft.set(by_key["train.steps"], 0)
    config, faults = draft.check()
    assert config is None
    assert faults == {"model.width": "not a whole number", "train.steps": "at least 1"}


def test_faults_between_fields_go_to_their_section_or_to_none():
    draft = Draft()
    by_key = {field.key: field for section in SECTIONS for field in draft.fields(section)}
    draft.set(by_key["model.n_heads"], 3)
    assert "n_heads 3 does not divide" in draft.check()[1]["model"]
    draft.set(by_key["model.n_heads"], 4)
    draft.set(by_key["train.sequence"], 4096)
    assert "exceeds model.context" in draft.check()[1][""]


def test_settings_that_do_nothing_are_known():
    draft = Draft()
    by_key = {field.key: field for section in SECTIONS for field in draft.fields(section)}
    assert not draft.applies(by_key["model.mla_kv_rank"]) and draft.applies(by_key["model.n_kv_heads"])
    draft.set(by_key["model.attention"], "mla")
    assert draft.applies(by_key["model.mla_kv_rank"]) and not draft.applies(by_key["model.n_kv_heads"])


def test_settings_of_halting_gate_and_warm_up_are_shown_where_they_matter():
    draft = Draft()
    by_key = {field.key: field for section in SECTIONS for field in draft.fields(section)}

    def shown(*names: str) -> list[bool]:
        return [draft.applies(by_key[name]) for name in names]

    act = ("model.act_threshold", "model.act_remainder", "objective.ponder_cost")
    gate = ("objective.gate_share", "objective.gate_epsilon", "objective.gate_entropy")
    assert not any(shown(*act, *gate, "model.loop_index_theta", "objective.warmup_loops_from"))
    draft.set(by_key["model.halting"], "act")
    draft.set(by_key["objective.kind"], "act")
    assert all(shown(*act)) and not any(shown(*gate, "objective.supervised_depths", "objective.mixed_exits"))
    draft.set(by_key["model.halting"], "gate")
    draft.set(by_key["objective.kind"], "entropy_gate")
    assert all(shown(*gate, "objective.supervised_depths")) and not any(shown(*act, "objective.mixed_exits"))
    draft.set(by_key["objective.gate_share"], 0)
    assert shown("objective.gate_epsilon", "objective.gate_share") == [False, True]
    draft.set(by_key["model.loop_index_embedding"], True)
    draft.set(by_key["objective.warmup_loops"], 4)
    assert all(shown("model.loop_index_theta", "objective.warmup_loops_from", "train.checkpoint_loops"))
    draft.set(by_key["model.family"], "dense")
    assert draft.check()[0] is not None
    assert shown("objective.warmup_loops", "train.checkpoint_loops", "train.compile") == [False, False, True]


MIXTURE = [{"source": "stdlib"}, {"source": "files", "paths": ["notes"], "weight": 2.0}, {"source": "synthetic"}]


def test_a_mixture_is_kept_as_it_was_written_and_stands_for_the_single_source():
    draft = Draft()
    by_key = {field.key: field for field in draft.fields("data")}
    assert draft.applies(by_key["data.source"]) and not draft.applies(by_key["data.mixture"])
    draft.load({"data": {"mixture": MIXTURE, "dedup": "exact"}})
    assert as_text(draft.get(by_key["data.mixture"])) == "3 sources, from YAML"
    for name in ("source", "paths", "include_tests", "dataset", "weight", "quality", "text_key", "task"):
        assert not draft.applies(by_key[f"data.{name}"])
    assert draft.applies(by_key["data.mixture"]) and draft.changed(by_key["data.mixture"])
    draft.set(by_key["data.held_out_percent"], 7.0)
    config, faults = draft.check()
    assert config is not None and not faults
    assert [(one.source, one.weight) for one in config.data.mixture] == [("stdlib", 1), ("files", 2), ("synthetic", 1)]
    assert parse_config(yaml.safe_load(draft.resolved(config))) == config


def test_settings_of_a_source_are_shown_for_it_alone():
    draft = Draft()
    by_key = {field.key: field for field in draft.fields("data")}
    shown = {}
    for source in by_key["data.source"].choices:
        draft.set(by_key["data.source"], source)
        shown[source] = {key.partition(".")[2] for key, field in by_key.items() if draft.applies(field)}
    common = set.intersection(*shown.values())
    assert {source: names - common for source, names in shown.items()} == {
        "stdlib": {"include_tests"},
        "files": {"paths", "text_key"},
        "hf": {"text_key", "dataset", "subset", "dataset_split", "max_documents"},
        "synthetic": {"task", "task_seed", "task_skew", "task_ends", "max_documents"},
    }


def test_rules_are_about_settings_that_exist():
    keys = {field.key for family in ("dense", "recurrent") for section in SECTIONS for field in fields(section, family)}
    named = {key for rule in _RULES.values() for key, _ in rule}
    assert set(_RULES) | named <= keys


def test_large_numbers_stay_short_and_in_line():
    assert [short(value) for value in (3.64e-6, 1.5e15, 5.7e19, 2e21)] == ["3.64e-6", "1.5P", "57E", "2Z"]
    assert [billions(value) for value in (5.1e10, 1.01e12, 350e6)] == ["51B", "1.01T", "350M"]
    assert [size(value) for value in (1023.6 * 2**40, 19 * 2**50)] == ["1 PiB", "19 PiB"]
    large = Config(
        model=RecurrentConfig(width=65_536, n_heads=512, n_kv_heads=512, n_experts=4096, expert_width=262_144)
    )
    values = [value for _, value, _ in rows(budget(large), "recurrent")]
    assert max(map(len, values)) <= 7 and values[0] == "211T"


def test_presets_are_sorted_as_people_count(tmp_path: Path):
    for name in ("quickstart", "model/500m", "model/10m", "model/1b", "model/50m"):
        (tmp_path / f"{name}.yaml").parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.yaml").write_text("")
    assert [one.label for one in list_presets(tmp_path)] == [
        "quickstart",
        "model/10m",
        "model/50m",
        "model/500m",
        "model/1b",
    ]
    assert list_presets(tmp_path / "missing") == []


def test_digits_that_are_no_number_sort_as_letters(tmp_path: Path):
    for name in ("x²", "x10", "x2", "٣"):
        (tmp_path / f"{name}.yaml").write_text("")
    found = [one.label for one in list_presets(tmp_path)]
    assert sorted(found) == sorted(["x²", "x10", "x2", "٣"]) and found.index("x2") < found.index("x10")


# The screen
