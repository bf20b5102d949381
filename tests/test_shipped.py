"""What lies in checkpoints/ is whole, small, explained and works."""

from __future__ import annotations

from pathlib import Path

import pytest

import mythos
from mythos.contract.budget import parameters

ROOT = Path(__file__).parents[1]
SHIPPED = sorted(path.parent for path in (ROOT / "checkpoints").glob("*/manifest.json"))


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.name)
def test_a_shipped_checkpoint_is_small_and_explained(path: Path) -> None:
    assert sum(file.stat().st_size for file in path.iterdir()) <= 12_000_000
    card = (path / "README.md").read_text()
    assert "mythos train" in card and f"{parameters(mythos.load(path).config.model).total:,}" in card


def test_the_quickstart_writes_python() -> None:
    checkpoint = mythos.load(ROOT / "checkpoints" / "quickstart")
    answer = list(mythos.generate(checkpoint, "import os\nimport sys\n\n\ndef main(", max_tokens=24, temperature=0))
    assert len({token.loops for token in answer}) > 1
    text = "".join(token.text for token in answer)
    assert ")" in text and ":" in text


def test_the_reasoner_answers_takes_longer_for_more_steps_and_ends() -> None:
    checkpoint, loops = mythos.load(ROOT / "checkpoints" / "reasoner"), []
    for question, right in (
        ("Az=", "B"),
        ("Az?.x?.y=", "A"),
        ("Az?.x?.y?.z?.x?.y?.x=", "A"),
        ("3+4?.*2?.+1=", "0"),
        ("37+58=", "95"),
        ("999+1=", "1000"),
    ):
        answer = list(mythos.generate(checkpoint, question))
        assert "".join(token.text for token in answer) == right, question
        loops.append(answer[0].loops)
    assert loops[0] < loops[1] < loops[2]


def test_depth_and_entropies_of_the_shipped_checkpoint_can_be_traced() -> None:
    trace = mythos.trace(mythos.load(ROOT / "checkpoints" / "quickstart"), "def mean(values):\n    return sum(values)")
    assert len(set(trace.loops.tolist())) > 1
    assert float(trace.token_loss[1:].mean()) < 4.5  # an untrained model has log 2048 = 7.6
