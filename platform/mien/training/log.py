"""What a run writes down: one line of JSON per logged step, TensorBoard events, and a tracker where one is set up.

Only the first worker writes. A segment of the log begins at each checkpoint and is written anew as it grows, so that a
run that goes on from a checkpoint replaces what it does again; readers take the lines of one segment after the other.
"""

import json
import math
import os
import shutil
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Protocol

from pydantic import Field

from mien.config import Config
from mien.errors import StorageError
from mien.evaluation.run_log import FOLDER as FOLDER
from mien.evaluation.run_log import read as read
from mien.log import logger
from mien.storage.uri import Store

_SEGMENT = FOLDER + "from_{:09d}.jsonl"
EVENTS = "tensorboard/"
FIGURES = "figures/"
_COPY_S = 60.0
"""Between two copies of the events: each time all of them are written again."""


class LogConfig(Config):
    """How much is written down."""

    every_steps: int = Field(10, ge=1)
    """Steps between two lines."""
    flush_s: float = Field(10.0, gt=0, allow_inf_nan=False)
    """Seconds between two writes of the log."""
    tensorboard: bool = True
    """Event files for TensorBoard, below the output."""
    wandb_project: str = ""
    """Project of Weights & Biases; without one nothing is sent. WANDB_MODE=offline keeps the run on this disk."""
    wandb_group: str = ""
    """Runs of one group are shown together; trials of a sweep have that of the sweep."""
    log_media: bool = False
    """Pictures with faces, as the reconstruction grid, go into output and tracker."""
    figures: bool = True
    """Figures of similarities and of expression tokens at every checkpoint; no face is in them."""
    expression_clips: int = Field(1, ge=0, le=16)
    """Held-out clips whose expression tokens are drawn there: candles above a heatmap, movement; of a predictor also
    target, prediction and their difference."""


class Tracker(Protocol):
    """Where numbers and pictures go besides the log."""

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one step."""

    def picture(self, step: int, name: str, png: Path) -> None:
        """A picture of one step."""

    def close(self) -> None:
        """Write what is left."""


class RunLog:
    """The log of one run from one step on."""

    def __init__(self, store: Store, config: LogConfig, first_step: int, trackers: list[Tracker]) -> None:
        """Drop the segments of steps that are done again."""
        self._store, self._config, self._trackers = store, config, trackers
        self._lines = list[str]()
        self._written_at = time.monotonic()
        for entry in list(store.list(FOLDER)):
            if entry.name >= _SEGMENT.format(first_step):
                store.delete(entry.name)
        self._name = _SEGMENT.format(first_step)

    def write(self, step: int, kind: str, values: Mapping[str, Any]) -> None:
        """One line: `step` and `kind` (train, validation, expression, event) first."""
        plain = {key: _finite(value) for key, value in values.items()}
        self._lines.append(json.dumps({"step": step, "kind": kind, "time": time.time(), **plain}))
        numbers = {f"{kind}/{key}": float(value) for key, value in values.items() if isinstance(value, int | float)}
        for tracker in self._trackers:
            tracker.scalars(step, numbers)
        if time.monotonic() - self._written_at >= self._config.flush_s:
            self.flush()

    def picture(self, step: int, name: str, png: Path) -> None:
        """A picture below `figures/`, named by its step."""
        self._store.replace(f"{FIGURES}{name}_step_{step}.png", png.read_bytes())
        for tracker in self._trackers:
            tracker.picture(step, name, png)

    def begin_segment(self, step: int) -> None:
        """What follows belongs to another checkpoint."""
        self.flush()
        self._name, self._lines = _SEGMENT.format(step), []

    def flush(self) -> None:
        """Write the lines of this segment; a store that refuses costs lines, not the run."""
        self._written_at = time.monotonic()
        if not self._lines:
            return
        try:
            self._store.replace(self._name, ("\n".join(self._lines) + "\n").encode())
        except StorageError as error:
            logger.warning("the log cannot be written: %s", error)

    def close(self) -> None:
        """Write what is left."""
        self.flush()
        for tracker in self._trackers:
            tracker.close()
        self._trackers = []


def _finite(value: Any) -> Any:
    """JSON has no infinity."""
    return str(value) if isinstance(value, float) and not math.isfinite(value) else value


class TensorBoard:
    """Event files, made on a local disk and copied to the output."""

    def __init__(self, store: Store, first_step: int) -> None:
        """Open a file of events whose later steps replace earlier ones."""
        from tensorboardX import SummaryWriter

        self._store, self._folder = store, store.scratch()
        self._writer = SummaryWriter(str(self._folder), purge_step=first_step)
        self._copied_at = time.monotonic()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one step."""
        for name, value in values.items():
            self._writer.add_scalar(name, value, step)
        if time.monotonic() - self._copied_at > _COPY_S:
            self._copy()

    def picture(self, step: int, name: str, png: Path) -> None:
        """A picture of one step."""
        import numpy as np
        from PIL import Image

        with Image.open(png) as picture:
            self._writer.add_image(name, np.asarray(picture.convert("RGB")), step, dataformats="HWC")

    def _copy(self) -> None:
        self._writer.flush()
        self._copied_at = time.monotonic()
        try:
            for path in self._folder.iterdir():
                self._store.replace(f"{EVENTS}{path.name}", path.read_bytes())
        except StorageError as error:
            logger.warning("the events cannot be written: %s", error)

    def close(self) -> None:
        """Copy what is left."""
        self._writer.close()
        self._copy()
        shutil.rmtree(self._folder, ignore_errors=True)


class WandB:
    """One run of Weights & Biases, whatever the number of workers; it goes on when training does."""

    def __init__(self, project: str, run_id: str, config: Mapping[str, Any], group: str = "") -> None:
        """Begin, or go on: the id is that of the output."""
        import wandb

        self._wandb = wandb
        settings = wandb.Settings(silent=True, console="off")
        self._run = wandb.init(
            project=project, id=run_id, group=group or None, resume="allow", config=dict(config), settings=settings
        )

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Numbers of one step."""
        self._run.log(dict(values), step=step)

    def picture(self, step: int, name: str, png: Path) -> None:
        """A picture of one step."""
        self._run.log({name: self._wandb.Image(str(png))}, step=step)

    def close(self) -> None:
        """Send or keep what is left."""
        self._run.finish()


def wants_wandb(config: LogConfig) -> bool:
    """Whether a tracker is asked for, by config or, as its users are used to, by its variables."""
    return bool(config.wandb_project or os.environ.get("WANDB_API_KEY") or os.environ.get("WANDB_MODE") == "offline")
