"""Batch normalisation whose batch is one clip."""

from collections.abc import Callable

import torch
import torch.nn.functional as F  # noqa: N812  its usual name
from jaxtyping import Bool, Float
from torch import Tensor, nn

Reduce = Callable[[Tensor], Tensor]
"""Sums a tensor over all ranks."""


def on_one_rank(tensor: Tensor) -> Tensor:
    """The sum over ranks, where there is one."""
    return tensor


class ClipNorm2d(nn.Module):
    """Batch normalisation (Ioffe and Szegedy 2015) over the frames of one clip, as if each clip were its own batch.

    So no clip sees its neighbours (the ghost batches of Hoffer et al. 2017), and with one clip it is nn.BatchNorm2d, of
    which it has the names. Statistics of clips wait in `pending` until `fold_pending`: running averages then follow the
    optimiser's steps, whatever the number of ranks. They differ between ranks until then, so DDP must not broadcast
    buffers.
    """

    weight: nn.Parameter
    bias: nn.Parameter
    running_mean: Tensor
    running_var: Tensor
    num_batches_tracked: Tensor
    pending: Tensor

    def __init__(self, num_features: int, eps: float = 1e-5, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps, self.momentum = eps, momentum
        self.weight = nn.Parameter(torch.ones(num_features))
        self.bias = nn.Parameter(torch.zeros(num_features))
        self.register_buffer("running_mean", torch.zeros(num_features))
        self.register_buffer("running_var", torch.ones(num_features))
        self.register_buffer("num_batches_tracked", torch.tensor(0))
        # sums over clips of mean, unbiased variance and 1, [3, c]; float64, so that their order does not show
        self.register_buffer("pending", torch.zeros(3, num_features, dtype=torch.float64), persistent=False)

    def forward(self, x: Float[Tensor, "n c h w"], mask: Bool[Tensor, "b t"]) -> Float[Tensor, "n c h w"]:
        """Normalise the frames of b clips, n = b·t; frames outside the mask count in no statistics."""
        if not self.training:
            return F.batch_norm(x, self.running_mean, self.running_var, self.weight, self.bias, eps=self.eps)
        frames = x.view(*mask.shape, *x.shape[1:]).to(torch.promote_types(x.dtype, torch.float32))
        num_frames = mask.sum(1, keepdim=True)
        share = mask.to(frames.dtype) / num_frames.clamp(min=1)  # [b, t], of each frame in its clip's statistics
        mean = _over_clip(frames, share)
        centred = frames - mean[:, None, :, None, None]
        variance = _over_clip(centred.square(), share)
        self._remember(mean.detach(), variance.detach(), num_frames * x[0, 0].numel())
        scale = self.weight * torch.rsqrt(torch.where(num_frames > 0, variance, 1) + self.eps)  # [b, c]
        normal: Tensor = centred * scale[:, None, :, None, None] + self.bias[:, None, None]
        return normal.flatten(0, 1).to(x.dtype)

    @torch.no_grad()
    def fold_pending(self, reduce: Reduce = on_one_rank) -> None:
        """Move the running averages by one step towards the mean over all clips since the last call.

        Args:
            reduce: Sums the pending sums over ranks; every rank calls it.
        """
        mean, variance, num_clips = reduce(self.pending)
        has_clips = num_clips > 0
        rate = self.momentum * has_clips.double()
        for running, total in ((self.running_mean, mean), (self.running_var, variance)):
            running.copy_(torch.lerp(running.double(), total / num_clips.clamp(min=1), rate))
        self.num_batches_tracked += has_clips[0]
        self.pending.zero_()

    def _remember(self, mean: Tensor, variance: Tensor, num_values: Tensor) -> None:
        """Add clips [b, c] with [b, 1] values each to the pending sums; a clip without a frame adds nothing."""
        unbiased = variance * num_values / (num_values - 1).clamp(min=1)
        counts = (num_values > 0).expand_as(mean)
        self.pending += (torch.stack([mean, unbiased, torch.ones_like(mean)]) * counts).sum(1)


def fold_pending(module: nn.Module, reduce: Reduce = on_one_rank) -> None:
    """`ClipNorm2d.fold_pending` of every one below; called once per step of the optimiser."""
    for part in module.modules():
        if isinstance(part, ClipNorm2d):
            part.fold_pending(reduce)


def _over_clip(values: Tensor, share: Tensor) -> Tensor:
    """Mean over the pixels and the frames of each clip: [b, t, c, h, w] -> [b, c]."""
    return (values.mean((-2, -1)) * share[..., None]).sum(1)
