"""Sampling: what stays in the draw, how often it is drawn, and what is reported about it."""

from __future__ import annotations

import pytest
import torch

from mythos.infer.sampling import GREEDY, Sampling, penalise, sample, truncate

P = torch.tensor([0.1, 0.4, 0.05, 0.3, 0.15])


def frequencies(sampling: Sampling, draws: int = 20_000) -> torch.Tensor:
    drawn = sample(P.log().expand(draws, -1), sampling, torch.Generator().manual_seed(0))
    return torch.bincount(drawn.id, minlength=len(P)) / draws


def test_plain_sampling_follows_the_distribution() -> None:
    torch.testing.assert_close(frequencies(Sampling(1.0, 0, 1.0)), P, atol=0.015, rtol=0)


def test_temperature_sharpens() -> None:
    expected = (P.log() / 0.5).softmax(-1)
    torch.testing.assert_close(frequencies(Sampling(0.5, 0, 1.0)), expected, atol=0.015, rtol=0)


def test_top_k_and_top_p_cut_and_renormalise() -> None:
    torch.testing.assert_close(
        frequencies(Sampling(1.0, 2, 1.0))[[1, 3]], torch.tensor([4 / 7, 3 / 7]), atol=0.015, rtol=0
    )
    assert torch.isfinite(truncate(P.log(), 3, 1.0)).tolist() == [False, True, False, True, True]
    assert torch.isfinite(truncate(P.log(), 0, 0.69)).tolist() == [False, True, False, True, False]
    assert torch.isfinite(truncate(P.log(), 0, 0.71)).tolist() == [False, True, False, True, True]
    assert torch.isfinite(truncate(P.log(), 0, 1e-9)).tolist() == [False, True, False, False, False]
    assert torch.isfinite(truncate(P.log(), 99, 1.0)).all()


def test_min_p_keeps_what_is_likely_beside_the_likeliest() -> None:
    for min_p in (0.0, 0.2, 0.3, 0.5, 0.9, 1.0):
        expected = [p >= min_p * 0.4 * 0.999 for p in P.tolist()]
        assert torch.isfinite(truncate(P.log(), 0, 1.0, min_p)).tolist() == expected
    kept = torch.where(P.log() / 2 >= (P.log() / 2).max() + torch.tensor(0.7).log(), P.sqrt(), 0.0)
    torch.testing.assert_close(frequencies(Sampling(2.0, 0, 1.0, min_p=0.7)), kept / kept.sum(), atol=0.015, rtol=0)


def test_the_repetition_penalty_is_that_of_plain_recomputation() -> None:
    logits, seen = torch.tensor([2.0, -1.0, 0.5, 3.0]), torch.tensor([3, 1, 3, 3])
    plain = [x if i not in (1, 3) else (x / 1.5 if x > 0 else x * 1.5) for i, x in enumerate(logits.tolist())]
    assert penalise(logits, seen, 1.5).tolist() == pytest.approx(plain)
    assert penalise(logits.expand(2, 3, -1), seen, 1.5).tolist() == [[pytest.approx(plain)] * 3] * 2
    assert penalise(logits, seen, 1.0) is logits and penalise(logits, None, 1.5) is logits
    greedy = Sampling(0.0, top_p=1.0, repetition_penalty=1.6)
    drawn = sample(logits, greedy, seen=seen)
    assert int(drawn.id) == 0 and float(drawn.probability) == pytest.approx(float(logits.softmax(-1)[0]))


def test_ties_leave_exactly_k() -> None:
    assert int(torch.isfinite(truncate(torch.zeros(6), 2, 1.0)).sum()) == 2


def test_reports_the_distribution_before_temperature() -> None:
    for sampling in (GREEDY, Sampling(0.2, 1, 0.5)):
        drawn = sample(P.log() + 3.0, sampling)
        assert int(drawn.id) == 1
        assert float(drawn.probability) == pytest.approx(0.4)
        assert float(drawn.entropy) == pytest.approx(float(-(P * P.log()).sum()))


def test_any_leading_axes_and_certain_predictions() -> None:
    logits = torch.full((2, 3, 5), -torch.inf)
    logits[..., 4] = 0.0
    drawn = sample(logits, Sampling(1.0))
    assert drawn.id.tolist() == [[4] * 3] * 2
    assert float(drawn.entropy.abs().max()) == 0.0


@pytest.mark.parametrize("sampling", [Sampling(1.0, top_p=0.0), Sampling(1e-39), Sampling(5e-324), Sampling(1e-39, 3, 0.5)])
def test_what_leaves_nearly_nothing_to_chance_takes_the_likeliest(sampling: Sampling) -> None:
    assert int(sample(P.log() + 3.0, sampling).id) == 1


def test_ids_beyond_the_tokenizer_are_never_drawn() -> None:
    logits = torch.tensor([0.0, 1.0, 9.0])
    assert int(sample(logits, Sampling(0.0, vocab=2)).id) == 1
    drawn = sample(logits.expand(500, -1), Sampling(1.0, 0, 1.0, vocab=2), torch.Generator().manual_seed(0))
    assert set(drawn.id.tolist()) == {0, 1}
    assert float(drawn.probability.max()) < 0.01


def test_the_same_seed_draws_the_same() -> None:
    draws = [sample(P.log().expand(50, -1), Sampling(1.0), torch.Generator().manual_seed(s)).id for s in (1, 1, 2)]
    assert torch.equal(draws[0], draws[1]) and not torch.equal(draws[0], draws[2])
