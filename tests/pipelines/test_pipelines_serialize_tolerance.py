"""How many clips may fail, and what is tried again: as it is typed."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

import mien.datasets
from command_line import Ended, run_here
from exact_runs import assert_exact, write_copies
from mien.datasets.verify import verify

NUM_GOOD = 3
SETTINGS = ("crop.size_px=64", "min_shard_mb=0", "workers.clips_per_task=1")

Serialize = Callable[..., Ended]


@pytest.fixture
def serialize(
    tmp_path: Path,
    faces_dir: Path,
    assets_dir: Path,
    local_ray: None,
    monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> Serialize:
    """`mien serialize` over some good videos into `out`."""
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    source = write_copies(tmp_path / "videos", faces_dir, NUM_GOOD)
    words = ("serialize", f"source={source}", f"output={tmp_path / 'out'}", *SETTINGS)
    return lambda *more: run_here(capfd, *words, *more)


def test_the_share_that_may_fail_decides_how_a_run_ends_and_nothing_else(serialize: Serialize, tmp_path: Path) -> None:
    (tmp_path / "videos" / "empty.mp4").touch()
    for max_failed, code in {"0.24": 3, "0.25": 0, "1": 0, "0": 3}.items():
        ended = serialize(f"max_failed={max_failed}", "--json")
        assert ended.code == code, ended.err
        report = json.loads(ended.out)
        assert (report["num_clips"], report["num_samples"], report["num_failed"]) == (4, NUM_GOOD, 1)
        assert len(ended.complaints) == (code != 0)
        if code:
            assert f"finished, but 1 of 4 clips failed (tolerated: max_failed={max_failed})" in ended.complaints[0]
        dataset = mien.datasets.open(tmp_path / "out")
        assert (verify(dataset)["problems"], verify(dataset)["foreign"], len(dataset)) == ([], [], NUM_GOOD)


@pytest.mark.slow
def test_clips_that_end_their_workers_are_quarantined_and_made_when_they_are_tried_again(
    serialize: Serialize, tmp_path: Path
) -> None:
    ended = serialize("workers.clip_timeout_s=0.001")
    assert ended.code == 3, ended.err
    assert ended.complaints == [
        f"mien: {tmp_path / 'out'}: finished, but {NUM_GOOD} of {NUM_GOOD} clips failed (tolerated: max_failed=0); "
        "see failures.parquet and preview/failures.png"
    ]
    rows = mien.datasets.open(tmp_path / "out").failures.to_pylist()
    assert all("ended its worker 3 times" in row["error"] and "--retry-failed" in row["error"] for row in rows)
    kept = serialize("workers.clip_timeout_s=600")
    assert (kept.code, f"all {NUM_GOOD} clips are done already" in kept.err) == (3, True), "only when it is asked for"
    tried = serialize("workers.clip_timeout_s=600", "--retry-failed")
    assert tried.code == 0, tried.err
    assert set(assert_exact(str(tmp_path / "out"), NUM_GOOD).values()) == {1}
