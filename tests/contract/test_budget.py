"""The budget is a formula; the model is the truth it is held against."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch

from mythos.contract.budget import budget, flops_forward, kv_bytes_per_token, parameters, training_bytes
from mythos.contract.config import Config, DenseConfig, RecurrentConfig
from mythos.contract.load import load_config, parse_config
from mythos.models.build import build_model, count_parameters
from mythos.models.cache import Cache
from mythos.train.objectives import compute_loss
from mythos.train.schedule import Plan

ROOT = Path(__file__).parents[2]
PRESETS = sorted((ROOT / "configs").rglob("*.yaml"))
VARIANTS = [
    DenseConfig(norm="sandwich", activation="gelu", tie_embeddings=False),
    DenseConfig(attention="mla", mla_q_rank=48),
    RecurrentConfig(halting="act", loop_lora_rank=4, loop_index_embedding=True, norm="sandwich"),
    RecurrentConfig(n_experts=0, injection="none"),
    RecurrentConfig(n_shared_experts=0, prelude_layers=0, coda_layers=3, activation="gelu"),
    RecurrentConfig(attention="mla", n_shared_experts=2, shared_expert_width=40, tie_embeddings=False),
]


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_the_parameter_count_of_every_preset_is_exact(path: Path) -> None:
    config = load_config(path).model
    assert parameters(config).total == count_parameters(build_model(config, "meta"))


def test_the_notes_of_presets_tell_the_truth() -> None:
    """`1.15B parameters, 399M active per token; …`: rounded as written."""
    found = 0
    for path in PRESETS:
        loaded = load_config(path)
        count = parameters(loaded.model)
        for said, unit, what in re.findall(r"([\d.]+)([MBT]) (parameters|active)", loaded.note):
            value = {"parameters": count.total, "active": count.active}[what] / {"M": 1e6, "B": 1e9, "T": 1e12}[unit]
            assert f"{value:.{len(said.partition('.')[2])}f}" == said, f"{path.name}: {said}{unit} {what}"
            found += 1
    assert found >= 24  # the seven of the series tell both


SERIES = {  # width, experts, expert width, loops, context, most tokens of an answer
    "1b": (2048, 64, 2048, 16, 4096, 4096),
    "3b": (3072, 64, 4096, 16, 4096, 4096),
    "10b": (4096, 128, 5632, 24, 8192, 4096),
    "50b": (6144, 256, 9728, 32, 8192, 4096),
    "100b": (8192, 256, 13568, 32, 1_000_000, 131_072),
    "500b": (12288, 512, 23040, 48, 1_000_000, 131_072),
    "1t": (16384, 512, 34560, 64, 1_000_000, 131_072),
}


@pytest.mark.parametrize("name", SERIES)
def test_the_published_sizes_are_those_of_the_series(name: str) -> None:
    loaded = load_config(ROOT / f"configs/model/recurrent/mythos_{name}.yaml")
    c = loaded.model
    assert isinstance(c, RecurrentConfig)
    assert SERIES[name] == (c.width, c.n_experts, c.expert_width, c.loops, c.context, loaded.infer.max_tokens)
    assert (c.attention, c.halting, c.max_loops, c.n_heads) == ("mla", "act", c.loops, c.width // 128)


@pytest.mark.parametrize("config", VARIANTS)
def test_the_parameter_count_of_every_switch_is_exact(config: DenseConfig | RecurrentConfig) -> None:
    assert parameters(config).total == count_parameters(build_model(config, "meta"))


def test_active_parameters_leave_out_the_experts_a_token_does_not_use() -> None:
    config = RecurrentConfig(n_experts=8, experts_per_token=2)
    idle = 6 * 3 * config.width * config.expert_width
    assert parameters(config).total - parameters(config).active == idle


@pytest.mark.parametrize("attention", ["gqa", "mla"])
@pytest.mark.parametrize("family", [DenseConfig, RecurrentConfig])
def test_the_cache_holds_what_the_formula_says(family: type, attention: str) -> None:
    config = family(vocab_size=300, width=32, n_heads=4, ffn_width=64, attention=attention)
    cache = Cache()
    with torch.no_grad():
        build_model(config).eval()(torch.zeros(1, 7, dtype=torch.int64), 5, cache=cache)
    assert cache.nbytes == 7 * kv_bytes_per_token(config, loops=5)


def test_flops_match_what_torch_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    from torch.utils.flop_counter import FlopCounterMode

    monkeypatch.setattr("mythos.models.attention.MATERIALISE_UP_TO", 0)
    config = RecurrentConfig(vocab_size=300, width=64, ffn_width=128, n_experts=0, context=64, loops=3)
    model, ids = build_model(config), torch.zeros(1, 64, dtype=torch.int64)
    with FlopCounterMode(display=False) as counter:
        model.unroll(ids, 3)
    # torch's counter passes over the fused attention product, so the formula is asked for a span of 0
    assert counter.get_total_flops() == 64 * flops_forward(config, span=0)
    assert flops_forward(config, span=64) - flops_forward(config, span=0) == 5 * 4 * 64 * 64  # 5 blocks, QK and PV


@pytest.mark.parametrize("switches", [["model.family=dense"], ["model.max_loops=4"], ["model.max_loops=8"]])
def test_the_activations_that_autograd_keeps_are_about_what_the_formula_says(switches: list[str]) -> None:
    small = ["model.vocab_size=512", "train.batch_size=2", "train.sequence=128"]
    config = parse_config({}, [*small, *switches])
    model, kept = build_model(config.model), {}
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    alive = []

    def keep(tensor: torch.Tensor) -> torch.Tensor:
        alive.append(tensor)  # so that no address is used twice
        kept[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    ids = torch.zeros(2, 128, dtype=torch.int64)
    loops = getattr(config.model, "max_loops", 1)
    with torch.autograd.graph.saved_tensors_hooks(keep, lambda tensor: tensor), torch.autocast("cpu", torch.bfloat16):
        compute_loss(model, ids, ids, config, Plan(loops, (2, loops), loops), 0)
    held = sum(size for address, size in kept.items() if address not in weights)
    assert training_bytes(config) - 16 * parameters(config.model).total == pytest.approx(held, rel=0.35)


def test_what_saves_memory_shows_in_the_estimate() -> None:
    """It is what an alert about memory and the Configure screen advise."""
    plain = training_bytes(config := Config())
    weights = 16 * parameters(config.model).total
    halved = training_bytes(parse_config({}, ["train.accumulate=2"]))
    assert halved - weights == (plain - weights) / 2
    again = [training_bytes(parse_config({}, [f"model.max_loops={n}", "train.checkpoint_loops=true"])) for n in (4, 32)]
    kept = [training_bytes(parse_config({}, [f"model.max_loops={n}"])) for n in (4, 32)]
    assert again[1] - again[0] < (kept[1] - kept[0]) / 20


def test_the_budget_grows_with_what_it_pays_for() -> None:
    small, large = budget(Config()), budget(Config(model=RecurrentConfig(width=512)))
    assert large.flops_training > small.flops_training > 2.9 * small.flops_forward
    assert large.training_bytes > small.training_bytes > 16 * small.parameters.total
