"""An output belongs to one config; starting over removes what is an analysis' own and nothing else."""

import json
from pathlib import Path

import pytest

from mien.analysis.output import RESULT, begin, finish
from mien.config import Config
from mien.errors import RefusedError
from mien.storage.local import LocalStore


class _Config(Config):
    size: int = 1
    output: str = ""


class _Other(Config):
    colour: str = ""


def names(folder: Path) -> set[str]:
    return {entry.name for entry in LocalStore(folder).list()}


def test_the_same_config_goes_on_and_another_is_refused(tmp_path: Path) -> None:
    begin(_Config(), str(tmp_path), (), fresh=False)
    begin(_Config(output="elsewhere"), str(tmp_path), (), fresh=False)
    with pytest.raises(RefusedError, match="these keys differ: size"):
        begin(_Config(size=2), str(tmp_path), (), fresh=False)


def test_starting_over_leaves_what_is_not_its_own(tmp_path: Path) -> None:
    store = begin(_Config(), str(tmp_path), ("candle",), fresh=False)
    for name in ("candle_1.png", "notes.txt", "sub/candle_2.png"):
        store.replace(name, b"x")
    finish(store, {"a": 1}, ["done"], "candle_1.png")
    begin(_Config(size=2), str(tmp_path), ("candle", "sub/"), fresh=True)
    assert names(tmp_path) == {"config.yaml", "notes.txt"}
    assert _Config.load(tmp_path / "config.yaml").size == 2


def test_starting_over_touches_no_output_of_something_else(tmp_path: Path) -> None:
    begin(_Other(colour="red"), str(tmp_path), (), fresh=False)
    (tmp_path / "candle.png").write_bytes(b"x")
    with pytest.raises(RefusedError, match="holds no such analysis"):
        begin(_Config(), str(tmp_path), ("candle",), fresh=True)
    assert names(tmp_path) == {"config.yaml", "candle.png"}


def test_the_result_is_one_document(tmp_path: Path) -> None:
    report = finish(LocalStore(tmp_path), {"a": [1, None]}, ["first", "second"], "b.png")
    assert json.loads((tmp_path / RESULT).read_text()) == {"a": [1, None]}
    assert report.to_json() == {"path": str(tmp_path), "a": [1, None]}
    assert (report.text, report.see) == ("first\nsecond", f"{tmp_path}/b.png")
    with pytest.raises(ValueError, match="JSON compliant"):
        finish(LocalStore(tmp_path), {"a": float("nan")}, [], "")
