"""Frames whose truth is planted: what a probe must find in them is known beforehand."""

from typing import Any

import numpy as np

from mien.evaluation.embedded import Embedded, Floats


def expression(num_clips: int, num_frames: int, num_blendshapes: int, seed: int = 0) -> Floats:
    """Blendshapes that wander smoothly around 0.5, another way in each clip: [num_clips * num_frames, B]."""
    rng = np.random.default_rng(seed)
    steps = rng.normal(size=(num_clips, num_frames, num_blendshapes))
    walk = np.zeros_like(steps)
    walk[:, 0] = steps[:, 0]
    for t in range(1, num_frames):
        walk[:, t] = 0.8 * walk[:, t - 1] + 0.6 * steps[:, t]  # variance 1
    return 0.5 + 0.15 * walk.reshape(-1, num_blendshapes)


def embedded(num_clips: int = 20, num_frames: int = 40, num_blendshapes: int = 6, **changes: Any) -> Embedded:
    """Clips of 4 subjects in turn, every other four held out; tokens and baseline hold nothing unless given."""
    rng = np.random.default_rng(1)
    clip = np.repeat(np.arange(num_clips), num_frames)
    values: dict[str, Any] = {
        "tokens": rng.normal(size=(len(clip), 16)),
        "baseline": rng.normal(size=(len(clip), 12)),
        "blendshapes": expression(num_clips, num_frames, num_blendshapes),
        "clip": clip,
        "time_s": np.tile(np.arange(num_frames) / 25, num_clips),
        "subject": clip % 4,
        "is_held_out": clip // 4 % 2 == 1,
    }
    return Embedded(**(values | changes))
