"""Frames on the page are those of the dataset, at their times; a map lays samples by their own values."""

import io
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from evaluated_runs import make_backbone, make_run
from mien.analysis.clip_tokens import TokenMaker
from mien.analysis.report_blocks import EmbeddingMap, Missing, Scrubber
from mien.analysis.report_clips import Reader, ShownClipsConfig, clip_of, name_of, of_run, sample_map, scrubber, stored
from mien.datasets.dataset import Dataset, Sample
from mien.datasets.frames import Values
from mien.datasets.hdf5 import Hdf5Config
from mien.errors import DatasetError
from mien.features.recorded import backbone_of
from mien.objectives.load import load_objective
from mien.storage.local import LocalStore
from sample_datasets import make_finished
from training_runs import make_tokens

CONFIG = ShownClipsConfig(max_frames=4, crop_px=16, thumb_px=16, num_points=20)


@pytest.fixture(scope="module")
def tokens(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Dataset]:
    """Patch tokens and blendshapes; every fifth frame shows no face."""
    dataset = make_tokens(tmp_path_factory.mktemp("tokens"))
    yield dataset
    dataset.close()


@pytest.fixture
def pooled(tmp_path: Path) -> Iterator[Dataset]:
    """One vector for each frame, and no blendshapes."""
    dataset = make_finished(LocalStore(tmp_path), Hdf5Config())
    yield dataset
    dataset.close()


def long(dataset: Dataset) -> Sample:
    return next(sample for sample in dataset if len(sample) >= 10)


def test_frames_are_spread_evenly_and_each_has_its_own_values(tokens: Dataset) -> None:
    sample = long(tokens)
    found, num = clip_of(sample, CONFIG, stored(tokens)), len(sample)
    rows = [0, round((num - 1) / 3), round(2 * (num - 1) / 3), num - 1]
    assert np.array_equal(found.time_s, np.asarray(sample["time_s"])[rows])
    assert np.array_equal(found.values, np.asarray(sample["blendshapes"], float)[rows], equal_nan=True)
    assert np.array_equal(found.blendshapes, found.values, equal_nan=True)
    assert (found.about, len(found.blendshape_names)) == ("blendshapes", 52)
    face = np.asarray(sample["face"])[rows] > 0
    assert [bool(crop) for crop in found.crops] == face.tolist()


def test_crops_are_small_pictures_of_their_frame(pooled: Dataset) -> None:
    sample = pooled.sample(0)
    found = clip_of(sample, ShownClipsConfig(crop_px=16), stored(pooled))
    assert (found.about, found.blendshape_names) == ("feature", ())
    assert np.array_equal(found.values, np.asarray(sample["feature"], float))
    for crop, pixels, face in zip(found.crops, sample.crops(), np.asarray(sample["face"]), strict=True):
        assert bool(crop) == bool(face)
        if crop:
            picture = Image.open(io.BytesIO(crop))
            assert picture.size == (16, 16)
            assert np.abs(np.asarray(picture).mean((0, 1)) - pixels.mean((0, 1))).max() < 12


def test_a_dataset_without_a_vector_for_each_frame_is_refused(tmp_path: Path) -> None:
    def without(_: int, columns: dict[str, Values]) -> dict[str, Values]:
        return {name: values for name, values in columns.items() if name != "blendshapes"}

    dataset = make_tokens(tmp_path, without)
    with pytest.raises(DatasetError, match="its features are patch tokens, and it has no blendshapes"):
        stored(dataset)
    dataset.close()


def test_clips_are_spread_over_the_dataset_and_one_that_has_nothing_is_left_out(tokens: Dataset) -> None:
    wanted = ShownClipsConfig(num_clips=3, max_frames=4)
    found = scrubber(tokens, wanted, stored(tokens))
    assert isinstance(found, Scrubber)
    assert [clip.name for clip in found.clips] == [name_of(tokens.sample(number)) for number in (0, 10, 19)]
    empty = Reader("nothing", lambda _, rows: np.full((len(rows), 2), np.nan))
    assert isinstance(scrubber(tokens, wanted, empty), Missing)


def test_a_map_lays_samples_by_their_values_and_names_their_subjects(tokens: Dataset) -> None:
    def by_subject(sample: Sample, rows: np.ndarray) -> np.ndarray:
        who = int(str(sample.row["subject"])[-1])
        return np.tile(np.eye(5)[who] * 10 + len(sample) * 1e-3, (len(rows), 1))

    found = sample_map(tokens, CONFIG, Reader("features", by_subject))
    assert isinstance(found, EmbeddingMap)
    assert len(found.points) == len(tokens)
    assert {point.group for point in found.points} == {f"subject {number}" for number in range(5)}
    places = {group: [] for group in {point.group for point in found.points}}
    for point in found.points:
        places[point.group].append((point.x, point.y))
    within = max(np.ptp(np.array(own), axis=0).max() for own in places.values())
    centres = np.array([np.mean(own, axis=0) for own in places.values()])
    between = min(np.linalg.norm(a - b) for n, a in enumerate(centres) for b in centres[:n])
    assert between > within
    assert all(Image.open(io.BytesIO(point.thumb)).size == (16, 16) for point in found.points)
    assert sample_map(tokens, CONFIG, Reader("features", by_subject)) == found, "seeded"


def test_too_few_samples_make_no_map(pooled: Dataset) -> None:
    found = sample_map(pooled, CONFIG, stored(pooled))
    assert found == Missing("Samples by the mean of their feature", "samples with values: 3; a map needs 5")


def test_tokens_of_a_run_are_those_of_its_model(tokens: Dataset, tmp_path: Path) -> None:
    backbone = make_backbone(tmp_path / "backbone")
    run = make_run(tmp_path / "run", Path(tokens.uri), backbone)
    reader = of_run(run, tokens, CONFIG)
    sample = long(tokens)
    rows = np.array([0, 3, 4])  # the second has no face
    found = reader.read(sample, rows)
    row = run.facts["subjects"]["rows"][sample.row["subject"]]
    maker = TokenMaker(load_objective(run.uri).objective, backbone_of(run))
    assert np.isnan(found[1]).all()
    assert np.allclose(found[[0, 2]], maker.of_frames(sample.crops()[[0, 4]], row, 2))
    assert reader.about == "expression token (RANDOM weights of the backbone)"
