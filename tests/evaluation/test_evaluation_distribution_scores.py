"""Distances of distributions against closed forms, scipy's matrix root and a slow double loop."""

import math
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from scipy.linalg import sqrtm

from mien.evaluation.bootstrap import Estimate
from mien.evaluation.distribution_scores import (
    FeatureSet,
    compare,
    frames_of,
    frechet_distance,
    kernel_distance,
)
from mien.evaluation.jackknife import JackknifeConfig

DINOV2 = {
    "kind": "dinov2",
    "model": "facebook/dinov2-small",
    "weights": "pretrained",
    "sha256": "0123456789abcdef" * 4,
    "resize": "bicubic",
    "size_px": 224,
}
BOTH = pytest.mark.parametrize("distance", [frechet_distance, kernel_distance])
Distance = Callable[[np.ndarray, np.ndarray], float]


def drawn(rng: np.random.Generator, num: int, dim: int, spread: float = 1.0, shift: float = 0.0) -> np.ndarray:
    """Gaussian features whose numbers depend on each other."""
    mixed = np.random.default_rng(11).normal(size=(dim, dim)) / math.sqrt(dim)
    return rng.normal(size=(num, dim)) @ (np.eye(dim) + spread * mixed) + shift


def by_sqrtm(x: np.ndarray, y: np.ndarray) -> float:
    """As it is written in Heusel et al. (2017), eq. 6."""
    first, second = np.cov(x, rowvar=False), np.cov(y, rowvar=False)
    gap = x.mean(0) - y.mean(0)
    return float(gap @ gap + np.trace(first + second - 2 * sqrtm(first @ second).real))


def by_loop(x: np.ndarray, y: np.ndarray) -> float:
    """As it is written in Gretton et al. (2012), eq. 3."""

    def kernel(a: np.ndarray, b: np.ndarray) -> float:
        return float((a @ b / len(a) + 1) ** 3)

    def within(z: np.ndarray) -> float:
        pairs = [kernel(z[i], z[j]) for i in range(len(z)) for j in range(len(z)) if i != j]
        return sum(pairs) / len(pairs)

    return within(x) + within(y) - 2 * sum(kernel(a, b) for a in x for b in y) / (len(x) * len(y))


def test_gaussians_have_the_distance_of_the_closed_form() -> None:
    """Of N(μ, diag σ²): |μ₁ - μ₂|² + Σ (σ₁ - σ₂)², on samples whose moments are exactly these."""
    rng = np.random.default_rng(3)
    whitened = rng.normal(size=(500, 4))
    whitened -= whitened.mean(0)
    whitened = whitened @ np.linalg.inv(np.linalg.cholesky(np.cov(whitened, rowvar=False))).T
    first, second = np.array([1.0, 2.0, 0.5, 3.0]), np.array([2.0, 2.0, 0.1, 1.0])
    shift = np.array([1.0, -2.0, 0.0, 0.5])
    expected = (shift**2).sum() + ((first - second) ** 2).sum()
    assert frechet_distance(whitened * first + shift, whitened * second) == pytest.approx(expected, rel=1e-9)


def test_a_large_sample_comes_near_the_distance_of_its_distributions(rng: np.random.Generator) -> None:
    x, y = rng.normal(0, 1, size=(20_000, 3)), rng.normal(0.5, 2, size=(20_000, 3))
    assert frechet_distance(x, y) == pytest.approx(3 * (0.25 + 1), rel=0.03)


def test_frechet_is_that_of_scipys_root(rng: np.random.Generator) -> None:
    x, y = drawn(rng, 300, 20), drawn(rng, 200, 20, 0.5, 0.3)
    assert frechet_distance(x, y) == pytest.approx(by_sqrtm(x, y), rel=1e-9)


def test_frechet_with_fewer_images_than_dimensions_is_the_sum_of_singular_values(rng: np.random.Generator) -> None:
    """tr (Σ₁ Σ₂)^½ is the sum of the singular values of A Bᵀ where Σ₁ = AᵀA and Σ₂ = BᵀB, whatever the ranks."""
    x, y = drawn(rng, 15, 60), drawn(rng, 25, 60, 0.5, 0.3)
    a, b = ((z - z.mean(0)) / math.sqrt(len(z) - 1) for z in (x, y))
    gap = x.mean(0) - y.mean(0)
    shared = np.linalg.svd(a @ b.T, compute_uv=False).sum()
    expected = gap @ gap + (a**2).sum() + (b**2).sum() - 2 * shared
    assert frechet_distance(x, y) == pytest.approx(expected, rel=1e-6)


@pytest.mark.parametrize(("num", "dim"), [(400, 16), (20, 64)])
def test_a_set_has_no_frechet_distance_from_itself(rng: np.random.Generator, num: int, dim: int) -> None:
    x = drawn(rng, num, dim)
    assert frechet_distance(x, x[::-1]) < 1e-6 * np.trace(np.cov(x, rowvar=False))


def test_constant_features_differ_by_their_means() -> None:
    x, y = np.ones((5, 3)), np.zeros((4, 3))
    assert frechet_distance(x, y) == pytest.approx(3)


def test_frechet_survives_a_mean_far_from_zero(rng: np.random.Generator) -> None:
    x, y = drawn(rng, 300, 8), drawn(rng, 300, 8, 0.5, 0.3)
    assert frechet_distance(x + 1e5, y + 1e5) == pytest.approx(frechet_distance(x, y), rel=1e-6)


def test_kernel_distance_is_that_of_a_double_loop(rng: np.random.Generator) -> None:
    x, y = drawn(rng, 17, 5), drawn(rng, 12, 5, 0.5, 0.6)
    assert kernel_distance(x, y) == pytest.approx(by_loop(x, y), rel=1e-12)


def test_kernel_distance_of_one_distribution_is_zero_on_average_and_not_always_positive() -> None:
    rng = np.random.default_rng(5)
    found = [kernel_distance(rng.normal(size=(40, 6)), rng.normal(size=(40, 6))) for _ in range(400)]
    assert min(found) < 0
    assert abs(np.mean(found)) < 4 * np.std(found) / math.sqrt(len(found))


@BOTH
def test_the_order_of_images_and_of_sets_changes_nothing(rng: np.random.Generator, distance: Distance) -> None:
    x, y = drawn(rng, 60, 8), drawn(rng, 50, 8, 0.5, 0.3)
    assert distance(rng.permutation(x), rng.permutation(y)) == pytest.approx(distance(x, y), rel=1e-9)
    assert distance(y, x) == pytest.approx(distance(x, y), rel=1e-7)


@BOTH
def test_features_in_float32_are_computed_in_float64(rng: np.random.Generator, distance: Distance) -> None:
    x, y = (drawn(rng, 60, 8, shift=shift).astype(np.float32) for shift in (0.0, 0.2))
    assert distance(x, y) == distance(x.astype(np.float64), y.astype(np.float64))


def scores(x: np.ndarray, y: np.ndarray, **changes: Any) -> dict[str, Any]:
    found = compare(FeatureSet(x), FeatureSet(y), DINOV2, JackknifeConfig(**changes))
    return {"FD": found.frechet, "KD": found.kernel}


def test_leaving_out_a_group_is_computing_without_it(rng: np.random.Generator) -> None:
    x, y, config = drawn(rng, 40, 6), drawn(rng, 30, 6, 0.5, 0.4), JackknifeConfig(num_groups=4, seed=3)
    groups = [config.groups(len(side), None, place) for place, side in enumerate((x, y))]
    for kind, distance in (("FD", frechet_distance), ("KD", kernel_distance)):
        left_out = [
            np.array([distance(np.delete(x, rows, 0), y) for rows in groups[0]]),
            np.array([distance(x, np.delete(y, rows, 0)) for rows in groups[1]]),
        ]
        expected = config.estimate(distance(x, y), left_out)
        found = scores(x, y, num_groups=4, seed=3)[kind]
        assert (found.value, found.high) == pytest.approx((expected.value, expected.high), rel=1e-9)
        assert found.low == pytest.approx(max(expected.low, 0) if kind == "FD" else expected.low, rel=1e-9)


def test_intervals_hold_what_is_measured_on_average_as_often_as_promised() -> None:
    """Of 200 pairs of sets the intervals of level 0.9 hold it 180 times, give or take 4; four times that is allowed."""
    rng = np.random.default_rng(1)
    config = {"num_groups": 10, "level": 0.9}
    found = [scores(drawn(rng, 150, 4), drawn(rng, 120, 4, 0.5, 0.4), **config) for _ in range(200)]
    for kind in ("FD", "KD"):
        truth = np.mean([each[kind].value for each in found])
        is_inside = [each[kind].low <= truth <= each[kind].high for each in found]
        assert 0.82 < np.mean(is_inside) < 0.98, kind
        lengths = [each[kind].high - each[kind].low for each in found]
        more = scores(drawn(rng, 2400, 4), drawn(rng, 1920, 4, 0.5, 0.4), **config)[kind]
        assert more.high - more.low < np.mean(lengths) / 2, "sixteen times the images, a quarter of the interval"


def test_frames_of_a_clip_count_as_one_image(rng: np.random.Generator) -> None:
    x, y = drawn(rng, 200, 4), np.repeat(drawn(rng, 20, 4, 0.5, 0.4), 10, axis=0)
    config = JackknifeConfig()
    alone = compare(FeatureSet(x), FeatureSet(y), DINOV2, config)
    together = compare(FeatureSet(x), FeatureSet(y, np.repeat(np.arange(20), 10)), DINOV2, config)
    assert together.frechet.value == alone.frechet.value
    for kind in ("frechet", "kernel"):
        narrow, wide = getattr(alone, kind), getattr(together, kind)
        assert wide.high - wide.value > 1.3 * (narrow.high - narrow.value), kind


def test_a_number_says_its_name_and_what_it_depends_on(rng: np.random.Generator) -> None:
    found = scores(drawn(rng, 30, 4), drawn(rng, 20, 4), seed=7)
    assert {score.name for score in found.values()} == {"FD-DINOv2", "KD-DINOv2"}
    assert all(isinstance(score, Estimate) for score in found.values()), "so that reports show them as any other"
    said = str(found["FD"].conditions)
    assert said == (
        "facebook/dinov2-small, sha256 0123456789ab, resized (bicubic) to 224 px; 30 images, 20 held out; seed 7"
    )
    assert found["FD"].conditions.features["sha256"] == DINOV2["sha256"]
    assert str(found["FD"]).startswith("FD-DINOv2 ")


def test_features_that_mean_nothing_do_not_bear_the_name(rng: np.random.Generator) -> None:
    x = FeatureSet(drawn(rng, 30, 4))
    found = compare(x, x, DINOV2 | {"weights": "random", "sha256": ""}, JackknifeConfig())
    assert found.frechet.name == "FD-random-DINOv2"
    assert "RANDOM weights" in str(found.frechet.conditions)
    assert compare(x, x, {"kind": "clip_vit"}, JackknifeConfig()).kernel.name == "KD-CLIP"


def test_only_inceptions_features_have_the_names_of_others_numbers(rng: np.random.Generator) -> None:
    x, y = FeatureSet(drawn(rng, 30, 4)), FeatureSet(drawn(rng, 20, 4))
    made = {"kind": "inception", "model": "inception-2015-12-05", "sha256": "67" * 32, "resize": "bilinear"}
    found = compare(x, y, {**made, "weights": "pretrained", "size_px": 299}, JackknifeConfig())
    assert (found.frechet.name, found.kernel.name) == ("FID", "KID")
    assert found.frechet.value == pytest.approx(by_sqrtm(x.features, y.features), rel=1e-9)
    assert str(found.kernel.conditions).startswith(
        "inception-2015-12-05, sha256 676767676767, resized (bilinear) to 299"
    )


def test_turned_into_many_dimensions_images_are_as_far_apart_as_before(rng: np.random.Generator) -> None:
    """In 300 dimensions 55 images span fewer, and are compared there; in six they are compared as they are."""
    x, y = drawn(rng, 30, 6), drawn(rng, 25, 6, 0.5, 0.4)
    turn = np.linalg.qr(rng.normal(size=(300, 300)))[0][:6]
    few, many = (
        compare(FeatureSet(a), FeatureSet(b), DINOV2, JackknifeConfig()) for a, b in ((x, y), (x @ turn, y @ turn))
    )
    for part in ("value", "low", "high"):
        assert getattr(many.frechet, part) == pytest.approx(getattr(few.frechet, part), rel=1e-6), part


def test_two_images_have_a_distance_and_no_interval() -> None:
    x = np.array([[0.0, 1.0], [1.0, 0.0]])
    for score in scores(x, x + 1).values():
        assert math.isfinite(score.value)
        assert math.isnan(score.low)
        assert math.isnan(score.high)
        assert "(no interval)" in str(score)


@BOTH
@pytest.mark.parametrize(
    ("x", "words"),
    [
        (np.zeros((1, 4)), "of 1 images"),
        (np.zeros((5, 3)), "use one extractor"),
        (np.zeros((5, 2, 4)), "output=cls"),
        (np.array([[0.0, 0, 0, math.nan]] * 3), "NaN or infinity"),
    ],
)
def test_features_that_have_no_distance_are_refused(distance: Distance, x: np.ndarray, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        distance(x, np.zeros((5, 4)))


def test_images_become_frames_of_eight_bits() -> None:
    levels = torch.arange(256, dtype=torch.uint8)
    images = (levels.double() / 127.5 - 1).view(1, 1, 16, 16).repeat(2, 3, 1, 1)
    images[1, 2] = -1.0005
    frames = frames_of(images.float())
    assert frames.dtype == np.uint8
    assert np.array_equal(frames[0, :, :, 1].ravel(), levels.numpy())
    assert not frames[1, :, :, 2].any()


PICTURES = torch.rand(4, 3, 8, 8, generator=torch.Generator().manual_seed(0))


@pytest.mark.usefixtures("unchecked")
@pytest.mark.parametrize(
    ("images", "words"),
    [
        (PICTURES, r"lie in \[.*\], not in \[-1, 1\]; double them and subtract 1"),
        (PICTURES * 255, "divide them by 127.5 and subtract 1"),
        ((PICTURES - 0.45) / 0.23, "let the sampler clip them"),
        (PICTURES * 2.01 - 1, "let the sampler clip them"),
        (PICTURES * math.nan, "NaN or infinity"),
        ((PICTURES * 255).byte(), "are torch.uint8"),
        (PICTURES.permute(0, 2, 3, 1) * 2 - 1, "put channels second"),
        (PICTURES[:0], "n > 0"),
    ],
)
def test_images_of_another_range_are_refused(images: torch.Tensor, words: str) -> None:
    with pytest.raises(ValueError, match=words):
        frames_of(images)
