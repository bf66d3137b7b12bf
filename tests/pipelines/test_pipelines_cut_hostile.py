"""Bad films between good ones in one process, and clips that want too much memory: rows 23 and 28 of SECURITY.md."""

import itertools
import json
import multiprocessing
import resource
import sys
from pathlib import Path
from typing import Any

import pytest

from hostile_bytes import (
    BROKEN,
    NUM_FRAMES,
    endless_fragment,
    flipped,
    write_large_frames,
    write_odd,
    write_sound_video,
)
from mien.clips.clip import Clip, Source
from mien.faces.detect import Face, FakeDetector
from mien.pipelines.cut import CutConfig, Cutter
from mien.pipelines.sink import FAILURE, FRAMES
from mien.pipelines.stages import cut_row
from mien.video.limits import LimitsConfig
from peak_memory import run_measured

NUM_HOGS = 5

linux = pytest.mark.skipif(sys.platform != "linux", reason="the cap of memory holds on Linux")


def row_of(path: Path) -> dict[str, Any]:
    stat = path.stat()
    return Clip(Source(str(path), stat.st_size, stat.st_mtime_ns)).to_row()


@pytest.fixture
def cutter() -> Cutter:
    """See `a_cutter`."""
    return a_cutter()


def a_cutter() -> Cutter:
    """One face in every frame, whatever it shows."""
    detector = FakeDetector(itertools.repeat([Face((30.0, 30.0, 90.0, 90.0), 0.9)]))
    return Cutter(CutConfig.parse({"crop": {"size_px": 64}}, "test"), LimitsConfig(), detector, None)


def frames_of(cutter: Cutter, path: Path) -> bytes:
    row, num_frames, failure = cut_row(cutter, row_of(path))
    assert (num_frames, failure) == (NUM_FRAMES, "")
    return row.column(FRAMES)[0].as_buffer().to_pybytes()


def test_every_bad_film_is_a_row_of_its_own_and_its_neighbours_are_as_without_it(
    cutter: Cutter, tmp_path: Path
) -> None:
    good = tmp_path / "good.mp4"
    data = write_sound_video(good)
    alone = frames_of(cutter, good)
    bad = [tmp_path / name for name in BROKEN]
    for path in bad:
        path.write_bytes(BROKEN[path.name](data))
    flips = [tmp_path / f"flip_{seed}.mp4" for seed in range(40)]
    for seed, path in enumerate(flips):
        path.write_bytes(flipped(data, seed))
    reasons = {}
    for path in [*bad, *flips, *write_odd(tmp_path)]:
        row, _, failure = cut_row(cutter, row_of(path))
        if failure:
            reasons[path.name] = json.loads(row.column(FAILURE)[0].as_py())
        assert frames_of(cutter, good) == alone, f"after {path.name}"
    assert {reason["error_type"] for reason in reasons.values()} <= {"MediaError", "LimitExceeded", "FaceError"}
    assert [reason for reason in reasons.values() if not reason["error"].isprintable()] == []
    assert len(reasons) > 30, "most of them hurt"


PLAN = """
import sys
from mien.pipelines.plan import PlanConfig, Planner
config = PlanConfig.parse({"source": sys.argv[1], "clips": {"kind": "stride", "length_s": 1, "stride_s": 1}}, "test")
print([row["end_s"] for row in Planner(config).rows()])
"""


@linux
def test_a_fragment_that_claims_frames_for_nothing_is_planned_and_fails_in_little_memory(
    cutter: Cutter, tmp_path: Path
) -> None:
    path = tmp_path / "fragment.mp4"
    endless_fragment(path, 60_000_000)
    ends, peak_mb = run_measured(PLAN, path)
    assert ends == "[inf]", "as one clip, since its length is not known"
    assert peak_mb < 512
    row, _, failure = cut_row(cutter, row_of(path), max_bytes=256 << 20)
    assert json.loads(row.column(FAILURE)[0].as_py())["error_type"] == "LimitExceeded", failure


@linux
def test_a_clip_that_wants_too_much_memory_fails_alone(tmp_path: Path) -> None:
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # this process may keep freed memory, and ask for none
        pool.apply(_a_hog_fails_alone, (tmp_path,))


def _a_hog_fails_alone(tmp_path: Path) -> None:
    cutter = a_cutter()
    good, hog = tmp_path / "good.mp4", tmp_path / "hog.mp4"
    write_sound_video(good)
    write_large_frames(hog, 4096)
    alone = frames_of(cutter, good)
    before = resource.getrlimit(resource.RLIMIT_DATA)
    for _ in range(NUM_HOGS):
        row, _, failure = cut_row(cutter, row_of(hog), max_bytes=48 << 20)
        reason = json.loads(row.column(FAILURE)[0].as_py())
        assert reason["error_type"] == "LimitExceeded", failure
        assert "memory" in reason["error"]
        assert frames_of(cutter, good) == alone
    assert resource.getrlimit(resource.RLIMIT_DATA) == before
    assert cut_row(cutter, row_of(hog), max_bytes=1 << 30)[1:] == (2, ""), "with more memory it is made"
