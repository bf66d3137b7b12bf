"""Counts and lengths are those of the frames, failures are told by reason, and faces are shown on request only."""

import itertools
import json
import statistics
from pathlib import Path

import numpy as np
import pytest

from buckets import BUCKET, read_from
from drawn import panel, require_inside, words
from mien.analysis.data_overview import DataOverviewConfig, Overview, draw, gaps, numbers, overview
from mien.analysis.dataset_tracks import TracksConfig
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG, Dataset, open_dataset
from mien.datasets.frames import Values
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.storage.emulator import Emulator
from mien.storage.local import LocalStore
from mien.storage.uri import open_store
from sample_datasets import PROVENANCE, SIZE_PX, make_clip, make_finished, write_failure
from training_runs import make_tokens

SMALL = DataOverviewConfig(size_in=(14, 8), dpi=50)


def with_gaps(number: int, columns: dict[str, Values]) -> dict[str, Values]:
    """A face that grows with the number of the clip; frame 1 is bridged, every fourth of five has none."""
    face = np.array(columns["face"]) * 1
    face[face == 0] = 0
    face[1] = 2
    box = np.array([0, 0, 20 + number, 50 + number], np.float32) * np.ones((len(face), 1), np.float32)
    box[face != 1] = np.nan
    return columns | {"face": face.astype(np.uint8), "box": box}


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """20 clips of 5 people."""
    return make_tokens(tmp_path_factory.mktemp("tokens"), with_gaps)


@pytest.fixture(scope="module")
def found(dataset: Dataset) -> Overview:
    return overview(dataset, SMALL)


def lengths(face: list[int], status: int) -> list[int]:
    return [len([*run]) for value, run in itertools.groupby(face) if value == status]


def test_gaps_are_the_runs_that_groupby_finds() -> None:
    face = np.random.default_rng(0).integers(0, 3, 200)
    for status in range(3):
        assert gaps(face, status).tolist() == lengths(face.tolist(), status)
    assert gaps(np.zeros(4, int), 0).tolist() == [4]
    assert gaps(np.ones(4, int), 0).tolist() == []


def test_lengths_sizes_and_gaps_are_those_of_the_frames(dataset: Dataset, found: Overview) -> None:
    faces = [np.asarray(sample["face"]).tolist() for sample in dataset]
    assert found.duration_s.tolist() == pytest.approx([len(face) / 25 for face in faces])
    assert found.face_px.tolist() == [20 + number for number in range(20)]
    for status, seconds in ((2, found.bridged_s), (0, found.empty_s)):
        expected = [run / 25 for face in faces for run in lengths(face, status)]
        assert seconds.tolist() == pytest.approx(expected)
        assert len(expected) > 0


def test_numbers_are_those_of_the_standard_library(found: Overview) -> None:
    told = numbers(found)
    assert json.dumps(told, allow_nan=False)
    spread = told["distributions"]["duration_s"]
    assert spread["mean"] == pytest.approx(statistics.fmean(found.duration_s.tolist()))
    assert spread["percentiles"]["50"] == pytest.approx(statistics.median(found.duration_s.tolist()))
    assert (told["num_clips"], told["num_people"], told["num_measured"]) == (20, 5, 20)
    assert told["distributions"]["tracks_of_person"]["percentiles"]["0"] == 4
    assert "subject 0" not in json.dumps(told), "nobody is named"


def test_the_figure_shows_these_numbers(dataset: Dataset, found: Overview) -> None:
    figure = draw(found, SMALL)
    heights = [sum(bar.get_height() for bar in axes.patches) for axes in figure.axes[:4]]
    assert heights == [20, 20, 20, len(found.bridged_s) + len(found.empty_s)]
    assert figure.axes[2].lines[0].get_xdata()[0] == 29.5
    text = words(figure)
    assert "20 clips with 20 face tracks from 5 videos" in text
    assert "nothing failed" in text
    assert dataset.uri in text
    require_inside(figure)


def test_another_dataset_is_another_picture(found: Overview, tmp_path: Path) -> None:
    plain = overview(make_tokens(tmp_path), SMALL)
    for number in (2, 3):
        assert not np.array_equal(panel(draw(found, SMALL), number), panel(draw(plain, SMALL), number))


def test_some_tracks_are_measured_where_there_are_many(dataset: Dataset) -> None:
    some = overview(dataset, SMALL.model_copy(update={"tracks": TracksConfig(max_samples=3)}))
    assert some.face_px.tolist() == [20, 30, 39]
    assert len(some.duration_s) == 20
    assert "Size of faces (3 of 20 tracks)" in words(draw(some, SMALL))


def unfinished(place: Path, *errors: str) -> Dataset:
    """A dataset of which nothing could be made."""
    store = LocalStore(place)
    clips = [make_clip(number) for number in range(len(errors))]
    store.put_new(CONFIG, f"crop: {{size_px: {SIZE_PX}}}\nfps: null\n".encode())
    index.write_plan(store, (clip.to_row() for clip in clips))
    for number, clip in enumerate(clips):
        write_failure(store, clip, f"w{number}")
    return publish(store, CardConfig(), PreviewConfig(), PROVENANCE)


def test_a_length_that_all_share_is_the_middle_of_its_bar(found: Overview) -> None:
    from dataclasses import replace

    axes = draw(replace(found, duration_s=np.full(20, 3.0)), SMALL).axes[0]
    (bar,) = [one for one in axes.patches if one.get_height()]
    assert bar.get_x() + bar.get_width() / 2 == pytest.approx(3.0)
    assert bar.get_height() == 20


def test_failures_are_counted_by_reason(tmp_path: Path) -> None:
    found = overview(make_finished(LocalStore(tmp_path), ParquetConfig()), SMALL)
    assert found.failures == {("faces", "FaceError"): 1}
    figure = draw(found, SMALL)
    assert [bar.get_width() for bar in figure.axes[4].patches] == [1]
    assert "FaceError in faces" in words(figure)
    assert numbers(found)["failures"] == [{"stage": "faces", "error": "FaceError", "num": 1}]


def test_reasons_beyond_the_limit_are_one_bar(found: Overview) -> None:
    from dataclasses import replace

    many = replace(found, failures={("decode", f"$E_{number}$"): 10 - number for number in range(9)})
    axes = draw(many, SMALL.model_copy(update={"max_reasons": 3})).axes[4]
    assert [bar.get_width() for bar in axes.patches] == [10, 9, 8, 7 + 6 + 5 + 4 + 3 + 2]
    assert axes.get_yticklabels()[3].get_text() == "6 other reasons"


def test_a_dataset_of_failures_alone_says_so_in_every_panel(tmp_path: Path) -> None:
    found = overview(unfinished(tmp_path, "a", "b"), SMALL)
    text = words(draw(found, SMALL))
    assert text.count("no clip could be made") == 3
    assert "no face was detected" in text
    assert "no clip says who is in it" in text
    assert numbers(found)["distributions"]["duration_s"] == {"num": 0}


def test_an_unfinished_dataset_is_called_so(tmp_path: Path) -> None:
    make_finished(LocalStore(tmp_path), ParquetConfig())
    (tmp_path / "mien.json").unlink()
    found = overview(open_dataset(tmp_path, allow_unfinished=True), SMALL)
    assert "UNFINISHED, what is there so far: 3 clips" in words(draw(found, SMALL))


def test_a_dataset_in_a_bucket_gives_the_same_numbers(dataset: Dataset, found: Overview, emulator: Emulator) -> None:
    bucket = open_store(f"gs://{BUCKET}/overview")
    for path in Path(dataset.uri).rglob("*"):
        if path.is_file():
            bucket.put_new(path.relative_to(dataset.uri).as_posix(), path.read_bytes())
    emulator.reset_traffic()
    there = numbers(overview(open_dataset(bucket.uri), SMALL))
    assert there.pop("path") == bucket.uri
    assert there == {name: value for name, value in numbers(found).items() if name != "path"}
    assert read_from(emulator)[0] > 0
