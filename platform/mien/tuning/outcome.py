"""What a sweep leaves: the table of its trials, the config that won, figures, and numbers for the report."""

import io
import json
from collections import Counter
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import pyarrow.parquet as pq

from mien.analysis.trials import BEST, TABLE, Ranked, Trial, best_yaml, pareto, rank, require_some, table
from mien.evaluation.bootstrap import Estimate
from mien.evaluation.report import plain
from mien.losses.weights import Anchors, Constant, Cosine, Piecewise, Schedule
from mien.storage.uri import Store
from mien.training.job import TrainConfig
from mien.tuning import figures
from mien.tuning.best import values_of
from mien.tuning.desk import Book
from mien.tuning.importance import importance
from mien.tuning.job import TuneConfig
from mien.tuning.synthetic import SyntheticConfig

if TYPE_CHECKING:
    from matplotlib.figure import Figure

REPORT, FIGURES = "report.json", "figures/"
OWNED = (TABLE, BEST, REPORT, FIGURES)
"""All that is written here: files, and a folder."""


class TuneReport(NamedTuple):
    """How a sweep ended."""

    path: str
    trials: dict[str, int]
    """State -> how many, without repeats."""
    best: int
    """Number of the trial whose config won."""
    metric: str
    value: float
    interval: tuple[float, float] | None
    """Of the mean of its repeats; None without any."""
    values: dict[str, Any]
    """What the winner drew: dotted key -> value."""
    front: list[int]
    """Trials that no other one surpasses in all metrics; empty where there is one metric."""
    failed: dict[int, str]
    """Trial -> why."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self._asdict()


def is_there(store: Store) -> bool:
    """Whether a sweep came to its end before."""
    return any(entry.name == REPORT for entry in store.list(REPORT))


def write(store: Store, config: TuneConfig, book: Book, num_steps: int) -> TuneReport:
    """Write trials.parquet, best.yaml, report.json and the figures.

    Raises:
        TrainingError: No trial has a result.
        StorageError: A file cannot be written.
    """
    every = book.trials(is_over=True)
    first, direction = config.first
    write_table(store, every)
    trials = [trial for trial in every if trial.repeat_of is None]
    require_some(trials, list(config.metrics))
    ranked = rank(every, first, direction, config.repeats.level)
    best = ranked[0]
    values = values_of(config, book.way(best.number), num_steps)
    won = config.trial(values, "")
    store.replace(BEST, best_yaml(won, _about(store, config, best, trials)).encode())
    weights = schedules(won), schedules(config.trial({}, ""))
    for name, figure in _figures(config, trials, best.number, weights, num_steps).items():
        store.replace(f"{FIGURES}{name}.png", _png(figure))
    report = _report(store, config, trials, best, values)
    found = importance(trials, first, config.seed)
    document = {**report.to_json(), "metrics": config.metrics, "ranked": [_plain(one) for one in ranked]}
    document |= {"importance": plain(found), "schedules": {name: each.dump() for name, each in weights[0].items()}}
    store.replace(REPORT, json.dumps(document, indent=1).encode())
    return report


def write_table(store: Store, trials: Sequence[Trial]) -> None:
    """Write trials.parquet.

    Raises:
        StorageError: It cannot be written.
    """
    file = io.BytesIO()
    pq.write_table(table(trials), file)
    store.replace(TABLE, file.getvalue())


def schedules(config: TrainConfig | SyntheticConfig) -> dict[str, Schedule]:
    """Name -> curve, of every weight of the losses."""
    weights = getattr(config.objective, "weights", ()) if isinstance(config, TrainConfig) else config.weights
    kinds = Constant | Anchors | Piecewise | Cosine
    return {name: value for name, value in weights if isinstance(value, kinds)}


def _figures(
    config: TuneConfig,
    trials: Sequence[Trial],
    best: int,
    weights: tuple[dict[str, Schedule], dict[str, Schedule]],
    num_steps: int,
) -> dict[str, "Figure"]:
    first, direction = config.first
    title = f"Weights of the best, trial {best}"
    drawn = {
        "parallel_coordinates": figures.parallel_coordinates(trials, first, direction, best),
        "metric_against": figures.metric_against(trials, first, direction, best),
        "learning_curves": figures.learning_curves(trials, first, direction, best),
        "importance": figures.importance_bars(importance(trials, first, config.seed), first),
        "best_schedules": figures.best_schedules(*weights, num_steps, title),
    }
    if len(config.metrics) > 1:
        drawn["pareto_front"] = figures.pareto_front(trials, config.metrics)
    return drawn


def _report(
    store: Store, config: TuneConfig, trials: Sequence[Trial], best: Ranked, values: dict[str, Any]
) -> TuneReport:
    front = pareto(trials, config.metrics) if len(config.metrics) > 1 else []
    return TuneReport(
        path=store.uri,
        trials=dict(Counter(trial.state for trial in trials)),
        best=best.number,
        metric=config.first[0],
        value=best.estimate.value,
        interval=_interval(best.estimate),
        values=values,
        front=[trial.number for trial in front],
        failed={trial.number: trial.reason for trial in trials if trial.state == "failed"},
    )


def _about(store: Store, config: TuneConfig, best: Ranked, trials: Sequence[Trial]) -> list[str]:
    """Where the config comes from."""
    name, direction = config.first
    interval = _interval(best.estimate)
    sure = f"{interval[0]:.6g} to {interval[1]:.6g} over {best.num_runs} seeds" if interval else "of one run"
    return [
        f"Trial {best.number} of {len(trials)} of the sweep {store.uri}.",
        f"{name} ({direction} is best): {best.estimate.value:.6g} ({sure}).",
    ]


def _interval(estimate: Estimate) -> tuple[float, float] | None:
    return None if estimate.low != estimate.low else (estimate.low, estimate.high)


def _plain(one: Ranked) -> dict[str, Any]:
    return {**one._asdict(), "estimate": plain(one.estimate)}


def _png(figure: "Figure") -> bytes:
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return file.getvalue()
