"""Several processes and micro-batches take the same steps as one process with the whole batch."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from mythos.contract.errors import ConfigError, MythosError
from mythos.contract.load import parse_config
from mythos.train.device import Device
from mythos.train.ranks import Ranks, check_parts, last_words
from tests.train.ranked import build, steps
from tests.train.test_objective import DENSE, RECURRENT, cyclic_corpus

ROOT = Path(__file__).parents[2]
ADAMW = ["train.batch_size=8", "train.optimizer=adamw", "objective.router_z_loss=0"]
MIXED = [*RECURRENT, *ADAMW, "model.loops=3", "objective.mixed_exits=0.5"]
NOISY = [*MIXED, "model.initial_state=random"]
ASKED = [*MIXED, "data.answers_only=true", "objective.mixed_exits_spare=true"]
HAZARD = ["model.halting=gate", "objective.kind=entropy_gate", "objective.gate_share=0"]
GATE = [*RECURRENT, *ADAMW, "model.halting=gate", "objective.gate_share=0.5", "train.steps=10"]
CASES: dict[str, list[str]] = {
    "ddp, mixed exits": [*MIXED, "train.parallel=ddp"],
    "ddp, mixed exits, accumulated": [*MIXED, "train.parallel=ddp", "train.accumulate=2"],
    "fsdp, mixed exits": [*MIXED, "train.parallel=fsdp"],
    "fsdp, gate alone at the end, accumulated": [*GATE, "train.parallel=fsdp", "train.accumulate=2"],
    "ddp, gate alone at the end": [*GATE, "train.parallel=ddp"],
    "fsdp, random state": [*RECURRENT, *ADAMW, "model.initial_state=random", "train.parallel=fsdp"],
    "ddp, mixed exits, random state, accumulated": [*NOISY, "train.parallel=ddp", "train.accumulate=2"],
    "ddp, answers only": [*ASKED, "train.parallel=ddp"],
    "ddp, answers only, accumulated": [*ASKED, "train.parallel=ddp", "train.accumulate=4"],
    "fsdp, answers only, entropy gate": [*ASKED, *HAZARD, "objective.mixed_exits=0", "train.parallel=fsdp"],
    "ddp, act": [*RECURRENT, *ADAMW, "model.halting=act", "objective.kind=act", "train.parallel=ddp"],
    "ddp, muon, dense": [*DENSE, "train.batch_size=8", "train.parallel=ddp"],
    "fsdp, dense": [*DENSE, "train.batch_size=8", "train.optimizer=adamw", "train.parallel=fsdp"],
}
TRAVELS = {f"{kind}, 2 → 1 → 2": [*MIXED, f"train.parallel={kind}"] for kind in ("ddp", "fsdp")}

SKIPS = ["objective.loop_sampling=fixed", "alerts.nan=skip", "alerts.loss_spike=skip"]
LEAVES_OUT = {
    "fsdp, left out": [*CASES["fsdp, mixed exits"], *SKIPS],
    "ddp, muon, left out": [*CASES["ddp, muon, dense"], *SKIPS],
}


def run_ranks(folder: Path, cases: dict[str, Any], world: int = 2) -> dict[str, Any]:
    """Results of rank 0 after every case has been run by `world` processes."""
    (folder / "cases.json").write_text(json.dumps(cases))
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    shared = {**os.environ, "OMP_NUM_THREADS": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port)}
    arguments = [str(folder / name) for name in ("cases.json", "results.json", "corpus")]
    processes = [
        subprocess.Popen(
            [sys.executable, "-m", "tests.train.ranked", *arguments],
            cwd=ROOT,
            env={**shared, "RANK": str(rank), "WORLD_SIZE": str(world), "LOCAL_RANK": str(rank)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]
    try:
        errors = [process.communicate(timeout=150)[1] for process in processes]
    finally:
        for process in processes:
            process.kill()
    assert processes[0].returncode == 0, errors
    return dict(json.loads((folder / "results.json").read_text()))


@pytest.fixture(scope="module")
def ranked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, dict[str, Any]]:
    """The corpus, and what two processes made of all cases; the last one loses a rank."""
    folder = tmp_path_factory.mktemp("ranked")
    cyclic_corpus(folder / "corpus")
    cases = {name: {"kind": "steps", "overrides": overrides, "steps": 8} for name, overrides in CASES.items()}
    cases |= {name: {"kind": "travel", "overrides": overrides} for name, overrides in TRAVELS.items()}
    cases |= {name: {"kind": "leave out", "overrides": overrides} for name, overrides in LEAVES_OUT.items()}
    cases["refused"] = {"kind": "refuse", "overrides": CASES["fsdp, mixed exits"]}
    cases["lost"] = {"kind": "lose", "overrides": CASES["ddp, mixed exits"]}
    return folder / "corpus", run_ranks(folder, cases)


def single(overrides: list[str]) -> list[str]:
    return [text for text in overrides if not text.startswith(("train.parallel", "train.accumulate"))]


@pytest.mark.parametrize("name", CASES)
def test_two_processes_take_the_steps_of_one(ranked: tuple[Path, dict[str, Any]], name: str) -> None:
    corpus, results = ranked
    found, expected = results[name], steps(build(corpus, single(CASES[name])), 8)
    assert found["loss"] == pytest.approx(expected["loss"], abs=1e-5)
    assert found["norm"] == pytest.approx(expected["norm"], rel=1e-3)
    assert found["state_norm"] == pytest.approx(expected["state_norm"], rel=1e-3)
    for key in ("loops", "load", "bias", "tokens", "flops"):
        assert found[key] == (pytest.approx(expected[key]) if key == "bias" and expected[key] else expected[key]), key


@pytest.mark.parametrize("name", TRAVELS)
def test_a_run_goes_on_with_another_number_of_processes(ranked: tuple[Path, dict[str, Any]], name: str) -> None:
    corpus, results = ranked
    expected = steps(build(corpus, single(TRAVELS[name])), 9)["loss"]
    assert results[name]["loss"] == pytest.approx(expected, abs=1e-5)
    assert results[name]["same"] == [True, True]
    pieces = 2 if name.startswith("fsdp") else 0  # those of a single process are one file, in a checkpoint as ever
    assert results[name]["pieces"] == {"step-00000003": pieces, "step-00000006": 0}


def test_a_rank_that_cannot_write_its_piece_is_told_of_and_leaves_nothing(ranked: tuple[Path, dict[str, Any]]) -> None:
    found = ranked[1]["refused"]
    assert "step-00000001 cannot be saved: rank 1: [Errno 28] No space left" in found["said"] and found["left"] == []
    assert found["then"] == 3 + 3 + 2


@pytest.mark.parametrize("name", LEAVES_OUT)
def test_all_ranks_leave_out_the_same_step(ranked: tuple[Path, dict[str, Any]], name: str) -> None:
    found = ranked[1][name]
    assert found["same, first not, nan, loss, gradient"] == [2, 2, 0, 2, 0]


def test_a_lost_rank_is_told_of_with_its_own_error(ranked: tuple[Path, dict[str, Any]]) -> None:
    lost = ranked[1]["lost"]
    assert "rank 1: ValueError: a bad batch" in lost["said"]
    assert lost["dismissed"] is False


@pytest.mark.parametrize("count", [2, 8])
@pytest.mark.parametrize("overrides", [MIXED, NOISY, ASKED], ids=["mixed exits", "random state", "answers only"])
def test_micro_batches_of_one_process_add_up_to_the_batch(tmp_path: Path, overrides: list[str], count: int) -> None:
    corpus = cyclic_corpus(tmp_path / "c").path
    whole, parts = (steps(build(corpus, [*overrides, f"train.accumulate={n}"]), 6) for n in (1, count))
    assert parts["loss"] == pytest.approx(whole["loss"], abs=1e-5)
    assert parts["norm"] == pytest.approx(whole["norm"], rel=1e-3)
    assert parts["loops"] == whole["loops"] and parts["load"] == whole["load"]
    assert parts["bias"] == pytest.approx(whole["bias"]) and parts["tokens"] == whole["tokens"]


def test_what_cannot_be_shared_is_refused(tmp_path: Path) -> None:
    train = parse_config({}, ["train.batch_size=6", "train.parallel=ddp", "train.accumulate=3"]).train
    check_parts(train, 2)
    with pytest.raises(ConfigError, match="12 equal parts"):
        check_parts(train, 4)
    with pytest.raises(ConfigError, match="parallel=none"):
        check_parts(parse_config({}, []).train, 2)
    with pytest.raises(ConfigError, match="accumulate"):
        parse_config({}, ["train.batch_size=6", "train.accumulate=4"])
    with pytest.raises(ConfigError, match="Muon"):
        parse_config({}, ["train.parallel=fsdp"])


def test_fp16_is_refused_where_weights_are_split(tmp_path: Path) -> None:
    trainer = build(cyclic_corpus(tmp_path / "c").path, CASES["fsdp, dense"])
    trainer.device = Device("cpu", "fp16", 1, 1e9)
    with pytest.raises(MythosError, match="fp16"):
        trainer.step()


def test_ranks_are_those_of_torchrun_and_one_alone_agrees_with_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "LOCAL_WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    alone = Ranks.of_this_process()
    assert alone == Ranks() and alone.first and alone.agree(3, 4) == (3, 4) and alone.dismiss()
    monkeypatch.setenv("RANK", "3")
    monkeypatch.setenv("WORLD_SIZE", "4")
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("LOCAL_WORLD_SIZE", "2")
    assert Ranks.of_this_process() == Ranks(3, 4, 1, 2) and not Ranks(3, 4).first and not Ranks(0, 4).dismiss()


def test_last_words_are_errors_of_their_own_not_of_lost_connections(tmp_path: Path) -> None:
    (tmp_path / "output.rank-1.log").write_text("noise\nRuntimeError: gloo: Connection closed by peer\n")
    (tmp_path / "output.rank-2.log").write_text("[rank2]: Traceback\n[rank2]: KeyError: 'x'\nlater noise\n")
    assert last_words(tmp_path, range(4)) == "rank 2: KeyError: 'x'"


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["ddp", "fsdp"])
def test_fifty_steps_stay_together(tmp_path: Path, kind: str) -> None:
    corpus = cyclic_corpus(tmp_path / "corpus").path
    overrides = [*MIXED, f"train.parallel={kind}", "train.accumulate=2", "train.lr=0.002"]
    found = run_ranks(tmp_path, {"long": {"kind": "steps", "overrides": overrides, "steps": 50}})["long"]
    alone = steps(build(corpus, single(overrides)), 50)["loss"]
    apart = max(abs(ours - theirs) for ours, theirs in zip(found["loss"], alone, strict=True))
    print(f"{kind}: losses of 50 steps at most {apart:.1e} apart")
    assert found["loss"] == pytest.approx(alone, abs=1e-5)
