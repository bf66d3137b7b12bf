"""The workers of a run as one of them sees them: its rank, its device, and sums over all."""

from dataclasses import dataclass, field
from typing import Any

import torch
import torch.distributed as dist


@dataclass(frozen=True)
class World:
    """One worker among `size`; alone, nothing is sent anywhere."""

    rank: int = 0
    size: int = 1
    device: torch.device = field(default_factory=lambda: torch.device("cpu"))

    @property
    def is_first(self) -> bool:
        """Whether this worker writes for all."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The sum over all workers, in place; the same on every one."""
        if self.size > 1:
            dist.all_reduce(tensor)
        return tensor

    def largest(self, tensor: torch.Tensor) -> torch.Tensor:
        """The largest value of each element over all workers, in place."""
        if self.size > 1:
            dist.all_reduce(tensor, dist.ReduceOp.MAX)
        return tensor

    def gather(self, tensor: torch.Tensor) -> torch.Tensor:
        """The rows of all workers in the order of their ranks, as many as each has; gradients flow back."""
        if self.size == 1:
            return tensor
        counts = self.objects(len(tensor))
        padded = tensor.new_zeros(max(counts), *tensor.shape[1:])
        padded = torch.cat([tensor, padded[len(tensor) :]])
        parts: torch.Tensor = _Gathered.apply(padded)  # type: ignore[no-untyped-call]
        return torch.cat([part[:count] for part, count in zip(parts, counts, strict=True)])

    def objects(self, value: Any) -> list[Any]:
        """A small plain value of every worker."""
        if self.size == 1:
            return [value]
        found: list[Any] = [None] * self.size
        dist.all_gather_object(found, value)
        return found


class _Gathered(torch.autograd.Function):
    """[n, …] of every worker as [size, n, …]; its gradient is the sum of those of all workers."""

    @staticmethod
    def forward(ctx: Any, rows: torch.Tensor) -> torch.Tensor:  # noqa: ARG004  nothing is kept for later
        parts = [torch.empty_like(rows) for _ in range(dist.get_world_size())]
        dist.all_gather(parts, rows.contiguous())
        return torch.stack(parts)

    @staticmethod
    def backward(ctx: Any, gradient: torch.Tensor) -> torch.Tensor:  # noqa: ARG004
        total = gradient.clone(memory_format=torch.contiguous_format)
        dist.all_reduce(total)
        return total[dist.get_rank()]
