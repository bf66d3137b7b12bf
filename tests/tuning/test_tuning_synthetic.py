"""The optimum is where it is said to be, and small references of searchers and schedulers find it."""

import math
from collections.abc import Callable

import numpy as np
import pytest

from mien.losses.weights import Anchors, Constant
from mien.tuning.dimensions import CurveConfig, LogUniformConfig, UniformConfig
from mien.tuning.space import Place, Space, apply
from mien.tuning.synthetic import (
    BEST_FIRST,
    BEST_RATE,
    BEST_SECOND,
    FLOOR,
    SPAN,
    State,
    SyntheticConfig,
    SyntheticWeights,
    curve,
)

SPACE = {
    "learning_rate": LogUniformConfig(low=1e-4, high=1),
    "weights.first": UniformConfig(low=0, high=1),
    "weights.second": UniformConfig(low=0, high=1),
}
NUM_TRIALS, NUM_EPOCHS = 64, 81


def config(rate: float = BEST_RATE, first: float = BEST_FIRST, second: float = BEST_SECOND) -> SyntheticConfig:
    weights = SyntheticWeights(first=Constant(level=first), second=Constant(level=second))
    return SyntheticConfig(learning_rate=rate, weights=weights, num_epochs=NUM_EPOCHS)


def at_end(config: SyntheticConfig) -> float:
    """True score, by the formula of the module's head."""
    state = State()
    for _ in range(config.num_epochs):
        state = state.after(config)
    return state.true_score()


def test_scores_are_the_closed_form() -> None:
    searched = config(rate=1e-3, first=0.7)
    expected = FLOOR * (1 + 1 / 1.5**2 + 1) + SPAN * math.exp(-NUM_EPOCHS / (3 * math.sqrt(10)))
    assert at_end(searched) == pytest.approx(expected, rel=1e-9)


def test_a_curve_is_what_the_states_say_one_by_one() -> None:
    state, scores = State(), []
    for _ in range(5):
        state = state.after(config())
        scores.append(state.score(config(), 3))
    assert scores == pytest.approx(curve(config(), 3)[:5], rel=1e-15)


def test_noise_is_a_function_of_seed_trial_and_epoch() -> None:
    scores = curve(config(), 3)
    assert scores == curve(config(), 3)
    assert scores != curve(config(), 4)
    smooth = curve(config().model_copy(update={"noise": 0.0}), 3)
    noise = np.subtract(scores, smooth)
    assert noise.std() == pytest.approx(0.001, rel=0.3)


def test_the_optimum_is_the_lowest_of_its_neighbours() -> None:
    best = at_end(config())
    assert best == pytest.approx(FLOOR, rel=1e-6)
    assert all(at_end(config(rate=rate)) > best for rate in (0.5 * BEST_RATE, 2 * BEST_RATE))
    assert all(at_end(config(first=BEST_FIRST + step)) > best for step in (-0.05, 0.05))
    assert all(at_end(config(second=BEST_SECOND + step)) > best for step in (-0.05, 0.05))


def test_who_learns_fast_leads_first_and_loses() -> None:
    fast, good = curve(config(rate=0.2), 0), curve(config(), 1)
    assert fast[2] < good[2]
    assert fast[-1] > good[-1]


def trials(seed: int) -> list[SyntheticConfig]:
    space = Space(SPACE, seed)
    return [apply(SyntheticConfig(num_epochs=NUM_EPOCHS), space.sample(n)) for n in range(NUM_TRIALS)]


def random_search(configs: list[SyntheticConfig]) -> SyntheticConfig:
    """The config with the best last score, noise included."""
    return min(enumerate(configs), key=lambda pair: curve(pair[1], pair[0])[-1])[1]


def halving(configs: list[SyntheticConfig], rungs: tuple[int, ...]) -> tuple[SyntheticConfig, int]:
    """Successive halving by thirds (Jamieson and Talwalkar 2016): who is left, and epochs that were used."""
    alive, scores, epochs, done = list(range(len(configs))), [curve(c, n) for n, c in enumerate(configs)], 0, 0
    for rung in rungs:
        epochs += len(alive) * (rung - done)
        alive = sorted(alive, key=lambda trial: scores[trial][rung - 1])[: max(1, len(alive) // 3)]
        done = rung
    return configs[alive[0]], epochs


@pytest.mark.parametrize("seed", range(4))
def test_random_search_finds_the_neighbourhood_of_the_optimum(seed: int) -> None:
    found = random_search(trials(seed))
    assert at_end(found) < 1.25 * FLOOR
    assert found.learning_rate == pytest.approx(BEST_RATE, rel=0.9)


@pytest.mark.parametrize("seed", range(4))
def test_rungs_keep_a_config_within_2_percent_at_35_percent_of_the_epochs(seed: int) -> None:
    configs = trials(seed)
    found, epochs = halving(configs, (9, 27, 81))
    assert at_end(found) <= 1.02 * at_end(random_search(configs))
    assert epochs == 64 * 9 + 21 * 18 + 7 * 54
    assert epochs <= 0.35 * NUM_TRIALS * NUM_EPOCHS


DRIFT = 0.6
MOVING = config().model_copy(update={"drift": DRIFT, "noise": 0.0})


def with_first(schedule: Constant | Anchors) -> SyntheticConfig:
    return MOVING.model_copy(update={"weights": MOVING.weights.model_copy(update={"first": schedule})})


def test_the_best_fixed_weight_misses_a_moving_optimum_by_its_variance_and_a_curve_follows() -> None:
    fixed = min(at_end(with_first(Constant(level=level))) for level in np.linspace(0, 1, 201))
    variance = DRIFT**2 / 12 * (1 - 1 / NUM_EPOCHS**2)  # of evenly spaced numbers
    assert fixed == pytest.approx(FLOOR * (1 + variance / 0.5**2), rel=1e-4)
    follows = Anchors(initial=0, warmup=BEST_FIRST, final=BEST_FIRST + DRIFT, warmup_steps=0)
    assert at_end(with_first(follows)) == pytest.approx(FLOOR, rel=1e-6)
    space = Space({"weights.first": CurveConfig(low=0, high=1, shape="rising", warmup_steps=0)}, seed=1)
    drawn = [at_end(apply(MOVING, space.sample(n))) for n in range(64)]
    assert min(drawn) < fixed, "random curves too beat the best fixed weight"


def populate(space: Space, move: Callable[[Place, int], Place], num: int = 8, every: int = 5) -> State:
    """Population based training in small: the worst quarter goes on from the state of the best, with moved weights."""
    places, states = [space.place(n) for n in range(num)], [State()] * num
    for epoch in range(NUM_EPOCHS):
        states = [state.after(apply(MOVING, space.values(place))) for state, place in zip(states, places, strict=True)]
        if epoch % every == every - 1:
            order = sorted(range(num), key=lambda n: states[n].true_score())
            for good, bad in zip(order[: num // 4], order[-(num // 4) :], strict=True):
                states[bad], places[bad] = states[good], move(places[good], epoch * num + bad)
    return min(states, key=State.true_score)


def test_a_population_follows_the_optimum_better_than_the_best_fixed_weight() -> None:
    space = Space({"weights.first": UniformConfig(low=0, high=1)}, seed=2)
    best = populate(space, lambda place, number: space.moved(place, number, spread=0.1, resample=0.1))
    fixed = min(at_end(with_first(Constant(level=level))) for level in np.linspace(0, 1, 201))
    assert best.epoch == NUM_EPOCHS
    assert best.true_score() < fixed
