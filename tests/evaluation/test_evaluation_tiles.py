"""Every image stands in its place, with its own pixels."""

import io

import numpy as np
import pytest
import torch
from PIL import Image

from mien.evaluation.tiles import png_of, tiles


def read(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)))


@pytest.mark.parametrize("channels", [1, 3])
def test_images_fill_rows_and_what_is_left_is_black(channels: int) -> None:
    levels = torch.randint(0, 256, (5, channels, 4, 6), generator=torch.Generator().manual_seed(0))
    pixels = read(tiles(levels / 127.5 - 1, 3))
    assert pixels.shape == (8, 18, 3)
    for number, image in enumerate(levels):
        top, left = number // 3 * 4, number % 3 * 6
        expected = image.expand(3, -1, -1).permute(1, 2, 0).numpy()
        assert np.array_equal(pixels[top : top + 4, left : left + 6], expected)
    assert not pixels[4:, 12:].any()


def test_values_beyond_the_range_are_those_of_its_ends() -> None:
    pixels = read(tiles(torch.tensor([-3.0, 3.0]).view(2, 1, 1, 1), 2))
    assert pixels[0].tolist() == [[0, 0, 0], [255, 255, 255]]


def test_one_picture_in_0_to_1_is_written_as_it_is() -> None:
    assert read(png_of(torch.tensor([[[0.0, 0.2, 1.0]]])))[0, :, 0].tolist() == [0, 51, 255]
