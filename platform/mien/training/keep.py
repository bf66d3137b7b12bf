"""Checkpoints of a run: written in the background; the best is pointed to, and the new ones and it are kept."""

import math
from collections.abc import Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Literal

from pydantic import Field

from mien.config import Config
from mien.errors import MienError
from mien.log import logger
from mien.models import checkpoint
from mien.models.checkpoint import Checkpoint
from mien.storage.uri import Store
from mien.training.state import State


class CheckpointConfig(Config):
    """When the run is saved, and what is kept."""

    every_steps: int = Field(600, ge=1)
    """Steps between two checkpoints; there is one at the end, and one when a machine is about to be taken away."""
    keep: int = Field(3, ge=1)
    """Newest checkpoints that are kept, besides the best."""
    best_by: str = ""
    """Validation metric that decides which is best; by default the objective's first term. The loss itself changes its
    meaning with the weights of the terms."""
    best: Literal["lowest", "highest"] = "lowest"
    """Which way it is better."""


class Saver:
    """Writes one checkpoint at a time while training goes on; what went wrong is raised by the next call."""

    def __init__(self, store: Store, config: CheckpointConfig) -> None:
        """Nothing is written yet."""
        self._store, self._config = store, config
        self._pool = ThreadPoolExecutor(1, thread_name_prefix="mien-save")
        self._pending: Future[Checkpoint] | None = None

    def save(self, state: State, facts: Mapping[str, Any]) -> None:
        """Copy the state and begin to write it, once the one before is there.

        Args:
            state: What is saved.
            facts: Plain values for the record; `metrics` decides which checkpoint is best.

        Raises:
            StorageError: The one before could not be written.
        """
        self.wait()
        parts, facts = state.parts(), {**facts, **state.facts()}
        self._pending = self._pool.submit(checkpoint.write, self._store, state.step, parts, facts)

    def wait(self) -> None:
        """Until what was saved last is committed, and what need not be kept is gone.

        Raises:
            StorageError: It could not be written.
        """
        pending, self._pending = self._pending, None
        if pending is not None:
            self._keep(self._compare(pending.result()))

    def _compare(self, written: Checkpoint) -> str | None:
        """Point to the checkpoint if it is the best so far; the name of the one that is."""
        config, best = self._config, checkpoint.pointed(self._store, checkpoint.BEST)
        sign = 1 if config.best == "lowest" else -1
        terms = [name for name in written.facts["metrics"] if name != "loss"]
        name = config.best_by or next(iter(terms), "loss")
        value, so_far = written.facts["metrics"].get(name, math.nan), best.get("value", sign * math.inf)
        if math.isfinite(value) and sign * value < sign * so_far:
            checkpoint.point(self._store, checkpoint.BEST, written.name, metric=name, value=value)
            return written.name
        return best.get("checkpoint")

    def _keep(self, best: str | None) -> None:
        """Delete what is neither new nor best."""
        there = checkpoint.names(self._store)
        for name in there[: -self._config.keep]:
            if name != best:
                checkpoint.remove(self._store, name)

    def close(self) -> None:
        """Finish what is under way, and end the thread; a failure is told, for whoever closes has one of its own."""
        try:
            self.wait()
        except MienError as error:
            logger.warning("the last checkpoint cannot be written: %s", error)
        finally:
            self._pool.shutdown(wait=True)
