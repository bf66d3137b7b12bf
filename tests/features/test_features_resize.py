"""Resizing against Pillow, which image processors use."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling

from mien.features.resize import resize, resize_by_axis, resize_whole


@pytest.fixture(scope="module")
def frames() -> np.ndarray:
    """Waves with noise: neither flat nor noise alone."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:56, :56]
    waves = np.stack([np.sin(x / 5), np.cos(y / 7), np.sin((x + y) / 9)], axis=-1) * 90 + 128
    noisy = waves + rng.normal(0, 12, (4, 56, 56, 3))
    return np.clip(noisy, 0, 255).astype(np.uint8)


@pytest.mark.parametrize("resize", [resize_whole, resize_by_axis])
@pytest.mark.parametrize(("mode", "filter_"), [("bicubic", Resampling.BICUBIC), ("bilinear", Resampling.BILINEAR)])
@pytest.mark.parametrize("size_px", [32, 42, 70, 224])
def test_a_resize_gives_the_pixels_of_pillow(
    frames: np.ndarray, resize: Callable[..., torch.Tensor], mode: str, filter_: Resampling, size_px: int
) -> None:
    expected = np.stack([Image.fromarray(frame).resize((size_px, size_px), filter_) for frame in frames])
    resized = resize(torch.from_numpy(frames).permute(0, 3, 1, 2), size_px, mode).permute(0, 2, 3, 1)
    difference = np.abs(resized.numpy().astype(int) - expected)
    assert difference.max() <= 2
    assert (difference > 0).mean() < 0.08


def test_on_a_cpu_it_is_done_at_once(frames: np.ndarray) -> None:
    pixels = torch.from_numpy(frames).permute(0, 3, 1, 2)
    assert torch.equal(resize(pixels, 32, "bilinear"), resize_whole(pixels, 32, "bilinear"))
