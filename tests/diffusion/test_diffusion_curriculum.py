"""Curricula: the published one looked up, ranges, Beta distributions against scipy, and what is refused."""

import pytest
import torch
from scipy import special, stats

from mien import draws
from mien.config import ConfigError
from mien.diffusion.curriculum import Curriculum, CurriculumConfig, incomplete_beta
from mien.diffusion.pacing import Progress, Stage

T_MINS = [0.3, 0.2, 0.15, 0.1, 0.07, 0.05, 0.03, 0.01]
CELEBA64_C = {"stages": [{"t_min": t_min, "length": 1} for t_min in T_MINS] + [{"t_min": 0.0, "length": 12}]}


def build(num_steps: int = 1000, **values: object) -> Curriculum:
    return CurriculumConfig.parse(values, "test").build(num_steps)


def span(stage: Stage) -> tuple[int, int]:
    """First and last timestep that can be drawn."""
    possible = stage.probabilities.nonzero()[:, 0]
    return int(possible[0]), int(possible[-1])


def test_the_nine_stages_of_celeba64_c() -> None:
    curriculum = build(**CELEBA64_C)
    found = [span(curriculum.stage_at(Progress(epoch=epoch))) for epoch in range(20)]
    assert found == [(low, 999) for low in [300, 200, 150, 100, 70, 50, 30, 10] + [0] * 12]
    assert [stage.name for stage in curriculum.stages] == [f"stage{number}" for number in range(1, 10)]
    curriculum.check_length(20)


def test_every_timestep_of_a_range_is_as_likely() -> None:
    stage = build(**CELEBA64_C).stage_at(Progress(epoch=2))
    u = draws.uniform(draws.keys(0, "timestep", torch.arange(20_000)), dtype=torch.float64)
    t = stage.draw(u)
    assert torch.equal(t, 150 + (u * 850).long())
    assert stats.chisquare(torch.bincount((t - 150) // 50).numpy()).pvalue > 0.01


def test_either_direction_by_step() -> None:
    stages = [{"t_max": share, "length": 50, "name": f"up_to_{share}"} for share in (0.25, 0.5, 0.75, 1.0)]
    curriculum = build(unit="step", stages=stages)
    found = {step: curriculum.stage_at(Progress(step=step, epoch=9)) for step in (0, 49, 50, 150, 199)}
    assert {step: span(stage) for step, stage in found.items()} == {
        0: (0, 249),
        49: (0, 249),
        50: (0, 499),
        150: (0, 999),
        199: (0, 999),
    }
    assert found[49].name == "up_to_0.25"


@pytest.mark.parametrize(
    ("t_min", "t_max", "num_steps", "expected"),
    [(0.57, 1.0, 100, (57, 99)), (0.3, 0.301, 100, (30, 30)), (0.99, 1.0, 10, (9, 9)), (0.0, 0.01, 10, (0, 0))],
)
def test_ranges_are_rounded_down_and_never_empty(
    t_min: float, t_max: float, num_steps: int, expected: tuple[int, int]
) -> None:
    curriculum = build(num_steps, stages=[{"t_min": t_min, "t_max": t_max, "length": 1}])
    assert span(curriculum.stages[0]) == expected


SHAPES = [(1, 1), (0.5, 0.5), (2, 5), (8, 1.5), (1000, 1000), (1000, 0.3), (0.01, 9)]


@pytest.mark.parametrize(("alpha", "beta"), SHAPES)
def test_the_beta_distribution_is_that_of_scipy(alpha: float, beta: float) -> None:
    x = torch.linspace(0, 1, 301, dtype=torch.float64)
    expected = torch.from_numpy(special.betainc(alpha, beta, x.numpy()))
    assert torch.allclose(incomplete_beta(x, alpha, beta), expected, atol=1e-10)


def test_soft_stages_draw_from_their_beta_distribution() -> None:
    stage = build(100, kind="soft", stages=[{"alpha": 5, "beta": 2, "length": 1}]).stages[0]
    drawn = torch.from_numpy(stats.beta(5, 2).rvs(20_000, random_state=0))
    expected = torch.bincount((drawn * 99).floor().long(), minlength=100)
    assert (stage.probabilities - expected / 20_000).abs().max() < 0.005
    assert stage.probabilities[99] == 0
    assert stage.probabilities.sum().item() == pytest.approx(1)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"stages": []}, "stages: .*at least 1 item"),
        ({}, "stages: is required"),
        ({"stages": [{"t_min": 0.5, "t_max": 0.5, "length": 1}]}, "t_min=0.5 must be below t_max=0.5"),
        ({"stages": [{"t_min": -0.1, "length": 1}]}, "t_min: .*greater than or equal to 0"),
        ({"stages": [{"length": 0}]}, "length: .*greater than or equal to 1"),
        ({"stages": [{"length": 1}], "unit": "image"}, "unit: .*'epoch' or 'step'"),
    ],
)
def test_curricula_that_do_not_exist(values: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        build(**values)


def test_a_training_that_outlasts_its_stages_is_refused_before_it_begins() -> None:
    curriculum = build(**CELEBA64_C)
    with pytest.raises(ValueError, match="end after 20 epochs, before a training of 21 does; lengthen the last one"):
        curriculum.check_length(21)
    with pytest.raises(ValueError, match="end after 20 epochs"):
        curriculum.stage_at(Progress(epoch=20))
