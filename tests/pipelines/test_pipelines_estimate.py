import math
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import mien.datasets
from mien.datasets.effort import Busy, Effort
from mien.pipelines.estimate import Estimate, NoEstimate, Survey, estimate, extrapolate, spread_out
from mien.pipelines.plan import preview_plan
from mien.pipelines.serialize import SerializeConfig, serialize
from mien.pipelines.trial import Trial, Tried
from mien.storage.commit import read_commits
from mien.storage.local import LocalStore
from sample_datasets import make_clip

TRIED = Tried(2.0, 50, {"cut": Busy(1.0, 1.0)}, 500_000.0, 0.0, 0.0, 500_000, Busy(0.1, 0.1))


def row(number: int, length_s: float = math.inf) -> dict[str, Any]:
    return {**make_clip(number).to_row(), "end_s": length_s}


def surveyed(rows: list[dict[str, Any]], seed: int = 0) -> Survey:
    survey = Survey(seed)
    for each in rows:
        survey.see(each)
    return survey


def config(**values: Any) -> SerializeConfig:
    return SerializeConfig.parse(values, "test")


def test_a_survey_counts_what_has_an_end_and_what_has_none() -> None:
    survey = surveyed([row(0), row(1, 2.5), row(2), row(3, 4.0)])
    assert (survey.num_clips, survey.ended_s, survey.num_open, survey.open_bytes) == (4, 6.5, 2, 1000 + 1002)
    assert [clip["source_uri"] for clip in survey.sample()] == [row(number)["source_uri"] for number in range(4)]


def test_the_sample_is_bounded_and_decided_by_seed_and_clips_alone() -> None:
    rows = [row(number) for number in range(300)]
    ids = [clip["clip_id"] for clip in surveyed(rows).sample()]
    assert len(ids) == 64
    assert set(ids) == {clip["clip_id"] for clip in surveyed(rows[::-1]).sample()}
    assert set(ids) != {clip["clip_id"] for clip in surveyed(rows, seed=1).sample()}


def test_every_part_of_a_plan_has_the_same_chance() -> None:
    rows = [row(number) for number in range(500)]
    fifth = {each["clip_id"]: number // 100 for number, each in enumerate(rows)}
    count = Counter(fifth[clip["clip_id"]] for seed in range(20) for clip in surveyed(rows, seed).sample())
    # 1280 draws over 5 parts: 256 each, with a standard deviation of about 13.4 without replacement
    assert all(abs(count[part] - 256) < 5 * 13.4 for part in range(5))


def test_the_first_clips_lie_over_the_whole_plan_and_none_is_lost() -> None:
    rows = [{"n": number} for number in range(9)]
    assert [each["n"] for each in spread_out(rows, 3)] == [1, 4, 7, 0, 2, 3, 5, 6, 8]
    assert spread_out(rows[:2], 3) == rows[:2]


def test_lengths_that_were_not_read_follow_from_the_size_of_the_videos() -> None:
    survey = surveyed([row(0, 10.0), *(row(number) for number in range(1, 4))])
    trial = Trial([TRIED], [], open_s=8.0, open_bytes=2004, num_gpus=0, took_s=1.0)
    found = extrapolate(config(), survey, trial)
    assert found.video_s == pytest.approx(10 + 8 * (1001 + 1002 + 1003) / 2004)
    assert found.totals["num_frames"].value == pytest.approx(25 * found.video_s)


def test_notes_say_what_the_numbers_leave_out() -> None:
    survey = surveyed([row(number) for number in range(100)])
    trial = Trial([TRIED], ["x.mp4: no face"], 8.0, 2004, 0, 1.0)
    values = {"features": {"kind": "vit"}, "workers": {"features": {"num_gpus": 1}}}
    notes = " | ".join(extrapolate(config(**values), survey, trial).notes)
    assert "lengths from the headers of 64 of 100 videos" in notes
    assert "features measured on CPU, since there is no GPU here" in notes
    assert "1 more clips failed" in notes
    assert "x.mp4: no face" in notes
    scored = extrapolate(config(**values, clips={"kind": "scored"}), survey, trial).notes
    assert [note for note in scored if note not in notes.split(" | ")] == [
        "without the scoring of the candidates, which comes before and goes through the same models"
    ]
    on_gpu = extrapolate(config(**values), survey, trial._replace(num_gpus=1)).notes
    assert "measured on CPU" not in " ".join(on_gpu)


def test_a_person_reads_the_cluster_the_time_and_the_spread() -> None:
    trial = Trial([TRIED, TRIED._replace(busy={"cut": Busy(2.0, 2.0)})], [], 0, 0, 0, 1.0)
    shape = {"name": "night", "num_nodes": 2, "num_cpus": 8, "num_gpus": 0}
    found = extrapolate(config(estimate=shape), surveyed([row(n, 80.0) for n in range(100)]), trial)
    said = found.summary()
    assert said["estimate for"] == "night (2 x 8 CPUs, 0 GPUs)"
    # 8,000 s of video at 0.75 (0.5 to 1) s each are 6,000 s of 16 workers
    assert said["time"] == "6.25 min (4.17 min to 8.33 min), limited by all cores"
    assert said["output"] == "2 GB"
    assert found.to_json()["totals"]["wall_h"]["high"] == pytest.approx(8000 / 16 / 3600)


def test_clips_that_cannot_be_made_give_no_estimate_and_no_error(
    tmp_path: Path, assets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    (tmp_path / "x.mp4").write_text("not a video")
    survey = Survey(0)
    preview_plan(config(source=str(tmp_path)), watch=survey.see)
    found = estimate(config(source=str(tmp_path)), survey)
    assert isinstance(found, NoEstimate)
    assert "none of the clips that were tried could be made" in found.reason
    assert "x.mp4" in found.reason


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["parquet", "hdf5"])
def test_the_estimate_is_what_the_run_then_took(
    local_ray: None, faces_dir: Path, assets_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("d0.mp4", "d18.mp4", "s13.mp4"):
        (folder / name).write_bytes((faces_dir / name).read_bytes())
    job = config(source=str(folder), output=str(tmp_path / "out"), crop={"size_px": 256}, format={"kind": kind})
    survey = Survey(0)
    preview_plan(job, watch=survey.see)
    told = estimate(job, survey)
    assert isinstance(told, Estimate)
    serialize(job)
    took = Effort.of(read_commits(LocalStore(tmp_path / "out")))
    num_frames = sum(len(sample) for sample in mien.datasets.open(tmp_path / "out"))
    assert told.totals["num_frames"].value == pytest.approx(num_frames, rel=0.2)
    assert told.totals["output_bytes"].value == pytest.approx(took.num_bytes, rel=0.2)
    assert 0 < told.totals["core_h"].value < math.inf
    assert set(took.busy) == {"cut", "write"}
    assert 0 < took.busy["cut"].core_s < math.inf
    card = (tmp_path / "out" / "README.md").read_text()
    assert "from start to last commit in 1 run on 1 machine" in card
