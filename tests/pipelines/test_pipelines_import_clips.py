"""Clip files into a dataset: theirs and ours, over Ray and alone."""

from pathlib import Path
from typing import Any

import h5py
import numpy as np
import pytest

import mien.datasets
from buckets import BUCKET
from export_datasets import NO_FACE, make_coloured, pictures, write_clip_file
from mien.datasets.export.kinds import read_kind
from mien.datasets.forget import forget
from mien.datasets.verify import verify
from mien.errors import ConfigError, PreflightError, RefusedError, TooManyFailures
from mien.pipelines.export import export
from mien.pipelines.import_clips import ImportConfig, ImportReport, run
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.local import LocalStore
from sample_datasets import SIZE_PX


@pytest.fixture
def clips(tmp_path: Path) -> Path:
    folder = tmp_path / "clips"
    (folder / "more").mkdir(parents=True)
    for name, subject in {"a.h5": "0123", "b.h5": 45, "more/c.h5": np.bytes_(b"s7")}.items():
        write_clip_file(folder / name, subject)
    (folder / "a.mp4").write_bytes(b"the video beside it")
    return folder


def take(source: object, output: object, **values: Any) -> ImportReport:
    given = {"source": str(source), "output": str(output), "crop": {"size_px": SIZE_PX}, **values}
    return run(ImportConfig.parse(given, "test"))


def test_files_of_older_tools_become_a_dataset(clips: Path, tmp_path: Path) -> None:
    report = take(clips, tmp_path / "out", card={"licence": "CC0"})
    assert (report.num_clips, report.num_samples, report.num_frames, report.num_failed) == (3, 3, 12, 0)
    dataset = mien.datasets.open(tmp_path / "out")
    assert verify(dataset)["problems"] == verify(dataset)["foreign"] == []
    assert dataset.index.column("subject").to_pylist() == ["0123", "45", "s7"]
    assert dataset.index.column("labels").to_pylist() == ['{"age":"30"}'] * 3
    assert dataset.record["card"]["licence"] == "CC0"
    sample = dataset.sample(0)
    assert (sample.row["source_uri"], sample.row["start_s"]) == (f"{clips}/a.h5", 2.5)
    assert (sample.row["width_px"], sample.row["fps"], sample.row["is_vfr"]) == (1280, pytest.approx(30), False)
    assert [sample.row[f"source_{name}"] for name in ("duration_s", "num_frames", "codec")] == [60.5, 1815, "h264"]
    assert np.abs(sample.crops().astype(int) - pictures(4)).mean() < 3, "RGB stays RGB"
    assert np.allclose(sample["time_s"], 2.5 + np.arange(4) / 30)
    assert (sample["face"].tolist(), sample["crop_box"][0].tolist()) == ([1] * 4, [10, 20, 74, 90])
    assert np.isnan(sample["box"]).all(), "what the file does not say is not invented"


@pytest.mark.parametrize(
    ("name", "value", "column", "read"),
    [
        ("video_width", "1e12", "width_px", 0),
        ("video_height", "-3", "height_px", 0),
        ("video_frame_count", "1e300", "source_num_frames", None),
        ("video_frame_count", "-5", "source_num_frames", None),
        ("video_duration_seconds", "-1e308", "source_duration_s", None),
    ],
)
def test_a_number_that_cannot_be_counts_as_not_said_and_harms_no_neighbour(
    clips: Path, tmp_path: Path, name: str, value: str, column: str, read: int | None
) -> None:
    write_clip_file(clips / "a.h5", **{name: value})
    report = take(clips, tmp_path / "out")
    assert (report.num_samples, report.num_failed) == (3, 0)
    assert mien.datasets.open(tmp_path / "out").sample(0).row[column] == read


def test_bgr_is_turned_when_told(tmp_path: Path, clips: Path) -> None:
    take(clips, tmp_path / "out", channel_order="bgr", crop={"size_px": SIZE_PX, "encoding": "raw"})
    crops = mien.datasets.open(tmp_path / "out").sample(0).crops()
    assert np.array_equal(crops, pictures(4)[..., ::-1])


def test_a_black_picture_stands_for_no_face(tmp_path: Path, clips: Path) -> None:
    with h5py.File(clips / "a.h5", "a") as file:
        file["faces/frame_002/face_000/data"][:] = 0
    take(clips, tmp_path / "out")
    sample = mien.datasets.open(tmp_path / "out").sample(0)
    assert (sample["face"].tolist(), sample["crop"][2]) == ([1, 1, 0, 1], b"")


def test_what_was_exported_comes_back(tmp_path: Path, local_ray: None) -> None:
    """Raw crops without loss: pixels, times, boxes, scores, subjects; over Ray tasks."""
    dataset = make_coloured(LocalStore(tmp_path / "dataset"), raw=True, pts=[], counts=(6, 6, 6))
    export(dataset.uri, str(tmp_path / "clips"), read_kind("clips", ["size_px=null"]))
    crop = {"size_px": SIZE_PX, "encoding": "raw"}
    report = take(tmp_path / "clips", tmp_path / "back", crop=crop, format={"kind": "hdf5"}, clips_per_shard=1)
    assert report.num_samples == 3
    back = mien.datasets.open(tmp_path / "back")
    assert verify(back)["problems"] == []
    for ours, theirs in zip(dataset, back, strict=True):
        assert ours.row["subject"] == theirs.row["subject"]
        assert theirs["face"].tolist() == [1, 1, 0, 1, 1, 1], "an interpolated face is a face"
        assert np.array_equal(ours["crop"], theirs["crop"])
        for name in ("time_s", "crop_box", "score"):
            assert np.allclose(ours[name], theirs[name], equal_nan=True), name
        assert not theirs["crop"][NO_FACE].any()
    assert forget(LocalStore(tmp_path / "back"), "s1") is not None
    assert len(mien.datasets.open(tmp_path / "back")) == 2


def test_a_bad_file_is_a_failure_and_its_neighbours_are_made(clips: Path, tmp_path: Path) -> None:
    (clips / "b.h5").write_bytes(b"no HDF5")
    write_clip_file(clips / "d.h5", num_frames=2)
    with h5py.File(clips / "d.h5", "a") as file:
        file["faces"].move("frame_001", "frame_009")
    with h5py.File(clips / "more/c.h5", "a") as file:
        for face in file["faces"].values():
            face["face_000/data"][:] = 0
    report = take(clips, tmp_path / "out")
    assert (report.num_samples, report.num_failed) == (1, 3)
    with pytest.raises(TooManyFailures, match="3 of 4 clip files"):
        report.check(0.5)
    failures = mien.datasets.open(tmp_path / "out").failures.to_pylist()
    assert [row["source_uri"] for row in failures] == [f"{clips}/{name}" for name in ("b.h5", "d.h5", "more/c.h5")]
    for row, part in zip(failures, ["not a readable", "a frame 9, and times of 2", "no face"], strict=True):
        assert part in row["error"]
        assert row["error"].startswith(row["source_uri"])


def test_pictures_of_another_size_say_which(clips: Path, tmp_path: Path) -> None:
    report = take(clips, tmp_path / "out", crop={"size_px": 48})
    assert report.num_failed == 3
    error = mien.datasets.open(tmp_path / "out").failures.to_pylist()[0]["error"]
    assert "pictures of 32x32 px, not 48; set crop.size_px" in error


def test_the_same_command_does_nothing_and_another_is_refused(clips: Path, tmp_path: Path) -> None:
    first = take(clips, tmp_path / "out")
    shards = sorted(path.name for path in (tmp_path / "out" / "data").iterdir())
    assert take(clips, tmp_path / "out") == first
    assert sorted(path.name for path in (tmp_path / "out" / "data").iterdir()) == shards
    with pytest.raises(RefusedError, match="differ: channel_order"):
        take(clips, tmp_path / "out", channel_order="bgr")
    (tmp_path / "other").mkdir()
    (tmp_path / "other" / "notes.txt").write_text("mine")
    with pytest.raises(RefusedError, match="holds files but no imported dataset"):
        take(clips, tmp_path / "other")


def test_places_that_cannot_be_are_told(clips: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PreflightError, match=r"holds no clip file \(.h5\)"):
        take(tmp_path / "empty", tmp_path / "out")
    assert not (tmp_path / "out" / "config.yaml").exists()
    with pytest.raises(ConfigError, match="must not lie in one another"):
        take(clips, clips / "out")
    with pytest.raises(ConfigError, match="output: is required"):
        run(ImportConfig(source=str(clips)))


def test_from_a_bucket_into_a_bucket(clips: Path, tmp_path: Path, emulator: Emulator) -> None:
    place = f"gs://{BUCKET}/{tmp_path.name}"
    GcsStore(f"{place}/in").publish(clips / "a.h5", "a.h5")
    report = take(f"{place}/in", f"{place}/out")
    assert (report.path, report.num_samples) == (f"{place}/out", 1)
    sample = mien.datasets.open(f"{place}/out").sample(0)
    assert (sample.row["source_uri"], sample.row["subject"]) == (f"{place}/in/a.h5", "0123")
    assert np.abs(sample.crops().astype(int) - pictures(4)).mean() < 3
