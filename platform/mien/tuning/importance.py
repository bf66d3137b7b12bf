"""Which of the searched keys a metric depended on."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from mien.analysis.trials import Trial, measured
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.embedded import Floats

MIN_TRIALS = 10
"""Fewer say nothing."""
_ENOUGH_PER_KEY = 10
"""Trials per key below which the order of the keys is told with a warning."""
_NUM_FOLDS, _NUM_TREES, _NUM_SHUFFLES = 5, 50, 10


@dataclass(frozen=True)
class Importance:
    """Permutation importance (Breiman 2001) on trials that the forest has not seen."""

    keys: tuple[str, ...]
    """Those that varied, the most important first."""
    mean: Floats
    """[K], by how much R² falls where the values of a key are shuffled among the trials."""
    std: Floats
    """[K], over folds and shuffles."""
    r_squared: float
    """Of the forest, over all trials, each held out once: what the keys together tell of the metric."""
    note: str
    """What a reader should know; empty if nothing."""


def importance(trials: Sequence[Trial], metric: str, seed: int = 0) -> Importance | NotMeasurable:
    """Which keys mattered for a metric.

    Trials that ended are compared at their end. Where these are too few, for a scheduler stopped the others, all are
    compared at the last step that each of them reached.

    Args:
        trials: Of one sweep; failed ones do not count.
        metric: Its name.
        seed: Of folds, forests and shuffles.
    """
    known, targets, note = _targets(trials, metric)
    if len(known) < MIN_TRIALS:
        return NotMeasurable(f"{len(known)} trials have {metric}, and fewer than {MIN_TRIALS} say nothing")
    if np.ptp(targets) == 0:
        return NotMeasurable(f"{metric} is the same in all {len(known)} trials")
    columns = _columns([trial.flat for trial in known])
    if not columns:
        return NotMeasurable("no key varied among the trials")
    drops, r_squared = _drops(np.column_stack(list(columns.values())), targets, seed)
    order = np.argsort(-drops.mean(axis=1), kind="stable")
    keys = tuple(columns)
    return Importance(
        keys=tuple(keys[place] for place in order),
        mean=drops.mean(axis=1)[order],
        std=drops.std(axis=1)[order],
        r_squared=r_squared,
        note="; ".join([*note, *_doubts(len(known), len(keys), r_squared)]),
    )


def _targets(trials: Sequence[Trial], metric: str) -> tuple[list[Trial], Floats, list[str]]:
    """Trials, the value of each [n], and what to say of how they were compared."""
    known = measured(trials, metric)
    ended = [trial for trial in known if trial.state == "done"]
    if len(ended) >= MIN_TRIALS or not known:
        return ended, np.array([trial.metrics[metric] for trial in ended]), []
    step = min(trial.curve(metric)[0][-1] for trial in known)
    kept = [trial for trial in known if math.isfinite(trial.at(metric, step))]
    return kept, np.array([trial.at(metric, step) for trial in kept]), [f"compared at step {step}, which all reached"]


def _columns(rows: Sequence[dict[str, Any]]) -> dict[str, Floats]:
    """Key -> its values [n] as numbers, of keys that varied. A key that a trial lacks is below all others."""
    found = {}
    for key in dict.fromkeys(key for row in rows for key in row):
        values = [row.get(key) for row in rows]
        if len({repr(value) for value in values}) > 1:
            found[key] = as_numbers(values)
    return found


def as_numbers(values: Sequence[Any]) -> Floats:
    """Numbers as they are; words and others by their place in their order. None is one less than the least."""
    given = [value for value in values if value is not None]
    if not all(isinstance(value, int | float) for value in given):
        places = {text: place for place, text in enumerate(sorted({str(value) for value in given}))}
        return np.array([-1.0 if value is None else places[str(value)] for value in values])
    least = min(given, default=0)
    return np.array([least - 1 if value is None else value for value in values], float)


def _drops(features: Floats, targets: Floats, seed: int) -> tuple[Floats, float]:
    """Fall of R² [K, folds · shuffles] on held-out trials, and R² before."""
    from sklearn.ensemble import RandomForestRegressor
    from sklearn.inspection import permutation_importance
    from sklearn.metrics import r2_score
    from sklearn.model_selection import KFold

    drops, predicted = [], np.empty_like(targets)
    for train, test in KFold(_NUM_FOLDS, shuffle=True, random_state=seed).split(features):
        forest = RandomForestRegressor(_NUM_TREES, random_state=seed).fit(features[train], targets[train])
        predicted[test] = forest.predict(features[test])
        worse = permutation_importance(
            forest,
            features[test],
            targets[test],
            scoring="neg_mean_squared_error",
            n_repeats=_NUM_SHUFFLES,
            random_state=seed,
        )
        drops.append(worse.importances / targets.var())  # of all: a fold of two trials has hardly a variance
    return np.concatenate(drops, axis=1), float(r2_score(targets, predicted))


def _doubts(num_trials: int, num_keys: int, r_squared: float) -> list[str]:
    doubts = []
    if num_trials < _ENOUGH_PER_KEY * num_keys:
        doubts.append(f"only {num_trials} trials for {num_keys} keys: the order may be chance")
    if r_squared <= 0:
        doubts.append("the keys predict nothing of the metric in held-out trials: the order means nothing")
    return doubts
