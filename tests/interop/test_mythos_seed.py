"""Published dense checkpoints give their own logits here, and a file that would run code is not opened."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file
from torch import Tensor

import mythos
from mythos.contract.config import DenseConfig
from mythos.contract.errors import CheckpointError, MythosError
from mythos.data.tokenizer import Tokenizer
from mythos.interop.llama import split_tensors
from mythos.interop.mythos_seed import PUBLISHED, import_mythos_seed
from mythos.models.build import Model
from tests.data._foreign import contents
from tests.fakes.checkpoints import tiny_model

FIXTURES = Path(__file__).parents[3] / "shared" / "fixtures"
SETTINGS: dict[str, Any] = {
    "vocab_size": 40,
    "d_model": 32,
    "n_layers": 2,
    "n_heads": 4,
    "n_kv_heads": 2,
    "d_ff": 48,
    "max_seq_len": 32,
    "dropout": 0.0,
    "norm_eps": 1e-5,
    "rope_theta": 500.0,
}


def published(model: Model) -> dict[str, Tensor]:
    """The tensors of a model of ours under the published names, with the tables that lie among them."""
    assert isinstance(model.config, DenseConfig)
    weights = split_tensors(model.state_dict(), model.config, PUBLISHED)
    tables = {"rope_cos": torch.ones(32, 8), "rope_sin": torch.zeros(32, 8)}
    return {**tables, "output.weight": weights["embedding.weight"], **weights}


def own_model(**settings: Any) -> Model:
    shape = {"vocab_size": 40, "n_layers": 2, "context": 32, "rope_theta": 500.0}
    return tiny_model("dense", **{**shape, **settings})


@pytest.fixture
def file(tmp_path: Path) -> Path:
    held = {"model": published(own_model()), "optimizer": {"state": {}}, "step": 123, "config": SETTINGS}
    torch.save(held, tmp_path / "step_123.pt")
    return tmp_path / "step_123.pt"


def test_the_published_file_gives_its_own_logits(tmp_path: Path) -> None:
    source = FIXTURES / "mythos_dense.pt"
    if not source.is_file():
        pytest.skip(f"no published weights at {FIXTURES}")
    done = import_mythos_seed(source, tmp_path / "c")
    assert done.parameters == 193_152 and done.model.tie_embeddings
    expected = load_file(FIXTURES / "mythos_dense.expected.safetensors")
    checkpoint = mythos.load(tmp_path / "c")
    with torch.no_grad():
        logits = checkpoint.model(expected["input_ids"]).logits
    torch.testing.assert_close(logits, expected["logits"], rtol=0, atol=1e-5)
    assert checkpoint.manifest["step"] == 123 and "imported from mythos_dense.pt" in checkpoint.config.note


@pytest.mark.parametrize("tied", [True, False])
def test_every_tensor_finds_its_place(file: Path, tied: bool) -> None:
    model = own_model(tie_embeddings=tied)
    torch.save({"model": published(model), "config": SETTINGS}, file)
    done = import_mythos_seed(file, file.parent / "c")
    assert done.model.tie_embeddings == tied
    state = mythos.load(done.path).model.state_dict()
    assert all(torch.equal(tensor, state[name]) for name, tensor in model.state_dict().items())


def test_settings_and_a_tokenizer_may_lie_beside_the_weights(file: Path) -> None:
    torch.save({**published(own_model(vocab_size=300))}, file)
    (file.parent / "c.json").write_text(json.dumps(SETTINGS | {"vocab_size": 300}))
    Tokenizer.train([], 257).save(file.parent / "t.json")
    done = import_mythos_seed(file, file.parent / "c", file.parent / "c.json", file.parent / "t.json")
    assert done.remarks == ["The tokenizer has no token for the last 43 ids: they are never generated."]


class Harmful:
    """Runs a command when it is unpickled."""

    def __reduce__(self) -> tuple[Any, ...]:
        return os.mkdir, ("harmed",)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "harmful": ({"config": Harmful()}, "could run code"),
    "no settings": ({"config": None}, "is missing or no set of settings"),
    "few settings": ({"config": {"d_model": 32}}, "lacks vocab_size, n_layers"),
    "odd settings": ({"config": SETTINGS | {"norm_eps": "small"}}, "norm_eps: "),
    "other width": ({"config": SETTINGS | {"d_ff": 64}}, r"w1.weight is \[48, 32\] instead of \[64, 32\]"),
    "fewer layers": ({"config": SETTINGS | {"n_layers": 1}}, "it holds layers.1"),
    "no weights": ({"model": 3}, "holds no state dict"),
    "not a number": ({"model": published(own_model()) | {"norm.weight": torch.full((32,), torch.nan)}}, "finite"),
    "above float32": (
        {"model": published(own_model()) | {"norm.weight": torch.full((32,), 1e39, dtype=torch.float64)}},
        "norm.weight must hold finite numbers",
    ),
    "one number for all": (
        {"model": published(own_model()) | {"embedding.weight": torch.ones(1).expand(40, 32)}},
        "every number of embedding.weight",
    ),
    "no numbers": (
        {"model": published(own_model()) | {"norm.weight": torch.ones(32, device="meta")}},
        "of norm.weight",
    ),
    "sparse": ({"model": published(own_model()) | {"norm.weight": torch.ones(32).to_sparse()}}, "of norm.weight"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_does_not_fit_is_refused_and_leaves_nothing(
    file: Path, case: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    change, says = REFUSED[case]
    monkeypatch.chdir(file.parent)
    torch.save({**torch.load(file, weights_only=True), **change}, file)
    with pytest.raises(MythosError, match=says) as caught:
        import_mythos_seed(file, Path("new/c"))
    assert caught.value.hint
    assert [path.name for path in file.parent.iterdir()] == [file.name]


def test_float64_weights_become_float32(file: Path) -> None:
    weights = published(own_model())
    torch.save({"model": {name: tensor.double() for name, tensor in weights.items()}, "config": SETTINGS}, file)
    state = load_file(import_mythos_seed(file, file.parent / "c").path / "model.safetensors")
    assert torch.equal(state["norm.weight"], weights["norm.weight"])


def test_a_tokenizer_with_an_id_outside_its_vocabulary_is_refused(file: Path) -> None:
    """The id would open every prompt."""
    torch.save({"model": published(own_model(vocab_size=400)), "config": SETTINGS | {"vocab_size": 400}}, file)
    settings = json.loads(contents("llama2"))
    settings["post_processor"]["special_tokens"]["<s>"]["ids"] = [399]
    (file.parent / "t.json").write_text(json.dumps(settings))
    with pytest.raises(CheckpointError, match="puts id 399 beside a text, but there are 350 tokens"):
        import_mythos_seed(file, file.parent / "c", tokenizer=file.parent / "t.json")
    assert not (file.parent / "c").exists()


def test_a_cut_or_missing_file_is_named(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:1000])
    for path, says in ((file, "step_123.pt"), (file.parent / "ghost.pt", "no file at .*ghost.pt")):
        with pytest.raises(CheckpointError, match=says):
            import_mythos_seed(path, file.parent / "c")
