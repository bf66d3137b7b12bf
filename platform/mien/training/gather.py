"""From the arrays of clips to what the measures take: frames, scores of pictures, swaps."""

from collections.abc import Iterable, Sequence
from typing import Literal, get_args

import numpy as np
import torch

from mien import schema
from mien.evaluation.embedded import Embedded, Floats, Ints
from mien.evaluation.image_scores import FrameScores, MeanImages, System
from mien.evaluation.ridge import RidgeConfig
from mien.evaluation.swap import Swapped
from mien.training.clip_tasks import ClipTask
from mien.training.embedding import (
    BLENDSHAPES,
    IMAGE_SUM,
    POOLED,
    PSNR,
    SSIM,
    SWAPPED_POOLED,
    SWAPPED_TOKENS,
    TASK,
    TIME_S,
    TOKENS,
    Arrays,
)


def counted(clip: Arrays, means: MeanImages, people: set[int]) -> Arrays:
    """The clip without the sum of its images, which goes into the means.

    Those of some people are asked for, and that of all: whoever else is in a clip shares one sum with the others.
    """
    if IMAGE_SUM in clip:
        person, others = task_of(clip).person, max(people, default=0) + 1
        total = torch.from_numpy(clip[IMAGE_SUM])
        means.add_sum(total, len(clip[TIME_S]), person if person in people else others)
    return {name: values for name, values in clip.items() if name != IMAGE_SUM}


def task_of(clip: Arrays) -> ClipTask:
    """The task that a clip was embedded for."""
    task = ClipTask._make(map(int, clip[TASK]))
    return task._replace(is_known=bool(task.is_known), is_held_out=bool(task.is_held_out))


def embedded_frames(clips: Sequence[Arrays]) -> Embedded:
    """The frames of all clips with a face, one clip after the other.

    Raises:
        ValueError: No clip has one.
    """
    shown = [clip for clip in clips if len(clip[TIME_S])]
    if not shown:
        raise ValueError("clips: show no face in any frame")
    return Embedded(
        tokens=_joined(shown, TOKENS),
        baseline=_joined(shown, POOLED),
        blendshapes=np.concatenate([_blendshapes(clip) for clip in shown]),
        clip=_each_frame(shown, "sample"),
        time_s=_joined(shown, TIME_S),
        subject=_each_frame(shown, "person"),
        is_held_out=_each_frame(shown, "is_held_out").astype(bool),
    )


def frame_scores(clips: Iterable[Arrays]) -> FrameScores | None:
    """Scores of the clips that have them; None if none has."""
    scored = [clip for clip in clips if f"{PSNR}reconstruction" in clip]
    if not scored:
        return None
    systems: tuple[System, ...] = get_args(System)
    return FrameScores(
        clip=_each_frame(scored, "sample"),
        psnr_db={system: _joined(scored, f"{PSNR}{system}") for system in systems},
        ssim={system: _joined(scored, f"{SSIM}{system}") for system in systems},
    )


def swapped_frames(clips: Iterable[Arrays], seen: Embedded, ridge: RidgeConfig) -> Swapped | None:
    """Swaps of the frames whose blendshapes were measured; None if there is none, or no probe can be fitted.

    The expression of a swapped face is what a probe reads from its token, fitted on training clips.

    Args:
        clips: Held-out clips.
        seen: Frames of the training side.
        ridge: The probe.
    """
    measured = seen.where(seen.is_measured)
    swaps = [clip for clip in clips if SWAPPED_TOKENS in clip]
    shown = np.concatenate([_blendshapes(clip) for clip in swaps]) if swaps else np.empty((0, 1))
    kept = np.isfinite(shown).all(1)
    if not kept.any() or len(np.unique(measured.clip)) < 2:
        return None
    probe, known = ridge.build()(measured.tokens, measured.blendshapes, measured.clip), Identities(seen)
    return Swapped(
        source_blendshapes=shown[kept],
        swapped_blendshapes=probe.predict(_joined(swaps, SWAPPED_TOKENS)[kept]),
        identity=_joined(swaps, SWAPPED_POOLED)[kept] - known.centre,
        source_identity=known.of(_each_frame(swaps, "person")[kept]),
        target_identity=known.of(_each_frame(swaps, "target")[kept]),
        clip=_each_frame(swaps, "sample")[kept],
        centre=measured.blendshapes.mean(0),
    )


class Identities:
    """What tells people apart: their averaged patch tokens, less the mean over people, which all faces have."""

    def __init__(self, seen: Embedded) -> None:
        """From the true frames of training clips."""
        self._people = np.unique(seen.subject)
        means = np.stack([seen.baseline[seen.subject == person].mean(0, dtype=np.float64) for person in self._people])
        self.centre: Floats = means.mean(0)
        """[E]."""
        self._means = means - self.centre

    def of(self, people: Ints) -> Floats:
        """Of each of these persons, who have training clips: [N] to [N, E]."""
        return np.asarray(self._means[np.searchsorted(self._people, people)])


def _joined(clips: Sequence[Arrays], name: str) -> Floats:
    return np.concatenate([clip[name] for clip in clips])


def _blendshapes(clip: Arrays) -> Floats:
    """[F, 52], NaN where the dataset has none."""
    return clip.get(BLENDSHAPES, np.full((len(clip[TIME_S]), schema.NUM_BLENDSHAPES), np.nan))


def _each_frame(clips: Sequence[Arrays], field: Literal["sample", "person", "target", "is_held_out"]) -> Ints:
    """One value of the task of a clip, for each of its frames."""
    return np.concatenate([np.full(len(clip[TIME_S]), getattr(task_of(clip), field)) for clip in clips])
