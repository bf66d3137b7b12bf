"""Trials, ranks and the best config are those that the sweep wrote."""

from pathlib import Path
from typing import Any

import pytest

from mien.analysis.report_blocks import Missing, Note, Section, Table, Text
from mien.analysis.report_sweep import section
from mien.analysis.trials import BEST, TABLE, Trial, rank, table
from mien.datasets.tables import parquet_bytes
from mien.errors import DatasetError
from mien.storage.local import LocalStore

CURVE = {"kind": "anchors", "final": 0.1}


def trial(number: int, error: float | None, **others: Any) -> Trial:
    history = () if error is None else ((10, {"error": error}),)
    values = {"rate": 0.1 * number, "weight": CURVE}
    return Trial(**{"number": number, "state": "done", "values": values, "history": history, "seconds": 2.0} | others)


TRIALS = [
    trial(0, 0.5),
    trial(1, 0.3),
    trial(2, None, state="failed", reason="out of memory"),
    *(trial(3 + seed, 0.4 + 0.01 * seed, repeat_of=1) for seed in range(3)),
]


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    found = LocalStore(tmp_path)
    found.replace(TABLE, parquet_bytes(table(TRIALS)))
    found.replace(BEST, b"# trial 1\nseed: 0\n")
    found.replace("config.yaml", b"metrics: {error: lowest}\n")
    return found


def tables(found: Section) -> list[Table]:
    return [block for block in found.blocks if isinstance(block, Table)]


def test_configs_are_ranked_with_students_interval(store: LocalStore) -> None:
    ranked, _ = tables(section(store, "Sweep", "data/1"))
    (first,) = rank(TRIALS, "error", "lowest")
    assert ranked.rows == ((1, 1, first.estimate, 3, 0),)
    assert ranked.columns[2] == "error (lowest is best)"


def test_every_trial_has_its_row_and_the_numbers_go_along(store: LocalStore) -> None:
    found = section(store, "Sweep", "data/1")
    every = tables(found)[1]
    assert every.columns == (
        "Trial",
        "State",
        "Step",
        "Seconds",
        "rate",
        "weight.kind",
        "weight.final",
        "error",
        "Reason",
    )
    assert every.rows[2] == (2, "failed", 0, 2.0, 0.2, "anchors", 0.1, None, "out of memory")
    assert found.blocks[0] == Note("6 trials: 5 done, 1 failed.")
    assert found.raw["data/1/trials.json"]["trials"][1]["history"] == ((10, {"error": 0.3}),)
    assert Text("The best config", "# trial 1\nseed: 0\n") in found.blocks


def test_without_repeats_it_is_said_that_nothing_can_be_told(store: LocalStore) -> None:
    store.replace(TABLE, parquet_bytes(table(TRIALS[:3])))
    found = section(store, "Sweep", "data/1")
    assert [row[1] for row in tables(found)[0].rows] == [1, 0]
    assert any(isinstance(block, Note) and block.is_warning for block in found.blocks)


def test_the_direction_is_that_of_the_config(store: LocalStore) -> None:
    store.replace(TABLE, parquet_bytes(table(TRIALS[:2])))
    store.replace("config.yaml", b"metrics: {error: highest}\n")
    assert [row[1] for row in tables(section(store, "Sweep", "d"))[0].rows] == [0, 1]


def test_what_is_missing_is_said(store: LocalStore) -> None:
    store.replace(TABLE, parquet_bytes(table([TRIALS[2]])))
    for name in (BEST, "config.yaml"):
        store.delete(name)
    missing = [block.title for block in section(store, "Sweep", "d").blocks if isinstance(block, Missing)]
    assert missing == ["Best configs", "The best config"]


def test_another_table_is_refused(store: LocalStore) -> None:
    store.replace(TABLE, b"PAR1 no")
    with pytest.raises(DatasetError, match=r"trials\.parquet"):
        section(store, "Sweep", "d")
    store.replace(TABLE, parquet_bytes(table(TRIALS).drop_columns(["history"])))
    with pytest.raises(DatasetError, match="is no table of trials"):
        section(store, "Sweep", "d")
