"""How far made images are from true ones as a whole: Fréchet and kernel distance of two sets of features.

Both were made for Inception's features (FID, Heusel et al. 2017; KID, Bińkowski et al. 2018), and only of those have
they these names here. Features of DINOv2 agree better with people (Stein et al. 2023): FD-DINOv2 and KD-DINOv2. Numbers
of other features, or after another resize, do not compare.

The Fréchet distance is biased: the fewer images, the larger; it compares for equal counts alone. Two sets of one
normal distribution in 384 dimensions, whose true distance is 0, are 245 apart with 300 images each, and 37 with 2000.
The kernel distance is not biased, so it is that of all images at once; means over subsets estimate the same.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, Self

import numpy as np
import numpy.typing as npt
import torch
from jaxtyping import Float
from torch import Tensor

from mien.evaluation.bootstrap import Estimate
from mien.evaluation.embedded import Floats, Ints
from mien.evaluation.jackknife import MIN_LEFT, JackknifeConfig

TOLERANCE = 1e-3
"""How far a value of an image may lie outside of [-1, 1]; a step of eight bits is 0.008."""

_TITLES = {"dinov2": "DINOv2", "clip_vit": "CLIP", "vit": "ViT"}


class FeatureSet(NamedTuple):
    """Features of one set of images."""

    features: Floats
    """[n, d]."""
    clip: Ints | None = None
    """[n], number of the clip of each image, whose frames are alike; None if the images are independent."""


@dataclass(frozen=True)
class Conditions:
    """What a number depends on besides the model; two numbers compare where these are equal."""

    features: dict[str, Any]
    """What they are made with: model, revision, weights, sha256, dtype, resize (the filter) and size_px."""
    num_images: int
    """Made images."""
    num_held_out: int
    """True images."""
    seed: int
    """Of the made images and of the interval."""
    level: float
    """Of the interval."""

    def __str__(self) -> str:
        """One line; of the sum its first twelve digits."""
        known = {key: self.features.get(key, "unknown") for key in ("model", "weights", "sha256", "resize", "size_px")}
        weights = "RANDOM weights" if known["weights"] == "random" else f"sha256 {known['sha256']:.12}"
        resized = f"resized ({known['resize']}) to {known['size_px']} px"
        counts = f"{self.num_images} images, {self.num_held_out} held out"
        return f"{known['model']}, {weights}, {resized}; {counts}; seed {self.seed}"


@dataclass(frozen=True)
class Score(Estimate):
    """A distance with its name, interval and conditions; lower is nearer."""

    name: str
    """Such as FD-DINOv2, or FID."""
    conditions: Conditions

    def __str__(self) -> str:
        """Name, number and interval; `conditions` says the rest."""
        interval = "no interval" if math.isnan(self.low) else f"{self.low:.4g} to {self.high:.4g}"
        return f"{self.name} {self.value:.4g} ({interval})"


@dataclass(frozen=True)
class DistributionScores:
    """Both distances of two sets."""

    frechet: Score
    kernel: Score


def compare(
    images: FeatureSet, held_out: FeatureSet, features: Mapping[str, Any], config: JackknifeConfig
) -> DistributionScores:
    """Both distances; their intervals tell how they would vary with other images, as many as these.

    Args:
        images: Of made images.
        held_out: Of true ones.
        features: What both are made with: the extractor's `provenance`.
        config: Of the intervals.

    Raises:
        ValueError: Less than two images, features that are not finite or not of one extractor, or clips that are not
            one for each image.
    """
    sets = _checked(images.features, held_out.features)
    clips = (images.clip, held_out.clip)
    groups = [config.groups(len(sets[place]), clips[place], place) for place in (0, 1)]
    conditions = Conditions(dict(features), len(sets[0]), len(sets[1]), config.seed, config.level)

    def scored(kind: str, found: Estimate, least: float) -> Score:
        return Score(found.value, max(found.low, least), found.high, _name(kind, features), conditions)

    return DistributionScores(
        scored("FD", config.estimate(frechet_distance(*sets), _frechet_left_out(sets, groups)), 0.0),
        scored("KD", config.estimate(*_kernel_distances(sets, groups)), -math.inf),
    )


def frechet_distance(first: Floats, second: Floats) -> float:
    """Squared Fréchet distance of Gaussians with the moments of two sets, [n, d] and [m, d] (Dowson and Landau 1982).

    Raises:
        ValueError: As for `compare`.
    """
    moments = _moments(_checked(first, second))
    return _frechet(moments[0].gaussian, moments[1].gaussian)


def kernel_distance(first: Floats, second: Floats) -> float:
    """Squared maximum mean discrepancy of two sets, [n, d] and [m, d]; without bias, so perhaps below 0.

    Gretton et al. (2012), eq. 3, with the kernel (x·y / d + 1)³ of Bińkowski et al. (2018).

    Raises:
        ValueError: As for `compare`.
    """
    sets = _checked(first, second)
    return _kernel_distances(sets, [[np.arange(len(values))] for values in sets])[0]


def frames_of(images: Float[Tensor, "n 3 s s"]) -> npt.NDArray[np.uint8]:
    """Frames uint8 [n, s, s, 3] for an extractor, of images in [-1, 1] as denoisers make them.

    Give many at once: that they are not in [0, 1] is seen by a value below 0, which one bright image may lack.

    Raises:
        ValueError: The images have another type, shape or range.
    """
    if not images.is_floating_point():
        raise ValueError(
            f"images: are {images.dtype}, not floats in [-1, 1]; give whole numbers to the extractor itself"
        )
    if images.ndim != 4 or images.shape[1] != 3 or not len(images):
        raise ValueError(f"images: have the shape {[*images.shape]}, not [n, 3, s, s] with n > 0; put channels second")
    low, high = float(images.min()), float(images.max())
    if not math.isfinite(low + high):
        raise ValueError("images: hold NaN or infinity; take an earlier checkpoint")
    if low >= 0 or low < -1 - TOLERANCE or high > 1 + TOLERANCE:
        raise ValueError(f"images: lie in [{low:.3g}, {high:.3g}], not in [-1, 1]; {_remedy(low, high)}")
    levels = ((images.float().clamp(-1, 1) + 1) * 127.5).round().to(torch.uint8)
    return levels.permute(0, 2, 3, 1).contiguous().numpy(force=True)


def _remedy(low: float, high: float) -> str:
    if low < 0:
        return "let the sampler clip them"
    return "divide them by 127.5 and subtract 1" if high > 2 else "double them and subtract 1"


@dataclass(frozen=True)
class _Gaussian:
    mean: Floats
    covariance: Floats

    @cached_property
    def root(self) -> Floats:
        """Symmetric root of the covariance."""
        values, vectors = np.linalg.eigh(self.covariance)
        return np.asarray((vectors * np.sqrt(_without_dust(values))) @ vectors.T)


@dataclass(frozen=True)
class _Moments:
    """Sums over images; what is left of them without some is a difference."""

    num: int
    total: Floats
    products: Floats

    @classmethod
    def of(cls, values: Floats) -> Self:
        return cls(len(values), values.sum(0), values.T @ values)

    def without(self, part: "_Moments") -> "_Moments":
        return _Moments(self.num - part.num, self.total - part.total, self.products - part.products)

    @property
    def gaussian(self) -> _Gaussian:
        mean = self.total / self.num
        return _Gaussian(mean, (self.products - self.num * np.outer(mean, mean)) / (self.num - 1))


def _moments(sets: list[Floats]) -> list[_Moments]:
    return [_Moments.of(values) for values in _centred(sets)]


def _centred(sets: list[Floats]) -> list[Floats]:
    """Both about one centre: far from it, the products would swallow the variance.

    Where there are fewer images than dimensions, in coordinates of what they span, which changes no distance.
    """
    num, stacked = len(sets[0]), np.concatenate(sets) - sets[1].mean(0)
    if len(stacked) < stacked.shape[1]:
        stacked = np.asarray(np.linalg.qr(stacked.T, mode="r")).T
    return [stacked[:num], stacked[num:]]


def _frechet(first: _Gaussian, second: _Gaussian) -> float:
    """|μ₁ - μ₂|² + tr(Σ₁ + Σ₂ - 2 (Σ₂^½ Σ₁ Σ₂^½)^½).

    The root is that of a symmetric matrix, whose eigenvalues are real and not negative whatever its rank; the root of
    Σ₁ Σ₂, with the same trace, comes out complex where there are fewer images than dimensions.
    """
    inner = np.linalg.eigvalsh(second.root @ first.covariance @ second.root)
    spread = np.trace(first.covariance) + np.trace(second.covariance) - 2 * np.sqrt(_without_dust(inner)).sum()
    return max(0.0, float(np.sum((first.mean - second.mean) ** 2) + spread))


def _frechet_left_out(sets: list[Floats], groups: list[list[Ints]]) -> list[Floats]:
    """Distances without one group after the other, of each set."""
    centred, whole = _centred(sets), _moments(sets)
    gaussians = [moments.gaussian for moments in whole]

    def without(place: int, rows: Ints) -> float:
        left = whole[place].without(_Moments.of(centred[place][rows]))
        return _frechet(left.gaussian, gaussians[1 - place])  # whose root is found once

    return [
        np.array([without(place, rows) for rows in groups[place] if len(rows) < len(sets[place])]) for place in (0, 1)
    ]


def _kernel_distances(sets: list[Floats], groups: list[list[Ints]]) -> tuple[float, list[Floats]]:
    """The distance, and those without one group after the other, of each set: all from sums over pairs of groups."""
    parts = [[values[rows] for rows in of_set] for values, of_set in zip(sets, groups, strict=True)]
    nums = [np.array([len(part) for part in of_set]) for of_set in parts]
    within, between = [_kernel_sums_without_selves(of_set) for of_set in parts], _kernel_sums(*parts)

    def distance(*kept: Floats) -> float:
        """Of the groups that are 1 and not 0."""
        counts = [float(num @ one) for num, one in zip(nums, kept, strict=True)]
        means = [
            one @ sums @ one / (count * (count - 1)) for one, sums, count in zip(kept, within, counts, strict=True)
        ]
        return float(sum(means) - 2 * kept[0] @ between @ kept[1] / math.prod(counts))

    all_first, all_second = (np.ones(len(num)) for num in nums)
    first, second = (1 - np.eye(len(num)) if len(num) > 1 else np.empty((0, 1)) for num in nums)
    left_out = [[distance(kept, all_second) for kept in first], [distance(all_first, kept) for kept in second]]
    return distance(all_first, all_second), [np.array(values) for values in left_out]


def _kernel_sums(first: list[Floats], second: list[Floats]) -> Floats:
    """Σ k(x, y) over the images of each group of the one with those of each group of the other, [G, H]."""
    return np.array([[_cubed(x @ y.T / x.shape[1] + 1).sum() for y in second] for x in first])


def _kernel_sums_without_selves(parts: list[Floats]) -> Floats:
    """The same within a set, [G, G], where an image and itself are no pair."""
    selves = [_cubed((x * x).sum(1) / x.shape[1] + 1).sum() for x in parts]
    return _kernel_sums(parts, parts) - np.diag(selves)


def _cubed(values: Floats) -> Floats:
    """The cube; numpy takes thirty times as long for a power."""
    return values * values * values


def _checked(*sets: Floats) -> list[Floats]:
    """Features in float64."""
    for features in sets:
        if features.ndim != 2 or features.shape[1] != sets[0].shape[1]:
            shapes = " and ".join(f"{[*each.shape]}" for each in sets)
            raise ValueError(
                f"features: have shapes {shapes}, not [n, d] and [m, d]; use one extractor, with output=cls"
            )
        if len(features) < MIN_LEFT:
            raise ValueError(f"features: of {len(features)} images; a distance of distributions needs two and more")
        if not np.isfinite(features).all():
            raise ValueError("features: hold NaN or infinity; look at the images, or compute in dtype=float32")
    return [np.asarray(features, np.float64) for features in sets]


def _without_dust(values: Floats) -> Floats:
    """Eigenvalues of a matrix that has none below 0: what rounding leaves in place of a 0 has a root that counts."""
    least = len(values) * np.finfo(np.float64).eps * max(float(values.max()), 0.0)
    return np.where(values > least, values, 0.0)


def _name(kind: str, features: Mapping[str, Any]) -> str:
    """FD or KD with the network behind a dash, or what Inception's have been called; random weights are no DINOv2."""
    network = str(features.get("kind", "unknown"))
    if network == "inception":
        return {"FD": "FID", "KD": "KID"}[kind]
    return f"{kind}-{'random-' if features.get('weights') == 'random' else ''}{_TITLES.get(network, network)}"
