"""The dense series: sizes as their notes say, ablations at a fixed number of parameters, initial weights by depth."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mythos.contract.budget import parameters
from mythos.contract.config import DenseConfig
from mythos.contract.load import load_config
from mythos.models.build import build_model, count_parameters
from mythos.models.dense import DenseModel

SERIES = sorted((Path(__file__).parents[2] / "configs/model/dense").glob("*.yaml"))


def series(name: str) -> DenseConfig:
    (path,) = (path for path in SERIES if path.stem == name)
    model = load_config(path).model
    assert isinstance(model, DenseConfig)
    return model


@pytest.mark.parametrize("path", SERIES, ids=lambda path: path.stem)
def test_a_note_tells_the_real_size(path: Path) -> None:
    config = load_config(path)
    told = re.match(r"([\d.]+)M parameters", config.note)
    assert told, config.note
    built = count_parameters(build_model(config.model, "meta"))
    assert built == parameters(config.model).total == pytest.approx(float(told[1]) * 1e6, rel=0.01)
    assert isinstance(config.model, DenseConfig)
    heads = re.search(r"GQA (\d+)/(\d+)", config.note)
    if heads:
        assert (int(heads[1]), int(heads[2])) == (config.model.n_heads, config.model.n_kv_heads)
    else:
        assert "MHA" not in config.note or config.model.n_heads == config.model.n_kv_heads


@pytest.mark.parametrize(
    ("ablation", "changed"),
    [("30m-mha", {"n_kv_heads": 8, "ffn_width": 1240}), ("30m-gelu", {"activation": "gelu", "ffn_width": 2112})],
)
def test_an_ablation_changes_one_mechanism_and_no_size(ablation: str, changed: dict[str, object]) -> None:
    base, other = series("30m"), series(ablation)
    differences = {key: value for key, value in other.model_dump().items() if value != getattr(base, key)}
    assert differences == changed
    assert parameters(other).total == pytest.approx(parameters(base).total, rel=0.01)
    assert parameters(other).embedding == parameters(base).embedding


def test_the_named_shape_of_the_24_layers() -> None:
    c = series("172m")
    assert (c.n_layers, c.width, c.ffn_width, c.n_heads, c.n_kv_heads, c.context) == (24, 768, 2048, 12, 4, 2048)


@pytest.mark.parametrize("layers", [1, 8])
@pytest.mark.parametrize("activation", ["swiglu", "gelu"])
def test_matrices_that_write_into_the_residual_stream_start_smaller_with_depth(layers: int, activation: str) -> None:
    torch.manual_seed(0)
    shape = {"vocab_size": 512, "width": 128, "n_heads": 4, "n_kv_heads": 2, "ffn_width": 256}
    config = DenseConfig(**shape, n_layers=layers, activation=activation, tie_embeddings=False, init_std=0.05)
    model = build_model(config)
    assert isinstance(model, DenseModel)
    writing = {id(matrix) for block in model.layers for matrix in (block.attention.out.weight, block.ffn.out.weight)}
    assert len(writing) == 2 * layers
    for name, parameter in model.named_parameters():
        if parameter.dim() < 2:
            assert bool((parameter == 1).all()), name  # norms
            continue
        expected = 0.05 / (2 * layers) ** 0.5 if id(parameter) in writing else 0.05
        weights = parameter.detach()
        assert float(weights.std()) == pytest.approx(expected, rel=0.03), name
        assert abs(float(weights.mean())) < 0.1 * expected, name
