import sys

import cv2
import numpy as np
import pytest

from mien.demos.portrait import SCALE, SIZE_PX, Subject, astronaut, bump, ellipse, remap, row, smoothstep, subjects
from mien.errors import PreflightError


@pytest.fixture(scope="module")
def pair() -> tuple[Subject, Subject]:
    return subjects()


def patch(subject: Subject, x: int, y: int) -> np.ndarray:
    """Mean colour of 12 x 12 portrait px around a place."""
    rows, columns = (slice((at - 6) * SCALE, (at + 6) * SCALE) for at in (y, x))
    return subject.picture()[rows, columns].reshape(-1, 3).mean(axis=0)


def test_the_portrait_is_the_one_that_scikit_image_carries() -> None:
    picture = astronaut()
    assert (picture.shape, picture.dtype) == ((SIZE_PX, SIZE_PX, 3), np.uint8)
    assert picture.mean() == pytest.approx(114.6, abs=0.1)


def test_without_scikit_image_the_remedy_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(PreflightError, match=r'pip install "mien\[quickstart\]"'):
        astronaut()


def test_subject_a_is_the_portrait_itself(pair: tuple[Subject, Subject]) -> None:
    halved = cv2.resize(pair[0].picture(), (SIZE_PX, SIZE_PX), interpolation=cv2.INTER_AREA)
    assert np.abs(halved.astype(int) - astronaut()).mean() < 1.5


@pytest.mark.parametrize(
    ("place", "least"), [((225, 45), 40), ((250, 125), 15), ((110, 300), 80)], ids=["hair", "skin", "suit"]
)
def test_subject_b_looks_like_somebody_else(pair: tuple[Subject, Subject], place: tuple[int, int], least: int) -> None:
    a, b = (patch(subject, *place) for subject in pair)
    assert np.abs(a - b).max() > least


@pytest.mark.parametrize(
    "place", [(40, 150), (340, 100), (420, 100), (400, 450)], ids=["flag", "wall", "rocket", "helmet"]
)
def test_what_is_not_the_person_stays(pair: tuple[Subject, Subject], place: tuple[int, int]) -> None:
    a, b = (patch(subject, *place) for subject in pair)
    assert np.abs(a - b).max() < 2


def test_the_other_shape_folds_nothing(pair: tuple[Subject, Subject]) -> None:
    for subject in pair:
        x, y = np.moveaxis(subject.grid, -1, 0)
        assert np.diff(x, axis=1).min() > 0.1 / SCALE
        assert np.diff(y, axis=0).min() > 0.1 / SCALE


def test_remap_reads_where_it_is_told(pair: tuple[Subject, Subject]) -> None:
    picture, grid = pair[0].texture, pair[0].grid
    np.testing.assert_array_equal(remap(picture, grid), picture)
    moved = remap(picture, grid + row(10, 0))
    np.testing.assert_array_equal(moved[:, : -10 * SCALE], picture[:, 10 * SCALE :])
    np.testing.assert_array_equal(moved[:, -1], picture[:, -1])


def test_fields_have_the_values_of_their_formulas() -> None:
    x, y = (field.astype(np.float32) for field in np.meshgrid(np.arange(9.0), np.arange(9.0)))
    assert bump(x, y, (4, 4), (2, 1))[4].tolist() == pytest.approx(np.exp(-0.125 * (np.arange(9) - 4.0) ** 2))
    assert smoothstep(row(-1, 0, 0.5, 1, 2), 0, 1).tolist() == [0, 0, 0.5, 1, 1]
    inside = ellipse(x, y, (4, 4), (3, 2), 0.1)
    assert inside[4].tolist() == pytest.approx([0, 0.5, 1, 1, 1, 1, 1, 0.5, 0])
    assert inside[:, 4].tolist() == pytest.approx([0, 0, 0.5, 1, 1, 1, 0.5, 0, 0])
    assert {field.dtype for field in (bump(x, y, (4, 4), (2, 1)), inside, row(1.0))} == {np.dtype(np.float32)}
