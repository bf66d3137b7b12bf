"""What a sweep says while it runs."""

import math
import time
from collections import Counter
from typing import Any

import ray.tune

from mien.log import logger
from mien.tuning.job import TuneConfig
from mien.tuning.search import STEP

_EVERY_S = 30.0


class Progress(ray.tune.Callback):  # type: ignore[misc]
    """One line every half minute: how many trials are where, and the best so far."""

    def __init__(self, config: TuneConfig, num_trials: int) -> None:
        """Nothing was told yet."""
        self._metric, self._direction = config.first
        self._num_trials, self._told_at = num_trials, time.monotonic()
        self._best: tuple[float, int, int] | None = None

    def on_trial_result(
        self,
        iteration: int,  # noqa: ARG002  the names are Ray's
        trials: list[Any],
        trial: Any,
        result: dict[str, Any],
        **info: Any,  # noqa: ARG002
    ) -> None:
        """Remember the best, and say so now and then."""
        sign = 1 if self._direction == "lowest" else -1
        value = result.get(self._metric, math.nan)
        if math.isfinite(value) and (self._best is None or sign * value < sign * self._best[0]):
            self._best = (value, trial.config["trial"]["number"], result[STEP])
        if time.monotonic() - self._told_at >= _EVERY_S:
            self._told_at = time.monotonic()
            logger.info("trials   %s", self._told(trials))

    def _told(self, trials: list[Any]) -> str:
        counts = Counter(str(trial.status).lower() for trial in trials)
        states = ", ".join(f"{num} {state}" for state, num in sorted(counts.items()))
        if self._best is None:
            return f"{states}, of {self._num_trials}"
        value, number, step = self._best
        return f"{states}, of {self._num_trials}  best {self._metric} {value:.4g} (trial {number}, step {step})"
