"""Random changes of training clips, drawn by the clip's place in the stream: the same on any number of workers."""

import torch
from pydantic import Field

from mien import draws
from mien.config import Config
from mien.training.windows import Clips


class AugmentConfig(Config):
    """What may be changed. Nothing is by default."""

    flip: float = Field(0.0, ge=0, le=1)
    """Share of the clips that are mirrored."""
    brightness: float = Field(0.0, ge=0, lt=1)
    """Most that all pixels of a clip are made brighter or darker, as a share of white."""
    contrast: float = Field(0.0, ge=0, lt=1)
    """Most that their distance from grey is stretched or shrunk, as a share."""
    drop_frames: float = Field(0.0, ge=0, lt=1)
    """Share of the frames that are left out as if no face were in them."""

    @property
    def changes_pixels(self) -> bool:
        """Whether crops differ from those that stored tokens were made of."""
        return bool(self.flip or self.brightness or self.contrast)


def augment(config: AugmentConfig, clips: Clips, seed: int) -> Clips:
    """The clips with their changes; whole clips are flipped and lit, so that time stays smooth."""
    places = clips.places()
    if config.drop_frames:
        kept = draws.keep(draws.keys(seed, "drop_frames", places), clips.mask.shape[1:], 1 - config.drop_frames)
        clips = clips._replace(mask=clips.mask & kept)
    if config.changes_pixels and clips.crops is not None:
        clips = clips._replace(crops=_changed(config, clips.crops, places, seed))
    return clips


def _changed(config: AugmentConfig, crops: torch.Tensor, places: torch.Tensor, seed: int) -> torch.Tensor:
    flips = draws.keep(draws.keys(seed, "flip", places), (), config.flip)
    crops = torch.where(flips.view(-1, 1, 1, 1, 1), crops.flip(3), crops)
    if not (config.brightness or config.contrast):
        return crops
    drawn = draws.uniform(draws.keys(seed, "light", places), (2,)) * 2 - 1
    gain, offset = (drawn.unbind(1)[n].view(-1, 1, 1, 1, 1) for n in (0, 1))
    lit = (crops - 127.5) * (1 + config.contrast * gain) + 127.5 + 255 * config.brightness * offset
    return lit.round().clamp(0, 255).to(torch.uint8)
