"""A stage as a distribution: what it draws, and what its importance weights do."""

import pytest
import torch
from scipy import stats

from mien import draws
from mien.diffusion.pacing import Pacing, Progress, Stage, uniform_stage

UNEVEN = Stage("uneven", torch.tensor([0.1, 0.0, 0.6, 0.3], dtype=torch.float64), is_corrected=True)


def uniforms(num: int) -> torch.Tensor:
    return draws.uniform(draws.keys(0, "timestep", torch.arange(num)), dtype=torch.float64)


def test_timesteps_are_drawn_by_their_probability() -> None:
    counts = torch.bincount(UNEVEN.draw(uniforms(20_000)), minlength=4)
    assert counts[1] == 0
    assert stats.chisquare(counts[[0, 2, 3]].numpy(), [2000, 12_000, 6000]).pvalue > 0.01


def test_the_ends_of_the_unit_interval_stay_inside() -> None:
    stage = uniform_stage("part", 2, 5, 7)
    ends = torch.tensor([0.0, 1 / 3 + 1e-9, 2 / 3 + 1e-9, 1 - 2**-53], dtype=torch.float64)
    assert stage.draw(ends).tolist() == [2, 3, 4, 4]
    assert stage.draw(torch.tensor([0.0, 1 - 2**-24])).tolist() == [2, 4]


def test_a_draw_depends_on_its_own_number_alone() -> None:
    together = UNEVEN.draw(uniforms(50))
    assert torch.equal(together[20:30], UNEVEN.draw(uniforms(50)[20:30]))


def test_importance_undoes_the_distribution() -> None:
    loss = torch.tensor([3.0, 0.0, 0.5, 2.0], dtype=torch.float64)
    t = UNEVEN.draw(uniforms(20_000))
    assert (UNEVEN.importance(t) * loss[t]).mean().item() == pytest.approx(loss.mean().item(), rel=0.03)
    assert torch.equal(uniform_stage("part", 2, 5, 7).importance(t), torch.ones(20_000, dtype=torch.float64))


def test_a_pacing_without_state() -> None:
    pacing = Pacing()
    pacing.load_state_dict(pacing.state_dict())
    with pytest.raises(ValueError, match=r"the state holds \['stage'\], but Pacing keeps none"):
        pacing.load_state_dict({"stage": 1})
    with pytest.raises(NotImplementedError, match="Pacing has no stages"):
        pacing.stage_at(Progress())
