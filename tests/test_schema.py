import ast
from pathlib import Path

import numpy as np
import pytest

from mien import schema

TABLES = {
    name: value
    for name, value in vars(schema).items()
    if isinstance(value, tuple) and value and all(isinstance(column, schema.Column) for column in value)
}
UNITS = {"", "px", "s", "1/s", "cm", "degree", "B", "time_base"}


@pytest.mark.parametrize("table", TABLES)
def test_names_stand_once_and_are_lower_case(table: str) -> None:
    names = schema.names(TABLES[table])
    assert len(names) == len(set(names))
    assert all(name.isidentifier() and name == name.lower() for name in names)


@pytest.mark.parametrize("table", TABLES)
def test_every_column_has_a_type_a_known_unit_and_a_meaning(table: str) -> None:
    for column in TABLES[table]:
        if column.dtype not in {schema.BYTES, schema.TEXT}:
            assert np.dtype(column.dtype).name == column.dtype
        assert column.unit in UNITS, column
        assert column.meaning, column
        assert all(size is None or size > 0 for size in column.shape), column


@pytest.mark.parametrize(("suffix", "unit"), [("_s", "s"), ("_px", "px"), ("_bytes", "B"), ("_deg", "degree")])
def test_a_unit_in_the_name_is_the_unit_of_the_column(suffix: str, unit: str) -> None:
    for table in TABLES.values():
        for column in table:
            if column.name.endswith(suffix):
                assert column.unit == unit, column


def test_the_same_name_means_the_same_in_every_table() -> None:
    seen: dict[str, schema.Column] = {}
    for table in TABLES.values():
        for column in table:
            first = seen.setdefault(column.name, column)
            assert (first.dtype, first.shape, first.unit) == (column.dtype, column.shape, column.unit), column


def test_a_clip_is_described_the_same_way_wherever_it_ends() -> None:
    assert schema.INDEX[: len(schema.PLAN)] == schema.FAILURES[: len(schema.PLAN)] == schema.PLAN


def test_rows_of_a_shard_carry_the_clip() -> None:
    assert schema.names(schema.FRAMES)[:2] == ["clip_id", "track"]


def test_variable_length_columns_have_no_shape() -> None:
    for table in TABLES.values():
        for column in table:
            if column.dtype in {schema.BYTES, schema.TEXT}:
                assert column.shape == ()


def test_the_schema_imports_nothing_but_typing(repository: Path) -> None:
    tree = ast.parse((repository / "platform/mien/schema.py").read_text(encoding="utf-8"))
    imported = [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]
    assert [ast.unparse(node) for node in imported] == ["from typing import NamedTuple"]
