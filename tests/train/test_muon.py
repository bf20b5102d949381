"""Muon: the library's own steps, over stacks of matrices and in an arithmetic of choice."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from mythos.train.device import Device
from mythos.train.muon import Muon, orthogonal
from tests.train.test_objective import trainer

SHAPES = [(24, 24), (16, 40), (40, 16)]


def steps(optimizer: torch.optim.Optimizer, parameters: list[nn.Parameter], count: int = 3) -> list[Tensor]:
    """The weights after a few steps with gradients that are the same each time this is called."""
    torch.manual_seed(1)
    for _ in range(count):
        for parameter in parameters:
            parameter.grad = torch.randn_like(parameter)
        optimizer.step()
    return [p.detach().clone() for p in parameters]


def test_in_bfloat16_its_steps_are_the_library_s() -> None:
    """torch.optim.Muon is the reference: momentum, Nesterov, decay, coefficients, and the rate by shape."""
    torch.manual_seed(0)
    ours = [nn.Parameter(torch.randn(shape)) for shape in SHAPES]
    theirs = [nn.Parameter(p.detach().clone()) for p in ours]
    found = steps(Muon(ours, 0.02, 0.1, dtype=torch.bfloat16), ours)
    wanted = steps(torch.optim.Muon(theirs, lr=0.02, weight_decay=0.1, momentum=0.95), theirs)
    for one, other in zip(found, wanted, strict=True):
        torch.testing.assert_close(one, other, atol=1e-6, rtol=1e-5)


@pytest.mark.parametrize("shape", SHAPES)
def test_what_comes_out_is_orthogonal_in_each_arithmetic(shape: tuple[int, int]) -> None:
    torch.manual_seed(0)
    stack = torch.randn(5, *shape)
    for dtype in (torch.float32, torch.bfloat16):
        values = torch.linalg.svdvals(orthogonal(stack.to(dtype)).float())
        assert (values > 0.6).float().mean() > 0.9 and values.max() < 1.3
    assert orthogonal(stack)[3].sub(orthogonal(stack[3])).abs().max() < 1e-5, "each matrix of a stack by itself"


def test_a_stack_steps_as_its_matrices_do() -> None:
    torch.manual_seed(0)
    stack = nn.Parameter(torch.randn(4, 16, 24))
    single = [nn.Parameter(part.clone()) for part in stack.detach()]
    together, alone = Muon([stack], 0.02, 0.1), Muon(single, 0.02, 0.1)
    for _ in range(2):
        stack.grad = torch.randn_like(stack)
        for part, gradient in zip(single, stack.grad, strict=True):
            part.grad = gradient
        together.step()
        alone.step()
    torch.testing.assert_close(stack.detach(), torch.stack([p.detach() for p in single]))


def test_a_step_that_is_to_be_left_out_changes_nothing() -> None:
    parameter = nn.Parameter(torch.randn(8, 8))
    optimizer = Muon([parameter], 0.02, 0.1)
    steps(optimizer, [parameter])
    before = parameter.detach().clone(), optimizer.state[parameter]["momentum_buffer"].clone()
    optimizer.found_inf = torch.ones(())
    parameter.grad = torch.full_like(parameter, torch.nan)
    optimizer.step()
    assert torch.equal(parameter.detach(), before[0])
    assert torch.equal(optimizer.state[parameter]["momentum_buffer"], before[1])


@pytest.mark.parametrize(("precision", "dtype"), [("fp32", "float32"), ("bf16", "bfloat16"), ("fp16", "float32")])
def test_it_iterates_in_the_arithmetic_of_the_run(tmp_path: Path, precision: str, dtype: str) -> None:
    """In bfloat16 whatever the run was in, a step of the quickstart took ten times as long where that is emulated."""
    run = trainer(tmp_path, [])
    run.device = Device("cpu", precision, 1, 1e9)
    assert run.optimizer.muon is not None and run.optimizer.muon.dtype == getattr(torch, dtype)


def test_a_state_that_has_no_place_is_named(tmp_path: Path) -> None:
    """One with a momentum per expert, as there once was, ended the worker with `list index out of range`."""
    run = trainer(tmp_path, [])
    run.step()
    state = run.optimizer.state()
    run.optimizer.restore(state)
    (momentum, *_) = (name for name in state if name.startswith("muon."))
    for wrong in ({"muon.999.momentum_buffer": torch.zeros(2, 2)}, {momentum: torch.zeros(2, 2)}, {"sgd.0.x": torch.zeros(2)}):
        with pytest.raises(ValueError, match=f"no place for {next(iter(wrong))}"):
            run.optimizer.restore(state | wrong)
