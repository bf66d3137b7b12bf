"""Faces of a dataset one by one: which frames, in which size, and on which side of the split."""

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from mien import schema
from mien.datasets.dataset import open_dataset
from mien.datasets.frames import crop_pixels
from mien.datasets.split import HELD_OUT, TRAIN, SplitConfig
from mien.errors import MienError
from mien.training.crop_samples import CropSamples, open_crops
from sample_datasets import SIZE_PX
from training_runs import make_tokens


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("crops") / "dataset"
    make_tokens(place).close()
    return place


def opened(place: Path, folder: Path, every_frames: int = 1, size_px: int = SIZE_PX) -> CropSamples:
    return open_crops(str(place), SplitConfig(held_out=0.2), every_frames, size_px, folder, 1e9)


def test_every_frame_is_a_sample_and_one_without_a_face_does_not_count(tokens: Path, tmp_path: Path) -> None:
    samples, dataset = opened(tokens, tmp_path), open_dataset(str(tokens))
    number = 0
    for row in range(len(dataset)):
        sample = dataset.sample(row)
        pixels = crop_pixels(sample["crop"], dataset.crop_size_px)
        for frame in range(len(pixels)):
            value, counts = samples.read(number)
            assert counts == bool(sample["face"][frame] != schema.FACE_NONE)
            np.testing.assert_array_equal(value, pixels[frame])
            assert sample.clip_id in samples.name(number)
            number += 1
    assert number == len(samples.parts) == len(samples.shards)


def test_of_several_neighbours_one_is_taken(tokens: Path, tmp_path: Path) -> None:
    every, third = opened(tokens, tmp_path), opened(tokens, tmp_path, every_frames=3)
    frames = [dataset_row["num_frames"] for dataset_row in open_dataset(str(tokens)).index.to_pylist()]
    assert len(third.parts) == sum(-(-num // 3) for num in frames)
    np.testing.assert_array_equal(third.read(1)[0], every.read(3)[0])


def test_a_subject_is_on_one_side(tokens: Path, tmp_path: Path) -> None:
    samples = opened(tokens, tmp_path)
    index = open_dataset(str(tokens)).index.to_pylist()
    subjects = np.array([index[int(row)]["subject"] for row in samples.track])
    assert {*samples.parts.tolist()} == {TRAIN, HELD_OUT}
    assert not {*subjects[samples.parts == TRAIN]} & {*subjects[samples.parts == HELD_OUT]}


def test_a_smaller_picture_is_the_one_that_pillow_makes(tokens: Path, tmp_path: Path) -> None:
    large, small = opened(tokens, tmp_path), opened(tokens, tmp_path, size_px=SIZE_PX // 2)
    expected = Image.fromarray(large.read(0)[0]).resize((SIZE_PX // 2,) * 2, Image.Resampling.BILINEAR)
    assert np.abs(small.read(0)[0].astype(int) - np.asarray(expected)).max() <= 2


def test_a_place_that_is_no_dataset_is_told(tmp_path: Path) -> None:
    with pytest.raises(MienError, match="nowhere"):
        opened(tmp_path / "nowhere", tmp_path)
