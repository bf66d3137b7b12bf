"""What a section says of a dataset is what its index, its card and its frames say."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from mien.analysis.report_blocks import EmbeddingMap, Facts, Figure, Missing, Note, Scrubber, Table, Text
from mien.analysis.report_clips import ShownClipsConfig
from mien.analysis.report_dataset import section
from mien.datasets.dataset import COMPLETE, Dataset
from mien.datasets.parquet import ParquetConfig
from mien.storage.local import LocalStore
from sample_datasets import make_finished

CONFIG = ShownClipsConfig(num_clips=2, crop_px=16)


@pytest.fixture
def dataset(tmp_path: Path) -> Iterator[Dataset]:
    """Three clips of six frames, and one that failed."""
    found = make_finished(LocalStore(tmp_path), ParquetConfig())
    yield found
    found.close()


def test_counts_failures_and_card_are_those_of_the_dataset(dataset: Dataset) -> None:
    found = section(dataset, "Dataset", CONFIG, "data/1")
    assert found.headlines == {"clips": 3, "samples": 3, "sources": 4, "frames": 18, "failed": 1, "shards": 2}
    facts = next(block for block in found.blocks if isinstance(block, Facts)).values
    assert (facts["Subjects"], facts["Frames with a face"]) == (3, "50.0 %")
    tables = {block.title: block.rows for block in found.blocks if isinstance(block, Table)}
    assert tables["Clips that could not be made"] == (("FaceError", 1),)
    assert ("feature", "float32 [8]") in tables["Columns of a frame"]
    card = next(block for block in found.blocks if isinstance(block, Text))
    assert card.text.splitlines()[1] == "license: other"
    assert found.raw["data/1/dataset.json"]["num_frames"] == 18


def test_only_the_contact_sheet_shows_faces(dataset: Dataset) -> None:
    figures = {block.title: block for block in section(dataset, "d", CONFIG, "d").blocks if isinstance(block, Figure)}
    assert {title: figure.shows_faces for title, figure in figures.items()} == {
        "At a glance": False,
        "Contact sheet": True,
    }
    assert "3 clips with 3 face tracks from 4 videos" in figures["At a glance"].alt


def test_clips_and_map_are_shown_as_far_as_they_are_asked_for(dataset: Dataset) -> None:
    blocks = section(dataset, "d", CONFIG, "d").blocks
    (scrubber,) = [block for block in blocks if isinstance(block, Scrubber)]
    assert len(scrubber.clips) == 2
    assert [block.title for block in blocks if isinstance(block, Missing)] == ["Samples by the mean of their feature"]
    without = section(dataset, "d", ShownClipsConfig(num_clips=0, num_points=0), "d").blocks
    assert not [block for block in without if isinstance(block, Scrubber | EmbeddingMap | Missing)]


def test_an_unfinished_dataset_is_said_to_be_one(dataset: Dataset) -> None:
    dataset.store.delete(COMPLETE)
    opened = Dataset(dataset.store, allow_unfinished=True)
    found = section(opened, "d", CONFIG, "d").blocks[0]
    assert isinstance(found, Note)
    assert (found.is_warning, "unfinished" in found.text) == (True, True)
    opened.close()
