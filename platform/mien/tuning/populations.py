"""Populations of Ray Tune that move through the unit cube of a space, so that they know every kind of dimension.

By themselves they multiply values by 0.8 or 1.2, which knows no bounds, no simplex and no curve.
"""

import warnings
from typing import Any

from ray.tune.schedulers import PopulationBasedTraining
from ray.tune.schedulers.pb2 import PB2
from sklearn.exceptions import ConvergenceWarning

from mien.tuning.space import Space


class Pbt(PopulationBasedTraining):  # type: ignore[misc]
    """Who copies a better trial moves a little from where that one is."""

    def __init__(self, space: Space, spread: float, resample: float, **compared: Any) -> None:
        """Take a space, how far moves go, and what Ray's own takes."""
        super().__init__(custom_explore_fn=dict, **compared)  # Ray asks for one, and `_get_new_config` replaces it
        self._moves = Moves(space, spread, resample)

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        return _at(trial, self._moves.from_(_place(trial_to_clone.config))), {}


class Pb2(PB2):  # type: ignore[misc]
    """Who copies a better trial goes to where a Gaussian process expects progress."""

    def __init__(self, space: Space, **compared: Any) -> None:
        """Take a space, and what Ray's own takes."""
        bounds = {"trial": {"place": {name: [0.0, 1.0] for name in space.coordinates}}}
        super().__init__(hyperparam_bounds=bounds, **compared)
        self._moves = Moves(space, spread=0.1, resample=0.25)

    def _get_new_config(self, trial: Any, trial_to_clone: Any) -> tuple[dict[str, Any], dict[str, Any]]:
        given = _place(trial_to_clone.config)
        with warnings.catch_warnings():  # of the Gaussian process, while it knows few trials, or several at one place
            warnings.simplefilter("ignore", ConvergenceWarning)
            warnings.filterwarnings("ignore", "Predicted variances smaller than 0", UserWarning)
            proposed = _place(super()._get_new_config(trial, trial_to_clone)[0])
        place = {name: float(unit) for name, unit in proposed.items()}
        return _at(trial, self._moves.from_(given) if place == given else place), {}  # it knows nothing yet at first


class Moves:
    """Random steps through a space, each by its number."""

    def __init__(self, space: Space, spread: float, resample: float) -> None:
        """None was done."""
        self._space, self._how, self._num = space, {"spread": spread, "resample": resample}, 0

    def from_(self, place: dict[str, float]) -> dict[str, float]:
        """A place near another."""
        self._num += 1
        return self._space.moved(place, self._num, **self._how)


def _place(config: dict[str, Any]) -> dict[str, float]:
    place: dict[str, float] = config["trial"]["place"]
    return place


def _at(trial: Any, place: dict[str, float]) -> dict[str, Any]:
    """Config of a trial that is elsewhere now."""
    return {"trial": {**trial.config["trial"], "place": place}}
