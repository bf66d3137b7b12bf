"""Tracks are spread over the index, and lie in no more shards than asked for."""

from pathlib import Path

import pytest

from mien.analysis.dataset_tracks import TracksConfig
from mien.datasets.dataset import Dataset
from training_runs import make_tokens


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """20 tracks in 5 shards, 4 in each."""
    return make_tokens(tmp_path_factory.mktemp("tokens"))


def shards(dataset: Dataset, rows: list[int]) -> set[str]:
    return {Path(dataset.sample(row).row["file"]).stem for row in rows}


def test_all_of_a_small_dataset_are_taken(dataset: Dataset) -> None:
    assert TracksConfig().choose(dataset) == [*range(20)]


def test_of_many_some_are_taken_first_and_last_among_them(dataset: Dataset) -> None:
    assert TracksConfig(max_samples=3).choose(dataset) == [0, 10, 19]


def test_shards_are_spread_and_no_other_is_touched(dataset: Dataset) -> None:
    rows = TracksConfig(max_shards=2).choose(dataset)
    assert shards(dataset, rows) == {"s0", "s16"}
    assert len(rows) == 8
    assert shards(dataset, TracksConfig(max_shards=3, max_samples=6).choose(dataset)) == {"s0", "s8", "s16"}


def test_shards_are_in_the_order_of_the_index_and_not_of_their_names(dataset: Dataset) -> None:
    """By name s4 and s8 come last."""
    assert shards(dataset, TracksConfig(max_shards=1).choose(dataset)) == {"s0"}
    assert "s16" in shards(dataset, TracksConfig(max_shards=2).choose(dataset))
