"""An objective whose optimum is known, in place of a training: for tests of searchers, schedulers and populations.

score(e) = FLOOR · (1 + mean miss of the epochs before e) + SPAN · exp(-e / τ(learning rate)) + noise, lower is better.
A fast learning rate is ahead at first and worse at the end, as in life; the best first weight moves by `drift`.
"""

import math
import time
from collections.abc import Generator, Sequence
from typing import Literal, NamedTuple, Self

import torch
from pydantic import Field

from mien import draws
from mien.config import Config
from mien.losses.weights import Constant, Schedule
from mien.models import checkpoint
from mien.storage.uri import Store
from mien.training.job import TrainWorkersConfig
from mien.training.mail import Report

FLOOR, SPAN = 0.2, 1.0
METRIC, MISSED = "score", "missed"
"""What it reports: the score, and the mean miss in it."""

BEST_RATE, BEST_FIRST, BEST_SECOND = 1e-2, 0.2, 0.6
"""The optimum: at the first epoch, where it moves."""
_DECADES, _WIDTH = 1.5, 0.5
"""Distances at which a miss is 1: orders of magnitude of the learning rate, and of a weight."""
_EPOCHS = 3.0
"""τ at the best learning rate."""


class SyntheticWeights(Config):
    """Two weights."""

    first: Schedule = Constant(level=0.5)
    """Its best value moves."""
    second: Schedule = Constant(level=0.5)
    """Its best value stays."""


class SyntheticConfig(Config):
    """What is searched."""

    kind: Literal["synthetic"] = "synthetic"
    """Instead of a training."""
    learning_rate: float = Field(1e-3, gt=0, allow_inf_nan=False)
    """Speed of learning, and part of the miss."""
    weights: SyntheticWeights = SyntheticWeights()
    """By epoch, as the weights of a training by step."""
    num_epochs: int = Field(81, ge=1)
    """Length of a trial."""
    drift: float = Field(0.0, allow_inf_nan=False)
    """How far the best first weight moves over all epochs."""
    noise: float = Field(0.001, ge=0, allow_inf_nan=False)
    """Standard deviation of what is added to each score."""
    seed: int = Field(0, ge=0)
    """Of the noise."""
    epoch_s: float = Field(0.0, ge=0, allow_inf_nan=False)
    """Seconds that an epoch takes."""
    workers: TrainWorkersConfig = TrainWorkersConfig()
    """Who trains; one process does."""

    @property
    def num_steps(self) -> int:
        """An epoch is a step."""
        return self.num_epochs

    def best_first(self, epoch: int) -> float:
        """The best first weight of an epoch."""
        return BEST_FIRST + self.drift * epoch / self.num_epochs

    def miss(self, epoch: int) -> float:
        """Squared distance from the optimum of an epoch."""
        first, second = (each.value(epoch, self.num_epochs) for each in (self.weights.first, self.weights.second))
        decades = math.log10(self.learning_rate / BEST_RATE) / _DECADES
        return decades**2 + ((first - self.best_first(epoch)) / _WIDTH) ** 2 + ((second - BEST_SECOND) / _WIDTH) ** 2


class State(NamedTuple):
    """What a checkpoint of a trial holds: a trial that goes on from another's is as far as that one."""

    epoch: int = 0
    """Epochs that are over."""
    missed: float = 0.0
    """Sum of their misses."""
    left: float = 1.0
    """Share of the span that is still to be learnt."""

    def after(self, config: SyntheticConfig) -> Self:
        """One epoch later."""
        epochs = _EPOCHS * math.sqrt(BEST_RATE / config.learning_rate)
        return self._replace(
            epoch=self.epoch + 1,
            missed=self.missed + config.miss(self.epoch),
            left=self.left * math.exp(-1 / epochs),
        )

    @classmethod
    def of(cls, found: checkpoint.Checkpoint) -> Self:
        """What `parts` were made of."""
        missed, left = found.tensors(checkpoint.MODEL)["state"].tolist()
        return cls(found.step, missed, left)

    def parts(self) -> dict[str, dict[str, torch.Tensor]]:
        """Tensors of a checkpoint."""
        return {checkpoint.MODEL: {"state": torch.tensor([self.missed, self.left], dtype=torch.float64)}}

    def true_score(self) -> float:
        """Without noise; of at least one epoch."""
        return FLOOR * (1 + self.missed / self.epoch) + SPAN * self.left

    def score(self, config: SyntheticConfig, trial: int) -> float:
        """With the noise of this trial at this epoch."""
        return self.true_score() + _noise(config, trial, [self.epoch])[0]


def reports(config: SyntheticConfig, trial: int, store: Store) -> Generator[Report]:
    """A trial from where its newest checkpoint left it, with a report and a checkpoint of each epoch.

    Raises:
        StorageError: A checkpoint cannot be written.
    """
    found = checkpoint.newest(store)
    state = State.of(found) if found else State()
    while state.epoch < config.num_epochs:
        time.sleep(config.epoch_s)
        state = state.after(config)
        metrics = {METRIC: state.score(config, trial), MISSED: state.missed / state.epoch}
        checkpoint.write(store, state.epoch, state.parts(), {"metrics": metrics})
        yield Report(state.epoch, metrics)


def curve(config: SyntheticConfig, trial: int) -> list[float]:
    """Scores of every epoch of a whole trial."""
    state, scores = State(), list[float]()
    for _ in range(config.num_epochs):
        state = state.after(config)
        scores.append(state.true_score())
    noise = _noise(config, trial, range(1, config.num_epochs + 1))
    return [score + one for score, one in zip(scores, noise, strict=True)]


def _noise(config: SyntheticConfig, trial: int, epochs: Sequence[int]) -> list[float]:
    """What is added to the scores of these epochs."""
    keys = draws.keys(config.seed, "tuning/noise", torch.tensor(epochs), trial)
    drawn: list[float] = (config.noise * draws.normal(keys, dtype=torch.float64)).tolist()
    return drawn
