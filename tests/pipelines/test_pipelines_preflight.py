import logging
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from buckets import BUCKET
from mien.errors import ConfigError, PreflightError
from mien.pipelines.preflight import preflight, require_output
from mien.pipelines.serialize import SerializeConfig
from mien.storage.emulator import Emulator
from mien.storage.uri import open_store

NUM_RUNS = 4


def config(source: Path, output: Path, **values: Any) -> SerializeConfig:
    return SerializeConfig.parse({"source": str(source), "output": str(output), **values}, "test")


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    """A folder with a file that looks like a video."""
    folder = tmp_path / "videos"
    folder.mkdir()
    (folder / "a.mp4").write_bytes(b"x")
    return folder


@pytest.fixture
def said(caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch) -> pytest.LogCaptureFixture:
    """What is logged."""
    monkeypatch.setattr(logging.getLogger("mien"), "propagate", True)
    caplog.set_level(logging.INFO, "mien")
    return caplog


def test_what_is_ready_comes_back_and_nothing_is_said(
    videos: Path, tmp_path: Path, assets_dir: Path, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    ready = preflight(config(videos, tmp_path / "out", landmarks=True))
    assert {name: bool(data) for name, data in ready.models.items()} == {"face_detector": True, "face_landmarker": True}
    assert ready.extractor is None
    assert said.records == []
    assert list((tmp_path / "out").iterdir()) == []


def test_all_that_is_missing_is_told_at_once_as_a_table(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, said: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(tmp_path / "none"))
    monkeypatch.setenv("MIEN_OFFLINE", "1")
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    values = config(tmp_path / "nothing", tmp_path / "out", limits={"codecs": ["h264", "no_such_codec"]})
    with pytest.raises(PreflightError, match=r"3 things are missing, see the table above; the first: .*nothing"):
        preflight(values)
    states = [record.getMessage().split()[:2] for record in said.records]
    assert states == [["missing", "source"], ["missing", "face_detector"], ["missing", "codecs"]]
    assert not (tmp_path / "out").exists()


def test_one_thing_that_is_missing_is_one_line(
    videos: Path, tmp_path: Path, assets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    with pytest.raises(PreflightError, match=r"^output=.*only [0-9.]+ GB free .*; free some space or set min_free_gb$"):
        preflight(config(videos, tmp_path / "out", min_free_gb=1e9))


def test_without_writing_the_output_is_not_touched(
    videos: Path, tmp_path: Path, assets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    preflight(config(videos, tmp_path / "out"), writes=False)
    assert not (tmp_path / "out").exists()


def test_source_and_output_are_needed_and_lie_apart(videos: Path, tmp_path: Path) -> None:
    for values in ({"source": str(videos)}, {"output": str(tmp_path / "out")}):
        with pytest.raises(ConfigError, match="is required"):
            require_output(SerializeConfig.parse(values, "test"))
    with pytest.raises(ConfigError, match="lies in"):
        require_output(config(videos, tmp_path))


@pytest.mark.parametrize("kind", ["local", "bucket"])
def test_runs_that_start_at_once_try_the_same_output_without_hindering_each_other(
    videos: Path, tmp_path: Path, emulator: Emulator, kind: str
) -> None:
    output = {"local": str(tmp_path / "out"), "bucket": f"gs://{BUCKET}/tried"}[kind]
    values = SerializeConfig.parse({"source": str(videos), "output": output, "min_free_gb": 0}, "test")
    start = threading.Barrier(NUM_RUNS, timeout=30)

    def run(_: int) -> None:
        for _ in range(5):
            start.wait()
            require_output(values)

    with ThreadPoolExecutor(NUM_RUNS) as pool:
        list(pool.map(run, range(NUM_RUNS)))
    assert list(open_store(output).list()) == []
