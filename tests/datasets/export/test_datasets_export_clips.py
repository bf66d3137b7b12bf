"""Clips, read back by h5py and PyAV alone."""

import json
import tarfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import h5py
import numpy as np
import pyarrow.parquet as pq
import pytest

from export_datasets import NO_FACE, make_coloured, pictures
from mien.datasets.dataset import Dataset
from mien.storage.local import LocalStore
from mien.video.audio import AudioClip
from sample_datasets import SIZE_PX

Export = Callable[..., tuple[Path, dict[str, Any]]]


def decoded(path: Path) -> tuple[list[np.ndarray], list[Fraction], Any]:
    with av.open(str(path)) as container:
        stream = container.streams.video[0]
        frames = [(f.to_ndarray(format="rgb24"), f.pts * stream.time_base) for f in container.decode(stream)]
        return [rgb for rgb, _ in frames], [time for _, time in frames], (stream.average_rate, container.metadata)


def test_a_sample_is_one_hdf5_in_the_layout_of_the_older_tools(coloured: Dataset, export_to: Export) -> None:
    folder, _ = export_to(coloured, "clips", f"size_px={SIZE_PX}")
    paths = sorted(folder.glob("*.h5"))
    assert len(paths) == len(coloured) == 3
    for number, sample in enumerate(coloured):
        name = f"subject_s{number}_{number}-in-a-day-v1_faces_{1.5 * number:.2f}".replace(".", "_")
        assert paths[number].name == f"{name}_{sample.clip_id[:12]}.h5"
        with h5py.File(paths[number]) as file:
            wanted = [f"frame_{row:03d}" for row in range(len(sample)) if row != NO_FACE]
            assert sorted(file["faces"]) == wanted
            shown = pictures(len(sample), number)
            for row in (0, 1, len(sample) - 1):
                face = file[f"faces/frame_{row:03d}/face_000"]
                assert sorted(face) == ["bbox", "confidence", "data", "original_size"]
                assert face["data"].dtype == np.uint8
                assert np.abs(face["data"][:].astype(int) - shown[row]).mean() < 3
                assert face["bbox"][:].tolist() == [10, 20, 74, 84]
                assert face["original_size"][:].tolist() == ([64, 64] if row == 1 else [40, 60])
                assert np.isnan(face["confidence"][()]) == (row == 1), "the second face was interpolated"
            about = file["metadata"]
            assert about["subject_id"][()] == f"s{number}".encode(), "bytes, as the older loader decodes them"
            assert about["num_frames"][()] == len(sample)
            assert about["face_size"][:].tolist() == [SIZE_PX, SIZE_PX]
            assert np.array_equal(about["frame_timestamps"][:], sample["time_s"])
            assert (about["timestamp"][()], about["fps"][()]) == (1.5 * number, pytest.approx(25))
            assert about["video_resolution"][()] == b"640x480"
            assert (about["licence"][()], about["consent"][()]) == (b"CC-BY-4.0", b"signed on paper")
            assert "video_codec" not in about, "what is not known is not there"


def test_its_mp4_has_every_frame_the_rate_and_the_colours(coloured: Dataset, export_to: Export) -> None:
    folder, _ = export_to(coloured, "clips", f"size_px={SIZE_PX}", "video.pixel_format=yuv444p", "video.crf=4")
    for number, (sample, path) in enumerate(zip(coloured, sorted(folder.glob("*.mp4")), strict=True)):
        shown, times, (rate, tags) = decoded(path)
        assert (len(shown), rate) == (len(sample), 25)
        assert times == [Fraction(row, 25) for row in range(len(sample))]
        assert not shown[NO_FACE].max() > 8, "black without a face"
        wanted = pictures(len(sample), number).astype(int)
        errors = [np.abs(rgb - wanted[row]).mean() for row, rgb in enumerate(shown) if row != NO_FACE]
        assert max(errors) < 4
        assert (tags["licence"], tags["consent"]) == ("CC-BY-4.0", "signed on paper")


def test_pictures_have_the_side_of_the_older_tools_unless_told(one: Dataset, export_to: Export) -> None:
    folder, _ = export_to(one, "clips", "subject=s1", "compression=lzf")
    (path,) = folder.glob("*.h5")
    with h5py.File(path) as file:
        data = file["faces/frame_000/face_000/data"]
        assert (data.shape, data.chunks, data.compression) == ((518, 518, 3), (518, 518, 3), "lzf")
        middle = data[:][::16, ::16].astype(int)
    assert np.abs(np.median(middle, axis=(0, 1)) - np.median(pictures(9, 1)[0], axis=(0, 1))).max() < 6
    assert decoded(path.with_suffix(".mp4"))[0][0].shape == (518, 518, 3)


def test_frames_that_come_unevenly_keep_their_times(tmp_path: Path, export_to: Export) -> None:
    pts = [0, 40, 81, 120, 360]
    dataset = make_coloured(LocalStore(tmp_path / "dataset"), counts=(5,), pts=pts, time_base_den=1000)
    folder, _ = export_to(dataset, "clips", "size_px=null")
    assert decoded(next(folder.glob("*.mp4")))[1] == [Fraction(value, 1000) for value in pts]


def test_tracks_and_names_that_no_path_may_have_are_told_apart(tmp_path: Path, export_to: Export) -> None:
    dataset = make_coloured(
        LocalStore(tmp_path / "d"), counts=(4,), track=2, subject="../ö/..", source_uri="/v/\x1b.mp4"
    )
    folder, _ = export_to(dataset, "clips", "size_px=null")
    (path,) = folder.glob("*.h5")
    assert path.name == f"subject_x_x_faces_0_00_{dataset.clip_ids[0][:12]}_t2.h5"
    with h5py.File(path) as file:
        assert file["metadata/subject_id"][()].decode() == "../ö/.."


def test_the_mp4_has_the_sound_of_the_dataset(tmp_path: Path, export_to: Export) -> None:
    """A click at 0.1 s; 25 frames at 25 frames/s."""
    samples = np.zeros((1, 16_000), np.float32)
    samples[0, 1600:1680] = 0.9
    dataset = make_coloured(
        *(LocalStore(tmp_path / "dataset"), None),
        counts=(25,),
        heard=AudioClip(samples, 16_000),
        audio_rate_hz=16_000,
        audio_channels=1,
    )
    folder, _ = export_to(dataset, "clips", "size_px=null")
    with av.open(str(next(folder.glob("*.mp4")))) as container:
        assert (container.streams.video[0].frames, container.streams.audio[0].rate) == (25, 16_000)
        heard = np.concatenate([frame.to_ndarray()[0] for frame in container.decode(audio=0)])
    assert abs(np.argmax(np.abs(heard)) / 16_000 - 0.1) < 0.01


def test_what_is_known_of_clip_and_subject_goes_along(tmp_path: Path, export_to: Export) -> None:
    labels = '{"age":"30","id":"x","skin_type":"iv"}'
    told = {"labels": labels, "keyword": "smile", "keyword_s": 3.5, "text": "please smile"}
    told |= {"source_duration_s": 12.5, "source_num_frames": 312, "source_codec": "h264"}
    dataset = make_coloured(LocalStore(tmp_path / "dataset"), counts=(4,), **told)
    folder, _ = export_to(dataset, "clips", "size_px=null")
    with h5py.File(next(folder.glob("*.h5"))) as file:
        found = {name: file["metadata"][name][()] for name in file["metadata"]}
    assert (found["subject_id"], found["subject_age"], found["subject_skin-type"]) == (b"s0", b"30", b"iv")
    of_source = [found[f"video_{name}"] for name in ("duration_seconds", "frame_count", "codec")]
    assert of_source == [b"12.5", b"312", b"h264"]
    assert (found["video_fps"], int(found["video_file_size"])) == (b"25.0", 1000)
    assert (found["keyword"], found["keyword_timestamp"], found["transcript"]) == (b"smile", 3.5, b"please smile")
    folder, _ = export_to(dataset, "webdataset")
    with tarfile.open(next(folder.glob("data/*.tar"))) as tar:
        about = json.load(tar.extractfile(next(name for name in tar.getnames() if name.endswith(".json"))))  # type: ignore[arg-type]
    assert (about["labels"]["age"], about["keyword"], about["text"]) == ("30", "smile", "please smile")
    folder, _ = export_to(dataset, "hf")
    row = pq.read_table(next(folder.glob("data/*.parquet"))).to_pylist()[0]
    assert (row["labels"], row["keyword"], row["text"]) == (labels, "smile", "please smile")
