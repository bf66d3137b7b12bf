import math

import pytest
import torch

from mien.models.positions import grid_side, sinusoidal_grid


def test_a_grid_is_row_and_column_at_falling_frequencies() -> None:
    grid = sinusoidal_grid(9, 8)
    assert grid.shape == (9, 8)
    for place, (row, column) in enumerate((r, c) for r in range(3) for c in range(3)):
        expected = [
            wave(axis / 10_000 ** (n / 2)) for axis in (row, column) for wave in (math.sin, math.cos) for n in (0, 1)
        ]
        torch.testing.assert_close(grid[place], torch.tensor(expected))


def test_no_two_patches_stand_at_one_place() -> None:
    grid = sinusoidal_grid(1369, 384)
    assert len(grid.unique(dim=0)) == 1369
    torch.testing.assert_close(grid.square().sum(1), torch.full((1369,), 192.0))


@pytest.mark.parametrize("call", [lambda: grid_side(1370), lambda: sinusoidal_grid(4, 6)])
def test_what_makes_no_grid_is_refused(call: object) -> None:
    with pytest.raises(ValueError, match=r"num_patches 1370|multiple of 4"):
        call()  # type: ignore[operator]
