"""Chat over the shipped checkpoint and the real worker: every number on the screen is the engine's, none is made here."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from textual.widgets import Input, Select

import mythos
from mythos.models.halting import Replay
from mythos_tui.app import MythosApp
from mythos_tui.screens.chat.screen import ChatScreen
from mythos_tui.screens.chat.transcript import Transcript
from mythos_tui.settings import Context
from tests.fakes.workbench import finished, open_chat, send, shown, until

SHIPPED = Path(__file__).parents[2] / "checkpoints"


@pytest.fixture(scope="module")
def checkpoint() -> Any:
    return mythos.load(SHIPPED / "quickstart")


async def test_the_numbers_of_chat_are_the_engines(
    checkpoint: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    app = MythosApp(Context(runs=tmp_path / "runs", configs=tmp_path, checkpoints=SHIPPED))
    async with app.run_test(size=(120, 50)) as pilot:
        monkeypatch.setattr(until, "__defaults__", (60,))
        screen: ChatScreen = await open_chat(pilot)
        screen.query_one("#max_tokens", Input).value = "24"
        screen.query_one("#seed", Input).value = "3"
        screen.query_one("#template", Select).value = "document"
        for text in ("def mean(values):\n", "# Grüße 👍\n"):
            screen.query_one("#prompt").text = text
            await send(pilot, "")
            await finished(pilot, screen)
        answer = screen.conversation.turns[1].answers[0]
        assert answer.read == f"def mean(values):\n{screen.conversation.turns[0].answers[0].text}# Grüße 👍\n"

        traced = mythos.trace(checkpoint, answer.read, then=[piece.id for piece in answer.tokens])
        start = answer.earlier
        assert [piece.loops for piece in answer.prompt] == traced.loops[start : start + len(answer.prompt)].tolist()
        predicted = slice(start + len(answer.prompt) - 1, -1)
        assert [piece.loops for piece in answer.tokens] == traced.loops[predicted].tolist()
        assert len(set(traced.loops.tolist())) > 1

        log_p = plain_log_p(checkpoint, traced)
        for piece, row in zip(answer.tokens, log_p[predicted], strict=True):
            assert piece.probability == pytest.approx(float(row[piece.id].exp()), abs=1e-4)
            assert piece.entropy == pytest.approx(float(-(row.exp() * row).sum()), abs=1e-3)
        mean = sum(piece.loops for piece in answer.tokens) / 24
        assert answer.mean_loops == pytest.approx(mean)
        assert f"loops {mean:.2f} of 8" in str(screen.query(".statistics").last().render())

        await pilot.press("escape", "left")
        chosen = screen.query_one(Transcript).chosen
        assert chosen is not None and chosen.cursor is not None
        await until(pilot, lambda: chosen.trace is not None)
        await pilot.pause()
        last = log_p[-2]
        best = last.topk(3)
        at = answer.earlier + chosen.cursor - 1
        taken = int(traced.loops[at])
        assert chosen.trace.loops == traced.loops.tolist()
        assert chosen.trace.lens.ids[at][taken - 1][:3] == best.indices.tolist()
        assert chosen.trace.lens.p[at][taken - 1][:3] == pytest.approx(best.values.exp().tolist(), abs=1e-4)
        column = shown(screen, "#column-text")
        assert all(f"{p:.3f}" in column for p in best.values.exp().tolist())
        assert f"{taken} of 8 to predict it" in column and f"{-float((last.exp() * last).sum()):.2f} nats" in column


def plain_log_p(checkpoint: Any, traced: Any) -> torch.Tensor:
    """[T, V]: one whole forward pass in which every token takes the loops that the trace tells."""
    with torch.inference_mode():
        loops = torch.tensor(traced.loops[None])
        output = checkpoint.model(torch.tensor(traced.ids[None]), 8, exit=Replay(loops))
    assert math.isfinite(float(output.logits.sum()))
    return output.logits[0].float().log_softmax(-1)
