"""Logs become curves; a run without one leaves nothing, and a run that went on is drawn again."""

import json
from pathlib import Path
from typing import Any

import pytest

from mien.analysis.analyze_training import TrainingFiguresConfig, run
from mien.errors import ConfigError, DatasetError, RefusedError
from mien.storage.local import LocalStore
from mien.training.log import LogConfig, RunLog


def logged(place: Path, losses: list[float], first: int = 1) -> str:
    """The log of a run, by the writer of training."""
    log = RunLog(LocalStore(place), LogConfig(), first - 1, [])
    for step, loss in enumerate(losses, first):
        log.write(step, "train", {"loss": loss, "learning_rate": 1e-3})
    log.write(first + len(losses) - 1, "validation", {"loss": losses[-1] + 1})
    log.close()
    return str(place)


def config_of(runs: Any, output: Path, **figure: Any) -> TrainingFiguresConfig:
    values = {"runs": runs, "output": str(output), "figure": {"size_in": [4, 3], "dpi": 40, **figure}}
    return TrainingFiguresConfig.parse(values, "test")


def test_runs_lie_over_one_another(tmp_path: Path) -> None:
    places = [logged(tmp_path / "a", [3.0, 2.0, 1.5]), logged(tmp_path / "b", [9.0, 8.0])]
    report = run(config_of(places, tmp_path / "out"))
    assert report.document["figures"] == ["losses.png", "schedules.png"]
    assert report.text == (
        "a: step 3, loss 1.5, validation loss 2.5, least 2.5 at step 3\n"
        "b: step 2, loss 8, validation loss 9, least 9 at step 2"
    )
    told = json.loads((tmp_path / "out" / "losses.json").read_text())["runs"]
    assert told["a"]["series"]["train"]["loss"]["value"] == [3.0, 2.0, 1.5]
    assert told["b"]["uri"] == report.document["runs"]["b"]["uri"] == places[1]
    swapped = run(config_of({"a": places[1], "b": places[0]}, tmp_path / "swapped"))
    assert swapped.document["runs"]["a"]["loss"] == 8.0
    pictures = [(tmp_path / out / "losses.png").read_bytes() for out in ("out", "swapped")]
    assert pictures[0] != pictures[1]


def test_a_run_that_went_on_is_drawn_again_by_the_same_command(tmp_path: Path) -> None:
    place, out = logged(tmp_path / "a", [3.0, 2.0]), tmp_path / "out"
    assert run(config_of(place, out)).document["runs"]["a"]["last_step"] == 2
    before = (out / "losses.png").read_bytes()
    logged(tmp_path / "a", [1.0, 0.5], first=3)
    found = run(config_of(place, out)).document["runs"]["a"]
    assert (found["last_step"], found["loss"]) == (4, 0.5)
    assert (out / "losses.png").read_bytes() != before
    with pytest.raises(RefusedError, match=r"these keys differ: figure\.smooth"):
        run(config_of(place, out, smooth=3))
    with pytest.raises(RefusedError, match=r"these keys differ: runs\.a, runs\.b"):
        run(config_of({"b": place}, out))


def test_nothing_is_written_of_what_cannot_be_read(tmp_path: Path) -> None:
    good, out = logged(tmp_path / "good", [1.0]), tmp_path / "out"
    with pytest.raises(ConfigError, match="runs: is required; give runs=RUN"):
        run(TrainingFiguresConfig(output=str(out)))
    with pytest.raises(DatasetError, match="empty: has no numbers in log/"):
        run(config_of([good, str(tmp_path / "empty")], out))
    with pytest.raises(DatasetError, match="has no finite number of loss"):
        run(config_of({"a": _of_nan(tmp_path / "nan")}, out))
    assert not out.exists()


def _of_nan(place: Path) -> str:
    log = RunLog(LocalStore(place), LogConfig(), 0, [])
    log.write(1, "train", {"loss": float("nan")})
    log.close()
    return str(place)
