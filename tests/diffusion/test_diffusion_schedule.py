"""Schedules and conversions against diffusers and published numbers."""

import pytest
import torch
from diffusers import DDPMScheduler

from mien.config import Config, ConfigError
from mien.diffusion.schedule import CosineScheduleConfig, LinearScheduleConfig, Prediction, Schedule, ScheduleConfig

LINEAR, COSINE = LinearScheduleConfig().build(), CosineScheduleConfig().build()
BOTH = pytest.mark.parametrize(("schedule", "name"), [(LINEAR, "linear"), (COSINE, "squaredcos_cap_v2")])
T = torch.tensor([0, 1, 100, 500, 998, 999])
DIFFUSERS: dict[Prediction, str] = {"eps": "epsilon", "x_0": "sample", "v": "v_prediction"}


def data() -> tuple[torch.Tensor, torch.Tensor]:
    x_0, noise = torch.randn(2, len(T), 3, 4, dtype=torch.float64)
    return x_0, noise


@BOTH
def test_tables_are_those_of_diffusers(schedule: Schedule, name: str) -> None:
    theirs = DDPMScheduler(beta_schedule=name)  # float32
    assert torch.allclose(schedule.betas.float(), theirs.betas, rtol=1e-4, atol=1e-7)
    assert torch.allclose(schedule.alphas.float(), theirs.alphas, rtol=1e-4)
    assert torch.allclose(schedule.alpha_bar.float(), theirs.alphas_cumprod, rtol=1e-3, atol=1e-7)
    assert schedule.alpha_bar.dtype == torch.float64
    assert schedule.num_steps == 1000


def test_published_numbers() -> None:
    assert LINEAR.alpha_bar[[100, 500, 900]].sqrt().tolist() == pytest.approx([0.9461, 0.2789, 0.0164], abs=5e-5)
    assert LINEAR.snr[[100, 500, 900]].tolist() == pytest.approx([8.5, 0.084, 0.00027], rel=0.01)
    visited = COSINE.alpha_bar[[599, 479, 359, 239, 119]].tolist()
    assert visited == pytest.approx([0.3408, 0.5250, 0.7058, 0.8581, 0.9609], abs=5e-5)
    assert COSINE.snr[[0, 10, 100, 500]].tolist() == pytest.approx([24221, 1386, 34, 0.97], rel=0.01)
    assert COSINE.betas.max() == COSINE.betas[999] == 0.999


@BOTH
def test_noise_is_added_as_in_diffusers(schedule: Schedule, name: str) -> None:
    theirs, (x_0, noise) = DDPMScheduler(beta_schedule=name), data()
    assert torch.allclose(schedule.add_noise(x_0, noise, T), theirs.add_noise(x_0, noise, T), atol=1e-5)
    velocity = schedule.target("v", x_0, noise, T)
    assert torch.allclose(velocity, theirs.get_velocity(x_0, noise, T), atol=1e-5)


@BOTH
@pytest.mark.parametrize("prediction", ["eps", "x_0", "v"])
def test_every_prediction_leads_back_to_data_and_noise(schedule: Schedule, name: str, prediction: Prediction) -> None:
    x_0, noise = data()
    x_t = schedule.add_noise(x_0, noise, T)
    found = schedule.x_0_from(prediction, schedule.target(prediction, x_0, noise, T), x_t, T)
    assert torch.allclose(found, x_0, atol=1e-9)
    assert torch.allclose(schedule.eps_from(x_0, x_t, T), noise, atol=1e-9)


@BOTH
def test_the_posterior_is_the_gaussian_of_two_gaussians(schedule: Schedule, name: str) -> None:
    """q(x_(t-1) | x_0) times q(x_t | x_(t-1)), completed to a square; neither is spelled so in the code."""
    t = T[1:]
    x_0, x_t = torch.randn(2, len(t), 1, dtype=torch.float64)
    before, alpha, beta = schedule.alpha_bar[t - 1], schedule.alphas[t], schedule.betas[t]
    precision = 1 / (1 - before) + alpha / beta
    assert torch.allclose(schedule.posterior_variance("small")[t], 1 / precision, rtol=1e-9)
    expected = (before.sqrt() / (1 - before) * x_0[:, 0] + alpha.sqrt() / beta * x_t[:, 0]) / precision
    assert torch.allclose(schedule.posterior_mean(x_0, x_t, t)[:, 0], expected, rtol=1e-9)


def test_the_first_timestep_leads_to_the_data() -> None:
    x_0, x_t = torch.randn(2, 4, 3, dtype=torch.float64)
    assert torch.allclose(LINEAR.posterior_mean(x_0, x_t, torch.zeros(4, dtype=torch.int64)), x_0, atol=1e-12)
    assert LINEAR.posterior_variance("small")[0] == 0
    assert torch.equal(LINEAR.posterior_variance("large"), LINEAR.betas)
    assert (LINEAR.alpha_bar_at(-1), LINEAR.alpha_bar_at(0)) == (1.0, pytest.approx(1 - 1e-4))


def test_the_type_of_the_batch_stays() -> None:
    x_0 = torch.ones(len(T), 2, dtype=torch.bfloat16)
    assert LINEAR.add_noise(x_0, x_0, T).dtype == torch.bfloat16
    assert LINEAR.posterior_mean(x_0, x_0, T).dtype == torch.bfloat16
    assert LINEAR.to("cpu").betas.dtype == torch.float64


class Holder(Config):
    schedule: ScheduleConfig = LinearScheduleConfig()


def test_kinds_by_name_and_schedules_that_do_not_exist() -> None:
    assert Holder.parse({"schedule": {"kind": "cosine", "num_steps": 10}}, "test").schedule.build().num_steps == 10
    with pytest.raises(ConfigError, match=r"first_beta=0.1 is above last_beta=0.02"):
        Holder.parse({"schedule": {"first_beta": 0.1}}, "test")
    with pytest.raises(ValueError, match="0 < beta < 1"):
        Schedule(torch.tensor([0.1, 1.0]))
