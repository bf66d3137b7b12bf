"""Which samples train and which are held out: by subject or by time, never by frame."""

import hashlib
from collections.abc import Sequence
from typing import Literal

import numpy as np
from pydantic import Field

from mien.config import Config
from mien.datasets.tables import TableFile
from mien.errors import ConfigError

TRAIN, HELD_OUT, LEFT_OUT = 0, 1, 2
"""A sample that is left out reaches over the border between the two."""

_TOLERANCE_S = 0.02
"""Below a frame: a clip that ends where the next one begins does not reach over the border."""


class SplitConfig(Config):
    """How the samples of a dataset are divided."""

    by: Literal["subject", "source_end"] = "subject"
    """`subject`: all samples of some subjects (of some videos, where the subject is unknown). `source_end`: the last
    part of every video, so that every subject is on both sides, as a reconstruction of persons needs it."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """Share of the subjects, at least one; or of the time of each video."""
    seed: int = 0
    """Which subjects."""


def split(index: TableFile, config: SplitConfig) -> np.ndarray:
    """TRAIN, HELD_OUT or LEFT_OUT for every row of an index: uint8 [samples].

    Raises:
        ConfigError: One of the two sides has no sample.
    """
    parts = _by_subject(index, config) if config.by == "subject" else _by_time(index, config)
    rule = f"split.by={config.by}, split.held_out={config.held_out:g}"
    require_both(parts, rule, "give another share, split by the other rule, or serialize more and shorter clips")
    return parts


def require_both(parts: np.ndarray, rule: str, remedy: str) -> None:
    """Refuse a rule that leaves one of the two sides without a sample.

    Raises:
        ConfigError: It does.
    """
    for part, name in ((HELD_OUT, "held out"), (TRAIN, "left to train with")):
        if not (parts == part).any():
            raise ConfigError(f"{rule}: no sample of {len(parts)} is {name}; {remedy}")


def by_group(groups: Sequence[str], held_out: float, seed: int) -> np.ndarray:
    """TRAIN or HELD_OUT for every sample by the group that it is of, at least one group held out: uint8 [samples]."""
    distinct = sorted({*groups}, key=lambda name: hashlib.sha256(f"{seed}:{name}".encode()).digest())
    if len(distinct) < 2:
        return np.zeros(len(groups), np.uint8)
    chosen = {*distinct[: min(len(distinct) - 1, max(1, round(held_out * len(distinct))))]}
    return np.array([HELD_OUT if group in chosen else TRAIN for group in groups], np.uint8)


def _by_subject(index: TableFile, config: SplitConfig) -> np.ndarray:
    subjects, sources = (index.column(name).to_pylist() for name in ("subject", "source_uri"))
    groups = [subject or source for subject, source in zip(subjects, sources, strict=True)]
    return by_group(groups, config.held_out, config.seed)


def _by_time(index: TableFile, config: SplitConfig) -> np.ndarray:
    start_s, stop_s = spans(index)
    _, source = np.unique(np.array(index.column("source_uri").to_pylist(), dtype=object), return_inverse=True)
    first = np.full(source.max(initial=-1) + 1, np.inf)
    last = np.full(len(first), -np.inf)
    np.minimum.at(first, source, start_s)
    np.maximum.at(last, source, stop_s)
    border_s = (last - config.held_out * (last - first))[source]
    parts = np.full(len(source), LEFT_OUT, np.uint8)
    parts[stop_s <= border_s + _TOLERANCE_S] = TRAIN
    parts[start_s >= border_s - _TOLERANCE_S] = HELD_OUT
    has_end = np.zeros(len(first), bool)
    has_end[source[parts == HELD_OUT]] = True
    is_whole = (start_s <= first[source]) & (stop_s >= last[source])
    parts[is_whole & ~has_end[source]] = TRAIN  # a video that is one clip
    return parts


def spans(index: TableFile) -> tuple[np.ndarray, np.ndarray]:
    """Start and end of every sample in its source, s: the planned end may be that of the video, which is infinity."""
    start_s, num_frames, fps = (
        np.asarray(index.column(name).to_numpy(), np.float64) for name in ("start_s", "num_frames", "fps")
    )
    return start_s, start_s + num_frames / np.maximum(fps, 1e-3)
