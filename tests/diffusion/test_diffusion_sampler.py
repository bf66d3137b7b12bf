"""Samplers against the schedulers of diffusers, and against a data set whose best denoiser is known."""

import math
from collections.abc import Callable

import pytest
import torch
from diffusers import DDIMScheduler, DDPMScheduler
from scipy import stats

from mien.diffusion.sampler import DdimConfig, DdpmConfig, Denoiser, SamplerConfig, ddim_step
from mien.diffusion.schedule import LinearScheduleConfig, Prediction

NUM_STEPS = 100
SCHEDULE = LinearScheduleConfig(num_steps=NUM_STEPS, last_beta=0.2).build()
DIFFUSERS: dict[Prediction, str] = {"eps": "epsilon", "x_0": "sample", "v": "v_prediction"}
PREDICTIONS = pytest.mark.parametrize("prediction", ["eps", "x_0", "v"])


def network(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
    """Bends its input, more at high timesteps, beyond the bounds that samplers clip to."""
    return 1.5 * torch.tanh(x) + (t / NUM_STEPS).to(x)[:, None]


def noises(num: int, *shape: int) -> Callable[[int], torch.Tensor]:
    drawn = torch.randn(num, *shape, dtype=torch.float64)
    return lambda step: drawn[step]


def in_float64(scheduler: DDPMScheduler | DDIMScheduler) -> None:
    """Theirs holds float32: the same betas, as theirs are made from them."""
    scheduler.alphas_cumprod = torch.cumprod(1 - torch.linspace(1e-4, 0.2, NUM_STEPS, dtype=torch.float64), dim=0)
    scheduler.one = torch.tensor(1.0, dtype=torch.float64)


@PREDICTIONS
@pytest.mark.parametrize("variance", ["small", "large"])
@pytest.mark.parametrize("clip", [None, 1.0])
def test_ddpm_is_that_of_diffusers(prediction: Prediction, variance: str, clip: float | None) -> None:
    theirs = DDPMScheduler(
        num_train_timesteps=NUM_STEPS,
        variance_type=f"fixed_{variance}",
        prediction_type=DIFFUSERS[prediction],
        clip_sample=clip is not None,
    )
    in_float64(theirs)
    start, generator = torch.randn(3, 4, dtype=torch.float64), torch.Generator().manual_seed(5)
    expected = start
    for t in range(NUM_STEPS - 1, -1, -1):
        predicted = network(expected, torch.full((3,), t))
        expected = theirs.step(predicted, t, expected, generator=generator).prev_sample
    generator.manual_seed(5)
    sampler = DdpmConfig(variance=variance, clip=clip)
    denoiser = Denoiser(network, SCHEDULE, prediction)
    found = sampler.sample(denoiser, start, lambda _: torch.randn(3, 4, dtype=torch.float64, generator=generator))
    assert torch.allclose(found, expected, rtol=1e-8, atol=1e-8)


@PREDICTIONS
@pytest.mark.parametrize("eta", [0.0, 0.7])
@pytest.mark.parametrize("spacing", ["leading", "trailing"])
def test_ddim_is_that_of_diffusers(prediction: Prediction, eta: float, spacing: str) -> None:
    theirs = DDIMScheduler(
        num_train_timesteps=NUM_STEPS, prediction_type=DIFFUSERS[prediction], timestep_spacing=spacing
    )
    in_float64(theirs)
    theirs.set_timesteps(20)
    start, noise = torch.randn(3, 4, dtype=torch.float64), noises(20, 3, 4)
    expected = start
    for step, t in enumerate(theirs.timesteps.tolist()):
        predicted = network(expected, torch.full((3,), t))
        expected = theirs.step(
            predicted, t, expected, eta=eta, use_clipped_model_output=True, variance_noise=noise(step)
        ).prev_sample
    sampler = DdimConfig(num_steps=20, eta=eta, spacing=spacing)
    found = sampler.sample(Denoiser(network, SCHEDULE, prediction), start, noise)
    assert torch.allclose(found, expected, rtol=1e-8, atol=1e-8)


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
@pytest.mark.parametrize("num_steps", [2, 7, 50, 1000])
def test_timesteps_are_spaced_as_in_diffusers(spacing: str, num_steps: int) -> None:
    theirs = DDIMScheduler(timestep_spacing=spacing)
    theirs.set_timesteps(num_steps)
    assert DdimConfig(num_steps=num_steps, spacing=spacing).timesteps(1000) == theirs.timesteps.tolist()


def test_ddim_with_all_timesteps_and_all_noise_is_ddpm() -> None:
    start, noise = torch.randn(3, 4, dtype=torch.float64), noises(NUM_STEPS, 3, 4)
    denoiser = Denoiser(network, SCHEDULE)
    ddim = DdimConfig(num_steps=NUM_STEPS, eta=1.0).sample(denoiser, start, noise)
    assert torch.allclose(ddim, DdpmConfig().sample(denoiser, start, noise), atol=1e-8)


def best_denoiser(points: torch.Tensor, shares: torch.Tensor) -> Denoiser:
    """E[x_0 | x_t] where the data are a few points: their mean by posterior probability."""

    def expected(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha_bar = SCHEDULE.alpha_bar[t][:, None]
        distance = (x[:, None] - alpha_bar[..., None].sqrt() * points).square().sum(2)
        return (shares.log() - distance / (2 * (1 - alpha_bar))).softmax(1) @ points

    return Denoiser(expected, SCHEDULE, "x_0")


SAMPLERS = [DdpmConfig(), DdimConfig(num_steps=NUM_STEPS), DdimConfig(eta=1.0, spacing="trailing")]


@pytest.mark.parametrize("sampler", SAMPLERS, ids=["ddpm", "ddim", "stochastic ddim"])
def test_the_best_denoiser_of_two_points_leads_to_them_in_their_shares(sampler: SamplerConfig) -> None:
    points, shares = torch.tensor([[0.9, -0.3], [-0.6, 0.5]]).double(), torch.tensor([0.3, 0.7]).double()
    num = 2000
    start = torch.randn(num, 2, dtype=torch.float64)
    found = sampler.sample(best_denoiser(points, shares), start, noises(NUM_STEPS, num, 2))
    distance, nearest = torch.cdist(found, points).min(dim=1)
    assert distance.quantile(0.99) < 0.02
    assert stats.binomtest(int((nearest == 0).sum()), num, 0.3).pvalue > 0.01


@pytest.mark.parametrize("sampler", [DdpmConfig(), DdimConfig(num_steps=7, eta=0.5)], ids=["ddpm", "ddim"])
def test_who_watches_sees_every_step_and_changes_nothing(sampler: SamplerConfig) -> None:
    start, noise = torch.randn(3, 4, dtype=torch.float64), noises(NUM_STEPS, 3, 4)
    seen = list[tuple[int, torch.Tensor, torch.Tensor]]()
    watched = Denoiser(network, SCHEDULE, watch=lambda *step: seen.append(step))
    found = sampler.sample(watched, start, noise)
    assert torch.equal(found, sampler.sample(Denoiser(network, SCHEDULE), start, noise))
    assert [t for t, _, _ in seen] == sampler.timesteps(NUM_STEPS)
    assert torch.equal(seen[0][1], start)
    assert torch.allclose(seen[-1][2], found), "the last estimate is the result"
    for t, x_t, x_0 in seen:
        assert torch.equal(x_0, Denoiser(network, SCHEDULE).estimate(x_t, t, clip=1.0)[0])


def test_clipped_data_take_their_noise_along() -> None:
    x_t = torch.tensor([[3.0, -0.2]], dtype=torch.float64)
    denoiser = Denoiser(lambda x, _: 10 * x, SCHEDULE, "x_0")
    x_0, eps = denoiser.estimate(x_t, 50, clip=1.0)
    assert x_0.tolist() == [[1.0, -1.0]]
    alpha_bar = SCHEDULE.alpha_bar_at(50)
    assert torch.allclose(math.sqrt(alpha_bar) * x_0 + math.sqrt(1 - alpha_bar) * eps, x_t)
    assert torch.equal(ddim_step(x_0, eps, 1.0), x_0)


def test_what_is_missing_is_told() -> None:
    denoiser, start = Denoiser(network, SCHEDULE), torch.zeros(1, 2)
    with pytest.raises(ValueError, match="ddpm needs noise"):
        DdpmConfig().sample(denoiser, start)
    with pytest.raises(ValueError, match="eta > 0 needs noise"):
        DdimConfig(eta=0.5).sample(denoiser, start)
    with pytest.raises(ValueError, match="num_steps=101 of a sampler are more than the schedule has: 100"):
        DdimConfig(num_steps=101).sample(denoiser, start)
