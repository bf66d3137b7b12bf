"""Fixed positions of patches on a square grid."""

import math

import torch
from jaxtyping import Float
from torch import Tensor


def grid_side(num_patches: int) -> int:
    """Side of the square grid.

    Raises:
        ValueError: The patches fill no square.
    """
    side = math.isqrt(num_patches)
    if side * side != num_patches:
        raise ValueError(f"num_patches {num_patches} is not a square number; give rows x columns of a square grid")
    return side


def sinusoidal_grid(num_patches: int, dim: int) -> Float[Tensor, "p d"]:
    """Sines and cosines of row and column at dim/4 wavelengths each (Vaswani et al. 2017, 3.5, once per axis).

    A position is [sin row, cos row, sin column, cos column]; patches in row-major order.

    Raises:
        ValueError: The patches fill no square, or dim is not a multiple of four.
    """
    if dim % 4:
        raise ValueError(f"embed_dim {dim} is not a multiple of 4, which a sinusoidal grid needs")
    place = torch.arange(grid_side(num_patches), dtype=torch.float64)
    angle = place[:, None] * 10_000.0 ** (-torch.arange(dim // 4, dtype=torch.float64) / (dim // 4))
    waves = torch.cat([angle.sin(), angle.cos()], dim=-1)  # [side, dim / 2]
    side = len(place)
    rows, columns = waves[:, None].expand(-1, side, -1), waves[None].expand(side, -1, -1)
    return torch.cat([rows, columns], dim=-1).flatten(0, 1).float()
