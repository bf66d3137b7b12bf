"""Curves, words and tables are those of the logs; a run without one is said to have none."""

from pathlib import Path

import pytest

from mien.analysis.report_blocks import Figure, Missing, Table
from mien.analysis.report_training import section
from mien.storage.local import LocalStore
from mien.training.log import LogConfig, RunLog


def write(store: LocalStore, factor: float = 1.0, num_steps: int = 5) -> LocalStore:
    log = RunLog(store, LogConfig(), 0, [])
    for step in range(1, num_steps + 1):
        log.write(step, "train", {"loss": factor / step, "learning_rate": 1e-3, "temporal": float("nan")})
    log.write(num_steps, "validation", {"loss": 2 * factor})
    log.flush()
    return store


@pytest.fixture
def stores(tmp_path: Path) -> dict[str, LocalStore]:
    return {"a": write(LocalStore(tmp_path / "a")), "b": write(LocalStore(tmp_path / "b"), 4.0)}


def test_a_figure_has_the_rows_of_every_run_and_step(stores: dict[str, LocalStore]) -> None:
    found = section(stores, "data/training")
    losses = next(block for block in found.blocks if isinstance(block, Figure))
    assert losses.title == "Losses"
    assert [table.title for table in losses.numbers] == ["a: train", "a: validation", "b: train", "b: validation"]
    assert losses.numbers[2].columns[:2] == ("step", "loss")
    assert [row[:2] for row in losses.numbers[2].rows] == [(step, 4.0 / step) for step in range(1, 6)]
    assert losses.numbers[1].rows == ((5, 2.0),)
    assert losses.raw in found.raw
    assert found.raw[losses.raw]["b"]["series"]["validation"]["loss"]["value"] == [8.0]


def test_words_tell_where_curves_begin_and_end(stores: dict[str, LocalStore]) -> None:
    found = section(stores, "data")
    losses = next(block for block in found.blocks if isinstance(block, Figure))
    assert "a, loss (train) from 1 at step 1 to 0.2 at step 5; a, loss (validation) from 2 at step 5" in losses.alt


def test_ends_and_extremes_stand_in_one_table(stores: dict[str, LocalStore]) -> None:
    ends = section(stores, "data").blocks[-1]
    assert isinstance(ends, Table)
    rows = {row[:3]: row[3:] for row in ends.rows}
    assert rows["b", "loss", "train"] == (4.0, 0.8, 0.8, 5, 4.0, 1)
    assert ("a", "temporal", "train") not in rows, "it was never a number"


def test_a_run_without_a_log_is_said_and_the_others_are_shown(stores: dict[str, LocalStore], tmp_path: Path) -> None:
    found = section({"empty": LocalStore(tmp_path / "empty"), **stores}, "data")
    assert isinstance(found.blocks[0], Missing)
    assert found.blocks[0].title == "The log of empty"
    assert any(isinstance(block, Figure) for block in found.blocks)
    (alone,) = section({"empty": LocalStore(tmp_path / "empty")}, "data").blocks
    assert isinstance(alone, Missing)


def test_another_log_is_another_picture(stores: dict[str, LocalStore]) -> None:
    pngs = [
        next(block.png for block in section(chosen, "data").blocks if isinstance(block, Figure))
        for chosen in ({"a": stores["a"]}, {"a": stores["b"]}, {"a": stores["a"]})
    ]
    assert pngs[0] != pngs[1]
    assert pngs[0] == pngs[2]
