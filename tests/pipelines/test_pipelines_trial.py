import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from buckets import BUCKET
from mien.clips.clip import Clip, Source
from mien.datasets.effort import Busy
from mien.errors import ClipError, MienError
from mien.faces.detect import Face, FakeDetector
from mien.features.extractor import Extractor, FakeExtractor
from mien.pipelines.cut import Cutter
from mien.pipelines.serialize import SerializeConfig
from mien.pipelines.trial import Trial, Tried, Trier, _from_json, _plain, isolated, try_some
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.uri import Entry

FACE = [Face((100.0, 100.0, 200.0, 200.0), 0.9)]
ENOUGH_S = 1e6


def put(path: Path, name: str) -> list[Entry]:
    store = GcsStore(f"gs://{BUCKET}")
    store.put_new(name, path.read_bytes())
    return list(store.list(name))


def row_of(path: Path, start_s: float = 0.0, end_s: float = math.inf) -> dict[str, Any]:
    stat = path.stat()
    return Clip(Source(str(path), stat.st_size, stat.st_mtime_ns), start_s, end_s).to_row()


def trier(folder: Path, extractor: Extractor | None = None, script: list[list[Face]] | None = None) -> Trier:
    config = SerializeConfig.parse({"crop": {"size_px": 64}}, "test")
    return Trier(
        config, Cutter(config, config.limits, FakeDetector(script or [FACE] * 10_000), None), extractor, folder
    )


def test_a_clip_that_fits_is_made_whole(faces_dir: Path, tmp_path: Path) -> None:
    tried = trier(tmp_path)(row_of(faces_dir / "d0.mp4"), ENOUGH_S)
    assert (tried.video_s, tried.num_frames) == (pytest.approx(3.12), 78)  # 78 frames at 25 a second
    assert set(tried.busy) == {"cut"}
    assert min(tried.busy["cut"].wall_s, tried.busy["cut"].core_s, tried.write.wall_s) > 0


def test_of_a_long_clip_the_middle_is_made_and_counts_for_itself_alone(faces_dir: Path, tmp_path: Path) -> None:
    tried = trier(tmp_path)(row_of(faces_dir / "d0.mp4", 1.0, 3.0), 1e-9)
    assert (tried.video_s, tried.num_frames) == (1.0, 25)


def test_a_video_in_a_bucket_is_tried_where_it_is(emulator: Emulator, faces_dir: Path, tmp_path: Path) -> None:
    (entry,) = put(faces_dir / "d0.mp4", "trial/d0.mp4")
    clip = Clip(Source(f"gs://{BUCKET}/{entry.name}", entry.size_bytes, entry.generation)).to_row()
    tried = trier(tmp_path)(clip, ENOUGH_S)
    assert (tried.video_s, tried.num_frames) == (pytest.approx(3.12), 78)


def test_features_of_some_frames_stand_for_all(faces_dir: Path, tmp_path: Path) -> None:
    extractor = FakeExtractor()
    few = trier(tmp_path / "a", extractor)(row_of(faces_dir / "d0.mp4", 1.0, 2.0), 1e-9)
    all_ = trier(tmp_path / "b", extractor)(row_of(faces_dir / "d0.mp4", 1.0, 2.0), ENOUGH_S)
    assert few.num_frames == all_.num_frames == 25
    assert few.busy["features"].core_s > 0
    assert few.written_bytes < all_.written_bytes / 2
    assert 0.5 < few.frame_bytes / all_.frame_bytes < 2  # from one small frame


@pytest.mark.parametrize("kind", ["parquet", "hdf5"])
def test_the_bytes_of_a_middle_tell_those_of_the_whole(faces_dir: Path, tmp_path: Path, kind: str) -> None:
    config = SerializeConfig.parse({"crop": {"size_px": 128}, "format": {"kind": kind}}, "test")

    def tried(name: str, row: Mapping[str, Any]) -> Tried:
        detector = FakeDetector([FACE] * 1000)
        return Trier(config, Cutter(config, config.limits, detector, None), None, tmp_path / name)(row, ENOUGH_S)

    whole = tried("whole", row_of(faces_dir / "d0.mp4"))
    middle = tried("middle", row_of(faces_dir / "d0.mp4", 1.0, 2.0))
    factor = whole.video_s / middle.video_s
    assert middle.num_frames * factor == whole.num_frames
    told = middle.frame_bytes * factor + middle.thumb_bytes + middle.shard_bytes
    assert told == pytest.approx(whole.written_bytes, rel=0.2)


def test_what_cannot_be_made_is_an_error_with_its_reason(faces_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(ClipError, match=r"d0\.mp4: .*no face"):
        trier(tmp_path, script=[[]] * 1000)(row_of(faces_dir / "d0.mp4"), ENOUGH_S)
    broken = tmp_path / "x.mp4"
    broken.write_text("not a video")
    with pytest.raises(ClipError, match=r"x\.mp4"):
        trier(tmp_path)(row_of(broken), ENOUGH_S)


class Scripted:
    """Makes or fails what its name says."""

    def __init__(self) -> None:
        self.seen = list[str]()

    def __call__(self, clip: Mapping[str, Any], budget_s: float) -> Tried:  # noqa: ARG002
        self.seen.append(clip["clip_id"])
        if "bad" in clip["clip_id"]:
            raise ClipError(clip["clip_id"])
        return Tried(1.0, 1, {"cut": Busy(1.0, 1.0)}, 1.0, 0.0, 0.0, 1, Busy())


def test_clips_that_fail_are_replaced_by_the_next_until_there_are_enough() -> None:
    config = SerializeConfig.parse({"estimate": {"num_clips": 2}}, "test").estimate
    scripted = Scripted()
    tried, failures = try_some(scripted, [{"clip_id": name} for name in ("bad1", "a", "bad2", "b", "c")], config)  # type: ignore[arg-type]
    assert (len(tried), failures, scripted.seen) == (2, ["bad1", "bad2"], ["bad1", "a", "bad2", "b"])


def test_in_a_process_of_its_own_the_models_of_the_job_are_used(
    faces_dir: Path, assets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    config = SerializeConfig.parse({"crop": {"size_px": 64}, "estimate": {"num_clips": 1}}, "test")
    rows = [row_of(faces_dir / "d0.mp4"), row_of(faces_dir / "d18.mp4")]
    trial = isolated(config, rows)
    assert len(trial.tried) == 1
    assert trial.failures == []
    assert trial.open_s == pytest.approx(3.12 + 7.2, abs=0.05)
    assert trial.open_bytes == sum(row["source_bytes"] for row in rows)
    assert trial.took_s > trial.tried[0].busy["cut"].wall_s > 0


def test_without_model_files_it_says_which_is_missing(
    faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(tmp_path))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    with pytest.raises(MienError, match=r"face_detection_short_range\.tflite is absent"):
        isolated(SerializeConfig.parse({}, "test"), [row_of(faces_dir / "d0.mp4")])


def test_a_process_that_ends_by_itself_is_told_and_no_more(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PYTHONPATH", "/nowhere")
    monkeypatch.setenv("PYTHONHOME", "/nowhere")  # the interpreter does not start
    with pytest.raises(MienError, match="the process that tried a few clips ended with code 1"):
        isolated(SerializeConfig.parse({}, "test"), [])


def test_an_answer_survives_the_way_through_json() -> None:
    trial = Trial(
        [Tried(1.5, 3, {"cut": Busy(1.0, 0.5, 0.25)}, 7.5, 1.0, 2.0, 9, Busy(0.125, 0.5))], ["x"], 1.0, 2, 0, 3.0
    )
    assert _from_json(json.dumps(_plain(trial))) == trial
