"""What a run wrote is read back, also after it went on; what is no log is refused."""

import json
import math
from pathlib import Path

import numpy as np
import pytest

from mien.errors import DatasetError
from mien.evaluation.run_log import logged, read
from mien.storage.local import LocalStore
from mien.training.log import LogConfig, RunLog


@pytest.fixture
def store(tmp_path: Path) -> LocalStore:
    """Output of a run of 4 steps that went on from its checkpoint of step 2."""
    store = LocalStore(tmp_path / "run")
    first = RunLog(store, LogConfig(), 0, [])
    first.write(0, "event", {"event": "start", "workers": 1})
    for step in (1, 2, 3):
        if step == 3:
            first.begin_segment(2)
        first.write(step, "train", {"loss": float(step), "weight/temporal": 0.5})
    first.flush()
    later = RunLog(store, LogConfig(), 2, [])
    later.write(2, "event", {"event": "start", "workers": 1})
    later.write(3, "train", {"loss": math.nan, "weight/temporal": 0.5})
    later.write(4, "train", {"loss": math.inf, "extra": 7})
    later.write(4, "validation", {"loss": 9.0, "similarity_mean": -0.25})
    later.flush()
    return store


def test_series_are_those_that_stand_in_the_end(store: LocalStore) -> None:
    found = logged(store)
    loss = found.series["train"]["loss"]
    assert loss.step.tolist() == [1, 2, 3, 4]
    assert np.array_equal(loss.value, [1, 2, np.nan, np.inf], equal_nan=True)
    assert loss.known.step.tolist() == [1, 2]
    assert found.series["train"]["extra"].step.tolist() == [4]
    assert found.series["validation"]["similarity_mean"].value.tolist() == [-0.25]
    assert found.starts == (0, 2)
    assert found.last_step == 4
    assert found.names() == ["loss", "weight/temporal", "extra", "similarity_mean"]
    assert found.uri == store.uri


def test_time_and_words_are_no_series(store: LocalStore) -> None:
    assert {"time", "step", "kind", "event"}.isdisjoint(logged(store).names())
    assert [line["kind"] for line in read(store)].count("event") == 2


def test_a_place_without_a_log_is_refused_by_name(tmp_path: Path) -> None:
    with pytest.raises(DatasetError, match="nothing: has no numbers in log/; give the output of `mien train`"):
        logged(LocalStore(tmp_path / "nothing"))


def test_a_run_that_only_began_has_no_numbers(tmp_path: Path) -> None:
    begun = RunLog(LocalStore(tmp_path), LogConfig(), 0, [])
    begun.write(0, "event", {"event": "start", "workers": 1})
    begun.flush()
    with pytest.raises(DatasetError, match="after its first logged step"):
        logged(LocalStore(tmp_path))


@pytest.mark.parametrize("line", [b"{", b"[1]", b'{"step": "1", "kind": "train"}', b'{"step": 1}', b"\xff"])
def test_a_damaged_line_is_named(store: LocalStore, line: bytes) -> None:
    good = json.dumps({"step": 1, "kind": "train", "loss": 1.0}).encode()
    store.replace("log/from_000000009.jsonl", good + b"\n" + line + b"\n")
    with pytest.raises(DatasetError, match=r"from_000000009.jsonl: line 2 is no step of a run"):
        logged(store)
