from fractions import Fraction
from pathlib import Path

import cv2
import numpy as np
import pytest

from export_datasets import NO_FACE, make_coloured, pictures
from mien.datasets.dataset import Dataset
from mien.datasets.export.pictures import ending, files, pixels, timing
from mien.errors import DatasetError
from mien.storage.local import LocalStore
from mien.video.encode import FrameTimes
from sample_datasets import SIZE_PX


def test_pixels_are_those_of_the_crops_and_black_without_one(coloured: Dataset) -> None:
    sample = coloured.sample(1)
    shown = np.stack(list(pixels(sample, SIZE_PX)))
    assert np.array_equal(shown, sample.crops())
    assert not shown[NO_FACE].any()


@pytest.mark.parametrize("side_px", [16, 64])
def test_another_side_shows_the_same(one: Dataset, side_px: int) -> None:
    shown = next(pixels(one.sample(0), SIZE_PX, side_px))
    assert shown.shape == (side_px, side_px, 3)
    ours = cv2.resize(shown, (8, 8), interpolation=cv2.INTER_AREA).astype(int)
    assert np.abs(ours - cv2.resize(pictures(6)[0], (8, 8), interpolation=cv2.INTER_AREA)).max() <= 8


def test_files_are_the_bytes_that_are_stored_or_lossless(coloured: Dataset) -> None:
    sample = coloured.sample(0)
    found = list(files(sample))
    assert found[NO_FACE] == b""
    assert all(data for row, data in enumerate(found) if row != NO_FACE)
    if ending(sample["crop"]) == "jpg":
        assert found == sample["crop"]
    else:
        decoded = cv2.imdecode(np.frombuffer(found[0], np.uint8), cv2.IMREAD_COLOR)
        assert np.array_equal(cv2.cvtColor(decoded, cv2.COLOR_BGR2RGB), sample["crop"][0])


def test_a_crop_of_another_size_is_told(one: Dataset) -> None:
    with pytest.raises(DatasetError, match="not 48 px"):
        next(pixels(one.sample(0), 48))


def test_even_frames_have_an_exact_rate(one: Dataset) -> None:
    assert timing(one.sample(0)) == Fraction(12800, 512)


def test_uneven_frames_keep_their_times(tmp_path: Path) -> None:
    dataset = make_coloured(LocalStore(tmp_path / "dataset"), counts=(4,), pts=[0, 512, 1000, 1600])
    assert timing(dataset.sample(0)) == FrameTimes([0, 512, 1000, 1600], Fraction(1, 12800))


def test_a_single_frame_takes_the_rate_of_its_source(tmp_path: Path) -> None:
    dataset = make_coloured(LocalStore(tmp_path / "dataset"), counts=(3, 3), pts=[7, 7, 7])
    assert timing(dataset.sample(0)) == 25
