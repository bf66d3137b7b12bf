"""Optuna as a searcher of Ray Tune: it proposes places of a space, and hears what was found there."""

from collections.abc import Sequence
from typing import Any

from ray.tune.search.optuna import OptunaSearch

from mien.tuning.search import Goal, mode
from mien.tuning.space import Place


class Proposals(OptunaSearch):  # type: ignore[misc]
    """Numbers the trials that it proposes."""

    _num_proposed = 0

    def suggest(self, trial_id: str) -> dict[str, Any]:
        """What a trial of Ray Tune is given."""
        number, self._num_proposed = self._num_proposed, self._num_proposed + 1
        return {"trial": {"number": number, "place": dict(super().suggest(trial_id))}}


def proposals(goal: Goal, places: Sequence[Place], num_startup: int) -> Proposals:
    """A searcher of the unit cube of a space; several metrics make it seek the Pareto front.

    Args:
        goal: What is sought.
        places: To propose first.
        num_startup: Trials that are drawn at random.
    """
    import optuna

    optuna.logging.set_verbosity(optuna.logging.WARNING)
    names, modes = list(goal.metrics), [mode(direction) for direction in goal.metrics.values()]
    is_one = len(names) == 1
    return Proposals(
        {name: optuna.distributions.FloatDistribution(0.0, 1.0) for name in goal.space.coordinates},
        metric=names[0] if is_one else names,
        mode=modes[0] if is_one else modes,
        points_to_evaluate=[dict(place) for place in places],
        sampler=optuna.samplers.TPESampler(n_startup_trials=num_startup, seed=goal.space.seed % 2**32),
    )
