"""What the trainer knows of every objective: terms by name, their weights, and how many clips each term counts."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any, ClassVar, NamedTuple

from jaxtyping import Float
from torch import Tensor, nn

from mien.config import Config
from mien.diffusion.pacing import Progress
from mien.losses.terms import Term

Gather = Callable[[Tensor], Tensor]
"""Concatenates [b, ...] over ranks, in their order; its backward sums over ranks."""


def from_one_rank(tensor: Tensor) -> Tensor:
    """All there is, where there is one rank."""
    return tensor


class Outcome(NamedTuple):
    """Of one forward pass."""

    terms: dict[str, Term]
    """One per name of `term_names`."""
    tokens: Float[Tensor, "b t d"] | None = None
    """What the network says of each frame, with its gradient; arbitrary outside the mask. None where it has none."""
    watched: Mapping[str, Term] = MappingProxyType({})
    """Terms that are logged and not learnt from."""
    seen: Mapping[str, Tensor] = MappingProxyType({})
    """What `follow` wants of each sample [n]."""
    predicted: Float[Tensor, "b t d"] | None = None
    """What is foretold at each frame of the token of the next; None where nothing foretells."""


class Objective(nn.Module, ABC):
    """Networks, and what is asked of them.

    The loss is Σ weight · Σ sum / Σ count, the inner sums over all clips of a step, on whatever rank and in whatever
    part of an accumulation: so the number of ranks changes nothing.
    """

    couples_clips: ClassVar[bool] = False
    """A term compares clips with each other: the trainer gathers them from all ranks, and cannot accumulate. Each rank
    then has the same sum and count, and the gradients of all ranks add up to as many times the sum's."""

    def __init__(self, weights: Config) -> None:
        """Start without networks.

        Args:
            weights: One `Schedule` per term, by the term's name.
        """
        super().__init__()
        self.schedules = weights
        self.term_names = tuple(type(weights).model_fields)
        self.frozen: tuple[str, ...] = ()

    def look_at(self, samples: Any) -> None:
        """See what it will be trained on, once, before the first step of a run."""

    @property
    def follows(self) -> bool:
        """Whether what it asks next depends on the losses of earlier steps: it is then told of each (`follow`)."""
        return False

    def begin(self, progress: Progress) -> None:
        """Hear how far the training is, ahead of each step."""

    def told(self) -> dict[str, Any]:
        """What a line of the log says of it, besides losses."""
        return {}

    def follow(self, seen: Mapping[str, Tensor]) -> None:
        """Hear the `seen` of all samples of a step [n], in their order: the same on every worker."""

    def carried(self) -> dict[str, Tensor]:
        """What it remembers of what it heard, for the checkpoint; empty where all follows from the progress."""
        return {}

    def carry_on(self, carried: Mapping[str, Tensor]) -> None:
        """Go on from what `carried` gave."""

    @abstractmethod
    def forward(self, batch: Any, gather: Gather = from_one_rank) -> Outcome:
        """Terms of a batch.

        Raises:
            ValueError: The batch lacks what the objective compares, or has a shape or subject that does not fit.
        """

    @abstractmethod
    def counts(self, batch: Any, gather: Gather = from_one_rank) -> dict[str, Tensor]:
        """The counts of `forward`, without one: they follow from mask and subjects."""

    def weights(self, step: int, total_steps: int) -> dict[str, float]:
        """Weight of each term at a step of the optimiser."""
        return {name: getattr(self.schedules, name).value(step, total_steps) for name in self.term_names}

    def freeze(self, *names: str) -> None:
        """These submodules learn no more: no gradients, no dropout, no new running averages, in train mode neither."""
        self.frozen = names
        for name in names:
            self.get_submodule(name).requires_grad_(False).eval()

    def train(self, mode: bool = True) -> "Objective":
        """Train mode for all but what is frozen."""
        super().train(mode)
        for name in self.frozen:
            self.get_submodule(name).eval()
        return self
