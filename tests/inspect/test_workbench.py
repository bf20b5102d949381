"""From the engine through the protocol to what the Inspect screen shows and writes: the same numbers all the way."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import mythos
from mythos.contract import protocol
from mythos.inspect.ondemand import attention_pattern, depth_losses
from mythos.inspect.trace import Trace
from mythos.inspect.wire import attention_event, sweep_event, trace_event
from mythos_tui.screens.inspect import trace as shown
from mythos_tui.screens.inspect.exports import Source, save_npz
from mythos_tui.screens.inspect.tables import TABLES, Look

SHIPPED = Path(__file__).parents[2] / "checkpoints" / "quickstart"
TEXT = "for name in names:\n    print(name, '👍')\n"


def sent(event: protocol.Message) -> protocol.Message:
    return protocol.decode_event(protocol.encode(event))


@pytest.fixture(scope="module")
def both() -> tuple[Trace, Look]:
    """The engine's trace of the shipped checkpoint, and what the screen makes of it."""
    checkpoint = mythos.load(SHIPPED)
    found = mythos.trace(checkpoint, TEXT)
    look = Look(shown.Trace.of(sent(trace_event(found, "1", 0.0))), row=2, head=1)
    how = {"taken": found.loops.tolist(), "stopped": found.stopped.tolist()}
    pattern = attention_pattern(checkpoint, TEXT, 2, 1, **how)
    look.patterns[2, 1] = shown.triangle(sent(attention_event(pattern, "2", 1, 0.0)).weights)
    losses = depth_losses(checkpoint, TEXT)
    look.losses = shown.floats(sent(sweep_event(losses, "3", 0.0)).losses, losses.shape)
    return found, look


def test_views_show_the_engines_numbers(both: tuple[Trace, Look]) -> None:
    found, look = both
    tables = {name: table(look) for name, table in TABLES.items()}
    expected = {
        "halting": found.exit_signal,
        "lens": found.lens_p[..., 0],
        "attention": found.attention_entropy[2],
        "depth": found.attention_entropy[:, 0],
        "states": found.step_size,
        "loss": found.token_loss[:, None],
    }
    for name, values in expected.items():
        np.testing.assert_allclose(tables[name].values, values, rtol=1e-5, atol=1e-9, err_msg=name)
    assert tables["halting"].marks.tolist() == (found.loops - 1).tolist()
    np.testing.assert_array_equal(np.nan_to_num(tables["experts"].values, nan=-1), found.routes[..., 0])
    weights = look.patterns[2, 1]
    entropy = -np.nansum(np.where(weights > 0, weights * np.log(np.maximum(weights, 1e-300)), 0), axis=1)
    ran = ~np.isnan(found.attention_entropy[2, :, 1])
    np.testing.assert_allclose(entropy[ran], found.attention_entropy[2, ran, 1], atol=1e-4)
    loops, loss = look.trace.exit_point()
    assert loops == pytest.approx(found.loops[:-1].mean()) and loss == pytest.approx(
        found.token_loss[1:].mean(), rel=1e-5
    )
    texts = found.text_of()
    for t, best in enumerate(found.lens_ids[..., 0]):
        assert look.trace.lens.best(t, 0) == texts[best[0]]
        assert look.trace.lens.flips()[t].nonzero()[0].max(initial=-1) + 1 == (
            found.settled[t] if found.settled[t] > 1 else 0
        )


def test_the_npz_of_the_screen_is_that_of_the_command_line(both: tuple[Trace, Look], tmp_path: Path) -> None:
    found, look = both
    save_npz(tmp_path / "t.npz", look.trace, Source(SHIPPED, TEXT, 0, "", "recurrent", 400))
    again = Trace.load(tmp_path / "t.npz")
    for name, values in found.arrays().items():
        other = again.arrays().get(name)
        if name == "halt_p":  # the exit rule's number of another rule: not part of the protocol
            continue
        assert other is not None and other.shape == values.shape, name
        if values.dtype.kind == "f":
            np.testing.assert_allclose(other, values, rtol=1e-5, atol=1e-9, err_msg=name)
        else:
            assert other.tolist() == values.tolist(), name
