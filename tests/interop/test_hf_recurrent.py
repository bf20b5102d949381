"""Recurrent models run in transformers from their folder alone, and compute what they compute here."""

from __future__ import annotations

import ast
import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import mythos
from mythos.contract.errors import ConfigError
from mythos.infer.exits import make_exit
from mythos.infer.text import encode_prompt
from mythos.interop.hf import export_hf, import_hf
from mythos.interop.hf_recurrent import CODE, FILES
from tests.fakes.checkpoints import write_checkpoint

QUICKSTART = Path(__file__).parents[2] / "checkpoints/quickstart"
SWITCHES: dict[str, dict[str, Any]] = {
    "plain": {},
    "mla": {"attention": "mla"},
    "everything": {
        "attention": "mla",
        "mla_q_rank": 10,
        "tie_embeddings": False,
        "loop_lora_rank": 3,
        "loop_index_embedding": True,
        "norm": "sandwich",
        "activation": "gelu",
    },
    "no injection": {"injection": "none", "n_kv_heads": 4, "n_shared_experts": 0},
    "dense block from nothing": {"n_experts": 0, "initial_state": "zero", "prelude_layers": 0, "coda_layers": 2},
    "act": {"halting": "act"},
    "act as published": {"halting": "act", "halted_tokens": "run", "act_remainder": False},
    "act, last state": {"halting": "act", "halted_tokens": "run", "state_read_out": "last"},
    "act, mean state": {"halting": "act", "state_read_out": "mean"},
    "gate": {"halting": "gate", "act_threshold": 0.5},
    "wide gate": {"halting": "gate", "gate_width": 6},
    "mean state": {"state_read_out": "mean"},
    "window": {"attention_window": 5},
}


def as_transformers(folder: Path, dtype: str = "float32") -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, trust_remote_code=True, dtype=dtype).eval()


def some_ids(vocab: int) -> Tensor:
    return torch.randint(0, vocab, (2, 40), generator=torch.Generator().manual_seed(0))


@pytest.mark.parametrize("case", SWITCHES)
@torch.no_grad()
def test_every_switch_gives_the_same_logits_at_any_number_of_loops(case: str, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "c", **SWITCHES[case])
    model, foreign = mythos.load(source).model, as_transformers(export_hf(source, tmp_path / "hf"))
    ids = some_ids(model.config.vocab_size)
    torch.testing.assert_close(foreign(ids).logits, model(ids).logits, rtol=0, atol=1e-5)
    for loops in (1, 3, 9):
        expected = model(ids, loops).logits
        torch.testing.assert_close(foreign(ids, num_loops=loops).logits, expected, rtol=0, atol=1e-5)
    foreign.config.num_loops = 2
    torch.testing.assert_close(foreign(ids).logits, model(ids, 2).logits, rtol=0, atol=1e-5)


@pytest.mark.parametrize(
    ("halting", "rule", "settings"),
    [
        ("none", "state_delta:0.2", {}),
        ("gate", "gate:0.45", {}),
        ("gate", "gate:0.2", {"gate_width": 6}),
        ("act", "act", {}),
        ("act", "fixed", {}),
    ],
)
@torch.no_grad()
def test_tokens_stop_where_ours_stop(halting: str, rule: str, settings: dict[str, Any], tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "c", halting=halting, **settings)
    model, foreign = mythos.load(source).model, as_transformers(export_hf(source, tmp_path / "hf"))
    ids = some_ids(model.config.vocab_size)
    output = model(ids, 8, exit=make_exit(rule, model.config))
    assert (output.telemetry.loops.unique().numel() > 1) == (rule != "fixed")
    torch.testing.assert_close(foreign(ids, num_loops=8, exit=rule).logits, output.logits, rtol=0, atol=1e-5)


def test_a_rule_that_does_not_fit_is_named(tmp_path: Path) -> None:
    foreign = as_transformers(export_hf(write_checkpoint(tmp_path / "c"), tmp_path / "hf"))
    for rule in ("act", "gate:0.5", "confidence:0.5"):
        with pytest.raises(ValueError, match=f"exit '{rule}' does not fit"):
            foreign(some_ids(100), exit=rule)
    with pytest.raises(ValueError, match="65 tokens exceeds the context of 64"):
        foreign(torch.zeros(1, 65, dtype=torch.int64))


@pytest.fixture(scope="module")
def quickstart(tmp_path_factory: pytest.TempPathFactory) -> tuple[mythos.Checkpoint, Path]:
    """The shipped model and its exported folder."""
    target = tmp_path_factory.mktemp("quickstart") / "hf"
    return mythos.load(QUICKSTART), export_hf(QUICKSTART, target)


@torch.no_grad()
def test_the_shipped_model_gives_its_logits_and_its_answers(quickstart: tuple[mythos.Checkpoint, Path]) -> None:
    checkpoint, folder = quickstart
    foreign = as_transformers(folder)
    prompt = torch.tensor([encode_prompt(checkpoint.tokenizer, "def read(path):\n    for line in open(path")])
    for loops in (1, 4, 8):
        expected = checkpoint.model(prompt, loops).logits
        torch.testing.assert_close(foreign(prompt, num_loops=loops).logits, expected, rtol=1e-5, atol=1e-5)
    for loops, rule in ((4, "fixed"), (8, "state_delta:0.07")):
        asked = {"max_tokens": 32, "temperature": 0, "loops": loops, "exit": rule}
        ours = [
            token.id for token in mythos.generate(checkpoint, checkpoint.tokenizer.decode(prompt[0].tolist()), **asked)
        ]
        answer = foreign.generate(prompt, max_new_tokens=32, do_sample=False, num_loops=loops, exit=rule)
        assert len(ours) == 32 and answer[0, prompt.shape[1] :].tolist() == ours


@torch.no_grad()
def test_padding_on_the_left_and_a_cache_that_is_asked_for_change_nothing(
    quickstart: tuple[mythos.Checkpoint, Path],
) -> None:
    foreign = as_transformers(quickstart[1])
    ids = some_ids(2048)[:1, :12]
    padded = torch.cat((torch.zeros(1, 5, dtype=torch.int64), ids), dim=1)
    mask = torch.cat((torch.zeros(1, 5, dtype=torch.int64), torch.ones_like(ids)), dim=1)
    logits = foreign(padded, attention_mask=mask).logits[:, 5:]
    torch.testing.assert_close(logits, foreign(ids).logits, rtol=0, atol=1e-5)
    plain = foreign.generate(ids, max_new_tokens=4, do_sample=False)
    assert torch.equal(foreign.generate(ids, max_new_tokens=4, do_sample=False, use_cache=True), plain)
    both = foreign.generate(padded, attention_mask=mask, max_new_tokens=4, do_sample=False)
    assert torch.equal(both[:, 5:], plain)


def test_gradients_reach_every_weight_and_bfloat16_computes(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "c", halting="act", loop_lora_rank=3)
    foreign = as_transformers(export_hf(source, tmp_path / "hf"))
    ids = some_ids(200)
    foreign(ids, labels=ids).loss.backward()
    silent = [name for name, p in foreign.named_parameters() if p.grad is None or not p.grad.any()]
    assert silent == []
    rounded = as_transformers(tmp_path / "hf", "bfloat16")
    assert rounded(ids).logits.dtype == torch.bfloat16 and rounded(ids).logits.isfinite().all()


def test_there_and_back_again_is_the_same_bit_by_bit(tmp_path: Path) -> None:
    for source in (QUICKSTART, write_checkpoint(tmp_path / "c", **SWITCHES["everything"])):
        folder = export_hf(source, tmp_path / f"{source.name}-hf")
        done = import_hf(folder, tmp_path / f"{source.name}-back")
        before, after = (load_file(path / "model.safetensors") for path in (source, done.path))
        assert before.keys() == after.keys()
        assert all(
            torch.equal(before[name], after[name]) and before[name].dtype == after[name].dtype for name in before
        )
        assert done.model == mythos.load(source).config.model


def test_the_folder_needs_nothing_of_ours(quickstart: tuple[mythos.Checkpoint, Path]) -> None:
    for name in FILES:
        tree = ast.parse((quickstart[1] / name).read_text())
        imported = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom) and not node.level}
        imported |= {item.name for node in ast.walk(tree) if isinstance(node, ast.Import) for item in node.names}
        assert {str(module).split(".")[0] for module in imported} <= {"math", "typing", "torch", "transformers"}
        assert (quickstart[1] / name).read_text() == (CODE / name).read_text()


@pytest.mark.slow
def test_a_fresh_process_without_our_package_loads_it(quickstart: tuple[mythos.Checkpoint, Path]) -> None:
    code = (
        "import sys; sys.modules['mythos'] = None\n"
        "from transformers import AutoModelForCausalLM, AutoTokenizer\n"
        f"at = dict(pretrained_model_name_or_path={str(quickstart[1])!r}, trust_remote_code=True)\n"
        "tokenizer, model = AutoTokenizer.from_pretrained(**at), AutoModelForCausalLM.from_pretrained(**at)\n"
        "inputs = tokenizer(tokenizer.bos_token + 'import os', return_tensors='pt')\n"
        "print(model.generate(**inputs, max_new_tokens=5, num_loops=3).shape[1] - inputs.input_ids.shape[1])\n"
    )
    result = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert result.stdout.split()[-1] == "5"


def test_noise_as_a_beginning_and_foreign_settings_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="starts from noise"):
        export_hf(write_checkpoint(tmp_path / "c", initial_state="random"), tmp_path / "hf")
    assert not (tmp_path / "hf").exists()
    folder = export_hf(write_checkpoint(tmp_path / "d"), tmp_path / "hf")
    settings = json.loads((folder / "config.json").read_text())
    for change, says in (({"a_max": 7.0}, "a_max"), ({"width": "wide"}, "width"), ({"loops": 99}, "exceeds max_loops")):
        (folder / "config.json").write_text(json.dumps(settings | change))
        with pytest.raises(ConfigError, match=says):
            import_hf(folder, tmp_path / "back")
    del settings["a_max"]
    (folder / "config.json").write_text(json.dumps(settings))
    with pytest.raises(ConfigError, match="lacks a_max"):
        import_hf(folder, tmp_path / "back")
    assert not (tmp_path / "back").exists()
