"""What every verb shares."""

from typing import Any

import pytest

from command_line import assert_refused
from mien.verbs.verb import CONFIGS, call, table


def test_what_a_library_prints_does_not_reach_stdout(capfd: pytest.CaptureFixture[str]) -> None:
    call("builtins:print", "noise")
    assert capfd.readouterr() == ("", "noise\n")


def test_a_defect_is_one_line_too(run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(CONFIGS, "serialize", "mien.config:absent")
    assert_refused(run("serialize"), 1, "AttributeError", "defect of mien", "MIEN_DEBUG=1 shows where")


def test_a_value_that_is_not_there_is_an_empty_cell() -> None:
    assert table([{"a": None, "b": 1.5}, {"a": 2.0, "b": None}]).splitlines() == ["a  b", "   1.5", "2"]
