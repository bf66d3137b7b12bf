"""Thumbnails stand where their row and column are."""

import io

import numpy as np
import pytest
from PIL import Image

from mien.analysis.feature_grid import Side, tiled
from mien.analysis.feature_numbers import measure
from mien.analysis.feature_sheets import THUMB_SIZE_PX, Sheet, SheetConfig, draw, opened, spread, thumbnail

S = THUMB_SIZE_PX


def side(size: int, num: int = 20) -> Side:
    maps = np.random.default_rng(size).random((num, size, size)).astype(np.float32)
    return Side("Left", np.arange(num), maps, np.zeros(num), np.ones(num), measure(maps))


def sheet(thumbs: np.ndarray) -> Sheet:
    rows, columns = thumbs.shape[:2]
    sparsity = np.arange(rows * columns * 2).reshape(rows, columns, 2) / 1000
    names = tuple(f"Sample {row}" for row in range(rows)), tuple(f"noisy_t{column}" for column in range(columns))
    return Sheet("in_conv", ("Left", "Right"), *names, thumbs, sparsity)


def test_a_small_thumbnail_keeps_every_value_and_a_large_one_their_means() -> None:
    small = side(4)
    with Image.open(io.BytesIO(thumbnail(small))) as picture:
        assert np.array_equal(np.array(picture), (tiled(small.scaled, 4) * 255).round())
    large = side(65)
    found, canvas = opened(thumbnail(large)), tiled(large.scaled, 4) * 255
    assert found.shape == (S, S)
    factor = len(canvas) / S
    boxes = [canvas[round(y * factor) : round((y + 1) * factor)].mean() for y in range(S)]
    assert np.corrcoef(found.mean(axis=1), boxes)[0, 1] > 0.95


def test_one_that_is_not_square_keeps_its_shape() -> None:
    maps = np.ones((16, 4, 12), np.float32)
    wide = Side("Left", np.arange(16), maps, np.zeros(16), np.ones(16), measure(maps))
    found = opened(thumbnail(wide))
    assert found.shape == (S, S)
    assert (found[:20] == 128).all()
    assert (found == 255).any()


@pytest.mark.parametrize(
    ("num", "most", "expected"),
    [(3, 5, [0, 1, 2]), (5, 5, [0, 1, 2, 3, 4]), (9, 3, [0, 4, 8]), (100, 4, [0, 33, 66, 99]), (7, 1, [0])],
)
def test_of_too_many_the_first_the_last_and_some_between_are_taken(num: int, most: int, expected: list[int]) -> None:
    assert spread(range(num), most) == expected


def test_every_thumbnail_stands_under_its_column_beside_its_row_over_its_number() -> None:
    thumbs = np.random.default_rng(0).integers(0, 256, (2, 3, 2, S, S), dtype=np.uint8)
    data = sheet(thumbs)
    axes = draw(data, SheetConfig()).axes[0]
    canvas = np.asarray(axes.images[0].get_array())
    tops, lefts = (sorted(found) for found in (set[int](), set[int]()))
    for text in axes.texts:
        if text.get_text().endswith("%"):
            x, y = text.get_position()
            tops, lefts = sorted({*tops, round(y - 2) - S}), sorted({*lefts, round(x - S / 2)})
    assert (len(tops), len(lefts)) == (2, 6)
    for row, column, half in np.ndindex(2, 3, 2):
        top, left = tops[row], lefts[2 * column + half]
        assert np.allclose(canvas[top : top + S, left : left + S], thumbs[row, column, half] / 255)
    said = [text.get_text() for text in axes.texts]
    assert said[:12] == [f"{value:.2%}" for value in data.sparsity.ravel()]
    assert said[12:] == [*data.columns, *data.rows]


def test_swapped_models_change_sides() -> None:
    thumbs = np.random.default_rng(0).integers(0, 256, (1, 1, 2, S, S), dtype=np.uint8)
    there, back = (
        np.asarray(draw(sheet(given), SheetConfig()).axes[0].images[0].get_array())
        for given in (thumbs, thumbs[:, :, ::-1])
    )
    assert not np.array_equal(there, back, equal_nan=True)
