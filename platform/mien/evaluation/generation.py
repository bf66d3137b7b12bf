"""How good made images are: their distance from held-out ones as a whole, and whether they are copies."""

import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

import numpy as np
import numpy.typing as npt
from pydantic import Field

from mien.config import Config
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.distribution_scores import DistributionScores, FeatureSet, compare
from mien.evaluation.embedded import Floats, Ints
from mien.evaluation.jackknife import JackknifeConfig

Frames = npt.NDArray[np.uint8]
"""RGB [n, s, s, 3]; `frames_of` makes them of a denoiser's images."""

_AT_ONCE = 1024
"""Images whose distances to all others are held at once."""


class Extractor(Protocol):
    """What is needed of an extractor of features: one vector per frame."""

    @property
    def provenance(self) -> Mapping[str, Any]:
        """What decides the features."""

    def __call__(self, frames: Frames) -> Floats:
        """Features [n, d] of frames [n, s, s, 3]."""


class GenerationConfig(Config):
    """How made images are measured."""

    intervals: JackknifeConfig = JackknifeConfig()
    """Of the distances between sets of images."""
    num_neighbours: int = Field(8, ge=0, le=1000)
    """Made images whose nearest training image is told."""


class ImageSet(NamedTuple):
    """Images of one kind, in batches that are asked for once."""

    batches: Iterable[Frames]
    clip: Ints | None = None
    """[n], number of the clip of each image; frames of a clip are alike, so they are left out together."""


@dataclass(frozen=True)
class Neighbour:
    """What a made image is most like; places count from 0, in the order of the batches."""

    image: int
    training: int
    """Place of the nearest training image."""
    distance: float
    """Euclidean, of the features."""
    held_out_distance: float
    """The same to the nearest held-out image: a copy is much farther from those than from training images."""


@dataclass(frozen=True)
class GenerationResult:
    """Of one model."""

    scores: DistributionScores
    """Made images against held-out ones."""
    training_scores: DistributionScores | NotMeasurable
    """The floor: training images, as many as were made, against held-out ones."""
    nearest: tuple[Neighbour, ...]
    """Of the first made images."""
    held_out_to_training: float
    """How near an unseen true image comes to a training image, in the median; NaN without training images."""
    num_training: int


def measure(
    generated: ImageSet,
    held_out: ImageSet,
    training: ImageSet | None,
    extractor: Extractor,
    config: GenerationConfig,
) -> GenerationResult | NotMeasurable:
    """Embed all images and compare them; see `measure_each`."""
    return measure_each(generated, held_out, training, [extractor], config)[0]


def measure_each(
    generated: ImageSet,
    held_out: ImageSet,
    training: ImageSet | None,
    extractors: Sequence[Extractor],
    config: GenerationConfig,
) -> list[GenerationResult | NotMeasurable]:
    """The same images in the features of one network after the other, each image asked for once.

    Args:
        generated: Made images.
        held_out: Images that the model has not seen.
        training: Images that it has seen, for copies and the floor; all features are held in memory.
        extractors: With `output=cls` or `mean`.
        config: How to measure.

    Raises:
        ValueError: Frames of mixed sizes, or features that are not one finite vector per frame.
    """
    embedder = _Embedder(extractors)
    sides = [embedder(images) for images in (generated, held_out, training or ImageSet(()))]
    return [
        _compared(made, unseen, seen, {**extractor.provenance, "image_size_px": embedder.size_px}, config)
        for extractor, made, unseen, seen in zip(extractors, *sides, strict=True)
    ]


def _compared(
    made: FeatureSet, unseen: FeatureSet, seen: FeatureSet, features: Mapping[str, Any], config: GenerationConfig
) -> GenerationResult | NotMeasurable:
    for name, side in (("made", made), ("held-out", unseen)):
        if len(side.features) < 2:
            return NotMeasurable(f"{name} images: {len(side.features)}; a distance of distributions needs two and more")
    return GenerationResult(
        scores=compare(made, unseen, features, config.intervals),
        training_scores=_floor(seen, unseen, len(made.features), features, config.intervals),
        nearest=_neighbours(made.features[: config.num_neighbours], seen.features, unseen.features),
        held_out_to_training=_median_nearest(unseen.features, seen.features),
        num_training=len(seen.features),
    )


class _Embedder:
    """Extractors that take frames of one size: those of another would be resized otherwise."""

    def __init__(self, extractors: Sequence[Extractor]) -> None:
        self._extractors = extractors
        self.size_px = 0

    def __call__(self, images: ImageSet) -> list[FeatureSet]:
        """Features by each extractor."""
        parts = [self._embedded(frames) for frames in images.batches if len(frames)]
        none = [np.empty((0, 0), np.float32)] * len(self._extractors)
        by_extractor = map(np.concatenate, zip(*parts, strict=True)) if parts else none
        return [FeatureSet(features, images.clip) for features in by_extractor]

    def _embedded(self, frames: Frames) -> list[Floats]:
        self.size_px = self.size_px or frames.shape[1]
        if frames.dtype != np.uint8 or frames.shape[1:] != (self.size_px, self.size_px, 3):
            raise ValueError(
                f"frames: are {frames.dtype} {[*frames.shape]}, not uint8 [n, {self.size_px}, {self.size_px}, 3]; "
                "resize all images alike, and make frames of floats by frames_of"
            )
        return [extractor(frames) for extractor in self._extractors]


def _floor(
    seen: FeatureSet, unseen: FeatureSet, num: int, features: Mapping[str, Any], config: JackknifeConfig
) -> DistributionScores | NotMeasurable:
    """Of training images that are spread evenly; as many as were made, for the Fréchet distance depends on it."""
    if len(seen.features) < 2:
        return NotMeasurable(f"training images: {len(seen.features)}; a distance of distributions needs two and more")
    rows = np.linspace(0, len(seen.features) - 1, min(num, len(seen.features))).round().astype(np.int64)
    chosen = FeatureSet(seen.features[rows], None if seen.clip is None else seen.clip[rows])
    return compare(chosen, unseen, features, config)


def _neighbours(made: Floats, seen: Floats, unseen: Floats) -> tuple[Neighbour, ...]:
    if not len(made) or not len(seen):
        return ()
    (place, distance), (_, others) = _nearest(made, seen), _nearest(made, unseen)
    rows = zip(place.tolist(), distance.tolist(), others.tolist(), strict=True)
    return tuple(Neighbour(number, *row) for number, row in enumerate(rows))


def _median_nearest(unseen: Floats, seen: Floats) -> float:
    return float(np.median(_nearest(unseen, seen)[1])) if len(seen) else math.nan


def _nearest(features: Floats, others: Floats) -> tuple[Ints, Floats]:
    """Place of, and distance to, the nearest of the others [m, d] for each of [n, d]: [n] each."""
    others = others.astype(np.float64)
    starts = range(0, len(features), _AT_ONCE)
    found = [_nearest_of_few(features[start : start + _AT_ONCE].astype(np.float64), others) for start in starts]
    place = np.concatenate(found)
    return place, np.linalg.norm(features - others[place], axis=1)


def _nearest_of_few(features: Floats, others: Floats) -> Ints:
    """|y|² - 2 x·y is smallest where |x - y| is; which one it is survives the rounding that the distance would not."""
    return np.asarray(((others**2).sum(1) - 2 * features @ others.T).argmin(1))
