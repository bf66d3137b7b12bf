"""Verbs that plan and run, as a person types them: what is refused and what is told."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import assert_refused
from mien.storage import lease
from mien.storage.local import LocalStore


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("crop.sizepx=3",), ("crop.sizepx: no such key", "did you mean crop.size_px?")),
        (("crop.size_px=large",), ("crop.size_px: ", "integer", "'large'")),
        (("crop.size_px=1",), ("crop.size_px: ", "greater than or equal to 16", "got 1")),
        (("max_failed=1.5",), ("max_failed: ", "less than or equal to 1", "got 1.5")),
        (("fps=.nan",), ("fps: ", "finite")),
        (("format.kind=csv",), ("format.kind: 'csv' is not one of", "parquet", "hdf5")),
        (("clips.kind=keywords",), ("clips.kind: 'keywords' is not one of", "whole", "stride")),
        (("crop.size_px=64", "crop.size_px.x=1"), ("crop.size_px.x: size_px is 64",)),
        (("source.x=1",), ("source", "string")),
        (("=1",), ("key.path=value",)),
        (("one.yaml", "two.yaml"), ("one config file, not 2: one.yaml two.yaml",)),
        (("absent.yaml",), ("absent.yaml: cannot be read", "No such file")),
        ((".",), (".: cannot be read", "Is a directory")),
        ((), ("source: is required", "source=PLACE")),
        (("source=x",), ("output: is required", "output=PLACE")),
        (("source=s3://bucket/x", "output=y"), ("s3://bucket/x: s3:// is not supported", "give a local path")),
    ],
    ids=lambda value: " ".join(value)[:30] if isinstance(value, tuple) else None,
)
def test_a_mistake_in_the_config_is_one_line_that_names_the_key(
    run: Any, words: tuple[str, ...], said: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert_refused(run("serialize", *words), 2, *said)
    assert list(tmp_path.iterdir()) == []


def test_a_mistake_in_a_file_names_the_file_and_every_key(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("crop:\n  sizepx: 3\nmax_failed: 2\n")
    ended = run("serialize", path, "source=x", "output=y")
    assert ended.code == 2
    assert sorted(ended.complaints) == [
        f"mien: {path}: crop.sizepx: no such key; did you mean crop.size_px?",
        f"mien: {path}: max_failed: input should be less than or equal to 1 (got 2)",
    ]


def test_a_file_that_is_no_yaml_is_named_with_the_line(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text("crop: [1, 2\nfps: 3\n")
    assert_refused(run("serialize", path), 2, f"{path}: is not valid YAML", "line 2")


def test_an_output_of_another_config_is_refused_with_the_keys_that_differ(
    run: Any, tmp_path: Path, faces_dir: Path, assets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    out, source = tmp_path / "out", f"source={faces_dir}"
    assert run("plan", source, f"output={out}", "crop.size_px=64", "--no-estimate").code == 0
    standing = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
    ended = run("serialize", source, f"output={out}", "crop.size_px=128", "fps=5", "max_failed=1")
    assert_refused(ended, 5, f"{out}: was made with another config", "these keys differ: crop.size_px, fps.", "--fresh")
    assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == standing


def test_an_output_at_which_a_run_is_at_work_is_refused_also_afresh_and_stays_as_it_was(
    run: Any, tmp_path: Path, faces_dir: Path, assets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    out, words = tmp_path / "out", (f"source={faces_dir}", f"output={tmp_path}/out")
    assert run("plan", *words, "--no-estimate").code == 0
    with lease.held(LocalStore(out)):
        standing = {path: path.read_bytes() for path in out.rglob("*") if path.is_file()}
        said = (f"{out}: the run on", "is at work there", f"mien status {out}", "--take-over")
        for options in ((), ("--fresh",)):
            assert_refused(run("serialize", *words, *options), 5, *said)
        assert {path: path.read_bytes() for path in out.rglob("*") if path.is_file()} == standing
        assert json.loads(run("status", out, "--json").out)["state"] == "running"
    assert "stopped" in run("status", out).out


def test_a_dry_run_writes_nothing(
    run: Any, tmp_path: Path, faces_dir: Path, assets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    ended = run("serialize", f"source={faces_dir}", f"output={tmp_path}/out", "--dry-run", "--json")
    assert json.loads(ended.out)["num_clips"] == len(list(faces_dir.glob("*.mp4")))
    assert list(tmp_path.iterdir()) == []


def test_a_plan_ends_with_an_estimate_or_says_why_there_is_none(
    run: Any, faces_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(tmp_path))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    words = ("plan", f"source={faces_dir / 'd18.mp4'}")
    ended = run(*words)
    assert ended.code == 0
    assert ended.out.splitlines()[-1].startswith("no estimate  face_detection_short_range.tflite is absent")
    assert "num_clips     1" in ended.out
    assert "estimate" not in run(*words, "--no-estimate").out
    assert "estimate" not in json.loads(run(*words, "--no-estimate", "--json").out)
