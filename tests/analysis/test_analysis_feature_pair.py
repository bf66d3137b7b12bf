"""Both models see one and the same noisy image; what they put out is what their modules put out."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from evaluated_runs import save
from feature_pairs import NETWORK, TAPS, denoiser, pair, samples
from mien.analysis.feature_pair import CLEAN, Condition, Pair, Sample, open_pair
from mien.errors import CheckpointError, ConfigError
from mien.objectives.face_id import FaceIdConfig

AT_500 = Condition(500, is_clean=False)


def test_conditions_have_the_names_of_the_seed() -> None:
    assert (CLEAN.name, CLEAN.input_name, CLEAN.title) == ("clean_t0", "input_clean.png", "Clean Image")
    assert (AT_500.name, AT_500.input_name, AT_500.title) == (
        *("noisy_t500", "input_noisy_t500.png"),
        "Noisy Image t=500",
    )


@pytest.mark.parametrize(("t", "signal"), [(100, 0.9461), (500, 0.2789), (900, 0.0164)])
def test_an_image_is_noised_as_the_baseline_s_schedule_says(t: int, signal: float) -> None:
    both, sample = pair(), samples(1)[0]
    x = both.input_of(sample, Condition(t, is_clean=False), 0).x[0].numpy()
    root = np.sqrt(np.cumprod(1 - np.linspace(1e-4, 0.02, 1000)))[t]
    assert root == pytest.approx(signal, abs=5e-5)
    noise = (x - root * sample.values.numpy()) / np.sqrt(1 - root**2)
    assert noise.mean() == pytest.approx(0, abs=0.1)
    assert noise.std() == pytest.approx(1, abs=0.1)


def test_noise_is_one_for_an_image_at_all_timesteps_and_another_for_every_image_and_seed() -> None:
    both = pair()
    black = [Sample(number, "black", torch.zeros(3, 16, 16)) for number in range(2)]

    def noise(number: int, t: int, seed: int) -> np.ndarray:
        x = both.input_of(black[number], Condition(t, is_clean=False), seed).x
        return (x / x.std()).numpy()

    assert np.allclose(noise(0, 100, 3), noise(0, 900, 3), atol=1e-5)
    assert np.array_equal(noise(0, 100, 3), noise(0, 100, 3))
    for other in (noise(1, 100, 3), noise(0, 100, 4)):
        assert abs(np.corrcoef(noise(0, 100, 3).ravel(), other.ravel())[0, 1]) < 0.15


def test_a_clean_image_is_itself_at_timestep_0() -> None:
    sample = samples(1)[0]
    given = pair().input_of(sample, CLEAN, 0)
    assert torch.equal(given.x[0], sample.values)
    assert given.t == 0


def test_each_network_runs_once_on_the_same_input() -> None:
    both, seen = pair(), list[Any]()
    for network in both.networks:
        network.register_forward_pre_hook(lambda _, inputs: seen.append(inputs))
    given = both.input_of(samples(1)[0], AT_500, 0)
    with both.reading([]) as read:
        read(given)
    assert len(seen) == 2
    for x, t in seen:
        assert torch.equal(x, given.x)
        assert t.tolist() == [500]


def test_maps_are_those_of_the_taps_of_each_model() -> None:
    both = pair()
    given = both.input_of(samples(1)[0], AT_500, 0)
    with both.reading([]) as read:
        maps = read(given)
    for network, own in zip(both.networks, maps, strict=True):
        assert list(own) == TAPS
        assert torch.allclose(own["in_conv"], network.get_submodule("in_conv")(given.x)[0])
        level, middle = (network.get_submodule(path) for path in ("downsamples.level_1", "middle"))
        inputs = list[Any]()
        level.register_forward_pre_hook(lambda _, taken, inputs=inputs: inputs.append(taken))
        network(given.x, torch.tensor([500]))
        outputs = level(*inputs[0])
        assert torch.allclose(own["encoder_level_1"], outputs[0][0])
        assert torch.allclose(own["bottleneck"], middle(outputs[-1], *inputs[0][1:])[0])
    assert not torch.allclose(maps[0]["bottleneck"], maps[1]["bottleneck"])


def test_layers_may_be_named_by_their_paths_and_a_list_is_its_last() -> None:
    both = pair()
    layers = ["bottleneck", "downsamples.level_0.blocks"]
    assert [one.path for one in both.located(layers)] == ["middle", "downsamples.level_0.blocks.0"]
    with pytest.raises(ConfigError, match="no such module; the nearest are encoder_level_1"):
        both.located(["encoder_level_7"])
    with pytest.raises(ConfigError, match="no maps"), both.reading(["time_embed"]) as read:
        read(both.input_of(samples(1)[0], CLEAN, 0))


def test_two_architectures_are_one_error() -> None:
    with pytest.raises(CheckpointError, match="one and two: are of different architectures: num_blocks is 1 and 2;"):
        Pair(denoiser(0), denoiser(0, NETWORK.model_copy(update={"num_blocks": 2})), ("one", "two"))
    Pair(denoiser(0), denoiser(0, NETWORK.model_copy(update={"dropout": 0.1})))


def test_what_does_not_fit_the_networks_is_named() -> None:
    both = pair()
    with pytest.raises(ConfigError, match=r"small: has shape \[3, 8, 8\], the networks take \[3, 16, 16\]"):
        both.input_of(Sample(0, "small", torch.zeros(3, 8, 8)), CLEAN, 0)
    with pytest.raises(ConfigError, match="timesteps: 1000 is not below 1000"):
        both.require_timesteps([0, 999, 1000])


def test_a_model_that_has_diverged_is_named() -> None:
    broken = denoiser(2)
    broken.network.get_submodule("in_conv").bias.fill_(torch.nan)
    both = Pair(denoiser(1), broken, ("one", "two"))
    with pytest.raises(CheckpointError, match="two: in_conv puts out"), both.reading([]) as read:
        read(both.input_of(samples(1)[0], CLEAN, 0))


@pytest.mark.parametrize(("weights", "factor"), [("ema", 1.5), ("model", 1.0)])
def test_checkpoints_are_read_with_their_averages_or_as_they_were_left(
    tmp_path: Path, weights: Any, factor: float
) -> None:
    models = [denoiser(1), denoiser(2)]
    places = [str(tmp_path / name) for name in ("one", "two")]
    for place, model in zip(places, models, strict=True):
        save(Path(place), model, {"objective": model.config.dump()}, 7)
    found = open_pair(*places, weights, "cpu")
    for place, model, loaded, facts in zip(
        places, models, (found.baseline, found.curriculum), found.facts, strict=True
    ):
        assert torch.equal(loaded.network.get_parameter("in_conv.weight"), factor * model.network.in_conv.weight)  # type: ignore[operator, union-attr]
        assert facts == {"checkpoint": place, "step": 7, "weights": weights}


def test_a_run_that_denoises_nothing_is_named(tmp_path: Path) -> None:
    config = FaceIdConfig.parse({"model": {"embed_dim": 8, "num_heads": 2}}, "test")
    save(tmp_path, config.build(), {"objective": config.dump()})
    with pytest.raises(CheckpointError, match="is of the objective face_id"):
        open_pair(str(tmp_path), str(tmp_path))
