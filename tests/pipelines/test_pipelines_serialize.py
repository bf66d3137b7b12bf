"""The whole job on real video, through a real Ray."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

import mien.datasets
from mien.datasets.dataset import Dataset
from mien.datasets.verify import verify
from mien.errors import PreflightError, RefusedError
from mien.pipelines.serialize import SerializeConfig, SerializeReport, dry_run, serialize
from mien.video.audio import extract_audio
from mien.video.decode import Span
from mien.video.probe import probe

FAST = {"crop": {"size_px": 128}, "cluster": {"num_cpus": 2}, "fps": 10}
APART = {"min_shard_mb": 0}
"""Every clip in a shard of its own."""


@pytest.fixture(scope="module")
def network(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny DINOv2 with random weights, saved as a user's local model."""
    folder = tmp_path_factory.mktemp("network")
    torch.manual_seed(0)
    config = transformers.Dinov2Config(
        hidden_size=32, num_hidden_layers=2, num_attention_heads=2, image_size=56, patch_size=14, intermediate_size=64
    )
    transformers.Dinov2Model(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, faces_dir: Path) -> Path:
    """Two short real videos."""
    folder = tmp_path_factory.mktemp("videos")
    for name in ("d0.mp4", "d18.mp4"):
        (folder / name).write_bytes((faces_dir / name).read_bytes())
    return folder


@pytest.fixture(autouse=True)
def _models(assets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))


@pytest.fixture(scope="module")
def made(local_ray: None, videos: Path, assets_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A finished dataset of both videos, to be read."""
    output = tmp_path_factory.mktemp("made") / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("MIEN_ASSETS", str(assets_dir))
        serialize(config(videos, output, **APART))
    return output


@pytest.fixture
def out(made: Path, tmp_path: Path) -> Path:
    """A copy of it, to be changed."""
    return Path(shutil.copytree(made, tmp_path / "out"))


def config(videos: Path, output: Path, **values: Any) -> SerializeConfig:
    return SerializeConfig.parse({**FAST, "source": str(videos), "output": str(output), **values}, "test")


def run(videos: Path, output: Path, **values: Any) -> tuple[SerializeReport, Dataset]:
    return serialize(config(videos, output, **values)), mien.datasets.open(output)


@pytest.mark.parametrize("kind", ["hdf5", pytest.param("parquet", marks=pytest.mark.slow)])
def test_a_folder_becomes_a_verified_dataset_with_features(
    local_ray: None, videos: Path, tmp_path: Path, network: Path, kind: str
) -> None:
    features = {"kind": "dinov2", "model": str(network), "size_px": 56, "dtype": "float32", "batch_size": 7}
    report, dataset = run(videos, tmp_path / "out", format={"kind": kind}, features=features)
    assert (report.num_clips, report.num_samples, report.num_failed) == (2, 2, 0)
    assert verify(dataset)["problems"] == []
    assert all(row["file"].endswith({"hdf5": ".h5", "parquet": ".parquet"}[kind]) for row in dataset.index.to_pylist())
    assert_features_are_those_of_transformers(dataset, network)
    assert dataset.record["models"]["feature"]["dtype"] == "float32"
    assert len(dataset.record["models"]["feature"]["sha256"]) == 64


def assert_features_are_those_of_transformers(dataset: Dataset, network: Path) -> None:
    """Against transformers' own network and image processor on the crops as they are stored."""
    model = transformers.Dinov2Model.from_pretrained(network, local_files_only=True).eval()
    processor = transformers.BitImageProcessor(size={"height": 56, "width": 56}, do_center_crop=False)
    for sample in dataset:
        with torch.inference_mode():
            pixels = processor(list(sample.crops()), return_tensors="pt")["pixel_values"]
            expected = model(pixel_values=pixels).last_hidden_state[:, 0].numpy()
        found = np.asarray(sample["feature"])
        cosine = (found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)
        assert cosine.min() >= 0.9999


def test_the_same_command_resumes_and_does_nothing_twice(videos: Path, out: Path) -> None:
    first = mien.datasets.open(out)
    files = {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()}
    _, again = run(videos, out, **APART)
    assert first.index == again.index
    assert {path: path.stat().st_mtime_ns for path in (out / "data").iterdir()} == files


def test_lost_clips_are_made_again_and_only_those(videos: Path, out: Path) -> None:
    first = mien.datasets.open(out)
    lost = first.index.to_pylist()[0]
    record = next(path for path in (out / "commits").iterdir() if lost["clip_id"] in path.read_text())
    record.unlink()
    (out / lost["file"]).unlink()
    (out / "mien.json").unlink()
    kept = {path.name for path in (out / "data").iterdir()}
    _, again = run(videos, out, **APART)
    assert again.index.drop_columns(["file"]) == first.index.drop_columns(["file"])
    assert kept < {path.name for path in (out / "data").iterdir()}
    assert verify(again)["ok"]


def test_another_config_is_refused_with_the_keys_and_fresh_starts_over(videos: Path, out: Path) -> None:
    other = config(videos, out, fps=5, **APART)
    with pytest.raises(RefusedError, match=r"keys differ: fps\b"):
        serialize(other)
    report = serialize(other, fresh=True)
    assert report.num_frames == pytest.approx((78 / 25 + 216 / 30) * 5, abs=2)


def test_what_does_not_change_the_data_may_change_on_resume(videos: Path, out: Path) -> None:
    run(videos, out, max_failed=0.5, card={"title": "Renamed"}, **APART)
    assert "# Renamed" in (out / "README.md").read_text()


def test_a_failed_clip_is_retried_only_when_asked(local_ray: None, videos: Path, tmp_path: Path) -> None:
    source = tmp_path / "source"
    source.mkdir()
    (source / "good.mp4").write_bytes((videos / "d0.mp4").read_bytes())
    (source / "moved.mp4").write_bytes((videos / "d18.mp4").read_bytes())
    values = config(source, tmp_path / "out", max_failed=1)
    plan_only = dry_run(values)
    assert plan_only[0].num_clips == 2
    away = tmp_path / "away.mp4"
    import mien.pipelines.serialize as job
    from mien.storage.uri import open_store

    job.plan(values, open_store(str(tmp_path / "out")))
    (source / "moved.mp4").rename(away)
    assert serialize(values).num_failed == 1
    away.rename(source / "moved.mp4")
    assert serialize(values).num_failed == 1
    report = serialize(values, retry_failed=True)
    assert (report.num_failed, report.num_samples) == (0, 2)
    assert verify(mien.datasets.open(tmp_path / "out"))["ok"]


def test_a_dry_run_writes_nothing(videos: Path, tmp_path: Path) -> None:
    report, rows = dry_run(config(videos, tmp_path / "out"))
    assert (report.num_clips, len(rows)) == (2, 2)
    assert not (tmp_path / "out").exists()


def test_an_absent_model_stops_before_anything_is_written(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(tmp_path / "none"))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "cache"))
    with pytest.raises(PreflightError, match="mien assets pull face_detector"):
        serialize(config(videos, tmp_path / "out"))
    assert not (tmp_path / "out").exists()


def test_absent_weights_are_exit_code_4_with_the_remedy(
    videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_OFFLINE", "1")
    features = {"kind": "dinov2", "model": "facebook/dinov2-small"}
    monkeypatch.setenv("HF_HUB_CACHE", str(tmp_path / "empty"))
    with pytest.raises(PreflightError, match=r"features\.model=DIR") as raised:
        serialize(config(videos, tmp_path / "out", features=features))
    assert raised.value.exit_code == 4


def test_the_resolved_config_in_the_output_is_valid_input(videos: Path, made: Path) -> None:
    assert SerializeConfig.load(made / "config.yaml") == config(videos, made, **APART)
    record = json.loads((made / "mien.json").read_text())
    assert len(record["fingerprint"]) == 64


@pytest.mark.parametrize("values", [{"store": "dataset"}, {"store": "files", "file_format": "wav"}])
def test_clips_have_the_sound_of_their_videos(
    local_ray: None, faces_dir: Path, tmp_path: Path, values: dict[str, Any]
) -> None:
    source = tmp_path / "source"
    source.mkdir()
    for name in ("d0.mp4", "d9.mp4"):  # without sound, with sound
        (source / name).write_bytes((faces_dir / name).read_bytes())
    clips = {"kind": "stride", "length_s": 6.5, "stride_s": 6.5}
    audio = {"rate_hz": 16000, "channels": "mono", **values}
    _, dataset = run(source, tmp_path / "out", fps=2, clips=clips, audio=audio)
    assert verify(dataset)["problems"] == []
    heard = [sample for sample in dataset if sample.row["audio_rate_hz"]]
    assert len(heard) == 3
    for sample in heard:
        clip, end_s = sample.audio(), min(sample.row["end_s"], probe(source / "d9.mp4").duration_s)
        expected = extract_audio(source / "d9.mp4", Span(clip.start_s, end_s), 16000, mono=True)
        assert clip.start_s == sample["time_s"][0]
        assert clip.samples.shape == expected.samples.shape
        assert np.abs(clip.samples - expected.samples).max() < 1 / 32767
    silent = [sample for sample in dataset if not sample.row["audio_rate_hz"]]
    assert {Path(sample.row["source_uri"]).name for sample in silent} == {"d0.mp4"}
    assert silent[0].audio().samples.size == 0


@pytest.mark.slow
def test_every_shared_video_has_its_face_followed(local_ray: None, faces_dir: Path, tmp_path: Path) -> None:
    _, dataset = run(faces_dir, tmp_path / "out", fps=None, landmarks=True)
    for row in dataset.index.to_pylist():
        share = row["num_detected"] / row["num_frames"]
        assert share >= (0.97 if "s13" in row["source_uri"] else 0.99), row["source_uri"]
    assert dataset.index.num_rows == 8
    assert sum(dataset.index["num_frames"].to_pylist()) == 2065
