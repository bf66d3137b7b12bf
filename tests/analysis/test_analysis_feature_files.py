"""The tree is the seed's to the last name, every figure has its numbers, and memory forgets what is drawn."""

import gc
import hashlib
import json
import logging
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq
import pytest
import torch
from matplotlib.image import imread

from feature_pairs import TAPS, denoiser, pair, samples
from mien import schema
from mien.analysis.compute import Task
from mien.analysis.feature_files import FeatureConfig, _drawing, draw_samples, facts_of, pictures_of
from mien.analysis.feature_numbers import measure
from mien.analysis.feature_pair import CLEAN, Condition, Pair
from mien.diffusion.schedule import CosineScheduleConfig
from mien.errors import ConfigError, NoSpace
from mien.models.unet import UnetConfig
from mien.storage.local import LocalStore

CONFIG = FeatureConfig.parse(
    {"num_samples": 2, "timesteps": [300], "layers": ["in_conv", "bottleneck"], "seed": 5}, "test"
)


@pytest.fixture(scope="module")
def drawn(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("drawn")
    assert draw_samples(pair(), samples(3), CONFIG, LocalStore(folder)) == [0, 1]
    return folder


def test_there_are_140_pictures_with_the_names_of_the_seed() -> None:
    with torch.device("meta"):
        layers = [*UnetConfig().build().taps]
    config = FeatureConfig()
    found = [name for number in range(config.num_samples) for name in pictures_of(number, config, layers)]
    folders = ("clean_t0", "noisy_t100", "noisy_t500", "noisy_t900")
    inputs = ("clean", "noisy_t100", "noisy_t500", "noisy_t900")
    names = ("in_conv", *(f"encoder_level_{level}" for level in range(4)), "bottleneck")
    expected = {f"sample_{number}/input_{name}.png" for number in range(5) for name in inputs}
    expected |= {f"sample_{number}/{folder}/{name}.png" for number in range(5) for folder in folders for name in names}
    assert len(found) == len(expected) == 140
    assert {*found} == expected


@pytest.mark.parametrize(
    ("values", "folders"),
    [
        ({"clean": False}, ["noisy_t100", "noisy_t500", "noisy_t900"]),
        ({"noisy": False}, ["clean_t0"]),
        ({"timesteps": [0, 7]}, ["clean_t0", "noisy_t0", "noisy_t7"]),
    ],
)
def test_clean_and_noisy_images_can_be_left_out(values: dict[str, Any], folders: list[str]) -> None:
    config = FeatureConfig.parse(values, "test")
    assert [one.name for one in config.conditions] == folders
    assert len(pictures_of(0, config, ["one", "two"])) == 3 * len(folders)


def test_what_is_written_is_what_was_named_and_opens(drawn: Path) -> None:
    found = {path.relative_to(drawn).as_posix() for path in drawn.rglob("*.*")}
    pictures = {name for number in range(2) for name in pictures_of(number, CONFIG, CONFIG.layers)}
    assert found - {".scratch"} == pictures | {f"activations/sample_{number}.parquet" for number in range(2)}
    for name in pictures:
        height, width = imread(drawn / name).shape[:2]
        assert (width > 2000) == ("input" not in name)
        assert height > 700


def test_numbers_behind_a_figure_are_those_of_the_maps(drawn: Path) -> None:
    table = pq.read_table(drawn / "activations/sample_1.parquet")
    assert table.column_names == schema.names(schema.ACTIVATIONS)
    both = pair()
    inputs = {one.name: both.input_of(samples(2)[1], one, 5) for one in (CLEAN, Condition(300, is_clean=False))}
    rows = table.to_pylist()
    assert len(rows) == 2 * 2 * 2
    for row in rows:
        with both.reading(CONFIG.layers) as read:
            maps = read(inputs[row["condition"]])[row["side"] == "curriculum"][row["layer"]]
        assert (row["num_channels"], row["map_height"], row["map_width"]) == tuple(maps.shape)
        channels = json.loads(row["shown_channels"])
        for prefix, values in (("", maps), ("shown_", maps[channels])):
            expected = vars(measure(values.numpy()))
            assert [row[prefix + name] for name in schema.ACTIVATION_NUMBERS] == pytest.approx([*expected.values()])
        low, high = (json.loads(row[key])[0] for key in ("shown_from", "shown_to"))
        assert [low, high] == pytest.approx(np.percentile(maps[channels[0]].numpy(), [2, 98]), rel=1e-5)
        assert row["figure"] == f"sample_1/{row['condition']}/{row['layer']}.png"
        assert row["module"] == {"in_conv": "in_conv", "bottleneck": "middle"}[row["layer"]]
        assert (row["image"], row["t"]) == ("face_1.png", {"clean_t0": 0, "noisy_t300": 300}[row["condition"]])


def sums(folder: Path, number: int) -> dict[str, str]:
    paths = folder.glob(f"sample_{number}/**/*.png")
    return {str(path.relative_to(folder)): hashlib.sha256(path.read_bytes()).hexdigest() for path in paths}


def test_an_image_alone_gives_the_same_pictures_again(drawn: Path, tmp_path: Path) -> None:
    draw_samples(pair(), samples(2)[1:], CONFIG.model_copy(update={"clean": False}), LocalStore(tmp_path))
    ours, theirs = sums(tmp_path, 1), sums(drawn, 1)
    assert len(ours) == 3
    assert ours.items() <= theirs.items()


def test_another_model_changes_its_figures_and_no_input(drawn: Path, tmp_path: Path) -> None:
    changes = {"noisy": False, "layers": ("bottleneck",)}
    draw_samples(pair(1, 3), samples(2)[1:], CONFIG.model_copy(update=changes), LocalStore(tmp_path))
    ours, theirs = sums(tmp_path, 1), sums(drawn, 1)
    same = {name for name in ours if ours[name] == theirs[name]}
    assert same == {"sample_1/input_clean.png"}


class Weighing(LocalStore):
    """Weighs the tensors that are alive whenever something is written."""

    most_bytes = 0

    def replace(self, name: str, data: bytes) -> None:
        gc.collect()
        alive = [thing for thing in gc.get_objects() if type(thing) is torch.Tensor]
        self.most_bytes = max(self.most_bytes, sum(one.element_size() * one.nelement() for one in alive))
        super().replace(name, data)


def test_maps_of_a_condition_are_gone_when_the_next_is_drawn(tmp_path: Path) -> None:
    config, store = CONFIG.model_copy(update={"layers": ("bottleneck",)}), Weighing(tmp_path)
    work = _drawing(pair(), config, store)
    weighed = []
    for t in (100, 400):
        work(Task("", (samples(1)[0], Condition(t, is_clean=False))))
        weighed.append(store.most_bytes)
    assert weighed[1] == weighed[0] > 2 * 64 * 8 * 8 * 4


def test_every_image_is_told(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.INFO, logger="mien")
    config, store = CONFIG.model_copy(update={"noisy": False, "layers": ("bottleneck",)}), LocalStore(tmp_path)
    draw_samples(pair(), samples(1), config, store)
    draw_samples(pair(), samples(2), config, store)
    assert caplog.messages == ["drawn    sample_0", "resume   sample_0 is done", "drawn    sample_1"]


@pytest.mark.parametrize(
    ("values", "words"),
    [
        ({"timesteps": [100, 100]}, r"timesteps=\[100, 100\] has one twice"),
        ({"layers": ["in_conv", "in_conv"]}, "layers=.* has one twice"),
        ({"clean": False, "noisy": False}, "neither clean nor noisy"),
        ({"clean": False, "timesteps": []}, "neither clean nor noisy"),
        ({"timesteps": [-1]}, "timesteps"),
    ],
)
def test_a_config_that_shows_nothing_or_something_twice_is_refused(values: dict[str, Any], words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        FeatureConfig.parse(values, "test")


def test_without_an_image_there_is_one_error(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="there is no held-out image"):
        draw_samples(pair(), [], CONFIG, LocalStore(tmp_path))


def test_a_timestep_too_many_is_refused_before_anything_is_drawn(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="timesteps: 1000 is not below 1000"):
        draw_samples(pair(), samples(1), CONFIG.model_copy(update={"timesteps": (1000,)}), LocalStore(tmp_path))
    assert not list(tmp_path.rglob("*.*"))


class Full(LocalStore):
    """Has room for one picture."""

    def replace(self, name: str, data: bytes) -> None:
        if list(self.list("sample_0/")):
            raise NoSpace(f"{name}: no space left")
        super().replace(name, data)


def test_an_image_that_fails_is_named_and_leaves_no_hooks(tmp_path: Path) -> None:
    both = pair()
    work = _drawing(both, CONFIG, Full(tmp_path))
    with pytest.raises(NoSpace, match=r"sample_0/clean_t0 \(face\): .*no space left"):
        work(Task("sample_0/clean_t0 (face)", (samples(1)[0], CLEAN)))
    assert [path.name for path in tmp_path.rglob("*.*") if path.is_file()] == ["input_clean.png"]
    assert not any(module._forward_hooks for network in both.networks for module in network.modules())


def test_an_image_of_which_a_condition_failed_has_no_numbers(tmp_path: Path) -> None:
    wrong = samples(2)[1]._replace(values=torch.zeros(3, 8, 8))
    with pytest.raises(ConfigError, match=r"face_1\.png: has shape"):
        draw_samples(pair(), [samples(1)[0], wrong], CONFIG, LocalStore(tmp_path))
    assert [path.name for path in tmp_path.rglob("*.parquet")] == ["sample_0.parquet"]


def test_facts_say_what_is_compared_and_that_schedules_differ() -> None:
    facts = facts_of(pair(), FeatureConfig())
    assert [*facts["modules"]] == TAPS
    assert facts["modules"]["encoder_level_1"] == "downsamples.level_1.blocks.0"
    assert facts["notes"] == []
    assert FeatureConfig.parse(facts["config"], "facts") == FeatureConfig()
    other = denoiser(2).config.model_copy(update={"schedule": CosineScheduleConfig()}).build()
    assert facts_of(Pair(denoiser(1), other), FeatureConfig())["notes"] == [
        "the two schedules differ; noise is that of the baseline"
    ]
