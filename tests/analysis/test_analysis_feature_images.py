"""Images in the order of their names, or one face of each clip; the ones that a run held out."""

import logging
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from mien.analysis.feature_images import CropsConfig, ImagesConfig, held_out_by, samples
from mien.datasets.dataset import Dataset
from mien.datasets.image_split import ImageSplitConfig, divide
from mien.datasets.split import HELD_OUT, SplitConfig, split
from mien.errors import ConfigError, DatasetError, PreflightError
from training_runs import make_tokens


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight flat pictures, one of them damaged."""
    place = tmp_path_factory.mktemp("images")
    for number in range(8):
        Image.new("RGB", (20, 10), (30 * number, 7, 255)).save(place / f"{number}.png")
    (place / "3.png").write_bytes(b"no picture")
    return place


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_tokens(tmp_path_factory.mktemp("tokens") / "dataset")


def test_all_images_of_a_place_and_damaged_ones_are_told(folder: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING):
        found = [*samples(ImagesConfig(place=str(folder)), 4)]
    assert [(one.number, one.name) for one in found] == [*enumerate(f"{n}.png" for n in (0, 1, 2, 4, 5, 6, 7))]
    assert "3.png: is no image of" in caplog.text
    for one in found:
        red = 30 * int(one.name[0]) / 127.5 - 1
        assert torch.allclose(one.values, torch.tensor([red, 7 / 127.5 - 1, 1.0])[:, None, None].expand(3, 4, 4))


def test_held_out_images_are_those_of_the_split(folder: Path) -> None:
    rule = ImageSplitConfig(held_out=0.4, seed=1)
    names = [f"{number}.png" for number in range(8)]
    expected = [name for name, part in zip(names, divide(names, rule), strict=True) if part == HELD_OUT]
    found = [one.name for one in samples(ImagesConfig(place=str(folder), split=rule), 4)]
    assert found == [name for name in expected if name != "3.png"]


def test_one_face_of_each_held_out_clip(dataset: Dataset) -> None:
    rule = SplitConfig(held_out=0.4)
    clips = [dataset.sample(int(row)) for row in np.flatnonzero(split(dataset.index_file, rule) == HELD_OUT)]
    found = [*samples(CropsConfig(dataset=dataset.uri, split=rule), 32)]
    assert len(found) == len(clips) == 8
    for one, clip in zip(found, clips, strict=True):
        rows = np.flatnonzero(clip["face"])
        row = rows[len(rows) // 2]
        assert one.name == f"{clip.clip_id}, track 0, frame {row}"
        assert torch.allclose(one.values, torch.from_numpy(clip.crops()[row]).permute(2, 0, 1) / 127.5 - 1)
    assert len([*samples(CropsConfig(dataset=dataset.uri), 8)]) == 20
    assert next(samples(CropsConfig(dataset=dataset.uri), 8)).values.shape == (3, 8, 8)


def test_a_run_says_what_it_held_out() -> None:
    images = {"kind": "images", "filter": "box", "flip": 0.5, "cache_gb": 3, "split": {"by": "name", "seed": 4}}
    found = held_out_by({"config": {"dataset": "PLACE", "data": images}}, "run")
    assert found == ImagesConfig(place="PLACE", filter="box", split=ImageSplitConfig(seed=4))
    crops = {"kind": "crops", "flip": 0.5, "split": {"by": "source_end"}}
    found = held_out_by({"config": {"dataset": "PLACE", "data": crops}}, "run")
    assert found == CropsConfig(dataset="PLACE", split=SplitConfig(by="source_end"))
    for facts in ({}, {"config": {"dataset": "PLACE", "data": {"kind": "clips"}}}):
        with pytest.raises(ConfigError, match=r"run: does not say which images it held out; give data\.kind=images"):
            held_out_by(facts, "run")


def test_places_without_images_are_refused(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="holds no image"):
        next(samples(ImagesConfig(place=str(tmp_path)), 4))
    with pytest.raises(DatasetError, match="is not a dataset"):
        next(samples(CropsConfig(dataset=str(tmp_path)), 4))
    for config, key in ((ImagesConfig(), "data.place"), (CropsConfig(), "data.dataset")):
        with pytest.raises(ConfigError, match=f"{key}: is required"):
            next(samples(config, 4))
