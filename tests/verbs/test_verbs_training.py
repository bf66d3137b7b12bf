"""`mien train` as it is typed."""

import json
from pathlib import Path

import numpy as np
import pytest
import yaml

from command_line import assert_refused, run_here
from mien.storage.uri import open_store
from mien.training.notice import NoNotices
from mien.training.prepare import prepare
from mien.training.train import claim
from mien.training.worker import work
from mien.training.world import World
from mien.verbs.verb import read_config
from training_backbones import make_whole
from training_runs import SMALL


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """A small config and a dataset of its tokens."""
    folder = tmp_path_factory.mktemp("whole")
    make_whole(folder / "dataset", folder / "backbone").close()
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return ["train", str(path), f"dataset={folder / 'dataset'}"]


def finish_here(words: list[str]) -> None:
    """Train in this process, so that the command finds a finished run; over Ray it is `test_training_train`."""
    config = read_config("train", words)
    store = open_store(config.output)
    claim(config, store)
    job, weights = prepare(config, store)
    work(job, World(), NoNotices(), weights)


def test_a_dry_run_is_one_json_document(capfd: pytest.CaptureFixture[str], words: list[str], tmp_path: Path) -> None:
    ended = run_here(capfd, *words, f"output={tmp_path / 'run'}", "--dry-run", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["steps"] == SMALL["num_steps"]
    assert not (tmp_path / "run").exists()


def test_a_run_ends_with_the_next_command(capfd: pytest.CaptureFixture[str], words: list[str], tmp_path: Path) -> None:
    finish_here([*words[1:], f"output={tmp_path / 'run'}", "num_steps=2"])
    ended = run_here(capfd, *words, f"output={tmp_path / 'run'}", "num_steps=2", "--json")
    assert ended.code == 0, ended.err
    report = json.loads(ended.out)
    assert report["num_steps"] == 2
    assert Path(report["latest"]).is_file()
    dataset = words[-1].partition("=")[2]
    assert ended.err.strip().splitlines()[-1].split() == [
        "next",
        "mien",
        "evaluate",
        report["path"],
        f"dataset={dataset}",
    ]


@pytest.mark.parametrize(
    ("word", "parts"),
    [
        ("optimizer.learning_rat=1", ("no such key", "did you mean optimizer.learning_rate")),
        ("batch.size=0", ("batch.size", "greater than or equal to 1")),
        ("workers.num=[3,2]", ("1 ≤ least ≤ most",)),
        ("workers.num=9", ("batch.size", "cannot be divided among 9 workers")),
        ("augment.flip=0.5", ("stored tokens do not follow them",)),
        ("data.tokens=online", ("data.backbone",)),
    ],
)
def test_a_key_that_does_not_fit_is_one_line(
    capfd: pytest.CaptureFixture[str], words: list[str], tmp_path: Path, word: str, parts: tuple[str, ...]
) -> None:
    assert_refused(run_here(capfd, *words, f"output={tmp_path / 'run'}", word), 2, *parts)


def test_a_dataset_that_is_not_there_is_one_line(
    capfd: pytest.CaptureFixture[str], words: list[str], tmp_path: Path
) -> None:
    ended = run_here(capfd, *words[:2], f"dataset={tmp_path / 'none'}", f"output={tmp_path / 'run'}")
    assert_refused(ended, 1, "none", "is not a dataset")


def test_a_bridge_ends_with_the_command_that_asks_for_pairs(capfd: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    rows = np.random.default_rng(0).normal(size=(64, 8)).astype(np.float32)
    np.savez(tmp_path / "rows.npz", embeddings=rows, names=np.arange(64).astype(str))
    path, place = "configs/train/bridge.yaml", str(tmp_path / "run")
    words = [f"dataset={tmp_path / 'rows.npz'}", f"output={place}", "num_steps=2", "batch.size=8"]
    words = [path, *words, "objective.network.embed_dim=8", "log.tensorboard=false"]
    finish_here(words)
    ended = run_here(capfd, "train", *words)
    assert ended.code == 0, ended.err
    last = ended.err.strip().splitlines()[-1].split()
    assert last == ["next", "mien", "evaluate", place, "bridging.source=FILE", "bridging.target=FILE"]
