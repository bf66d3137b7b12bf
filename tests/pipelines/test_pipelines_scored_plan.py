"""Scored clips through a real Ray: the order of the plan, what failed, and what is left behind."""

import json
from pathlib import Path
from typing import Any

import pytest

import mien.datasets
from command_line import assert_refused, run_here
from mien import assets
from mien.clips.clip import Source, why_unfit
from mien.clips.sources import SourcesConfig, find_videos
from mien.datasets import index
from mien.datasets.verify import verify
from mien.errors import PreflightError
from mien.faces.detect import BlazeFace
from mien.features.registry import build, resolve
from mien.pipelines.plan import preview_plan, standing_plan
from mien.pipelines.score import Scorer
from mien.pipelines.scored_plan import _given_up
from mien.pipelines.serialize import SerializeConfig, plan, run
from mien.storage.local import LocalStore

SIZES = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2, "image_size": 28, "patch_size": 14}
FEW = {"kind": "scored", "num_candidates": 8, "num_clips": 2, "length_s": 0.5}


@pytest.fixture(autouse=True)
def _models(assets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))


@pytest.fixture
def videos(tmp_path: Path, faces_dir: Path) -> Path:
    """A good one, one that is none, one that is too short, and a good one."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for name in ("d18.mp4", "d19.mp4", "d0.mp4"):
        (folder / name).write_bytes((faces_dir / name).read_bytes())
    (folder / "d1.mp4").write_text("not a video")
    return folder


def config(videos: Path, output: Path, **values: Any) -> SerializeConfig:
    """With a tiny network of random weights, described beside the videos."""
    model = videos.parent / "model"
    model.mkdir(exist_ok=True)
    (model / "config.json").write_text(json.dumps({"model_type": "dinov2", **SIZES}))
    small = {"kind": "dinov2", "model": str(model), "weights": "random", "size_px": 28, "dtype": "float32"}
    whole = {"source": str(videos), "output": str(output), "clips": FEW, "features": small, "crop": {"size_px": 64}}
    return SerializeConfig.parse({**whole, "workers": {"score": {"max_workers": 1}}, "fps": 10, **values}, "test")


def scored_here(job: SerializeConfig) -> list[dict[str, Any]]:
    """The same plan without Ray."""
    detector = BlazeFace(assets.read("face_detector"), job.faces.detector)
    scorer = Scorer(job, detector, build(resolve(job.features)))
    return [clip.to_row() for source in find_videos(job.source, SourcesConfig()) for clip in scorer(source)]


def test_a_scored_dataset_holds_the_best_clips_and_nothing_of_the_others(
    local_ray: None, videos: Path, tmp_path: Path
) -> None:
    job, store = config(videos, tmp_path / "out"), LocalStore(tmp_path / "out")
    expected = scored_here(job)
    report, first = plan(job, store) or (None, [])
    assert report is not None
    assert (report.num_clips, report.num_sources) == (6, 4)
    assert [row["clip_id"] for row in first] == [row["clip_id"] for row in expected]
    assert [row["clip_score"] for row in first] == pytest.approx([row["clip_score"] for row in expected], abs=1e-6)
    assert sorted(entry.name for entry in store.list()) == ["config.yaml", "plan/00000.parquet"]
    planned = standing_plan(store)
    made = run(job)
    assert standing_plan(store) == planned, "the plan is made once"
    assert (made.num_clips, made.num_samples, made.num_failed) == (6, 4, 2)
    dataset = mien.datasets.open(tmp_path / "out")
    assert verify(dataset)["problems"] == []
    rows = dataset.index.to_pylist()
    assert [row["clip_id"] for row in rows] == [row["clip_id"] for row in expected if row["clip_score"] is not None]
    for row in rows:
        score = 0.7 * row["score_variation"] + 0.3 * row["score_stability"]
        assert row["clip_score"] == pytest.approx(score)
        assert row["num_detected"] == row["num_frames"] == 5
    failures = {Path(row["source_uri"]).name: (row["stage"], row["error"]) for row in dataset.failures.to_pylist()}
    assert failures["d0.mp4"] == ("plan", f"{videos}/d0.mp4: 3.12 s is shorter than clips.min_duration_s=5")
    assert failures["d1.mp4"][0] == "decode"
    assert "is not a video" in failures["d1.mp4"][1]
    assert {Path(entry.name).parts[0] for entry in store.list()} == {
        *("README.md", "commits", "config.yaml", "data", "failures.parquet", "index.parquet", "mien.json", "plan"),
        *("preview", "subjects.json"),
    }


def test_a_source_that_ended_its_workers_is_a_clip_that_says_so() -> None:
    (clip,) = _given_up(Source("deadly", 0, 0), 3)
    assert clip.source.uri == "deadly"
    assert why_unfit(clip.to_row()).startswith("ended its worker 3 times")


def test_no_room_for_a_worker_is_said_before_anything_is_scored(local_ray: None, videos: Path, tmp_path: Path) -> None:
    job = config(videos, tmp_path / "out", workers={"score": {"num_cpus": 64}}, cluster={"address": "local"})
    with pytest.raises(PreflightError, match=r"workers\.score: each worker needs 64 CPU"):
        plan(job, LocalStore(tmp_path / "out"))
    assert index.plan_files(LocalStore(tmp_path / "out")) == []


def test_a_look_leaves_scoring_out_and_says_so(videos: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level("INFO", "mien"):
        report, rows = preview_plan(config(videos, tmp_path / "out"))
    assert any("scoring  left out" in line for line in caplog.messages)
    assert report.num_clips == 6
    assert {row["reason"] for row in rows if row["end_s"] < 100} == {"candidate, 0.5 s, not scored"}
    assert {row["clip_score"] for row in rows} == {None}
    assert not (tmp_path / "out").exists()


def test_scored_clips_without_features_are_one_mistake_in_the_config(
    capfd: pytest.CaptureFixture[str], videos: Path, tmp_path: Path
) -> None:
    ended = run_here(capfd, "serialize", f"source={videos}", f"output={tmp_path}/out", "clips.kind=scored")
    assert_refused(ended, 2, "clips.kind: scored needs an extractor; add features.kind=dinov2")
