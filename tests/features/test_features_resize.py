"""Resizing against Pillow, which image processors use, and against the formula of TensorFlow 1."""

from collections.abc import Callable

import numpy as np
import pytest
import torch
from PIL import Image
from PIL.Image import Resampling

from mien.features.resize import resize, resize_as_tensorflow, resize_by_axis, resize_whole


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


@pytest.mark.parametrize(("side_px", "size_px"), [(32, 299), (64, 299), (299, 299), (400, 299), (7, 5), (1, 4)])
def test_tensorflows_resize_is_its_formula(side_px: int, size_px: int) -> None:
    """Pixel by pixel: between the four pixels around (y · h / size, x · h / size), the last ones going on."""
    image = np.random.default_rng(1).uniform(0, 255, (side_px, side_px))
    resized = resize_as_tensorflow(torch.from_numpy(image).float()[None, None].expand(2, 3, -1, -1), size_px)
    assert resized.shape == (2, 3, size_px, size_px)
    for y, x in [*np.random.default_rng(2).integers(0, size_px, (200, 2)).tolist(), [size_px - 1, size_px - 1]]:
        (top, below), (left, right) = (divmod(place * side_px / size_px, 1) for place in (y, x))
        rows, columns = ([min(int(first) + more, side_px - 1) for more in (0, 1)] for first in (top, left))
        expected = np.array([1 - below, below]) @ image[np.ix_(rows, columns)] @ np.array([1 - right, right])
        np.testing.assert_allclose(resized[:, :, y, x], expected, atol=2e-2)


def test_tensorflows_resize_has_no_centres_and_no_filter() -> None:
    pixels = torch.rand(1, 1, 8, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(resize_as_tensorflow(pixels, 4), pixels[:, :, ::2, ::2])
    assert torch.equal(resize_as_tensorflow(pixels, 16)[:, :, ::2, ::2], pixels)
    assert torch.equal(resize_as_tensorflow(pixels, 16)[:, :, 15], resize_as_tensorflow(pixels, 16)[:, :, 14])
