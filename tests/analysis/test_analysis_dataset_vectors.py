"""Vectors are those of the shards, frame by frame; a dataset without them is refused."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from mien.analysis.dataset_vectors import Vectors, VectorsConfig, read
from mien.datasets.dataset import Dataset
from mien.datasets.frames import Values
from mien.datasets.parquet import ParquetConfig
from mien.errors import DatasetError
from mien.storage.local import LocalStore
from sample_datasets import make_finished
from training_runs import make_tokens
from vector_scenes import vectors


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """20 clips of 5 people with patch tokens; every fifth frame has no face."""
    return make_tokens(tmp_path_factory.mktemp("tokens"))


def test_patch_tokens_are_averaged_and_frames_without_a_face_left_out(dataset: Dataset) -> None:
    found = read(dataset, VectorsConfig())
    assert found.facts()["num_clips"] == 20
    assert found.facts()["num_subjects"] == 5
    total = 0
    for clip, sample in enumerate(dataset):
        tokens = np.asarray(sample["feature"])
        kept = [frame for frame in range(len(tokens)) if not np.isnan(tokens[frame]).any()]
        assert found.frame[found.clip == clip].tolist() == kept
        mean = [tokens[frame].astype(float).mean(0) for frame in kept]
        assert found.values[found.clip == clip] == pytest.approx(np.array(mean), abs=1e-6)
        total += len(tokens) - len(kept)
    assert found.num_left_out == total > 0
    assert found.subjects[:6] == ("subject 0", "subject 1", "subject 2", "subject 3", "subject 4", "subject 0")
    assert (
        found.subject[found.clip == 5].tolist() == found.subject[found.clip == 0][:1].tolist() * (found.clip == 5).sum()
    )


def test_other_columns_are_laid_flat(dataset: Dataset) -> None:
    assert read(dataset, VectorsConfig(column="landmarks")).values.shape[1] == 478 * 3
    assert read(dataset, VectorsConfig(column="blendshapes")).values.shape[1] == 52


def test_no_more_is_read_than_asked_for(dataset: Dataset) -> None:
    found = read(dataset, VectorsConfig(max_samples=3, max_frames=2))
    assert found.clip_names == tuple(f"{dataset.sample(row).clip_id}/0" for row in (0, 10, 19))
    assert found.frame.tolist() == [0, 1] * 3


def test_a_dataset_without_features_says_what_it_has(dataset: Dataset) -> None:
    with pytest.raises(DatasetError, match=r"column head_pose: is not there, but box, landmarks, blendshapes, feature"):
        read(dataset, VectorsConfig(column="head_pose"))


def test_a_dataset_without_a_single_vector_is_refused(tmp_path: Path) -> None:
    def without(_: int, columns: dict[str, Values]) -> dict[str, Values]:
        return columns | {"feature": np.full_like(np.asarray(columns["feature"]), np.nan)}

    with pytest.raises(DatasetError, match="none of 20 face tracks has a frame with a vector"):
        read(make_tokens(tmp_path, without), VectorsConfig())


def test_vectors_of_one_axis_are_read_as_they_are(tmp_path: Path) -> None:
    dataset = make_finished(LocalStore(tmp_path), ParquetConfig())
    found = read(dataset, VectorsConfig())
    assert found.values[:6] == pytest.approx(np.asarray(dataset.sample(0)["feature"]))


def test_features_of_a_network_that_was_not_trained_are_called_so(dataset: Dataset, tmp_path: Path) -> None:
    random = make_tokens(tmp_path)
    random.record["models"] = {"net": {"weights": "random"}}
    assert read(random, VectorsConfig(max_samples=1)).place == f"{random.uri}: column feature of RANDOM weights"
    assert "RANDOM" not in read(random, VectorsConfig(max_samples=1, column="blendshapes")).place
    assert "RANDOM" not in read(dataset, VectorsConfig(max_samples=1)).place


def test_what_does_not_fit_is_refused() -> None:
    good = vectors()

    def changed(**changes: Any) -> Vectors:
        return Vectors(**({name: getattr(good, name) for name in Vectors.__dataclass_fields__} | changes))

    with pytest.raises(ValueError, match="do not fit"):
        changed(clip=good.clip[:-1])
    with pytest.raises(ValueError, match="give one each"):
        changed(subjects=good.subjects[:-1])
    with pytest.raises(DatasetError, match="planted: 1 of 30 vectors are not finite"):
        changed(values=np.where(np.arange(30)[:, None] == 4, np.nan, good.values))
    with pytest.raises(DatasetError, match="planted: none of its frames has a vector"):
        changed(values=np.empty((0, 6)), clip=np.empty(0, int), frame=np.empty(0, int))
