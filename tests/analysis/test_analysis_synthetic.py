"""Made data have the scale that they promise, and are the same each time."""

import math

import numpy as np
import pytest

from mien.analysis.synthetic import SyntheticConfig, constant, expressions, warp


def change(frames: np.ndarray) -> np.ndarray:
    return np.array([math.dist(a, b) for a, b in zip(frames.tolist(), frames[1:].tolist(), strict=False)])


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_large_ones_change_as_those_of_the_seed(seed: int) -> None:
    frames = expressions(SyntheticConfig(scale="large", seed=seed))
    assert frames.shape == (50, 128)
    assert change(frames).mean() == pytest.approx(4.1, abs=0.2)
    assert change(frames).max() == pytest.approx(6.0, abs=0.7)


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_real_ones_change_slowly_around_large_offsets(seed: int) -> None:
    frames = expressions(SyntheticConfig(seed=seed))
    assert change(frames).mean() == pytest.approx(0.008542)
    assert 0.010 < change(frames).max() < 0.025
    assert np.abs(frames.mean(0)).mean() > 20 * frames.std(0).mean()
    steps = np.diff(frames, axis=0)
    turns = (steps[1:] * steps[:-1]).sum(1) / np.prod(
        [np.linalg.norm(part, axis=1) for part in (steps[1:], steps[:-1])], 0
    )
    assert np.median(turns) > 0.5, "a step goes on in the direction of the one before"


def test_the_same_seed_makes_the_same_and_another_one_others() -> None:
    config = SyntheticConfig(seed=4)
    assert np.array_equal(expressions(config), expressions(config))
    assert not np.allclose(expressions(config), expressions(SyntheticConfig(seed=5)))


def test_constant_ones_repeat_the_first_frame() -> None:
    config = SyntheticConfig(num_frames=7, num_dimensions=3)
    assert constant(config).tolist() == [expressions(config)[0].tolist()] * 7


@pytest.mark.parametrize("scale", ["large", "real"])
def test_one_frame_can_be_made(scale: str) -> None:
    frames = expressions(SyntheticConfig.parse({"num_frames": 1, "scale": scale}, "test"))
    assert frames.shape == (1, 128)
    assert np.isfinite(frames).all()


@pytest.mark.parametrize(("height", "width", "y", "x"), [(256, 256, 10, 200), (40, 60, 39, 0), (40, 60, 20, 30)])
def test_the_warp_is_its_formula(height: int, width: int, y: int, x: int) -> None:
    field = warp(height, width)
    assert field.shape == (height, width, 2)
    dx, dy = (x - width / 2) / width, (y - height / 2) / height
    r = math.sqrt(dx**2 + dy**2)
    assert field[y, x] == pytest.approx([10 * dx * math.exp(-2 * r), 10 * dy * math.exp(-2 * r)])
