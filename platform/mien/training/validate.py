"""Held-out clips every so often, divided among the workers: nobody waits for one of them."""

import math
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple

import torch
from pydantic import Field

from mien.config import Config
from mien.losses.collapse import collapse_metrics
from mien.objectives.objective import Objective, Outcome
from mien.training.similarity import per_clip, pooled, statistics
from mien.training.windows import Reads, share
from mien.training.world import World

_MAX_TOKENS = 4096
"""Tokens by which collapse is measured: enough for a covariance of a few hundred dimensions."""


class ValidationConfig(Config):
    """How often, and how much."""

    every_steps: int = Field(600, ge=1)
    """Steps between two validations; there is one at the end."""
    max_windows: int = Field(1000, ge=1)
    """Windows of the held-out clips that are seen, the first ones in the order of the index."""


class Seen(NamedTuple):
    """What a validation found."""

    metrics: dict[str, float]
    """Over the windows of all workers."""
    tokens: torch.Tensor | None
    """Expression tokens of this worker's windows [B, T, D], on the CPU; None where there are none."""
    mask: torch.Tensor
    predicted: torch.Tensor | None = None
    """What is foretold at each frame of the next token, of the first windows [b, T, D]; None where nothing is."""


class Validator:
    """Losses, similarities and signs of collapse on the same held-out windows every time."""

    def __init__(self, reader: Reads, make: Callable[[Any], Any], world: World, num_windows: int) -> None:
        """Take the held-out windows in their fixed order, and what makes batches of them."""
        self._reader, self._make, self._world, self._num_windows = reader, make, world, num_windows

    @torch.no_grad()
    def __call__(self, objective: Objective, weights: Mapping[str, float], batch: int) -> Seen:
        """Validate a model, which is in the mode that it was in afterwards.

        Args:
            objective: Model and losses.
            weights: Weight of each loss, as in training at this step.
            batch: Windows of a batch, over all workers.
        """
        was_training = objective.training
        objective.eval()
        try:
            outcomes = [self._outcome(objective, first, batch) for first in range(0, self._num_windows, batch)]
        finally:
            objective.train(was_training)
        means = self._means([outcome for outcome, _ in outcomes])
        loss = sum(weights[name] * means[name] for name in weights if not math.isnan(means[name]))
        mask = torch.cat([mask for _, mask in outcomes])
        found = [outcome.tokens.float().cpu() for outcome, _ in outcomes if outcome.tokens is not None]
        if not found:
            return Seen({"loss": loss, **means}, None, mask)
        tokens, predicted = torch.cat(found), outcomes[0][0].predicted
        foretold = None if predicted is None else predicted.float().cpu()
        return Seen({"loss": loss, **means, **self._of_tokens(tokens, mask)}, tokens, mask, foretold)

    def _outcome(self, objective: Objective, first: int, batch: int) -> tuple[Outcome, torch.Tensor]:
        """Of this worker's part of a batch; a worker without one takes part with a window that does not count."""
        size = min(batch, self._num_windows - first)
        own = share(0, size, self._world.rank, self._world.size)
        clips = self._reader.read([first + number for number in own] or [first])
        if not own:
            clips = clips._replace(mask=torch.zeros_like(clips.mask))
        return objective(self._make(clips), self._world.gather), clips.mask

    def _means(self, outcomes: list[Outcome]) -> dict[str, float]:
        terms = [{**outcome.terms, **outcome.watched} for outcome in outcomes]
        names = list(terms[0])
        rows = [[torch.stack([*each[name]]).double() for name in names] for each in terms]
        sums = self._world.sum(torch.stack([torch.stack(row) for row in rows]).sum(0)).tolist()
        return {name: value / count if count else math.nan for name, (value, count) in zip(names, sums, strict=True)}

    def _of_tokens(self, tokens: torch.Tensor, mask: torch.Tensor) -> dict[str, float]:
        """Of some windows of all workers."""
        own = max(1, _MAX_TOKENS // (tokens.shape[1] * self._world.size))
        gathered = self._world.objects((tokens[:own], mask[:own]))
        tokens, mask = (torch.cat([part[n] for part in gathered]) for n in (0, 1))
        alike = statistics(pooled(per_clip(tokens, mask)))
        similar = {f"similarity_{key}": value for key, value in alike.items()}
        return {**similar, **(collapse_metrics(tokens[mask]) if int(mask.sum()) > 1 else {})}
