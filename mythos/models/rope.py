"""Rotary position embedding (Su et al. 2021), the half-split layout of Llama on Hugging Face.

Tables are float32, made on demand, and belong to no state dict: `model.to(bfloat16)` cannot round them.
"""

from __future__ import annotations

import torch
from torch import Tensor


class Positions:
    """Where the tokens of a chunk stand: `at` [T] or [B, T], all below `end`, which is known without asking the device.

    Keeps the angles of its positions, so that the layers and loops of one pass look them up once.
    """

    def __init__(self, at: Tensor, end: int) -> None:
        self.at, self.end = at, end
        self.angles: dict[tuple[int, float, bool], tuple[Tensor, Tensor]] = {}
        self.rotations: dict[tuple[int, float, torch.dtype], Tensor] = {}


class Rope:
    """Tables of cos and signed sin for heads of width `dim`; a plain object, so that no cast of a module reaches it."""

    def __init__(self, dim: int, theta: float) -> None:
        self.dim = dim
        self.theta = theta
        self._tables: dict[torch.device, tuple[Tensor, Tensor]] = {}

    def _table(self, end: int, device: torch.device) -> tuple[Tensor, Tensor]:
        """cos, and sin with the sign that its half takes, each [≥ end, dim]; grown to the next power of two."""
        held = self._tables.get(device)
        if held is None or held[0].shape[0] < end:
            size = max(64, 1 << (end - 1).bit_length())
            with torch.inference_mode(False):  # tables made while generating must serve training too
                frequency = self.theta ** (-torch.arange(0, self.dim, 2, dtype=torch.float64) / self.dim)
                angle = torch.outer(torch.arange(size, dtype=torch.float64), frequency)
                cos, sin = angle.cos().repeat(1, 2), torch.cat((-angle.sin(), angle.sin()), dim=1)
                held = (cos.float().to(device), sin.float().to(device))
            self._tables[device] = held
        return held

    def _angles(self, positions: Positions, double: bool) -> tuple[Tensor, Tensor]:
        """cos and sin at the positions, [T, 1, dim] or [B, T, 1, dim]."""
        key = (self.dim, self.theta, double)
        if key not in positions.angles:
            cos, sin = (table[positions.at].unsqueeze(-2) for table in self._table(positions.end, positions.at.device))
            positions.angles[key] = (cos.double(), sin.double()) if double else (cos, sin)
        return positions.angles[key]

    def rotate(self, x: Tensor, positions: Positions) -> Tensor:
        """x [B, T, heads, dim] → x rotated, in the dtype of x."""
        cos, sin = self._angles(positions, x.dtype == torch.float64)
        return torch.addcmul(x * cos, x.roll(self.dim // 2, -1), sin).to(x.dtype)

    def rotation(self, positions: Positions, dtype: torch.dtype) -> Tensor:
        """The rotation of a single position as a matrix to multiply by from the right, [dim, dim]."""
        key = (self.dim, self.theta, dtype)
        if key not in positions.rotations:
            basis = torch.eye(self.dim, dtype=dtype, device=positions.at.device).view(1, self.dim, 1, self.dim)
            positions.rotations[key] = self.rotate(basis.transpose(1, 2), positions).view(self.dim, self.dim)
        return positions.rotations[key]
