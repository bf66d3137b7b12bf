"""What a user types wrong, what a script reads from stdout, and how each command ends."""

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import typer

from command_line import Ended, assert_refused, clean_environment, run_here
from mien import cli
from mien.datasets.dataset import Dataset
from mien.datasets.parquet import ParquetConfig
from mien.pipelines.serialize import SerializeConfig
from mien.storage import lease
from mien.storage.local import LocalStore
from sample_datasets import make_finished

JSON_VERBS: dict[str, tuple[str, ...]] = {
    "assets list": (),
    "assets pull": ("face_detector",),
    "assets verify": ("face_detector",),
    "config schema": (),
    "config show": ("crop.size_px=64",),
    "doctor": (),
    "forget": ("DATASET", "subject=s1", "--yes"),
    "head": ("DATASET",),
    "inspect": ("DATASET",),
    "plan": ("source=VIDEOS", "crop.size_px=64", "estimate.max_s=1"),
    "serialize": ("source=VIDEOS", "output=OUTPUT", "crop.size_px=64", "fps=5", "faces.policy=all"),
    "status": ("DATASET",),
    "verify": ("DATASET",),
}
"""Verb -> arguments with which it is run; `quickstart` and `emulator` are tested in processes of their own."""


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
def dataset(tmp_path: Path) -> Dataset:
    return make_finished(LocalStore(tmp_path / "dataset"), ParquetConfig())


def test_every_verb_has_a_json_test() -> None:
    assert verbs().keys() == {*JSON_VERBS, "quickstart", "emulator"}


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
    places = {"DATASET": dataset.uri, "VIDEOS": str(faces_dir / "d18.mp4"), "OUTPUT": str(tmp_path / "out")}
    words = JSON_VERBS[verb]
    for placeholder, place in places.items():
        words = tuple(word.replace(placeholder, place) for word in words)
    ended = run(*verb.split(), *words, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out), "one document and nothing else"


def test_what_a_library_prints_does_not_reach_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    cli.call("builtins:print", "noise")
    assert capfd.readouterr() == ("", "noise\n")


def test_without_json_a_person_reads_the_same(run: Any, dataset: Dataset) -> None:
    ended = run("inspect", dataset.uri)
    assert ended.code == 0
    assert "num_samples" in ended.out
    with pytest.raises(json.JSONDecodeError):
        json.loads(ended.out)


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


@pytest.mark.parametrize("verb", ["inspect", "head", "status", "verify"])
def test_what_is_no_dataset_is_told(run: Any, verb: str, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent", Path(__file__)):
        assert_refused(run(verb, place), 1, f"{place}: is not a dataset of mien")


def test_verify_ends_with_1_and_names_what_is_damaged(run: Any, dataset: Dataset) -> None:
    name = dataset.index.column("file")[0].as_py()
    shard = Path(dataset.uri) / name
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    shard.write_bytes(damaged)
    ended = run("verify", dataset.uri, "--json")
    assert ended.code == 1
    assert not json.loads(ended.out)["ok"]
    assert [problem for problem in json.loads(ended.out)["problems"] if problem.startswith(name)]
    assert len(ended.complaints) == 1


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
    assert run("plan", *words).code == 0
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


def test_a_traceback_is_shown_to_who_asks_for_it(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "Traceback" not in run("serialize", "crop.sizepx=3").err
    monkeypatch.setenv("MIEN_DEBUG", "1")
    ended = run("serialize", "crop.sizepx=3")
    assert ended.code == 2
    assert "Traceback" in ended.err
    assert "ConfigError" in ended.err


def test_a_defect_is_one_line_too(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(cli.CONFIGS, "serialize", "mien.config:absent")
    assert_refused(run("serialize"), 1, "AttributeError", "defect of mien", "MIEN_DEBUG=1 shows where")


def test_the_version_and_the_resolved_config_are_printed(run: Any) -> None:
    from mien import __version__

    assert run("--version").out.strip() == __version__
    shown = run("config", "show", "crop.size_px=64", "fps=12.5").out
    assert "fps: 12.5" in shown.splitlines()
    assert SerializeConfig.parse(json.loads(run("config", "show", "--json", "fps=12.5").out), "shown").fps == 12.5


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
