"""Random numbers without a state: each is a pure function of (seed, stream, sample, step), on every device alike.

A run that is split over other workers, or taken up again after a crash, so draws what it would have drawn: there is no
random state to save, and none that differs from rank to rank. The bits are SplitMix64 (Steele et al. 2014) of a key and
a counter.
"""

import hashlib
import math
from collections.abc import Sequence

import torch

_GAMMA, _FIRST, _SECOND = -0x61C8864680B583EB, -0x40A7B892E31B1A47, -0x6B2FB644ECCEEE15
"""Constants of SplitMix64, as signed numbers: torch has no unsigned arithmetic, and wraps around."""


def keys(seed: int, stream: str, index: torch.Tensor, step: int = 0) -> torch.Tensor:
    """One key for each sample: int64, shape of `index`.

    Args:
        seed: Of the run.
        stream: What the numbers are for; numbers of two streams have nothing to do with each other.
        index: Global number of each sample, int64, any shape.
        step: Step or epoch.
    """
    name = int.from_bytes(hashlib.sha256(stream.encode()).digest()[:8], "little", signed=True)
    start = _mix(torch.tensor(seed, dtype=torch.int64, device=index.device) ^ name)
    return fold(fold(start.expand(index.shape), index), step)


def fold(key: torch.Tensor, word: torch.Tensor | int) -> torch.Tensor:
    """Keys of what is numbered within a sample (a frame, a layer): int64, both shapes broadcast."""
    return _mix(_mix(key + _GAMMA) + word)


def bits(key: torch.Tensor, num: int) -> torch.Tensor:
    """64 random bits each as int64 [*key.shape, num]."""
    counter = torch.arange(1, num + 1, dtype=torch.int64, device=key.device)
    return _mix(key[..., None] + counter * _GAMMA)


def uniform(key: torch.Tensor, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Uniform in [0, 1), [*key.shape, *shape]; the upper 24 bits, or 53 for float64."""
    digits = 53 if dtype == torch.float64 else 24
    drawn = _shift(bits(key, math.prod(shape)), 64 - digits).to(dtype) * 2.0**-digits
    return drawn.reshape((*key.shape, *shape))


def normal(key: torch.Tensor, shape: Sequence[int] = (), dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Standard normal, [*key.shape, *shape], by Box and Muller (1958): two of a pair of uniform numbers."""
    num = math.prod(shape)
    pairs = uniform(key, ((num + 1) // 2, 2), dtype)
    radius = torch.sqrt(-2 * torch.log1p(-pairs[..., 0]))
    angle = 2 * math.pi * pairs[..., 1]
    drawn = torch.stack([radius * torch.cos(angle), radius * torch.sin(angle)], dim=-1).flatten(-2)
    return drawn[..., :num].reshape((*key.shape, *shape))


def integers(key: torch.Tensor, high: torch.Tensor | int, low: torch.Tensor | int = 0) -> torch.Tensor:
    """Whole numbers in low ≤ n < high, int64, one per key."""
    return low + torch.floor(uniform(key, dtype=torch.float64) * (high - low)).to(torch.int64)


def keep(key: torch.Tensor, shape: Sequence[int], share: float) -> torch.Tensor:
    """True with probability `share`, [*key.shape, *shape]; sixteen bits each, so to 1 in 65,536."""
    num = math.prod(shape)
    below = round(share * 2**16) - 2**15
    if below == 2**15:  # more than 16 bits with a sign can say
        return torch.ones((*key.shape, *shape), dtype=torch.bool, device=key.device)
    words = bits(key, (num + 3) // 4).view(torch.int16)[..., :num]
    kept: torch.Tensor = words < below
    return kept.reshape((*key.shape, *shape))


def permuted(position: torch.Tensor, size: int, key: torch.Tensor) -> torch.Tensor:
    """Where each of 0 … size-1 stands in a random order: a bijection that needs no memory, whatever the size.

    A Feistel network of four rounds over the next even power of two, walked until it is within the size (Black and
    Rogaway 2002). All int64, of one shape.

    Raises:
        ValueError: A position is not in 0 ≤ position < size.
    """
    if size < 1 or bool(((position < 0) | (position >= size)).any()):
        raise ValueError(f"positions must be in 0 ≤ position < {size}")
    half = max(1, (max(size - 1, 1).bit_length() + 1) // 2)
    place = _feistel(position, half, key)
    while bool((outside := place >= size).any()):
        place = torch.where(outside, _feistel(place, half, key), place)
    return place


def _feistel(value: torch.Tensor, half: int, key: torch.Tensor) -> torch.Tensor:
    left, right = value >> half, value & (2**half - 1)
    for turn in range(4):
        left, right = right, left ^ (fold(fold(key, turn), right) & (2**half - 1))
    joined: torch.Tensor = (left << half) | right
    return joined


def _mix(value: torch.Tensor) -> torch.Tensor:
    """The finaliser of SplitMix64."""
    value = (value ^ _shift(value, 30)) * _FIRST
    value = (value ^ _shift(value, 27)) * _SECOND
    mixed: torch.Tensor = value ^ _shift(value, 31)
    return mixed


def _shift(value: torch.Tensor, by: int) -> torch.Tensor:
    """Shift to the right without the sign."""
    shifted: torch.Tensor = (value >> by) & (2 ** (64 - by) - 1)
    return shifted
