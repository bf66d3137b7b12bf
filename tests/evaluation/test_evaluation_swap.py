"""Swaps whose expression and identity are known."""

from typing import Any

import numpy as np
import pytest

from embedded_scenes import expression
from mien.evaluation.bootstrap import BootstrapConfig, NotMeasurable
from mien.evaluation.swap import SwapConfig, Swapped, SwapResult, cosine

RNG = np.random.default_rng(9)
SOURCE, TARGET = np.linalg.qr(RNG.normal(size=(8, 8)))[0][:2]
FACE = expression(10, 20, 5)


def swapped(**changes: Any) -> Swapped:
    """200 swaps of 10 clips that follow source and target to the letter, unless changed."""
    values = {
        "source_blendshapes": FACE,
        "swapped_blendshapes": FACE,
        "identity": np.tile(TARGET, (200, 1)),
        "source_identity": np.tile(SOURCE, (200, 1)),
        "target_identity": np.tile(TARGET, (200, 1)),
        "clip": np.repeat(np.arange(10), 20),
        "centre": np.full(5, 0.5),
    }
    return Swapped(**(values | changes))


def found(swaps: Swapped) -> SwapResult:
    result = SwapConfig().build(BootstrapConfig())(swaps)
    assert isinstance(result, SwapResult)
    return result


def test_a_perfect_swap() -> None:
    result = found(swapped())
    assert result.expression_r_squared.low == pytest.approx(1)
    assert result.expression_correlation.low == pytest.approx(1)
    assert result.cosine_to_target.value == pytest.approx(1)
    assert result.cosine_to_source.value == pytest.approx(0, abs=1e-12)
    assert result.cosine_to_target_minus_source.value == pytest.approx(1)
    assert result.share_nearer_to_target.low == 1
    assert (result.num_blendshapes, result.num_frames, result.num_clips) == (5, 200, 10)


def test_an_identity_that_stays_with_the_source() -> None:
    result = found(swapped(identity=np.tile(SOURCE, (200, 1))))
    assert result.share_nearer_to_target.high == 0
    assert result.cosine_to_target_minus_source.high == pytest.approx(-1)


def test_an_identity_between_both() -> None:
    is_target = np.arange(200) % 4 > 0  # three quarters of each clip
    angle = np.where(is_target, 0.2, np.pi / 2 - 0.2)  # from the target
    identity = np.outer(np.cos(angle), TARGET) + np.outer(np.sin(angle), SOURCE)
    result = found(swapped(identity=3 * identity))
    assert result.share_nearer_to_target.value == pytest.approx(0.75)
    assert result.cosine_to_target.value == pytest.approx(np.cos(angle).mean())
    assert result.cosine_to_source.value == pytest.approx(np.sin(angle).mean())


def test_an_identity_that_is_neithers_is_undecided() -> None:
    both = np.tile(SOURCE, (200, 1))
    assert found(swapped(identity=both, source_identity=both, target_identity=both)).share_nearer_to_target.value == 0.5


def test_an_expression_of_its_own_does_not_follow() -> None:
    result = found(swapped(swapped_blendshapes=expression(10, 20, 5, seed=8)))
    assert result.expression_r_squared.high < 0
    assert result.expression_correlation.low < 0.1
    still = found(swapped(swapped_blendshapes=np.full((200, 5), 0.5)))
    assert still.expression_r_squared.value == pytest.approx(0)
    assert still.expression_correlation.value == 0


def test_a_weaker_expression_correlates_all_the_same() -> None:
    """Half the movement about the centre misses half of each deviation: R² 1 - 0.5²."""
    result = found(swapped(swapped_blendshapes=0.5 + 0.5 * (FACE - 0.5)))
    assert result.expression_r_squared.value == pytest.approx(0.75)
    assert result.expression_correlation.value == pytest.approx(1)


def test_blendshapes_of_a_still_source_do_not_count() -> None:
    still = FACE.copy()
    still[:, 1] = 0.3
    assert found(swapped(source_blendshapes=still)).num_blendshapes == 4
    assert isinstance(SwapConfig().build(BootstrapConfig())(swapped(source_blendshapes=0 * FACE)), NotMeasurable)


def test_no_swap_cannot_be_measured() -> None:
    empty = {name: np.zeros((0, 5)) for name in ("source_blendshapes", "swapped_blendshapes")}
    empty |= {name: np.zeros((0, 8)) for name in ("identity", "source_identity", "target_identity")}
    result = SwapConfig().build(BootstrapConfig())(swapped(clip=np.zeros(0, int), **empty))
    assert isinstance(result, NotMeasurable)


def test_cosine_of_rows(rng: np.random.Generator) -> None:
    a, b = rng.normal(size=(6, 4)), rng.normal(size=(6, 4))
    expected = [x @ y / np.linalg.norm(x) / np.linalg.norm(y) for x, y in zip(a, b, strict=True)]
    assert cosine(a, b) == pytest.approx(expected)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("centre", np.zeros(4), "has shape"),
        ("identity", np.zeros((199, 8)), "identity: has shape"),
        ("target_identity", np.zeros((200, 7)), "target_identity: has shape"),
        ("swapped_blendshapes", np.full((200, 5), np.nan), "swapped_blendshapes: holds NaN"),
    ],
)
def test_arrays_that_do_not_belong_together_are_refused(name: str, value: np.ndarray, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        swapped(**{name: value})
