"""Against figures that are worked out by hand."""

import os
from typing import Any

import pytest

from mien.datasets.effort import Busy
from mien.pipelines.extrapolate import ClusterShapeConfig, Range, Scale, Shape, ranges, rates_of, together
from mien.pipelines.serialize import SerializeConfig
from mien.pipelines.trial import Tried

SLOW = Tried(
    video_s=4.0,
    num_frames=100,
    busy={"cut": Busy(8.0, 6.0), "features": Busy(20.0, 10.0)},
    frame_bytes=1_000_000.0,
    thumb_bytes=50_000.0,
    shard_bytes=0.0,
    written_bytes=500_000,
    write=Busy(0.2, 0.1),
)
FAST = SLOW._replace(video_s=6.0, num_frames=150, busy={"cut": Busy(3.0, 3.0), "features": Busy(15.0, 7.5)})


def scale(num_clips: int = 10, num_nodes: int = 1, num_gpus: int = 0, video_s: float = 40.0, **values: Any) -> Scale:
    return Scale(SerializeConfig.parse(values, "test"), Shape("", num_nodes, 4, num_gpus), num_clips, video_s)


def test_several_clips_count_as_one_long_one() -> None:
    whole = together([SLOW, FAST])
    assert (whole.video_s, whole.num_frames, whole.written_bytes) == (10.0, 250, 1_000_000)
    assert whole.busy == {"cut": Busy(11.0, 9.0), "features": Busy(35.0, 17.5)}
    assert whole.write == Busy(0.4, 0.2)
    assert rates_of(whole)["cut_core_s_per_video_s"] == 0.9
    assert rates_of(whole)["features_core_s_per_frame"] == 0.07
    assert rates_of(whole)["frames_per_video_s"] == 25


def test_a_range_holds_the_ends_that_single_clips_tell() -> None:
    found = ranges([rates_of(each) for each in (together([SLOW, FAST]), SLOW, FAST)])
    assert found["cut_core_s_per_video_s"] == Range(0.9, 0.5, 1.5)
    assert found["cut_core_s_per_video_s"].said() == "0.9 (0.5 to 1.5)"
    assert Range(2.0, 2.0, 2.0).said() == "2"


def test_totals_grow_with_the_seconds_of_video() -> None:
    totals = scale().totals(SLOW, 1)
    assert totals["num_frames"] == 1000
    assert totals["output_bytes"] == 10_000_000 + 10 * 50_000
    assert totals["core_h"] * 3600 == pytest.approx(60 + 100 + 10_500_000 / 500_000 * 0.1)
    assert "gpu_h" not in totals


def test_what_a_shard_has_besides_its_content_counts_by_shard() -> None:
    part = SLOW._replace(shard_bytes=3_000_000.0)
    assert scale(min_shard_mb=100).totals(part, 1)["output_bytes"] == 10_500_000 + 3_000_000
    assert scale(min_shard_mb=2.1).totals(part, 1)["output_bytes"] == 10_500_000 + 5 * 3_000_000
    assert scale(min_shard_mb=0).totals(part, 1)["output_bytes"] == 10_500_000 + 10 * 3_000_000


@pytest.mark.parametrize(
    ("values", "wall_s", "limit"),
    [
        # Of 40 s of video: cut 80 s of workers and 60 of cores, features 200 and 100; a worker has a core, 4 cores.
        ({"workers": {"features": {"num_cpus": 1}}}, 200 / 4, "features"),
        ({"workers": {"features": {"num_cpus": 0.25}}}, 160 / 4, "all cores"),
        ({"workers": {"cut": {"max_workers": 1}}}, 80 / 1, "cut"),
        ({"num_clips": 1}, 200 / 1, "features"),
        ({"num_nodes": 10, "num_clips": 1000, "workers": {"features": {"num_cpus": 1}}}, 200 / 40, "features"),
    ],
)
def test_a_run_takes_as_long_as_its_longest_stage_or_the_work_of_all_cores(
    values: dict[str, Any], wall_s: float, limit: str
) -> None:
    found = scale(**values)
    assert found.totals(SLOW, 1)["wall_h"] * 3600 == pytest.approx(wall_s)
    assert found.limit(SLOW) == limit


def test_gpu_hours_are_those_that_were_measured_and_gpus_bound_the_workers() -> None:
    part = SLOW._replace(busy={"cut": Busy(1.0, 1.0), "features": Busy(20.0, 1.0, 10.0)})
    workers = {"features": {"num_gpus": 0.5, "num_cpus": 0.25}}
    totals = scale(num_gpus=1, workers=workers).totals(part, 1)
    assert totals["gpu_h"] * 3600 == pytest.approx(100)
    assert totals["wall_h"] * 3600 == pytest.approx(200 / 2)
    assert rates_of(part)["features_gpu_s_per_frame"] == 0.1
    assert "features_core_s_per_frame" not in rates_of(part)


def test_what_a_shape_leaves_open_is_as_here() -> None:
    here = Shape.of(ClusterShapeConfig(), 2)
    assert here == Shape("this machine", 1, os.cpu_count() or 1, 2)
    given = ClusterShapeConfig(name="night", num_nodes=3, num_cpus=16, num_gpus=0)
    assert str(Shape.of(given, 2)) == "night (3 x 16 CPUs, 0 GPUs)"
    assert Shape.of(ClusterShapeConfig(num_nodes=2), 0).name == "a cluster"
