"""From clips on disk to a batch on a device: tokens stored or computed, images in the size of the target."""

from typing import TYPE_CHECKING

import torch

from mien import draws
from mien.features.registry import Resolved
from mien.features.resize import resize
from mien.objectives.batch import Batch
from mien.training.augment import augment
from mien.training.job import Job
from mien.training.windows import Clips
from mien.training.world import World

if TYPE_CHECKING:
    from mien.features.network import Network

DTYPES = {"float32": torch.float32, "bfloat16": torch.float32, "float64": torch.float64}
"""Of weights and batches; under bfloat16 the forward pass alone is narrower."""


class Batches:
    """Makes batches of clips on one worker."""

    def __init__(self, job: Job, world: World, weights: bytes | None, image_size_px: int | None) -> None:
        """Load the frozen network where tokens are computed; no images are made without a size."""
        self._job, self._device, self._image_size_px = job, world.device, image_size_px
        self._dtype = DTYPES[job.config.precision]
        self._positions = torch.tensor(job.positions).to(self._device, self._dtype)
        self._network = _network(job.backbone, weights) if job.backbone is not None else None

    def make(self, clips: Clips, step: int | None) -> Batch:
        """A batch of some clips: of a training step, with its changes and keys of dropout, or as they are."""
        if step is not None:
            clips = augment(self._job.config.augment, clips, self._job.config.seed)
        crops = clips.crops.to(self._device, non_blocking=True) if clips.crops is not None else None
        if step is None:
            keys = torch.zeros(len(clips.windows), dtype=torch.int64)
        else:
            keys = draws.keys(self._job.config.seed, "dropout", clips.places(), step)
        return Batch(
            tokens=self._tokens(clips, crops),
            positions=self._positions,
            images=None if crops is None or self._image_size_px is None else self._images(crops, self._image_size_px),
            mask=clips.mask.to(self._device),
            subjects=clips.subjects.to(self._device),
            keys=keys.to(self._device),
        )

    def _tokens(self, clips: Clips, crops: torch.Tensor | None) -> torch.Tensor:
        if self._network is not None and crops is not None:
            tokens = self._network.embed(crops.flatten(0, 1)).to(self._dtype)
            return tokens.view(*crops.shape[:2], *tokens.shape[1:])
        if clips.tokens is None:
            raise ValueError("clips have neither stored tokens nor crops that a network could make them of")
        return clips.tokens.to(self._device, self._dtype, non_blocking=True)

    def _images(self, crops: torch.Tensor, size_px: int) -> torch.Tensor:
        """[B, T, 3, S, S]."""
        return images_of(crops.flatten(0, 1), size_px, self._dtype).reshape(*crops.shape[:2], 3, size_px, size_px)


def images_of(crops: torch.Tensor, size_px: int, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """Crops uint8 [N, H, H, 3] as images [N, 3, size, size] in 0..1, antialiased where they are made smaller."""
    frames = crops.permute(0, 3, 1, 2)
    if frames.shape[-1] != size_px:
        frames = resize(frames, size_px, "bilinear")
    return frames.to(dtype).div_(255)


def _network(backbone: Resolved, weights: bytes | None) -> "Network":
    """Its library takes half a second to load, which a worker that comes back does not have to spare."""
    from mien.features.network import Network

    return Network(backbone, weights)
