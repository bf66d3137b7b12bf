"""Schedules against values that are known, and against numpy and torch."""

from typing import Any

import numpy as np
import pytest
import torch

from mien.config import Config
from mien.errors import ConfigError
from mien.losses.weights import Anchors, Constant, Cosine, Piecewise, Schedule

STEPS = [0, 1500, 3000, 6500, 10_000]


class Run(Config):
    weight: Schedule = Anchors(initial=0.01, warmup=0.2, final=0.5)
    """A weight."""


def test_anchors_at_known_steps() -> None:
    weight = Anchors(initial=0.01, warmup=0.2, final=0.5)
    assert [weight.value(step, 10_000) for step in STEPS] == pytest.approx([0.01, 0.105, 0.2, 0.35, 0.5])
    rate = Anchors(initial=5e-5, warmup=5e-5, final=1e-6)
    assert [rate.value(step, 10_000) for step in STEPS] == pytest.approx([5e-5, 5e-5, 5e-5, 2.55e-5, 1e-6])


@pytest.mark.parametrize("total", [1, 1000, 2999, 3000])
def test_a_run_that_ends_within_its_warmup_follows_the_first_line(total: int) -> None:
    weight = Anchors(initial=0.0, warmup=3.0, final=100.0)
    values = [weight.value(step, total) for step in range(0, total + 1, max(1, total // 10))]
    assert values == pytest.approx([step / 1000 for step in range(0, total + 1, max(1, total // 10))])


@pytest.mark.parametrize("warmup", [0, 1])
def test_a_run_of_one_step_has_a_value(warmup: int) -> None:
    assert Anchors(initial=1, warmup=2, final=3, warmup_steps=warmup).value(0, 1) == (1 if warmup else 2)
    assert Cosine(initial=1, peak=2, final=3, warmup_steps=warmup).value(0, 1) == (1 if warmup else 2)


def test_after_the_last_step_the_value_stays() -> None:
    assert Anchors(initial=0, warmup=1, final=2, warmup_steps=10).value(500, 100) == 2
    assert Cosine(peak=1, final=0.1).value(500, 100) == pytest.approx(0.1)


def test_a_cosine_is_that_of_torch() -> None:
    optimiser = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=2.0)
    reference = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, T_max=80, eta_min=0.5)
    ours = Cosine(initial=0.0, peak=2.0, final=0.5, warmup_steps=20)
    assert [ours.value(step, 100) for step in (0, 5, 10)] == pytest.approx([0, 0.5, 1])
    for step in range(20, 101):
        assert ours.value(step, 100) == pytest.approx(reference.get_last_lr()[0], rel=1e-9)
        optimiser.step()
        reference.step()


POINTS = ((10.0, 1.0), (30.0, 3.0), (40.0, -2.0))


def test_a_piecewise_line_is_that_of_numpy() -> None:
    ours = Piecewise(points=POINTS)
    places, values = zip(*POINTS, strict=True)
    for step in range(60):
        assert ours.value(step, 60) == pytest.approx(np.interp(step, places, values))
    shares = Piecewise(points=tuple((place / 100, value) for place, value in POINTS), unit="share")
    for step in range(0, 600, 7):
        assert shares.value(step, 1000) == pytest.approx(np.interp(step / 10, places, values))


def test_steps_hold_the_value_of_the_place_before() -> None:
    ours = Piecewise(points=POINTS, interpolation="step")
    assert [ours.value(step, 60) for step in (0, 10, 29, 30, 39, 40, 59)] == [1, 1, 1, 3, 3, -2, -2]


@pytest.mark.parametrize("places", [(1, 1), (2, 1)])
def test_places_that_do_not_rise_are_refused(places: tuple[float, float]) -> None:
    with pytest.raises(ValueError, match="do not rise"):
        Piecewise(points=tuple((place, 0.0) for place in places))


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        (0.5, Constant(level=0.5)),
        (1, Constant(level=1)),
        ([0.1, 0.2, 0.3], Anchors(initial=0.1, warmup=0.2, final=0.3)),
        ({"kind": "cosine", "peak": 1}, Cosine(peak=1)),
        (
            {"kind": "piecewise", "points": [[0, 1], [0.5, 2]], "unit": "share"},
            Piecewise(points=((0, 1), (0.5, 2)), unit="share"),
        ),
        ({"warmup_steps": 10}, Anchors(initial=0.01, warmup=0.2, final=0.5, warmup_steps=10)),
    ],
)
def test_what_stands_in_yaml(given: Any, expected: Config) -> None:
    run = Run.parse({"weight": given}, "run.yaml")
    assert run.weight == expected
    assert Run.parse(run.dump(), "dump") == run


@pytest.mark.parametrize(
    "given", [True, "high", [1, 2], [1, 2, 3, 4], float("nan"), [0, 1, float("inf")], {"kind": "steep"}]
)
def test_what_is_no_schedule_is_refused(given: Any) -> None:
    with pytest.raises(ConfigError, match="weight"):
        Run.parse({"weight": given}, "run.yaml")
