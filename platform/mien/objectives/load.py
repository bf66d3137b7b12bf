"""A trained objective from its checkpoint: for evaluations, figures and demos, which need no trainer."""

from typing import Any, Literal, NamedTuple

import torch

from mien.config import Config
from mien.errors import CheckpointError, ConfigError
from mien.models import checkpoint
from mien.models.checkpoint import Checkpoint
from mien.objectives.objective import Objective
from mien.objectives.registry import ObjectiveConfig, build

Weights = Literal["ema", "model"]
"""`ema`: averages over the steps, where the run has them; `model`: as the last step left them."""


class Loaded(NamedTuple):
    """What a checkpoint holds."""

    objective: Objective
    """In eval mode and without gradients, float32, on the CPU."""
    facts: dict[str, Any]
    """Its record: step, config, subjects, metrics, what the tokens are made with."""


class _Record(Config):
    """What is needed of the facts."""

    objective: ObjectiveConfig
    """Models and losses."""


def load_objective(place: str, weights: Weights = "ema") -> Loaded:
    """The objective of a run with the weights of its newest checkpoint, or of one that is named.

    Args:
        place: Output of `mien train`, or RUN/checkpoints/step_….
        weights: Which of them; an `ema` that a run does not have is the model.

    Raises:
        CheckpointError: There is none, it is damaged, or it is of another architecture.
    """
    found = checkpoint.find(place)
    with torch.random.fork_rng(devices=[]):  # random weights that are overwritten cost the caller's state nothing
        objective = build(_config_of(found))
    tensors = found.weights() if weights == "ema" else found.tensors(checkpoint.MODEL)
    checkpoint.load_into(objective, tensors, found.uri)
    return Loaded(objective.eval().requires_grad_(False), found.facts)


def _config_of(found: Checkpoint) -> ObjectiveConfig:
    try:
        return _Record.parse({"objective": found.facts.get("objective")}, found.uri).objective
    except ConfigError as error:
        raise CheckpointError(f"{error}; it is of another version of mien") from None
