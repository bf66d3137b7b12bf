"""Pictures of a run: similarities, schedules and, where faces may be shown, a fixed grid of reconstructions."""

import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from mien.errors import MienError
from mien.evaluation.tiles import png_of
from mien.log import logger
from mien.models.layers import evaluation
from mien.objectives.batch import Batch
from mien.objectives.expression import Joint
from mien.storage.uri import Store
from mien.training import expressions, similarity
from mien.training.log import RunLog
from mien.training.validate import Seen

_MAX_DRAWN = 32
"""Clips that have a violin of their own."""

Paint = Callable[[Path], object]
"""Writes a PNG to a path."""


class Pictures:
    """Draws for the first worker; a picture that fails costs no training."""

    def __init__(self, log: RunLog, store: Store) -> None:
        """Nothing is drawn yet."""
        self._log, self._store = log, store
        self._history = list[dict[str, float]]()
        self._ends = list[np.ndarray]()
        """Similarities of the first and of the last validation."""

    def similarities(self, seen: Seen, step: int) -> None:
        """Of the held-out clips as they were validated last."""
        clips = similarity.per_clip(seen.tokens, seen.mask) if seen.tokens is not None else []
        if not clips:
            return
        together = similarity.pooled(clips)
        self._history.append({"step": step, **similarity.statistics(together)})
        self._ends = [*self._ends[:1], together]
        self._draw(step, "similarity", _figure(similarity.figure, clips[:_MAX_DRAWN], step))

    def expressions(self, seen: Seen, num_clips: int, step: int) -> None:
        """Tokens of some held-out clips, whole."""
        try:
            for name, png in expressions.figures(expressions.shown(seen, num_clips), step):
                self.png(name, png, step)
        except (ValueError, MienError) as error:
            logger.warning("the expressions of step %d cannot be drawn: %s", step, error)

    def png(self, name: str, png: bytes, step: int) -> None:
        """A picture as it is."""
        self._draw(step, name, lambda path: path.write_bytes(png))

    def end(self, lines: Sequence[dict[str, Any]], warmup_end: int | None, step: int) -> None:
        """How similarities went, and the schedules as they were followed."""
        if len(self._history) > 1:
            drawn = (self._history, self._ends[0], self._ends[-1])
            self._draw(step, "similarity_evolution", _figure(similarity.evolution_figure, *drawn))
        trained = [line for line in lines if line["kind"] == "train"]
        if trained:
            self._draw(step, "schedules", _figure(similarity.schedule_figure, trained, warmup_end))

    def _draw(self, step: int, name: str, paint: Paint) -> None:
        try:
            scratch = self._store.scratch()
            try:
                paint(scratch / "picture.png")
                self._log.picture(step, name, scratch / "picture.png")
            finally:
                shutil.rmtree(scratch, ignore_errors=True)
        except (OSError, ValueError, MienError) as error:
            logger.warning("the picture %s of step %d cannot be written: %s", name, step, error)


def _figure(draw: Callable[..., Any], *arguments: object) -> Paint:
    return lambda path: similarity.save(draw(*arguments), path)


def reconstruction_grid(joint: Joint, batch: Batch) -> bytes:
    """PNG of one frame of each clip, the middle one that has a face: the crop above, what the model makes of it below.

    Raises:
        ValueError: No clip has a frame.
    """
    with evaluation(joint):
        _, made = joint.rendered(batch)
    if batch.images is None or not batch.mask.any():
        raise ValueError("no clip has a frame with a face")
    clips = [number for number, mask in enumerate(batch.mask) if mask.any()]
    frames = [int(mask.nonzero()[int(mask.sum()) // 2]) for mask in batch.mask[clips]]
    rows = (batch.images, made.view_as(batch.images))
    pixels = torch.cat([torch.cat([*row[clips, frames]], dim=2) for row in rows], dim=1)
    return png_of(pixels)
