"""Frames whose values are not finite are left out, and their rows with them."""

import dataclasses

import numpy as np
import pytest

from mien.analysis.clip_choice import ClipsConfig, shown
from mien.analysis.expressions import of_clip
from mien.datasets.dataset import Dataset
from mien.errors import DatasetError
from training_runs import make_tokens


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_tokens(tmp_path_factory.mktemp("tokens") / "dataset")


def test_values_rows_and_times_stay_together(dataset: Dataset) -> None:
    one = next(shown(dataset, ClipsConfig(clips=(dataset.clip_ids[1],))))
    values = np.arange(3.0 * len(one.rows)).reshape(-1, 3)
    values[2, 1] = np.nan
    found = of_clip(one, values, "dataset", "blendshapes")
    kept = [row for row in range(len(values)) if row != 2]
    assert np.array_equal(np.asarray(found.values), values[kept])
    assert found.facts["rows"] == one.rows[kept].tolist()
    assert found.facts["time_s"] == one.time_s[kept].tolist()
    assert found.facts["clip_id"] == one.clip_id
    assert found.notes[-1] == "1 frames with a face have no blendshapes and are left out"
    assert found.title == f"Clip {one.clip_id[:8]}, blendshapes"
    assert dataclasses.replace(found, notes=()).notes == ()


def test_a_clip_without_values_is_refused(dataset: Dataset) -> None:
    one = next(shown(dataset, ClipsConfig()))
    with pytest.raises(DatasetError, match=f"clip {one.clip_id}: no frame of it has landmarks"):
        of_clip(one, np.full((len(one.rows), 3), np.nan), "dataset", "landmarks")
