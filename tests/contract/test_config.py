"""Configuration: every field explains itself, every mistake is named, every shipped file loads."""

from __future__ import annotations

from pathlib import Path

import pytest
from pydantic import BaseModel

from mythos.contract.config import (
    AlertConfig,
    Config,
    DataConfig,
    DenseConfig,
    InferConfig,
    ObjectiveConfig,
    RecurrentConfig,
    TrainConfig,
    cache_root,
    parse_exit,
)
from mythos.contract.errors import ConfigError
from mythos.contract.load import dump_config, load_config, parse_config, read_yaml

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "configs").rglob("*.yaml"))
SECTIONS = (DenseConfig, RecurrentConfig, DataConfig, TrainConfig, ObjectiveConfig, InferConfig, AlertConfig)


@pytest.mark.parametrize("section", SECTIONS)
def test_every_field_has_a_description_a_unit_and_bounds(section: type[BaseModel]) -> None:
    for name, field in section.model_fields.items():
        assert field.description and field.description.endswith("."), name
        assert isinstance(field.json_schema_extra, dict) and "unit" in field.json_schema_extra, name
        if field.annotation in (int, float):
            limits = {limit for item in field.metadata for limit in ("ge", "gt", "le", "lt") if hasattr(item, limit)}
            assert limits & {"ge", "gt"} and limits & {"le", "lt"}, f"{name} has no bounds on both sides"


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_shipped_file_loads_and_says_what_it_is_for(path: Path) -> None:
    assert load_config(path).note


def test_there_are_presets_of_both_families() -> None:
    assert {load_config(path).model.family for path in PRESETS} == {"dense", "recurrent"}


@pytest.mark.parametrize(
    ("override", "says"),
    [
        ("model.widht=3", "did you mean width"),
        ("trian.steps=3", "did you mean train"),
        ("data.mixture=[{source: files, pathz: [x]}]", "did you mean paths"),
        ("train.steps=0", "train.steps"),
        ("train.steps=many", "train.steps"),
        ("model.n_heads=5", "n_heads 5 does not divide width 256"),
        ("model.n_kv_heads=3", "n_kv_heads 3 does not divide n_heads"),
        ("model.family=sparse", "choose dense or recurrent"),
        ("model.experts_per_token=9", "exceeds n_experts"),
        ("train.sequence=512", "exceeds model.context"),
        ("data.source=files", "needs paths"),
        ("infer.exit=kl", "needs a threshold"),
        ("objective.kind=act", "needs model.halting"),
        ("train.steps", "key=value"),
        ("model.width.x=1", "model.width"),
    ],
)
def test_a_mistake_is_named_with_the_way_out(override: str, says: str) -> None:
    with pytest.raises(ConfigError, match=says):
        parse_config({}, [override])


def test_the_error_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("model:\n  widht: 3\n")
    with pytest.raises(ConfigError, match=r"mine\.yaml: model\.widht"):
        load_config(path)


def test_broken_yaml_names_its_line(tmp_path: Path) -> None:
    path = tmp_path / "broken.yaml"
    path.write_text("model:\n  width: [1\n")
    with pytest.raises(ConfigError, match="line"):
        load_config(path)


def test_yaml_cannot_make_objects(tmp_path: Path) -> None:
    path = tmp_path / "evil.yaml"
    path.write_text("note: !!python/object/apply:os.system ['true']\n")
    with pytest.raises(ConfigError, match="not valid YAML"):
        read_yaml(path)


def test_overrides_win_over_the_file_and_the_rest_stays() -> None:
    config = load_config(ROOT / "configs/quickstart.yaml", ["train.steps=7", "train.lr=1e-4"])
    plain = load_config(ROOT / "configs/quickstart.yaml")
    assert (config.train.steps, config.train.lr) == (7, 1e-4)
    assert config.model == plain.model


def test_a_lone_text_is_a_list_of_one() -> None:
    config = parse_config({}, ["data.source=files", "data.paths=notes.txt", "train.report_to=wandb", "infer.stop=''"])
    assert (config.data.paths, config.train.report_to, config.infer.stop) == (("notes.txt",), ("wandb",), ())
    with pytest.raises(ConfigError, match=r"data.paths: this is a list, such as \[a, b\], but the value is 3."):
        parse_config({}, ["data.paths=3"])


def test_a_dumped_configuration_reads_back_equal(tmp_path: Path) -> None:
    config = parse_config({}, ["model.family=dense", "data.source=files", "data.paths=[a, b]"])
    (tmp_path / "c.yaml").write_text(dump_config(config))
    assert load_config(tmp_path / "c.yaml") == config


def test_configurations_do_not_change() -> None:
    with pytest.raises(ValueError, match="frozen"):
        Config().train.steps = 3  # type: ignore[misc]


@pytest.mark.parametrize("text", ["confidence:1.5", "confidence:x", "fixed:3", "often", "kl:-1"])
def test_exit_rules_that_make_no_sense_are_refused(text: str) -> None:
    with pytest.raises(ValueError, match="exit rule"):
        parse_exit(text)


def test_no_home_folder_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(_: int) -> None:
        raise KeyError

    monkeypatch.delenv("HOME", raising=False)
    monkeypatch.delenv("MYTHOS_CACHE", raising=False)
    monkeypatch.setattr("pwd.getpwuid", nobody)
    with pytest.raises(ConfigError, match="no home folder"):
        cache_root()
