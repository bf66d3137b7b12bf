"""Pictures that are what the network of a checkpoint makes of noise, by the sampler that was asked for."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import Image

from clip_batches import CONFIGS, objective
from evaluated_runs import save
from mien import draws
from mien.demos.samples import SamplesConfig, Strip, run
from mien.diffusion.sampler import DdimConfig
from mien.diffusion.sampler import DdpmConfig as DdpmSampler
from mien.diffusion.schedule import LinearScheduleConfig
from mien.errors import CheckpointError, ConfigError
from mien.models.unet import UnetConfig
from mien.objectives.diffusion import Ddpm, DdpmConfig
from mien.objectives.load import load_objective

SIZE_PX = 8
CONFIG = DdpmConfig(
    network=UnetConfig(image_size_px=SIZE_PX, base_channels=32, multipliers=(1,), attention_levels=(), num_blocks=1),
    schedule=LinearScheduleConfig(num_steps=20, last_beta=0.5),
    sampler=DdimConfig(num_steps=5),
)


def tiny(config: DdpmConfig = CONFIG) -> Ddpm:
    """Weights of which none is 0, as those at the start are where a branch ends."""
    torch.manual_seed(0)
    model = config.build()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn_like(parameter))
    return model


@pytest.fixture(scope="module")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("run")
    save(place, tiny(), {"objective": CONFIG.dump()}, step=7)
    return place


def made(checkpoint: Path, output: Path, **changes: Any) -> dict[str, Any]:
    return run(SamplesConfig(checkpoint=str(checkpoint), output=str(output), **changes))


def pixels_of(images: torch.Tensor) -> np.ndarray:
    """Eight bits [n, s, s, 3] of images in [-1, 1]."""
    return ((images.clamp(-1, 1) + 1) / 2 * 255).round().byte().permute(0, 2, 3, 1).numpy()


def tile(picture: np.ndarray, row: int, column: int) -> np.ndarray:
    return picture[row * SIZE_PX : (row + 1) * SIZE_PX, column * SIZE_PX : (column + 1) * SIZE_PX]


def test_the_grid_shows_the_images_of_the_averaged_weights(checkpoint: Path, tmp_path: Path) -> None:
    result = made(checkpoint, tmp_path, num=5, seed=3)
    model = load_objective(str(checkpoint)).objective
    assert isinstance(model, Ddpm)
    expected = pixels_of(model.sample(draws.keys(3, "samples", torch.arange(5))))
    grid = np.asarray(Image.open(result["grid"]))
    assert grid.shape == (2 * SIZE_PX, 3 * SIZE_PX, 3)
    for number, image in enumerate(expected):
        assert np.array_equal(tile(grid, number // 3, number % 3), image)
    assert not np.array_equal(expected[0], expected[1])


def test_the_strip_goes_from_the_noise_to_the_images_of_the_grid(checkpoint: Path, tmp_path: Path) -> None:
    result = made(checkpoint, tmp_path, num=6, num_steps=20)
    grid, strip = (np.asarray(Image.open(result[name])) for name in ("grid", "strip"))
    assert strip.shape == (8 * SIZE_PX, 8 * SIZE_PX, 3), "four images, two rows each; eight moments"
    assert result["strip_timesteps"][0] == 19
    assert result["strip_timesteps"][-1] == 0
    noise = draws.normal(draws.fold(draws.keys(0, "samples", torch.arange(4)), 0), (3, SIZE_PX, SIZE_PX))
    for number, image in enumerate(pixels_of(noise)):
        assert np.array_equal(tile(strip, 2 * number, 0), image), "x_T"
        assert np.array_equal(tile(strip, 2 * number + 1, 7), tile(grid, number // 3, number % 3)), "x_0"


def test_only_two_files_are_written_and_earlier_ones_replaced(checkpoint: Path, tmp_path: Path) -> None:
    first = made(checkpoint, tmp_path / "out", num=2)
    before = Path(first["grid"]).read_bytes()
    again = made(checkpoint, tmp_path / "out", num=2)
    assert Path(again["grid"]).read_bytes() == before
    made(checkpoint, tmp_path / "out", num=2, seed=1)
    assert Path(first["grid"]).read_bytes() != before
    assert {path.name for path in (tmp_path / "out").iterdir()} == {"samples.png", "denoising.png"}


def test_batches_do_not_change_the_images(checkpoint: Path, tmp_path: Path) -> None:
    at_once, in_parts = (made(checkpoint, tmp_path / str(size), num=5, batch=size) for size in (16, 2))
    one, other = (np.asarray(Image.open(result["grid"])).astype(int) for result in (at_once, in_parts))
    assert np.abs(one - other).max() <= 1
    assert len(np.asarray(Image.open(in_parts["strip"]))) == 2 * 2 * SIZE_PX, "of the first batch"


def test_weights_and_sampler_are_those_that_were_asked_for(checkpoint: Path, tmp_path: Path) -> None:
    def grid(name: str, **changes: Any) -> tuple[dict[str, Any], bytes]:
        result = made(checkpoint, tmp_path / name, num=2, **changes)
        return result, Path(result["grid"]).read_bytes()

    default, model, fewer, ddpm = (
        grid("default"),
        grid("model", weights="model"),
        grid("fewer", num_steps=2),
        grid("ddpm", sampler="ddpm"),
    )
    assert len({png for _, png in (default, model, fewer, ddpm)}) == 4
    told = [(result["weights"], result["sampler"], result["num_steps"]) for result, _ in (default, model, fewer, ddpm)]
    assert told == [("ema", "ddim", 5), ("model", "ddim", 5), ("ema", "ddim", 2), ("ema", "ddpm", 20)]
    assert default[0]["step"] == 7
    assert default[0]["s_per_image"] > 0


def test_what_is_not_asked_for_is_as_in_training() -> None:
    trained = CONFIG.model_copy(update={"sampler": DdimConfig(num_steps=5, eta=0.5, spacing="trailing")})
    assert SamplesConfig().sampler_of(trained) == trained.sampler
    assert SamplesConfig(num_steps=9).sampler_of(trained) == DdimConfig(num_steps=9, eta=0.5, spacing="trailing")
    assert SamplesConfig(sampler="ddpm").sampler_of(trained) == DdpmSampler()
    other = CONFIG.model_copy(update={"sampler": DdpmSampler(variance="large")})
    assert SamplesConfig(sampler="ddpm").sampler_of(other) == DdpmSampler(variance="large")
    assert SamplesConfig(sampler="ddim", num_steps=3).sampler_of(other) == DdimConfig(num_steps=3)


@pytest.mark.parametrize("num", [1, 2, 5, 8, 9, 1000])
def test_moments_of_a_strip_are_spread_from_the_first_to_the_last(num: int) -> None:
    visited = [*range(num - 1, -1, -1)]
    kept = Strip(visited).timesteps
    assert (kept[0], kept[-1], len(kept)) == (num - 1, 0, min(num, 8))
    assert kept == sorted(set(kept), reverse=True)


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"num_steps": 21}, "num_steps=21 of a sampler are more than the schedule has: 20"),
        ({"sampler": "ddim", "num_steps": 50}, "more than the schedule has: 20"),
        ({"sampler": "ddpm", "num_steps": 5}, "ddpm takes all 20 of the schedule; leave it out, or set sampler=ddim"),
    ],
)
def test_steps_that_there_are_not_are_refused(
    checkpoint: Path, tmp_path: Path, changes: dict[str, Any], words: str
) -> None:
    with pytest.raises(ConfigError, match=words):
        made(checkpoint, tmp_path, **changes)
    assert not [*tmp_path.iterdir()]


def test_a_model_of_another_kind_is_refused(tmp_path: Path) -> None:
    save(tmp_path, objective(CONFIGS["face id"]), {"objective": CONFIGS["face id"].dump()})
    with pytest.raises(CheckpointError, match=r"holds a model of kind face_id.*take one of ddpm"):
        made(tmp_path, tmp_path / "out")


def test_a_place_without_a_checkpoint_is_named(tmp_path: Path) -> None:
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        made(tmp_path, tmp_path / "out")


def test_images_that_are_no_numbers_are_refused(tmp_path: Path) -> None:
    model = tiny()
    with torch.no_grad():
        next(model.parameters()).fill_(torch.nan)
    save(tmp_path, model, {"objective": CONFIG.dump()})
    with pytest.raises(CheckpointError, match="its images are no numbers; take an earlier one"):
        made(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()
