"""Denoising: its loss against diffusers, what stages change and what they do not, and the closed form of two points."""

import math
from typing import Any

import pytest
import torch
from diffusers import DDPMScheduler
from torch import Tensor, nn

from mien import draws
from mien.diffusion.pacing import Progress
from mien.errors import ConfigError
from mien.models.time_embedding import sinusoid
from mien.objectives.batch import Samples
from mien.objectives.diffusion import Ddpm, DdpmConfig, Diffusion, ProcessConfig

TINY = {"image_size_px": 8, "base_channels": 32, "multipliers": [1], "attention_levels": [], "num_blocks": 1}
HARD = {"kind": "hard", "unit": "step", "stages": [{"length": 2, "t_min": 0.9}, {"length": 98}]}


def ddpm(**changes: Any) -> Ddpm:
    torch.manual_seed(0)
    made = DdpmConfig.parse({"network": TINY, **changes}, "test").build()
    for parameter in made.parameters():
        torch.nn.init.normal_(parameter, std=0.05)  # fresh ones predict 0 whatever they see
    return made


def samples(num: int = 16, step: int = 0) -> Samples:
    values = torch.rand(num, 3, 8, 8, generator=torch.Generator().manual_seed(1)) * 2 - 1
    return Samples(values, draws.keys(0, "sample", torch.arange(num), step), torch.ones(num, dtype=torch.bool))


@pytest.mark.parametrize(("ours", "theirs"), [("eps", "epsilon"), ("v", "v_prediction"), ("x_0", "sample")])
def test_the_loss_is_that_of_an_independent_scheduler(ours: str, theirs: str) -> None:
    objective, batch = ddpm(prediction=ours), samples()
    outcome = objective(batch)
    t = outcome.seen["t"]
    noise = draws.normal(draws.fold(batch.keys, 1), batch.values.shape[1:])
    reference = DDPMScheduler(beta_start=1e-4, beta_end=0.02, prediction_type=theirs)
    noisy = reference.add_noise(batch.values, noise, t)
    targets = {"eps": noise, "x_0": batch.values, "v": reference.get_velocity(batch.values, noise, t)}
    expected = (objective.network(noisy, t, batch.keys) - targets[ours]).square().mean((1, 2, 3)).sum()
    torch.testing.assert_close(outcome.terms["denoising"].sum, expected, rtol=1e-4, atol=1e-4)


def test_training_draws_from_its_stage_and_validation_from_all_timesteps_alike() -> None:
    staged, plain = ddpm(timesteps=HARD), ddpm()
    batch = samples(256)
    staged.begin(Progress(step=0))
    assert int(staged(batch).seen["t"].min()) >= 900
    staged.begin(Progress(step=2))
    assert int(staged(batch).seen["t"].min()) < 100
    staged.begin(Progress(step=0))
    assert torch.equal(staged.eval()(batch).seen["t"], plain.eval()(batch).seen["t"]), "one grid for all variants"


def test_bands_divide_the_error_and_a_sample_without_a_face_counts_nowhere() -> None:
    objective, batch = ddpm().eval(), samples(64)
    watched = objective(batch).watched
    bands = [term for name, term in watched.items() if name != "error"]
    assert len(bands) == 4
    torch.testing.assert_close(torch.stack([term.sum for term in bands]).sum(), watched["error"].sum)
    assert sum(int(term.count) for term in bands) == 64
    mask = torch.arange(64) < 10
    of_ten = objective(Samples(batch.values, batch.keys, mask)).terms["denoising"]
    alone = objective(Samples(batch.values[:10], batch.keys[:10], mask[:10])).terms["denoising"]
    torch.testing.assert_close(of_ten.sum, alone.sum)
    assert int(of_ten.count) == int(objective.counts(Samples(batch.values, batch.keys, mask))["denoising"]) == 10


@pytest.mark.parametrize("kind", ["task_difficulty", "loss_aware"])
def test_a_pacing_that_follows_losses_goes_on_from_its_checkpoint(kind: str) -> None:
    settings = {"kind": kind, **({"num_clusters": 5, "patience": 2} if kind == "task_difficulty" else {"history": 2})}
    one, other = ddpm(timesteps=settings), ddpm(timesteps=settings)
    assert one.follows
    for step in range(6):
        one.follow(dict(one(samples(64, step)).seen))
    carried = {name: tensor.clone() for name, tensor in one.carried().items()}
    other.carry_on(carried)
    for each in (one, other):
        each.follow(dict(each(samples(64, 7)).seen))
        each.begin(Progress(step=8))
    assert one.stage == other.stage
    assert torch.equal(one._stage.probabilities, other._stage.probabilities)
    assert not ddpm().follows
    assert ddpm().carried() == {}


def test_a_sample_depends_on_its_key_alone() -> None:
    objective = ddpm(sampler={"kind": "ddim", "num_steps": 4})
    keys = draws.keys(3, "samples", torch.arange(4))
    together = objective.sample(keys)
    torch.testing.assert_close(objective.sample(keys[2:3]), together[2:3], rtol=1e-3, atol=1e-4)
    assert not torch.allclose(together[0], together[1])
    assert together.abs().max() <= 1
    assert objective.training, "the mode is as it was"


def test_more_steps_of_the_sampler_than_timesteps_are_refused_with_the_config() -> None:
    with pytest.raises(ConfigError, match="num_steps=50 of a sampler are more than the schedule has: 20"):
        DdpmConfig.parse({"network": TINY, "schedule": {"kind": "linear", "num_steps": 20}}, "test")


class Plane(nn.Module):
    """A small network of points of a plane."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(34, 128), nn.SiLU(), nn.Linear(128, 128), nn.SiLU(), nn.Linear(128, 2))

    def forward(self, x: Tensor, t: Tensor) -> Tensor:
        made: Tensor = self.layers(torch.cat([x, sinusoid(t, 32)], 1))
        return made


def test_a_network_of_two_points_learns_the_closed_form() -> None:
    """The best guess of the noise, for data that is +p or -p alike, is (x - √ᾱ p tanh(√ᾱ p·x / (1 - ᾱ))) / √(1 - ᾱ)."""
    torch.manual_seed(0)
    objective, point = Diffusion(ProcessConfig(), Plane()), torch.tensor([0.8, -0.6])
    optimizer = torch.optim.Adam(objective.parameters(), lr=4e-3)
    num_steps = 3000
    for step in range(num_steps):
        keys = draws.keys(0, "sample", torch.arange(256), step)
        signs = torch.where(torch.arange(256) % 2 == 0, 1.0, -1.0)
        term = objective(Samples(signs[:, None] * point, keys, torch.ones(256, dtype=torch.bool))).terms["denoising"]
        optimizer.zero_grad()
        (term.sum / term.count).backward()
        optimizer.param_groups[0]["lr"] = 4e-3 * (1 + math.cos(math.pi * step / num_steps)) / 2
        optimizer.step()
    keys = draws.keys(1, "test", torch.arange(4000))
    t = draws.integers(draws.fold(keys, 1), 900, 50)
    x_t = objective.noisy(torch.where(keys[:, None] % 2 == 0, point, -point), draws.normal(keys, (2,)), t)
    alpha_bar = objective.schedule.alpha_bar[t][:, None].float()
    guess = point * torch.tanh(alpha_bar.sqrt() * (x_t @ point)[:, None] / (1 - alpha_bar))
    best = (x_t - alpha_bar.sqrt() * guess) / (1 - alpha_bar).sqrt()
    with torch.no_grad():
        error = (objective.network(x_t, t) - best).square().mean()
    assert error < 0.02
    assert error < 0.1 * best.square().mean()


@pytest.mark.slow
def test_a_small_network_learns_eight_images_by_heart() -> None:
    """A minute on two cores: the error of the noise falls below 0.05 on the fixed grid, and samples are the images.

    It says v, not eps: of nearly pure noise the least error of eps is a wrong colour of the whole image, which takes
    a training of days to unlearn.
    """
    torch.manual_seed(0)
    network = {"image_size_px": 16, "base_channels": 32, "multipliers": [1, 2], "attention_levels": [], "num_blocks": 1}
    objective = DdpmConfig.parse({"network": network, "prediction": "v"}, "test").build()
    rows = torch.linspace(-1, 1, 16)
    disc = (rows[:, None] ** 2 + rows[None, :] ** 2 < 0.5).float() * 2 - 1
    colours = torch.tensor([[(n >> c & 1) * 2.0 - 1 for c in range(3)] for n in range(8)])
    images = torch.where(disc > 0, colours[:, :, None, None], -colours[:, :, None, None] * 0.5)
    optimizer = torch.optim.Adam(objective.parameters(), lr=1e-3)
    counted, num_steps = torch.ones(32, dtype=torch.bool), 1000
    for step in range(num_steps):
        optimizer.param_groups[0]["lr"] = 1e-3 * (1 + math.cos(math.pi * step / num_steps)) / 2
        places = torch.arange(32)
        batch = Samples(images[places % 8], draws.keys(0, "sample", places, step), counted)
        term = objective(batch).terms["denoising"]
        optimizer.zero_grad()
        (term.sum / term.count).backward()
        nn.utils.clip_grad_norm_(objective.parameters(), 1.0)
        optimizer.step()
    places = torch.arange(256)
    grid = Samples(images[places % 8], draws.keys(0, "validation", places), torch.ones(256, dtype=torch.bool))
    with torch.no_grad():
        seen = objective.eval()(grid).seen
    of_noise = (
        objective.schedule.alpha_bar[seen["t"]] * seen["error"]
    )  # Salimans and Ho 2022: eps = √ᾱ v + √(1 - ᾱ) x_t
    assert float(of_noise.mean()) < 0.05
    made = objective.sample(draws.keys(5, "samples", torch.arange(16)))
    distances = (made[:, None] - images[None]).square().mean((2, 3, 4))
    assert float(distances.min(1).values.median()) < 0.05, "samples are not the images"
    assert len({*distances.argmin(1).tolist()}) >= 4
