"""What a sweep found: the table of its trials, which config won, and how sure that is."""

import json
import math
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa

from mien import schema
from mien.config import Config, flatten
from mien.datasets.tables import rows_to_table
from mien.errors import TrainingError
from mien.evaluation.bootstrap import Estimate

TABLE, BEST = "trials.parquet", "best.yaml"
CONFIG, METRIC = "config/", "metric/"
"""Prefixes of the columns that depend on the sweep."""

_AS_JSON = ("values", "history")

Direction = Literal["lowest", "highest"]
"""Which way a metric is better."""
State = Literal["running", "done", "stopped", "failed"]
"""`stopped`: by the scheduler, in favour of better trials."""
History = tuple[tuple[int, dict[str, float]], ...]
"""Step and metrics of each report; not every one has every metric."""


@dataclass(frozen=True)
class Trial:
    """One trial, as far as it came."""

    number: int
    state: State
    values: Mapping[str, Any]
    """Dotted key -> what was drawn for it."""
    history: History = ()
    seconds: float = 0.0
    reason: str = ""
    """Why it failed."""
    repeat_of: int | None = None
    """Number of the trial whose config it runs again, with another seed."""
    seed: int = 0

    @cached_property
    def metrics(self) -> dict[str, float]:
        """Last value of each metric."""
        return {name: value for _, metrics in self.history for name, value in metrics.items()}

    @property
    def step(self) -> int:
        """Of the last report; 0 before the first."""
        return self.history[-1][0] if self.history else 0

    @property
    def flat(self) -> dict[str, Any]:
        """Values by the keys of their leaves: a curve is `….initial`, `….warmup` and so on."""
        return dict(flatten(self.values))

    def curve(self, metric: str) -> tuple[list[int], list[float]]:
        """Steps and finite values of a metric."""
        points = [(step, metrics[metric]) for step, metrics in self.history if _is_known(metrics, metric)]
        return [step for step, _ in points], [value for _, value in points]

    def at(self, metric: str, step: int) -> float:
        """The last value up to a step; NaN before the first."""
        steps, values = self.curve(metric)
        return next((value for at, value in zip(steps[::-1], values[::-1], strict=True) if at <= step), math.nan)


def measured(trials: Sequence[Trial], *metrics: str) -> list[Trial]:
    """Trials that did not fail and have a finite value of each metric."""
    return [
        trial for trial in trials if trial.state != "failed" and all(_is_known(trial.metrics, name) for name in metrics)
    ]


def require_some(trials: Sequence[Trial], metrics: Sequence[str]) -> None:
    """Refuse to name a best trial where there is none.

    Raises:
        TrainingError: All failed; or one of the metrics was never reported.
    """
    failed = [trial for trial in trials if trial.state == "failed"]
    if len(failed) == len(trials):
        reason = failed[0].reason if failed else "there was none"
        count = Counter(trial.reason for trial in failed)[reason]
        raise TrainingError(f"all {len(trials)} trials failed; the first reason, of {count} of them: {reason}")
    for name in metrics:
        if not any(name in trial.metrics for trial in trials):
            there = sorted({other for trial in trials for other in trial.metrics})
            raise TrainingError(f"metrics: no trial reported {name}; there are {', '.join(there) or 'none'}")


def table(trials: Sequence[Trial]) -> pa.Table:
    """Rows of trials.parquet."""
    trials = sorted(trials, key=lambda trial: trial.number)
    columns = [column.name for column in schema.TRIALS]
    fixed = rows_to_table(({name: _cell(trial, name) for name in columns} for trial in trials), schema.TRIALS)
    for prefix, rows in (
        (CONFIG, [trial.flat for trial in trials]),
        (METRIC, [trial.metrics for trial in trials]),
    ):
        for name in dict.fromkeys(name for row in rows for name in row):
            fixed = fixed.append_column(f"{prefix}{name}", _column([row.get(name) for row in rows]))
    return fixed


def trials_of(rows: pa.Table) -> list[Trial]:
    """Trials of a table."""
    kept = [column.name for column in schema.TRIALS if column.name not in {"step", *_AS_JSON}]
    found = []
    for row in rows.select([*kept, *_AS_JSON]).to_pylist():
        history = tuple((step, metrics) for step, metrics in json.loads(row["history"]))
        values = json.loads(row["values"])
        found.append(Trial(**{name: row[name] for name in kept}, values=values, history=history))
    return found


class Ranked(NamedTuple):
    """A config and how good it is."""

    number: int
    """Of the trial that first ran it."""
    estimate: Estimate
    """Mean over its runs, and Student's interval of it; of one run there is none."""
    num_runs: int
    num_failed: int


def rank(trials: Sequence[Trial], metric: str, direction: Direction, level: float = 0.95) -> list[Ranked]:
    """Configs from the best down, by the mean of their repeats.

    The trial by which a config was chosen for repeats does not count: it was chosen for being lucky too. Where nothing
    was repeated, each trial that ran to its end (or, without one, each) stands for itself.
    """
    by_config = dict[int, list[Trial]]()
    for trial in trials:
        if trial.repeat_of is not None:
            by_config.setdefault(trial.repeat_of, []).append(trial)
    if not any(measured(runs, metric) for runs in by_config.values()):
        ended = [trial for trial in measured(trials, metric) if trial.state == "done"]
        by_config = {trial.number: [trial] for trial in ended or measured(trials, metric)}
    ranked = [_ranked(number, runs, metric, level) for number, runs in by_config.items() if measured(runs, metric)]
    sign = 1 if direction == "lowest" else -1
    return sorted(ranked, key=lambda one: (sign * one.estimate.value, one.number))


def student(values: Sequence[float], level: float = 0.95) -> Estimate:
    """Mean and Student's interval: of few independent runs, where a bootstrap would promise too much."""
    from scipy.special import stdtrit

    mean, num = float(np.mean(values)), len(values)
    if num < 2:
        return Estimate(mean, math.nan, math.nan)
    reach = float(stdtrit(num - 1, (1 + level) / 2) * np.std(values, ddof=1) / math.sqrt(num))
    return Estimate(mean, mean - reach, mean + reach)


def pareto(trials: Sequence[Trial], metrics: Mapping[str, Direction]) -> list[Trial]:
    """Trials that no other one surpasses: is as good in all metrics and better in one."""
    known = measured(trials, *metrics)
    signs = np.array([1 if direction == "lowest" else -1 for direction in metrics.values()])
    points = np.array([[trial.metrics[name] for name in metrics] for trial in known]).reshape(-1, len(signs)) * signs
    surpassed = [
        bool(((points <= point).all(axis=1) & (points < point).any(axis=1)).any()) if len(points) else False
        for point in points
    ]
    return [trial for trial, out in zip(known, surpassed, strict=True) if not out]


def best_yaml(config: Config, about: Sequence[str]) -> str:
    """A config that can be run, below a comment that says where it comes from."""
    lines = [line for text in about for line in text.splitlines()]
    return "".join(f"# {line}\n" for line in lines) + config.to_yaml()


def _is_known(metrics: Mapping[str, float], name: str) -> bool:
    return math.isfinite(metrics.get(name, math.nan))


def _ranked(number: int, runs: Sequence[Trial], metric: str, level: float) -> Ranked:
    values = [trial.metrics[metric] for trial in measured(runs, metric)]
    return Ranked(number, student(values, level), len(values), len(runs) - len(values))


def _cell(trial: Trial, name: str) -> Any:
    return json.dumps(getattr(trial, name)) if name in _AS_JSON else getattr(trial, name)


def _column(values: Sequence[Any]) -> pa.Array:
    """Numbers, words or truths; anything else, and what is mixed, as JSON."""
    plain: list[Callable[[Any], bool]] = [
        lambda value: isinstance(value, int | float) and not isinstance(value, bool),
        lambda value: isinstance(value, bool),
        lambda value: isinstance(value, str),
    ]
    given = [value for value in values if value is not None]
    if any(all(map(is_kind, given)) for is_kind in plain):
        return pa.array(values)
    return pa.array([None if value is None else json.dumps(value) for value in values], pa.string())
