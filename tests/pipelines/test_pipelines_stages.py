import ctypes
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest
import ray
import ray.data

from mien.clips.clip import Clip, Source, unfit
from mien.datasets.effort import Busy
from mien.datasets.frames import crop_pixels, deserialize, values_of
from mien.datasets.index import rows_to_table
from mien.errors import MediaError
from mien.faces.detect import Face, FakeDetector
from mien.features.extractor import FakeExtractor
from mien.pipelines import stages
from mien.pipelines.cut import CutConfig, Cutter
from mien.pipelines.handout import TaskSize, grouped
from mien.pipelines.serialize import SerializeConfig
from mien.pipelines.sink import BUSY, CLIP, FAILURE, FRAMES, HOSTS, crossing_row
from mien.pipelines.tally import Tally
from mien.schema import PLAN
from mien.video.limits import LimitsConfig
from sample_datasets import SIZE_PX, make_clip, make_frames


class CountingExtractor(FakeExtractor):
    """Remembers how many frames each forward pass had."""

    def __init__(self) -> None:
        self.sizes = list[int]()

    def __call__(self, frames: Any) -> Any:
        self.sizes.append(len(frames))
        return super().__call__(frames)


@pytest.mark.parametrize("raw", [False, True])
def test_features_are_those_of_the_stored_crops_and_nan_elsewhere(raw: bool) -> None:
    tables = [
        make_frames("a" * 32, 20, seed=1, raw=raw).drop_columns(["feature"]),
        make_frames("b" * 32, 7, 2, raw=raw),
    ]
    extractor = CountingExtractor()
    added = stages.add_features([tables[0], tables[1].drop_columns(["feature"])], extractor)
    for table in added:
        has_face = np.asarray(values_of(table, "face")) > 0
        feature = values_of(table, "feature")
        expected = FakeExtractor()(crop_pixels(values_of(table, "crop"), SIZE_PX)[has_face])
        np.testing.assert_array_equal(feature[has_face], expected)
        assert np.isnan(feature[~has_face]).all()


def test_forward_passes_are_filled_across_clips() -> None:
    tables = [make_frames(f"{n:032x}", 6, n).drop_columns(["feature"]) for n in range(6)]
    extractor = CountingExtractor()
    stages.add_features(tables, extractor)
    assert extractor.sizes == [8, 8, 2]  # 3 of 6 frames have a face, 6 clips: 18 crops, 8 at a time


def row_of(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return Clip(Source(str(path), stat.st_size, stat.st_mtime_ns)).to_row()


def cutter(script: list[list[Face]]) -> Cutter:
    return Cutter(CutConfig.parse({"crop": {"size_px": 32}}, "t"), LimitsConfig(), FakeDetector(script), None)


def test_a_clip_that_is_cut_carries_its_frames(faces_dir: Path) -> None:
    script = [[Face((100.0, 100.0, 200.0, 200.0), 0.9)]] * 78
    row, num_frames, failure = stages.cut_row(cutter(script), row_of(faces_dir / "d0.mp4"))
    assert (num_frames, failure) == (78, "")
    assert deserialize(row.column(FRAMES)[0].as_buffer()).num_rows == 78


def test_a_clip_that_fails_carries_the_reason_and_a_picture(faces_dir: Path) -> None:
    row, num_frames, failure = stages.cut_row(cutter([[]] * 78), row_of(faces_dir / "d0.mp4"))
    assert num_frames == 0
    assert "no face" in failure
    assert '"stage": "faces"' in row.column(FAILURE)[0].as_py()


@pytest.mark.parametrize("script", [[[]] * 78, [[Face((100.0, 100.0, 200.0, 200.0), 0.9)]] * 78])
def test_a_clip_carries_what_it_took_whether_it_was_made_or_failed(faces_dir: Path, script: list[list[Face]]) -> None:
    row, _, _ = stages.cut_row(cutter(script), row_of(faces_dir / "d0.mp4"))
    clip = json.loads(row.column(CLIP)[0].as_py())
    wall_s, core_s, gpu_s = clip[BUSY]["cut"]
    assert wall_s > 0
    assert core_s > 0
    assert gpu_s == 0
    assert "busy" not in row.column(FAILURE)[0].as_py()
    later = stages.spent(clip, "features", Busy(3.0, 1.0, 0.5))
    assert later[BUSY] == {"cut": [wall_s, core_s, gpu_s], "features": [3.0, 1.0, 0.5]}
    assert len(later[HOSTS]) == 1


class Broken(FakeDetector):
    """A defect that no one foresaw."""

    def detect(self, rgb: Any) -> list[Face]:  # noqa: ARG002
        raise ZeroDivisionError("by accident")


def test_a_defect_met_on_one_clip_is_that_clips_failure(faces_dir: Path) -> None:
    broken = Cutter(CutConfig(), LimitsConfig(), Broken([]), None)
    _, _, failure = stages.cut_row(broken, row_of(faces_dir / "d0.mp4"))
    assert "d0.mp4: ZeroDivisionError: by accident" in failure


def test_an_unreadable_file_is_a_failure_of_decode(tmp_path: Path) -> None:
    path = tmp_path / "x.mp4"
    path.write_text("not a video")
    row, _, failure = stages.cut_row(cutter([]), row_of(path))
    assert "x.mp4" in failure
    assert MediaError.__name__ in row.column(FAILURE)[0].as_py()


@pytest.mark.slow
def test_a_decoder_that_hangs_is_ended_with_its_worker_and_the_clip_is_given_up(local_ray: None) -> None:
    poison = make_clip(1).clip_id

    class Hanging(stages.CutStage):
        def cut(self, clip: Mapping[str, Any]) -> tuple[pa.Table, int, str]:
            if clip["clip_id"] == poison:
                ctypes.PyDLL(None).sleep(600)  # holds the interpreter's lock, as the worst of C does
            return crossing_row(clip), 7, ""

    config = SerializeConfig.parse({"workers": {"clip_timeout_s": 0.5}}, "test")
    stage = Hanging(config, None, ray.remote(Tally).options(num_cpus=0).remote([stages.CUT]))
    plan = rows_to_table([make_clip(number).to_row() for number in range(3)], PLAN)
    clips = ray.data.from_arrow(grouped(plan, TaskSize(1))).repartition(target_num_rows_per_block=1)
    rows = clips.map_batches(stage, batch_size=1, batch_format="pyarrow").take_all()
    failures = {json.loads(row[CLIP])["clip_id"]: row[FAILURE] for row in rows}
    assert len(failures) == 3
    assert "ended its worker 3 times" in failures.pop(poison)
    assert not any(failures.values())


def test_a_source_of_which_no_clip_was_planned_fails_with_the_reason_of_the_plan() -> None:
    cutter = Cutter(CutConfig(), LimitsConfig(), FakeDetector([]), None)
    row, num_frames, reason = stages.cut_row(cutter, unfit(Source("/a.mp4", 5, 7), "is too short").to_row())
    failure = json.loads(row.column(FAILURE)[0].as_py())
    assert (num_frames, reason) == (0, "/a.mp4: is too short")
    assert (failure["stage"], failure["error_type"]) == ("plan", "ClipError")
