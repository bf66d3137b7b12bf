"""The bridge against its published numbers, a plain loop, and targets whose best denoiser is known."""

import itertools
import math
from collections.abc import Callable

import numpy as np
import pytest
import torch

from mien.config import ConfigError
from mien.diffusion import bridge
from mien.diffusion.bridge import BridgeConfig
from mien.diffusion.sampler import Denoiser
from mien.diffusion.schedule import CosineScheduleConfig

SCHEDULE = CosineScheduleConfig().build()
ALPHA_BAR = np.append(SCHEDULE.alpha_bar.numpy(), 1.0)  # the last one stands for t = -1, the data
DIM = 12


def embeddings(num: int = 5) -> torch.Tensor:
    return 3 * torch.randn(num, DIM, dtype=torch.float64) + 1


def mean_of(x: torch.Tensor) -> torch.Tensor:
    return (x / x.norm(dim=1, keepdim=True)).mean(0)


def best_denoiser(std: torch.Tensor) -> Denoiser:
    """E[x_0 | x_t] where the data are normal around 0 with these standard deviations [d]."""

    def expected(x: torch.Tensor, t: torch.Tensor) -> torch.Tensor:
        alpha_bar = SCHEDULE.alpha_bar[t][:, None]
        return alpha_bar.sqrt() * std**2 / (alpha_bar * std**2 + 1 - alpha_bar) * x

    return Denoiser(expected, SCHEDULE, "x_0")


def test_times() -> None:
    assert bridge.times(600, 5) == [599, 479, 359, 239, 119, -1]
    assert bridge.times(100, 100) == list(range(99, -2, -1))
    assert bridge.times(7, 1) == [6, -1]
    on_the_way = ALPHA_BAR[bridge.times(600, 5)].tolist()
    assert on_the_way == pytest.approx([0.3408, 0.5250, 0.7058, 0.8581, 0.9609, 1], abs=5e-5)


@pytest.mark.parametrize(("start_step", "num_steps"), [(601, 5), (1000, 7), (999, 998), (3, 2)])
def test_times_are_those_of_evenly_spaced_numbers(start_step: int, num_steps: int) -> None:
    expected = np.floor(np.linspace(start_step - 1, -1, num_steps + 1) + 1e-9).astype(int)
    assert bridge.times(start_step, num_steps) == expected.tolist()


def test_the_chain_of_normalisations() -> None:
    x = embeddings()
    mean = mean_of(x)
    for row, found in zip(x.numpy(), bridge.normalise(x, mean, 5.0).numpy(), strict=True):
        centred = row / np.linalg.norm(row) - mean.numpy()
        assert found == pytest.approx(5 * centred / np.linalg.norm(centred))
    assert torch.allclose(bridge.normalise(x, None, 5.0), 5 * x / x.norm(dim=1, keepdim=True))
    wide = bridge.normalise(torch.randn(500, 512), None, 5.0)
    assert wide.std().item() == pytest.approx(0.221, abs=1e-3)


def test_the_raw_frame_is_that_of_the_extractor() -> None:
    x = embeddings()
    mean, unit = mean_of(x), x / x.norm(dim=1, keepdim=True)
    network_input = bridge.normalise(x, mean, 5.0)
    assert torch.allclose(bridge.denormalise(network_input, mean, "raw"), unit)
    assert torch.allclose(bridge.denormalise(network_input, mean, "centred"), network_input / 5)
    assert torch.allclose(bridge.denormalise(network_input, None, "raw"), network_input / 5)


def test_noisy_inputs_keep_the_radius_and_the_direction_of_ddpm() -> None:
    x_0, noise, t = embeddings(), torch.randn(5, DIM, dtype=torch.float64), torch.tensor([0, 100, 500, 900, 999])
    found = bridge.add_noise(x_0, noise, t, SCHEDULE, 5.0)
    alpha_bar = torch.from_numpy(ALPHA_BAR)[t][:, None]
    x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise
    assert torch.allclose(found, 5 * x_t / x_t.norm(dim=1, keepdim=True))


def bent(x: np.ndarray, t: int) -> np.ndarray:
    return 2 * np.tanh(x[:, ::-1]) + t / 1000


@pytest.mark.parametrize(("start_step", "num_steps", "radius"), [(600, 5, 5.0), (100, 100, 5.0), (1000, 1, 2.0)])
def test_translation_is_a_plain_loop(start_step: int, num_steps: int, radius: float) -> None:
    x, config = embeddings(), BridgeConfig(start_step=start_step, num_steps=num_steps, radius=radius)
    denoiser = Denoiser(lambda x, t: torch.from_numpy(bent(x.numpy(), int(t[0]))), SCHEDULE, "x_0")
    expected, visited = x.numpy(), bridge.times(start_step, num_steps)
    for t, following in itertools.pairwise(visited):
        expected = radius * expected / np.linalg.norm(expected, axis=1, keepdims=True)
        x_0 = bent(expected, t)
        eps = (expected / math.sqrt(ALPHA_BAR[t]) - x_0) / math.sqrt(1 / ALPHA_BAR[t] - 1)
        expected = math.sqrt(ALPHA_BAR[following]) * x_0 + math.sqrt(1 - ALPHA_BAR[following]) * eps
    found = config.translate(denoiser, x).numpy()
    assert found == pytest.approx(expected / np.linalg.norm(expected, axis=1, keepdims=True))


def test_the_length_of_what_enters_does_not_matter() -> None:
    x, denoiser = embeddings(), best_denoiser(torch.linspace(0.1, 2, DIM, dtype=torch.float64))
    assert torch.allclose(BridgeConfig().translate(denoiser, x), BridgeConfig().translate(denoiser, 7 * x))


def test_a_target_of_one_point_is_reached_from_everywhere() -> None:
    point = torch.randn(DIM, dtype=torch.float64)
    found = BridgeConfig().translate(Denoiser(lambda x, _: point.expand_as(x), SCHEDULE, "x_0"), embeddings())
    assert torch.allclose(found, (point / point.norm()).expand(5, DIM))


def test_a_target_without_a_direction_leaves_every_embedding_where_it_is() -> None:
    x = embeddings()
    found = BridgeConfig().translate(best_denoiser(torch.full((DIM,), 0.7, dtype=torch.float64)), x)
    assert torch.allclose(found, x / x.norm(dim=1, keepdim=True))


def test_many_steps_follow_the_flow_of_a_normal_target() -> None:
    """Its solution in closed form: each dimension grows by std / √(ᾱ std² + 1 - ᾱ), up to a common factor."""
    x, std = embeddings(), torch.linspace(0.1, 2, DIM, dtype=torch.float64)
    alpha_bar = ALPHA_BAR[599]
    flow = x * std / (alpha_bar * std**2 + 1 - alpha_bar).sqrt()
    found = BridgeConfig(start_step=600, num_steps=600).translate(best_denoiser(std), x)
    expected = flow / flow.norm(dim=1, keepdim=True)
    assert torch.allclose(found, expected, atol=0.01)
    assert not torch.allclose(x / x.norm(dim=1, keepdim=True), expected, atol=0.1)


def test_the_mean_alone_is_shifted() -> None:
    x, target = embeddings(), mean_of(embeddings(40) - 3)
    source = mean_of(x)
    found = bridge.mean_shift(x, source, target)
    assert torch.allclose(found.norm(dim=1), torch.ones(5, dtype=torch.float64))
    assert torch.allclose(bridge.normalise(found, target, 5.0), bridge.normalise(x, source, 5.0))
    assert torch.allclose(bridge.mean_shift(x, source, source), x / x.norm(dim=1, keepdim=True))


def test_noise_alone_moves_by_its_strength() -> None:
    x, noise = torch.randn(2, 400, 256, dtype=torch.float64)
    cosine = (bridge.inject_noise(x, noise, 0.5) * x / x.norm(dim=1, keepdim=True)).sum(1)
    assert cosine.mean().item() == pytest.approx(1 / math.sqrt(1 + 0.5**2), abs=0.01)
    assert torch.allclose(bridge.inject_noise(x, noise, 0.0), x / x.norm(dim=1, keepdim=True))


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda x: x.index_fill(1, torch.tensor([3]), math.nan), "holds NaN or infinity; leave such rows out"),
        (lambda x: x.index_fill(0, torch.tensor([3]), 0.0), "is zero and has no direction"),
        (lambda x: x[:, :-1], r"embeddings are \[5, 11\], but must be \[b, 12\]"),
    ],
    ids=["nan", "zero", "width"],
)
def test_embeddings_that_cannot_be_scaled(change: Callable[[torch.Tensor], torch.Tensor], message: str) -> None:
    mean, bad = mean_of(embeddings()), change(embeddings())
    with pytest.raises(ValueError, match=message):
        bridge.normalise(bad, mean, 5.0)
    with pytest.raises(ValueError, match=message):
        bridge.denormalise(bad, mean, "raw")


def test_ways_that_do_not_exist() -> None:
    x, denoiser = embeddings(), best_denoiser(torch.ones(DIM, dtype=torch.float64))
    with pytest.raises(ValueError, match="start_step=1001 is more than the 1000 timesteps of the schedule"):
        BridgeConfig(start_step=1001).translate(denoiser, x)
    with pytest.raises(ConfigError, match="num_steps=601 must be between 1 and start_step=600"):
        BridgeConfig.parse({"num_steps": 601}, "test")
    with pytest.raises(ValueError, match="an embedding holds NaN"):
        BridgeConfig().translate(denoiser, x * math.nan)
    with pytest.raises(ValueError, match="an embedding without the mean is zero"):
        bridge.normalise(x[:1] / x[:1].norm(), x[0] / x[0].norm(), 5.0)
    with pytest.raises(ValueError, match=r"the mean has length 2.000, but that of unit vectors is below 1"):
        bridge.denormalise(x, 2 * x[0] / x[0].norm(), "raw")
