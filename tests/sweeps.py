"""Sweeps of an objective whose every number is known."""

from pathlib import Path
from typing import Any

import pyarrow.parquet as pq

from mien.analysis.trials import TABLE, Trial, trials_of
from mien.storage.uri import open_store
from mien.tuning.job import TuneConfig
from mien.tuning.synthetic import METRIC, SyntheticConfig, curve

RATE = {"kind": "loguniform", "low": 1e-4, "high": 1e-1}
WEIGHT = {"kind": "uniform", "low": 0.0, "high": 1.0}


def sweep(output: Path | str, **changes: Any) -> TuneConfig:
    values = {
        "output": str(output),
        "train": {"kind": "synthetic", "num_epochs": 6},
        "space": {"learning_rate": RATE, "weights.first": WEIGHT, "weights.second": WEIGHT},
        "metrics": {METRIC: "lowest"},
        "num_trials": 5,
    }
    return TuneConfig.parse(values | changes, "sweep")


def table_of(output: Path | str) -> list[Trial]:
    return trials_of(pq.read_table(open_store(str(output)).fetch(TABLE)))


def expected(config: TuneConfig, number: int) -> list[float]:
    trial = config.trial(config.build().sample(number), "")
    assert isinstance(trial, SyntheticConfig)
    return curve(trial, number)


def told(trial: Trial) -> list[float]:
    assert [step for step, _ in trial.history] == list(range(1, len(trial.history) + 1)), "each step once"
    return [metrics[METRIC] for _, metrics in trial.history]
