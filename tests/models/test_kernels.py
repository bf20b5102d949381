"""What was written by hand for speed computes what torch computes, forward and backward."""

from __future__ import annotations

import pytest
import torch
from torch import Tensor
from torch.nn import functional as F

from mythos.data.answers import IGNORED
from mythos.models.attention import MATERIALISE_UP_TO, AttentionProduct
from mythos.models.norm import RMSNorm
from mythos.train.cross_entropy import cross_entropy


def gradients(value: Tensor, *leaves: Tensor) -> tuple[Tensor, ...]:
    weight = torch.randn(value.shape, generator=torch.Generator().manual_seed(1), dtype=torch.float64).to(value.dtype)
    return torch.autograd.grad((value * weight).sum(), leaves)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-5), (torch.bfloat16, 0.03)]
)
def test_rms_norm(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    norm, x = RMSNorm(24, 1e-5).to(dtype), torch.randn(3, 5, 24, dtype=dtype, requires_grad=True)
    torch.nn.init.normal_(norm.weight)
    found = norm(x)
    wide, weight = x.detach().double().requires_grad_(), norm.weight.detach().double().requires_grad_()
    expected = wide / (wide.square().mean(-1, keepdim=True) + 1e-5).sqrt() * weight
    assert found.dtype == dtype
    for got, wanted in zip(
        (found, *gradients(found, x, norm.weight)), (expected, *gradients(expected, wide, weight)), strict=True
    ):
        torch.testing.assert_close(got.double(), wanted, atol=10 * tolerance, rtol=tolerance)
    with torch.no_grad():
        torch.testing.assert_close(norm(x), found, atol=tolerance, rtol=tolerance)


@pytest.mark.parametrize("kv_heads", [1, 2, 6])
def test_attention_that_keeps_its_scores(kv_heads: int) -> None:
    torch.manual_seed(0)
    q, k, v = (torch.randn(2, heads, 17, 8, dtype=torch.float64) for heads in (6, kv_heads, kv_heads))
    leaves = [tensor.requires_grad_() for tensor in (q, k, v)]
    found = AttentionProduct()(*leaves, None, True, 0.3)
    expected = F.scaled_dot_product_attention(*leaves, is_causal=True, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(found, expected, atol=1e-12, rtol=0)
    for got, wanted in zip(gradients(found, *leaves), gradients(expected, *leaves), strict=True):
        torch.testing.assert_close(got, wanted, atol=1e-12, rtol=0)


def test_long_sequences_never_keep_their_scores(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("mythos.models.attention._materialised", lambda *_: pytest.fail("kept its scores"))
    q = torch.randn(1, 1, MATERIALISE_UP_TO + 1, 4, requires_grad=True)
    AttentionProduct()(q, q, q, None, True, 0.5)


def test_one_query_attends_to_all_that_is_cached() -> None:
    q, k, v = torch.randn(2, 6, 1, 8), torch.randn(2, 2, 9, 8), torch.randn(2, 2, 9, 8)
    expected = F.scaled_dot_product_attention(q, k, v, scale=0.3, enable_gqa=True)
    torch.testing.assert_close(AttentionProduct()(q, k, v, None, False, 0.3), expected)


@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float64, 1e-12), (torch.float32, 1e-6), (torch.bfloat16, 1e-3)]
)
def test_cross_entropy_in_rows(dtype: torch.dtype, tolerance: float) -> None:
    torch.manual_seed(0)
    logits, targets = (3 * torch.randn(3, 50, 40)).to(dtype).requires_grad_(), torch.randint(0, 40, (3, 50))
    plain = logits.detach().double().requires_grad_()
    found, expected = cross_entropy(logits, targets), F.cross_entropy(plain.flatten(0, 1), targets.flatten())
    (got,), (wanted,) = torch.autograd.grad(2 * found, logits), torch.autograd.grad(2 * expected, plain)
    torch.testing.assert_close(found.double(), expected, atol=10 * tolerance, rtol=0)
    torch.testing.assert_close(got.double(), wanted, atol=tolerance, rtol=0)
    assert got.dtype == dtype


def test_cross_entropy_is_a_sum_over_a_divisor_where_one_is_given() -> None:
    """Parts of a batch with unlike numbers of targets that are asked for add up to it; with gradient and without."""
    torch.manual_seed(0)
    logits, targets = torch.randn(4, 9, 7, dtype=torch.float64, requires_grad=True), torch.randint(0, 7, (4, 9))
    targets[0], targets[1, 2:] = IGNORED, IGNORED
    whole, asked = cross_entropy(logits, targets), (targets != IGNORED).sum() / 4
    parts = torch.stack([cross_entropy(logits[i : i + 1], targets[i : i + 1], asked) for i in range(4)]).mean()
    (wanted,), (found,) = torch.autograd.grad(whole, logits), torch.autograd.grad(parts, logits)
    torch.testing.assert_close(found, wanted)
    torch.testing.assert_close(parts, whole)
    with torch.no_grad():
        again = [cross_entropy(logits[i : i + 1], targets[i : i + 1], asked) for i in range(4)]
    torch.testing.assert_close(torch.stack(again).mean().double(), whole.detach(), atol=1e-6, rtol=0)
