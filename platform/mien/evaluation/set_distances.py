"""How far two sets of embeddings are apart: by their means, by a kernel, and by sliced Wasserstein distance.

All come as a whole and without one group of rows after the other, as `JackknifeConfig.estimate` wants them: resamples
with repeated rows would shift them. Only the first set varies; the second, such as the texts of all classes, is given.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

import numpy as np

from mien.evaluation.embedded import Floats, Ints

_CHUNK_ROWS = 1024
_NUM_FOR_MEDIAN = 1000


class Distance(NamedTuple):
    """A statistic of two sets."""

    whole: float
    left_out: Floats
    """Without one group after the other [G]; empty where there is one group."""


def bandwidth(values: Floats) -> float:
    """Median distance of different rows [n, d], of a thousand of them evenly taken (Gretton et al. 2012, section 8).

    Raises:
        ValueError: All rows are one.
    """
    some = values[np.linspace(0, len(values) - 1, min(len(values), _NUM_FOR_MEDIAN)).astype(int)]
    squared = _squared_distances(some, some)[np.triu_indices(len(some), 1)]
    median = float(np.sqrt(np.median(squared))) if len(squared) else 0.0
    if median <= 0:
        raise ValueError("all embeddings are one; a kernel needs two that differ")
    return median


def mean_gap(first: Floats, second: Floats, groups: Sequence[Ints]) -> Distance:
    """Distance of the means of [n, d] and [m, d], the modality gap of unit vectors (Liang et al. 2022)."""
    sums, goal = np.stack([first[rows].sum(0) for rows in groups]), second.mean(0)
    num = np.array([len(rows) for rows in groups])
    return _with_left_out(lambda kept: float(np.linalg.norm(kept @ sums / (kept @ num) - goal)), len(groups))


def kernel_distance(first: Floats, second: Floats, width: float, groups: Sequence[Ints]) -> Distance:
    """Squared maximum mean discrepancy with a Gaussian kernel; without bias, so perhaps below 0.

    Gretton et al. (2012), eq. 3.

    Args:
        first: [n, d].
        second: [m, d], m ≥ 2.
        width: Standard deviation of the kernel, that of `bandwidth`; sets compare for one width alone.
        groups: Rows of the first that are left out together.
    """
    member = _membership(groups, len(first))
    within = member.T @ _kernel_sums(first, first, member, width) - np.diag(member.sum(0))  # k(x, x) = 1: no pair
    ones = np.ones((len(second), 1))
    between = member.T @ _kernel_sums(first, second, ones, width)[:, 0]
    own = float(_kernel_sums(second, second, ones, width).sum() - len(second)) / (len(second) * (len(second) - 1))
    num = member.sum(0)

    def distance(kept: Floats) -> float:
        count = float(kept @ num)
        return float(kept @ within @ kept / (count * (count - 1)) + own - 2 * kept @ between / (count * len(second)))

    return _with_left_out(distance, len(groups))


def sliced_wasserstein(first: Floats, second: Floats, directions: Floats, groups: Sequence[Ints]) -> Distance:
    """Root of the mean, over directions [d, L], of the squared 2-Wasserstein distance (Bonneel et al. 2015)."""
    projected, other = first @ directions, np.sort(second @ directions, axis=0)

    def distance(kept: Floats) -> float:
        rows = np.concatenate([group for group, is_kept in zip(groups, kept, strict=True) if is_kept])
        return float(np.sqrt(_squared_wasserstein(np.sort(projected[rows], axis=0), other).mean()))

    return _with_left_out(distance, len(groups))


def directions(dim: int, num: int, seed: int) -> Floats:
    """Unit vectors evenly on the sphere, [dim, num]."""
    drawn = np.random.default_rng(seed).normal(size=(dim, num))
    return np.asarray(drawn / np.linalg.norm(drawn, axis=0))


def _squared_wasserstein(first: Floats, second: Floats) -> Floats:
    """Of each column of sorted [n, L] and [m, L]: the integral over quantiles, which are steps between these levels."""
    sizes = len(first), len(second)
    levels = np.unique(np.concatenate([np.arange(1, size + 1) / size for size in sizes]))
    widths, middles = np.diff(levels, prepend=0), levels - np.diff(levels, prepend=0) / 2
    quantiles = [side[(middles * size).astype(int)] for side, size in zip((first, second), sizes, strict=True)]
    return np.asarray(widths @ (quantiles[0] - quantiles[1]) ** 2)


def _with_left_out(distance: Callable[[Floats], float], num_groups: int) -> Distance:
    without = 1 - np.eye(num_groups) if num_groups > 1 else np.empty((0, 1))
    return Distance(distance(np.ones(num_groups)), np.array([distance(kept) for kept in without]))


def _kernel_sums(first: Floats, second: Floats, member: Floats, width: float) -> Floats:
    """Σ k(x, y) over the rows of each group of the second set: [n, G]."""
    starts = range(0, len(first), _CHUNK_ROWS)
    rows = (first[start : start + _CHUNK_ROWS] for start in starts)
    return np.concatenate([np.exp(-_squared_distances(x, second) / (2 * width**2)) @ member for x in rows])


def _squared_distances(first: Floats, second: Floats) -> Floats:
    squares = [(side * side).sum(1) for side in (first, second)]
    return np.asarray(np.maximum(squares[0][:, None] + squares[1] - 2 * first @ second.T, 0))


def _membership(groups: Sequence[Ints], num: int) -> Floats:
    """1 where a row is of a group, [n, G]."""
    member = np.zeros((num, len(groups)))
    for number, rows in enumerate(groups):
        member[rows, number] = 1
    return member
