"""Dense models are Llamas to transformers: the same tensors, logits, answers and ids."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import mythos
from mythos.checkpoint import export_checkpoint
from mythos.contract.config import DenseConfig
from mythos.contract.errors import CheckpointError, ConfigError
from mythos.contract.load import load_config
from mythos.infer.text import encode_prompt
from mythos.interop.hf import export_hf, import_hf
from tests.fakes.checkpoints import write_checkpoint

ROOT = Path(__file__).parents[2]
CONFIGS = sorted(path.stem for path in (ROOT / "configs/model/dense").glob("*.yaml"))


def as_transformers(folder: Path, **options: Any) -> Any:
    from transformers import AutoModelForCausalLM

    return AutoModelForCausalLM.from_pretrained(folder, **options).eval()


def some_ids(vocab: int, length: int = 48) -> Tensor:
    return torch.randint(0, vocab, (2, length), generator=torch.Generator().manual_seed(0))


def same_weights(a: Path, b: Path) -> bool:
    """Whether two checkpoints hold the same names, dtypes and bits."""
    x, y = load_file(a / "model.safetensors"), load_file(b / "model.safetensors")
    return x.keys() == y.keys() and all(x[name].dtype == y[name].dtype and torch.equal(x[name], y[name]) for name in x)


# Logits ---------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", CONFIGS)
def test_every_dense_configuration_scaled_down_gives_the_same_logits(name: str, tmp_path: Path) -> None:
    config = load_config(ROOT / f"configs/model/dense/{name}.yaml").model
    assert isinstance(config, DenseConfig)
    if config.activation == "gelu":
        pytest.skip("an ablation that is no Llama; see test_a_dense_model_that_is_no_llama_is_refused")
    width = 8 * config.n_heads
    shape = {"width": width, "n_layers": 2, "ffn_width": round(config.ffn_width / config.width * width)}
    kept = ("n_heads", "n_kv_heads", "context", "rope_theta", "norm_eps", "tie_embeddings", "init_std")
    source = write_checkpoint(tmp_path / "c", "dense", **shape, **{key: getattr(config, key) for key in kept})
    model, foreign = mythos.load(source).model, as_transformers(export_hf(source, tmp_path / "hf"))
    assert type(foreign).__name__ == "LlamaForCausalLM" and foreign.dtype == torch.float32
    ids = some_ids(model.config.vocab_size)
    with torch.no_grad():
        torch.testing.assert_close(foreign(ids).logits, model(ids).logits, rtol=0, atol=1e-6)


@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_large_weights_and_a_head_of_its_own_differ_by_rounding_alone(attention: str, tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "c", "dense", tie_embeddings=False, n_kv_heads=1, rope_theta=500_000.0)
    model = mythos.load(source).model
    foreign = as_transformers(export_hf(source, tmp_path / "hf"), attn_implementation=attention)
    ids = some_ids(model.config.vocab_size)
    with torch.no_grad():
        ours, theirs = model(ids).logits, foreign(ids).logits
    assert ours.abs().max() > 3
    torch.testing.assert_close(theirs, ours, rtol=0, atol=1e-5)


def test_greedy_answers_are_the_same_over_32_tokens(tmp_path: Path) -> None:
    checkpoint = mythos.load(write_checkpoint(tmp_path / "c", "dense"))
    foreign = as_transformers(export_hf(checkpoint.path, tmp_path / "hf"))
    prompt = "for number in"
    ours = [token.id for token in mythos.generate(checkpoint, prompt, max_tokens=32, temperature=0)]
    ids = torch.tensor([encode_prompt(checkpoint.tokenizer, prompt)])
    theirs = foreign.generate(ids, max_new_tokens=32, do_sample=False)[0, ids.shape[1] :]
    assert len(ours) == 32 and theirs.tolist() == ours


def test_ids_without_a_token_are_never_drawn(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "c", "dense", vocab_size=600)
    tokens = mythos.load(source).tokenizer.vocab_size
    foreign = as_transformers(export_hf(source, tmp_path / "hf"))
    answer = foreign.generate(torch.zeros(8, 1, dtype=torch.int64), max_new_tokens=20, do_sample=True, temperature=9.0)
    assert tokens < 600 and int(answer.max()) < tokens


# There and back -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("tied", [True, False])
def test_there_and_back_again_is_the_same_bit_by_bit(dtype: torch.dtype, tied: bool, tmp_path: Path) -> None:
    first = write_checkpoint(tmp_path / "first", "dense", tie_embeddings=tied, init_std=0.07)
    source = export_checkpoint(first, tmp_path / "c", dtype)
    folder = export_hf(source, tmp_path / "hf")
    done = import_hf(folder, tmp_path / "back")
    assert same_weights(source, done.path) and not done.remarks
    assert (source / "tokenizer.json").read_bytes() == (done.path / "tokenizer.json").read_bytes()
    before = mythos.load(source).config.model.model_dump()
    after = done.model.model_dump()
    assert {key for key in before if before[key] != after[key] and "mla" not in key} == set()
    names = set(load_file(folder / "model.safetensors"))
    assert ("lm_head.weight" in names) != tied and "model.layers.2.self_attn.k_proj.weight" in names


def test_a_precision_that_is_asked_for_is_written(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "c", "dense")
    folder = export_hf(source, tmp_path / "hf", torch.bfloat16)
    assert {t.dtype for t in load_file(folder / "model.safetensors").values()} == {torch.bfloat16}
    assert as_transformers(folder, dtype="auto").dtype == torch.bfloat16


def llama(folder: Path, **settings: Any) -> tuple[Any, Path]:
    """A random Llama as transformers builds and saves it, without a tokenizer."""
    from transformers import LlamaConfig, LlamaForCausalLM

    torch.manual_seed(0)
    shape = {"vocab_size": 300, "hidden_size": 32, "intermediate_size": 40, "num_hidden_layers": 2}
    config = LlamaConfig(**{**shape, "num_attention_heads": 4, "num_key_value_heads": 2, **settings})
    model = LlamaForCausalLM(config).eval()
    model.save_pretrained(folder)
    return model, folder


FOREIGN: dict[str, dict[str, Any]] = {
    "grouped": {},
    "tied": {"tie_word_embeddings": True},
    "every head its own": {"num_key_value_heads": 4},
    "other numbers": {"rms_norm_eps": 1e-3, "rope_theta": 700.0},
}


@pytest.mark.parametrize("case", FOREIGN)
def test_a_llama_that_transformers_saved_gives_its_own_logits(case: str, tmp_path: Path) -> None:
    model, folder = llama(tmp_path / "hf", **FOREIGN[case])
    done = import_hf(folder, tmp_path / "c")
    assert "No tokenizer was given" in done.remarks[0]
    ids = some_ids(300)
    with torch.no_grad():
        torch.testing.assert_close(mythos.load(done.path).model(ids).logits, model(ids).logits, rtol=0, atol=1e-6)


def change(folder: Path, file: str = "config.json", **values: Any) -> None:
    """Overwrite settings; None takes one away."""
    held = json.loads((folder / file).read_text()) | values
    (folder / file).write_text(json.dumps({key: value for key, value in held.items() if value is not None}))


def test_shards_old_settings_and_tables_are_read(tmp_path: Path) -> None:
    model, folder = llama(tmp_path / "hf")
    whole = import_hf(folder, tmp_path / "whole").path
    model.save_pretrained(folder, max_shard_size="20KB")
    (folder / "model.safetensors").unlink(missing_ok=True)
    assert len(list(folder.glob("model-*.safetensors"))) > 1
    change(folder, rope_parameters=None, rope_theta=10_000.0, rope_scaling=None, head_dim=None)
    assert same_weights(whole, import_hf(folder, tmp_path / "sharded").path)
    change(folder, rope_theta=500.0)
    assert import_hf(folder, tmp_path / "other").model.rope_theta == 500


# What is refused ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("odd", [{"activation": "gelu"}, {"norm": "sandwich"}, {"attention": "mla"}])
def test_a_dense_model_that_is_no_llama_is_refused(odd: dict[str, str], tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "c", "dense", **odd)
    with pytest.raises(ConfigError, match=f"{next(iter(odd.values()))}.*no Llama has") as caught:
        export_hf(source, tmp_path / "deep/hf")
    assert "mythos export mythos" in caught.value.hint
    assert not (tmp_path / "deep").exists()


def test_a_folder_in_use_stays_as_it_is(tmp_path: Path) -> None:
    source = write_checkpoint(tmp_path / "c", "dense")
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine/notes.txt").write_text("mine")
    with pytest.raises(CheckpointError, match="not empty"):
        export_hf(source, tmp_path / "mine")
    (tmp_path / "empty").mkdir()
    export_hf(source, tmp_path / "empty")
    assert {path.name for path in tmp_path.iterdir()} == {"c", "mine", "empty"}
    assert [path.name for path in (tmp_path / "mine").iterdir()] == ["notes.txt"]


def test_writing_that_fails_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = write_checkpoint(tmp_path / "c", "dense")

    def fail(*_: Any) -> None:
        raise OSError("disk full")

    monkeypatch.setattr("mythos.interop.hf._save", fail)
    with pytest.raises(OSError, match="disk full"):
        export_hf(source, tmp_path / "hf")
    assert [path.name for path in tmp_path.iterdir()] == ["c"]


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another model": ({"model_type": "gpt2"}, "model_type is 'gpt2'"),
    "biases": ({"attention_bias": True}, "attention has biases"),
    "more biases": ({"mlp_bias": True}, "feed-forward blocks have biases"),
    "scaled": ({"rope_parameters": {"rope_type": "llama3", "rope_theta": 5e5, "factor": 8.0}}, r"scaled \(llama3\)"),
    "scaled of old": ({"rope_parameters": None, "rope_scaling": {"type": "linear", "factor": 2}}, r"scaled \(linear\)"),
    "head width": ({"head_dim": 16}, "head_dim 16 is not"),
    "activation": ({"hidden_act": "gelu"}, "activation is 'gelu'"),
    "quantized": ({"quantization_config": {"bits": 4}}, "quantized"),
    "lacking": ({"hidden_size": None}, "lacks hidden_size"),
    "heads": ({"num_key_value_heads": 3}, "n_kv_heads 3 does not divide"),
    "out of range": ({"rms_norm_eps": 3.0}, "rms_norm_eps: Input should be less"),
    "other width": ({"vocab_size": 301}, r"embed_tokens.weight is \[300, 32\] instead of \[301, 32\]"),
    "fewer layers": ({"num_hidden_layers": 1}, "it holds model.layers.1"),
    "more layers": ({"num_hidden_layers": 7}, "it lacks model.layers.2.*and 40 more"),
}


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """Files of a Llama's folder."""
    _, folder = llama(tmp_path_factory.mktemp("plain"))
    return {path.name: path.read_bytes() for path in folder.iterdir()}


@pytest.fixture
def folder(plain: dict[str, bytes], tmp_path: Path) -> Path:
    target = tmp_path / "hf"
    target.mkdir()
    for name, data in plain.items():
        (target / name).write_bytes(data)
    return target


@pytest.mark.parametrize("case", REFUSED)
def test_more_than_a_plain_llama_is_refused_by_name(folder: Path, case: str) -> None:
    settings, says = REFUSED[case]
    change(folder, **settings)
    with pytest.raises((CheckpointError, ConfigError), match=says) as caught:
        import_hf(folder, folder.parent / "c")
    assert caught.value.hint and not (folder.parent / "c").exists()


def test_files_that_do_not_fit_are_refused(folder: Path) -> None:
    def refused(says: str, source: Path = folder) -> None:
        with pytest.raises((CheckpointError, ConfigError), match=says) as caught:
            import_hf(source, folder.parent / "c")
        assert caught.value.hint and not (folder.parent / "c").exists()

    refused("no folder at", folder / "ghost")
    (folder / "tokenizer.model").write_bytes(b"")
    refused("no tokenizer.json, only tokenizer.model")
    (folder / "tokenizer.json").write_bytes((ROOT / "checkpoints/quickstart/tokenizer.json").read_bytes())
    refused("has 2,048 tokens, but the model's vocabulary is 300")
    (folder / "model.safetensors").rename(folder / "elsewhere.safetensors")
    refused("neither model.safetensors nor")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "../elsewhere.safetensors"}}')
    refused("files outside the folder")
    (folder / "model.safetensors.index.json").write_text('{"weight_map": {"a": "ghost.safetensors"}}')
    refused("no file at .*ghost.safetensors")
