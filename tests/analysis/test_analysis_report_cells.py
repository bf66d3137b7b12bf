"""Cells say their number and its interval; marks lie where the numbers do."""

import math
from itertools import pairwise

import pytest

from mien.analysis.report_blocks import Cell, Table
from mien.analysis.report_cells import MARK_WIDTH, MAX_ROWS, shown, shown_table
from mien.evaluation.bootstrap import Estimate, NotMeasurable

NAN = float("nan")


@pytest.mark.parametrize(
    ("cell", "text", "sorted_by", "interval", "is_missing"),
    [
        ("a < b", "a < b", None, "", False),
        (7, "7", 7.0, "", False),
        (-1234567, "−1,234,567", -1234567.0, "", False),
        (True, "yes", None, "", False),
        (0.123456, "0.1235", 0.123456, "", False),
        (-2.5e-7, "−2.5e−07", -2.5e-7, "", False),
        (None, "–", None, "", True),
        (NAN, "not a number", None, "", True),
        (math.inf, "∞", None, "", True),
        (Estimate(0.5, -0.25, 1.0), "0.500", 0.5, "−0.250 to 1.000", False),
        (Estimate(-0.00004, 0.0, 0.5), "0.000", -0.00004, "0.000 to 0.500", False),
        (Estimate(0.00004, 0.0, 0.0005), "4e−05", 0.00004, "0 to 0.0005", False),
        (Estimate(12345.678, 0.0, 99999.0), "1.235e+04", 12345.678, "0.000 to 1e+05", False),
        (Estimate(0.5, NAN, NAN), "0.500", 0.5, "no interval", False),
        (Estimate(NAN, NAN, NAN), "not a number", None, "no interval", True),
        (NotMeasurable("one clip"), "not measurable: one clip", None, "", True),
    ],
)
def test_a_cell_as_text(cell: Cell, text: str, sorted_by: float | None, interval: str, is_missing: bool) -> None:
    found = shown(cell)
    assert (found.text, found.sorted_by, found.interval, found.is_missing) == (text, sorted_by, interval, is_missing)


def test_intervals_are_drawn_on_the_scale_of_the_whole_table() -> None:
    cells = (Estimate(0.0, -1.0, 1.0), Estimate(2.0, 1.0, 3.0), Estimate(1.0, NAN, NAN))
    rows = shown_table(Table("R²", ("a", "b", "c"), (cells,), has_marks=True)).rows
    assert [tuple(cell.mark or ()) for cell in rows[0]] == [  # from -1 to 3
        (25.0, 0.0, 50.0, 25.0),
        (75.0, 50.0, MARK_WIDTH, 25.0),
        (50.0, 50.0, 50.0, 25.0),
    ]


def test_no_zero_is_drawn_where_it_is_off_the_scale_and_one_number_lies_in_the_middle() -> None:
    rows = shown_table(Table("dB", ("a", "b"), ((Estimate(24.0, 24.0, 24.0), NotMeasurable("no")),), True)).rows
    assert tuple(rows[0][0].mark or ()) == (50.0, 50.0, 50.0, None)
    assert rows[0][1].mark is None


def test_numbers_of_one_scale_have_the_decimals_of_the_largest() -> None:
    rows = ((Estimate(0.5, 0.4, 0.6),), (Estimate(-3e-6, -1e-5, 1e-5),))
    assert [row[0].text for row in shown_table(Table("R²", ("a",), rows, True)).rows] == ["0.500", "0.000"]
    assert [row[0].text for row in shown_table(Table("R²", ("a",), rows)).rows] == ["0.500", "−3e−06"]


def test_tables_of_several_scales_have_no_marks() -> None:
    rows = shown_table(Table("all", ("a",), ((Estimate(0.0, -1.0, 1.0),),))).rows
    assert rows[0][0].mark is None


def test_a_column_is_of_numbers_if_all_that_it_has_are() -> None:
    rows: tuple[tuple[Cell, ...], ...] = ((1, "a", None, Estimate(1, 0, 2)), (None, 2, None, NotMeasurable("no")))
    assert shown_table(Table("t", tuple("abcd"), rows)).is_number == [True, False, False, True]
    assert shown_table(Table("t", tuple("ab"), ())).is_number == [False, False]


def test_of_a_long_table_an_even_choice_is_shown_with_both_ends() -> None:
    found = shown_table(Table("t", ("step",), tuple((step,) for step in range(10 * MAX_ROWS))))
    steps = [row[0].sorted_by or 0 for row in found.rows]
    assert (len(steps), found.num_left_out) == (MAX_ROWS, 9 * MAX_ROWS)
    assert (steps[0], steps[-1]) == (0, 10 * MAX_ROWS - 1)
    assert {later - earlier for earlier, later in pairwise(steps)} == {10, 11}
