"""Tables say what the document says, at the place where it says it."""

import json
import math
from pathlib import Path

import pytest

from mien.analysis.report_documents import cell_of, read, tables
from mien.errors import DatasetError
from mien.evaluation.bootstrap import Estimate, NotMeasurable
from mien.storage.local import LocalStore

DOCUMENT = {
    "num_clips": 3,
    "probe": {
        "mean": {"value": 0.5, "low": 0.4, "high": None},
        "swap": {"not_measurable": "no image"},
        "is_fine": True,
    },
    "curve": {"step": [1, 2], "loss": [0.5, None], "names": ["a", "b", "c"]},
    "rows": [{"name": "x", "num": 1, "deep": {"more": 1}}, {"name": "y", "score": 0.25}],
    "matrix": [[1, 2], [3, 4]],
    "empty": [],
}


def test_single_numbers_stand_first_with_their_intervals() -> None:
    first = tables(DOCUMENT, "Document", "data/a.json")[0]
    assert (first.title, first.columns, first.raw) == ("Document", ("Measure", "Value"), "data/a.json")
    cells = dict(first.rows)
    assert {name: cells[name] for name in ("clips", "probe · is fine")} == {"clips": 3, "probe · is fine": True}
    estimate = cells["probe · mean"]
    assert isinstance(estimate, Estimate)
    assert (estimate.value, estimate.low, math.isnan(estimate.high)) == (0.5, 0.4, True)
    assert cells["probe · swap"] == NotMeasurable("no image")


def test_lists_of_one_length_stand_side_by_side_and_rows_below_each_other() -> None:
    _, rows, curve, names = tables(DOCUMENT, "Document")
    assert (curve.columns, curve.rows) == (("step", "loss"), ((1, 0.5), (2, None)))
    assert (names.title, names.rows) == ("Document · curve · names", (("a",), ("b",), ("c",)))
    assert (rows.title, rows.columns) == ("Document · rows", ("name", "num", "score"))
    assert rows.rows == (("x", 1, None), ("y", None, 0.25))


def test_a_document_of_nothing_has_no_table() -> None:
    assert tables({"matrix": [[1]], "empty": {}}, "Document") == ()


def test_what_is_no_cell_is_refused() -> None:
    for value in ([1], {"value": 1, "low": 0}, {}):
        with pytest.raises(ValueError, match="no cell"):
            cell_of(value)


def test_a_document_is_an_object(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.replace("good.json", json.dumps({"a": 1}).encode())
    assert read(store, "good.json") == {"a": 1}
    for name, data in {"list.json": b"[1]", "cut.json": b'{"a": ', "deep.json": b"[" * 100_000}.items():
        store.replace(name, data)
        with pytest.raises(DatasetError, match=f"{name}: is no JSON object"):
            read(store, name)
