"""What is said of made images that are copies, that are as good as true ones, and that are neither."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from evaluated_runs import make_backbone
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.generation import GenerationConfig, GenerationResult, ImageSet, measure, measure_each
from mien.evaluation.report import plain
from mien.features.extractor import FakeExtractor
from mien.features.network import Network

EXTRACTOR = FakeExtractor()


def pictures(num: int, seed: int, bright: float = 0.0) -> np.ndarray:
    """Frames [num, 8, 8, 3] of colours of their own."""
    rng = np.random.default_rng(seed)
    colour, texture = rng.uniform(40, 180, size=(num, 1, 1, 3)), rng.uniform(-40, 40, size=(num, 8, 8, 3))
    return (colour + texture * rng.uniform(0.2, 1, size=(num, 1, 1, 1)) + bright).clip(0, 255).astype(np.uint8)


TRAINING, HELD_OUT = pictures(90, 0), pictures(60, 1)


def batches(frames: np.ndarray, size: int = 16) -> ImageSet:
    return ImageSet(frames[start : start + size] for start in range(0, len(frames), size))


def measured(made: np.ndarray, training: np.ndarray | None = TRAINING, **changes: Any) -> GenerationResult:
    seen = None if training is None else batches(training, 20)
    found = measure(batches(made), batches(HELD_OUT, 7), seen, EXTRACTOR, GenerationConfig(**changes))
    assert isinstance(found, GenerationResult)
    return found


def test_images_of_another_distribution_are_farther_than_the_floor() -> None:
    good, bright = measured(pictures(50, 2)), measured(pictures(50, 2, bright=60))
    assert not isinstance(bright.training_scores, NotMeasurable)
    for kind in ("frechet", "kernel"):
        score, floor = getattr(bright.scores, kind), getattr(bright.training_scores, kind)
        assert score.low > floor.high
        assert getattr(good.scores, kind).value < score.value / 3
    assert bright.training_scores.frechet.conditions.num_images == 50, "as many as were made"


def test_the_numbers_say_what_they_were_made_of() -> None:
    conditions = measured(pictures(50, 2), intervals={"seed": 4}).scores.frechet.conditions
    assert (conditions.num_images, conditions.num_held_out, conditions.seed) == (50, 60, 4)
    assert conditions.features == {**EXTRACTOR.provenance, "image_size_px": 8}


def test_a_backbone_of_the_datasets_names_the_numbers(tmp_path: Path) -> None:
    network = Network(make_backbone(tmp_path, output="cls"))
    found = measure(batches(pictures(12, 2)), batches(HELD_OUT), None, network, GenerationConfig())
    assert isinstance(found, GenerationResult)
    assert found.scores.kernel.name == "KD-random-DINOv2"
    said = str(found.scores.kernel.conditions)
    assert said == f"{tmp_path}, RANDOM weights, resized (bicubic) to 28 px; 12 images, 60 held out; seed 0"
    with pytest.raises(ValueError, match="output=cls"):
        patches = Network(make_backbone(tmp_path))
        measure(batches(pictures(12, 2)), batches(HELD_OUT), None, patches, GenerationConfig())


def test_copies_are_found_with_the_image_they_are_of() -> None:
    made = pictures(20, 2)
    made[1], made[3] = TRAINING[71], TRAINING[5]
    found = measured(made, num_neighbours=5)
    assert [each.image for each in found.nearest] == [0, 1, 2, 3, 4]
    assert [each.training for each in found.nearest][1::2] == [71, 5]
    for each in found.nearest:
        is_copy = each.image in {1, 3}
        assert (each.distance < 1e-6) == is_copy
        assert each.held_out_distance > 1e-3
    assert found.nearest[0].distance > found.held_out_to_training / 10


def test_neighbours_are_those_of_a_slow_search() -> None:
    made = pictures(6, 2)
    found = measured(made)
    embedded, seen, unseen = (EXTRACTOR(frames).astype(np.float64) for frames in (made, TRAINING, HELD_OUT))
    for each, feature in zip(found.nearest, embedded, strict=True):
        distances = np.sqrt(((seen - feature) ** 2).sum(1))
        assert each.training == distances.argmin()
        assert each.distance == pytest.approx(distances.min())
        assert each.held_out_distance == pytest.approx(np.sqrt(((unseen - feature) ** 2).sum(1)).min())
    nearest = [np.sqrt(((seen - feature) ** 2).sum(1)).min() for feature in unseen]
    assert found.held_out_to_training == pytest.approx(np.median(nearest))


def test_batches_change_nothing() -> None:
    made = pictures(40, 2)
    config = GenerationConfig()
    whole = measure(*(ImageSet([frames]) for frames in (made, HELD_OUT, TRAINING)), EXTRACTOR, config)
    assert plain(whole) == plain(measured(made))


class Turned(FakeExtractor):
    """Other features, and another name; counts what it was asked for."""

    def __init__(self) -> None:
        self.num_frames = 0

    @property
    def provenance(self) -> dict[str, Any]:
        return {**super().provenance, "kind": "inception"}

    def __call__(self, frames: np.ndarray) -> np.ndarray:
        self.num_frames += len(frames)
        return super().__call__(255 - frames)[:, 1:]


def test_several_networks_see_each_image_once_and_say_what_each_would_alone() -> None:
    made, other = pictures(40, 2), Turned()
    config = GenerationConfig()
    both = measure_each(batches(made), batches(HELD_OUT), batches(TRAINING), [EXTRACTOR, other], config)
    assert other.num_frames == len(made) + len(HELD_OUT) + len(TRAINING)
    for found, extractor in zip(both, (EXTRACTOR, other), strict=True):
        alone = measure(batches(made), batches(HELD_OUT), batches(TRAINING), extractor, config)
        assert plain(found) == plain(alone)
    names = [found.scores.frechet.name for found in both if isinstance(found, GenerationResult)]
    assert names == ["FD-fake", "FID"]


def test_without_training_images_there_is_neither_floor_nor_neighbour() -> None:
    found = measured(pictures(40, 2), training=None)
    assert isinstance(found.training_scores, NotMeasurable)
    assert found.nearest == ()
    assert math.isnan(found.held_out_to_training)
    assert plain(found)["training_scores"] == {
        "not_measurable": "training images: 0; a distance of distributions needs two and more"
    }


@pytest.mark.parametrize("num", [0, 1])
def test_too_few_images_are_told(num: int) -> None:
    few, many = ImageSet([pictures(num, 2)]), ImageSet([HELD_OUT])
    for made, unseen in ((few, many), (many, few)):
        found = measure(made, unseen, None, EXTRACTOR, GenerationConfig())
        assert isinstance(found, NotMeasurable)
        assert f"images: {num}" in found.reason


@pytest.mark.parametrize(
    "frames", [np.zeros((4, 16, 16, 3), np.uint8), np.zeros((4, 8, 8, 3), np.float32), np.zeros((4, 3, 8, 8), np.uint8)]
)
def test_frames_that_are_not_like_the_made_ones_are_refused(frames: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"not uint8 \[n, 8, 8, 3\]; resize all images alike"):
        measure(batches(pictures(4, 2)), batches(frames), None, EXTRACTOR, GenerationConfig())
