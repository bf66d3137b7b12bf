"""What a user types wrong, what a script reads from stdout, and how each command ends."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from command_line import Ended, clean_environment, run_here
from export_datasets import write_clip_file
from mien import cli
from mien.datasets.dataset import Dataset
from mien.datasets.parquet import ParquetConfig
from mien.storage.local import LocalStore

JSON_VERBS: dict[str, tuple[str, ...]] = {
    "assets list": (),
    "assets pull": ("face_detector",),
    "assets verify": ("face_detector",),
    "clips search": ("transcripts=CORPUS", "keywords=[smile]"),
    "config schema": (),
    "config show": ("crop.size_px=64",),
    "doctor": (),
    "export": ("hf", "DATASET", "-o", "OUTPUT"),
    "forget": ("DATASET", "subject=s1", "--yes"),
    "head": ("DATASET",),
    "ingest": ("datasets=[{url: VIDEOS}]", "output=OUTPUT"),
    "import": ("CLIPS", "-o", "OUTPUT", "crop.size_px=32"),
    "inspect": ("DATASET",),
    "plan": ("source=VIDEOS", "crop.size_px=64", "estimate.max_s=1"),
    "serialize": ("source=VIDEOS", "output=OUTPUT", "crop.size_px=64", "fps=5", "faces.policy=all"),
    "status": ("DATASET",),
    "verify": ("DATASET",),
    "video audio": ("VIDEOS", "-o", "OUTPUT"),
    "video convert": ("VIDEOS", "-o", "OUTPUT"),
    "video frames": ("VIDEOS", "-o", "OUTPUT"),
    "video info": ("VIDEOS",),
    "video thumbnail": ("VIDEOS", "-o", "OUTPUT"),
}
"""Verb -> arguments with which it is run."""

ELSEWHERE = {
    *(
        "analyze capture",
        "analyze embeddings",
        "analyze data",
        "analyze evaluation",
        "analyze expressions",
        "analyze features",
        "analyze report",
        "analyze training",
        "analyze warp",
    ),
    "demo sample",
    "quickstart",
    "emulator",
    "train",
    "tune",
    "evaluate",
}
"""Verbs whose JSON is held by tests of their own: in processes of their own, or with a dataset of tokens."""


def verbs() -> dict[str, Any]:
    """Every verb, the ones of groups as `group verb`."""
    group = typer.main.get_command(cli.app)
    flat = {}
    for name, command in group.commands.items():  # type: ignore[attr-defined]
        below = getattr(command, "commands", None)
        flat |= {f"{name} {verb}": nested for verb, nested in below.items()} if below else {name: command}
    return flat


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("MIEN_DEBUG", raising=False)

    def run(*words: object) -> Ended:
        return run_here(capfd, *map(str, words))

    return run


@pytest.fixture
def dataset(tmp_path: Path, put_finished: Any) -> Dataset:
    return put_finished(LocalStore(tmp_path / "dataset"), ParquetConfig())


def test_every_verb_has_a_json_test() -> None:
    assert verbs().keys() == {*JSON_VERBS} | ELSEWHERE


@pytest.mark.parametrize("verb", sorted(verbs()))
def test_every_verb_explains_itself_and_offers_json(run: Any, verb: str) -> None:
    ended = run(*verb.split(), "--help")
    assert ended.code == 0
    assert ended.err == ""
    assert "--json" in ended.out
    first_line = (verbs()[verb].help or "").splitlines()[0]
    assert len(first_line) > 20
    assert " ".join(first_line.split()[:3]) in " ".join(ended.out.split())


@pytest.mark.parametrize("verb", sorted(JSON_VERBS))
def test_stdout_is_one_json_document(
    run: Any,
    verb: str,
    dataset: Dataset,
    faces_dir: Path,
    tmp_path: Path,
    assets_dir: Path,
    local_ray: None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    corpus = tmp_path / "corpus.json"
    corpus.write_text(json.dumps([{"video_path": "a.mp4", "transcription_timestamp": "[0.0] smile [1.5]"}]))
    places = {
        "CORPUS": str(corpus),
        "DATASET": dataset.uri,
        "VIDEOS": str(faces_dir / "d18.mp4"),
        "OUTPUT": str(tmp_path / "out"),
        "CLIPS": str(tmp_path / "clips"),
    }
    (tmp_path / "clips").mkdir()
    write_clip_file(tmp_path / "clips" / "a.h5")
    words = JSON_VERBS[verb]
    for placeholder, place in places.items():
        words = tuple(word.replace(placeholder, place) for word in words)
    ended = run(*verb.split(), *words, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out), "one document and nothing else"


@pytest.mark.parametrize(
    "words", [("frobnicate",), ("serialize", "--frobnicate"), ("head", "x", "-n", "0"), ("assets", "frobnicate")]
)
def test_a_wrong_verb_or_option_says_how_it_is_used(run: Any, words: tuple[str, ...]) -> None:
    ended = run(*words)
    assert ended.code == 2
    assert ended.out == ""
    assert "Usage: mien" in ended.err
    assert ended.err.strip().splitlines()[-1].startswith("Error: ")
    assert "Traceback" not in ended.err


def test_a_traceback_is_shown_to_who_asks_for_it(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in run("serialize", "crop.sizepx=3").err
    monkeypatch.setenv("MIEN_DEBUG", "1")
    ended = run("serialize", "crop.sizepx=3")
    assert ended.code == 2
    assert "Traceback" in ended.err
    assert "ConfigError" in ended.err


def test_help_of_every_verb_loads_no_heavy_library() -> None:
    program = (
        "import sys\nfrom mien.cli import main\n"
        f"for verb in {sorted(verbs())}:\n"
        "    try: main([*verb.split(), '--help'])\n"
        "    except SystemExit as end: assert not end.code\n"
        "heavy = {'av', 'cv2', 'mediapipe', 'numpy', 'pyarrow', 'ray', 'torch', 'transformers'} & set(sys.modules)\n"
        "assert not heavy, heavy"
    )
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, env=clean_environment(), check=False)
    assert done.returncode == 0, done.stderr.decode()
