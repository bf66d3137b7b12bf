"""Two small denoisers and a few images, for figures of their feature maps."""

import torch

from mien.analysis.feature_pair import Pair, Sample
from mien.models.unet import UnetConfig
from mien.objectives.diffusion import Ddpm, DdpmConfig

NETWORK = UnetConfig(image_size_px=16, base_channels=32, multipliers=(1, 2), attention_levels=(), num_blocks=1)
TAPS = ["in_conv", "encoder_level_0", "encoder_level_1", "bottleneck"]


def denoiser(seed: int, network: UnetConfig = NETWORK) -> Ddpm:
    """Random, without the zeros that end the branches of a new one."""
    with torch.random.fork_rng():
        torch.manual_seed(seed)
        model = DdpmConfig(network=network).build().eval().requires_grad_(False)
        for parameter in model.parameters():
            torch.nn.init.normal_(parameter, std=0.1)
    return model


def pair(first: int = 1, second: int = 2) -> Pair:
    return Pair(denoiser(first), denoiser(second))


def samples(num: int) -> list[Sample]:
    """Smooth images, each another one."""
    place = torch.linspace(-3, 3, 16)
    waves = [torch.sin((number + 1) * place)[:, None] * torch.cos(place + number) for number in range(num)]
    return [Sample(number, f"face_{number}.png", wave.expand(3, 16, 16)) for number, wave in enumerate(waves)]
