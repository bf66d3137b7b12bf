"""`mien forget` as a person types it: what is asked, what is refused, what is said at the end."""

import io
import json
from pathlib import Path
from typing import Any

import pytest

from command_line import Ended, assert_refused, run_here
from mien.datasets.parquet import ParquetConfig
from mien.storage.local import LocalStore
from people import BERTILLE, make_people, traces

SUBJECT = f"subject={BERTILLE}"


class Terminal(io.StringIO):
    """Somebody who answers."""

    def isatty(self) -> bool:
        return True


@pytest.fixture
def run(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Any:
    monkeypatch.delenv("MIEN_DEBUG", raising=False)

    def run(*words: object, answer: str | None = None) -> Ended:
        monkeypatch.setattr("sys.stdin", io.StringIO() if answer is None else Terminal(answer))
        return run_here(capfd, "forget", *map(str, words))

    return run


@pytest.fixture
def dataset(tmp_path: Path) -> Path:
    store = LocalStore(tmp_path / "dataset")
    make_people(store, ParquetConfig())
    return store.root


def files(root: Path) -> dict[Path, bytes]:
    return {path: path.read_bytes() for path in root.rglob("*") if path.is_file()}


def test_one_command_forgets_and_says_what_is_left_to_do(run: Any, dataset: Path) -> None:
    ended = run(dataset, SUBJECT, "--yes", "--reason", "consent withdrawn")
    assert ended.code == 0, ended.err
    assert traces(dataset, BERTILLE) == set()
    assert BERTILLE not in ended.out + ended.err
    assert "models trained on the subject, exports, copies and backups" in ended.err
    assert "the videos at /videos are untouched" in ended.err
    assert "bucket" not in ended.err
    assert ended.err.splitlines()[-1] == f"next     mien verify {dataset}"
    again = run(dataset, SUBJECT, "--yes", "--json")
    assert again.code == 0
    assert json.loads(again.out)["removed"]["num_clips"] == 0
    assert "nothing is left of the subject" in again.err


def test_a_dry_run_counts_and_touches_nothing(run: Any, dataset: Path) -> None:
    before = files(dataset)
    ended = run(dataset, SUBJECT, "--dry-run", "--json")
    assert ended.code == 0
    assert json.loads(ended.out)["removed"]["num_clips"] == 4
    assert files(dataset) == before


@pytest.mark.parametrize(("answer", "code", "left"), [("y\n", 0, False), ("n\n", 1, True), ("", 130, True)])
def test_on_a_terminal_it_asks(run: Any, dataset: Path, answer: str, code: int, left: bool) -> None:
    ended = run(dataset, SUBJECT, answer=answer)
    assert ended.code == code
    assert f"Remove 4 clips with 8 frames from {dataset} for good? [y/N]" in ended.err
    assert bool(traces(dataset, BERTILLE)) == left


def test_what_cannot_be_done_is_one_line(run: Any, dataset: Path, tmp_path: Path) -> None:
    before = files(dataset)
    assert_refused(run(dataset, SUBJECT), 2, "no terminal to ask on; add --yes")
    assert_refused(run(dataset, BERTILLE, "--yes"), 2, f"'{BERTILLE}'", "subject=NAME")
    assert_refused(run(dataset, "subject=", "--yes"), 2, "subject=NAME")
    assert_refused(run(dataset, "subject=Bertile", "--yes"), 2, "'Bertile'", "close to it: Bertille")
    assert_refused(run(dataset, SUBJECT, "--yes", "--reason", "Bertille asked"), 2, "--reason names the subject")
    assert_refused(run(tmp_path, SUBJECT, "--yes"), 1, f"{tmp_path}: is not a dataset of mien")
    assert files(dataset) == before
    (dataset / "mien.json").unlink()
    assert_refused(run(dataset, SUBJECT, "--yes"), 1, "is unfinished", "run the same serialize command")
