"""Denoising: a step of our U-Net against one of diffusers' of the nearest size, with its scheduler and its average.

Both in float32 on the CPU, on the same images, forward, backward, clipping, optimiser and average.
"""

import os
import sys
from collections.abc import Callable, Iterator
from typing import Any

import torch
from diffusers import DDPMScheduler, UNet2DModel
from diffusers.training_utils import EMAModel
from timing import in_turn

from mien import draws
from mien.models.unet import UnetConfig
from mien.objectives.batch import Samples
from mien.objectives.diffusion import DdpmConfig
from mien.training.ema import Ema, EmaConfig
from mien.training.optim import OptimizerConfig, gradient_norm, set_rate

BATCH, SIDE_PX, TURNS = 4, 64, 3
ATTENTION = (False, False, True, False)


def ours() -> Callable[[int, torch.Tensor], None]:
    """A step of `mien train` without its loop."""
    objective = DdpmConfig(network=UnetConfig()).build()
    config = OptimizerConfig(kind="adam", clip_norm=1.0)
    optimizer, ema = config.build(objective), Ema(EmaConfig(), objective)
    places, mask = torch.arange(BATCH), torch.ones(BATCH, dtype=torch.bool)
    print(f"ddpm: ours {sum(p.numel() for p in objective.parameters()):,} parameters", file=sys.stderr)

    def step(number: int, images: torch.Tensor) -> None:
        term = objective(Samples(images, draws.keys(0, "sample", places, number), mask)).terms["denoising"]
        optimizer.zero_grad(set_to_none=True)
        (term.sum / term.count).backward()
        gradient_norm(objective, 1.0)
        set_rate(optimizer, 2e-5)
        optimizer.step()
        ema.update()

    return step


def theirs() -> Callable[[int, torch.Tensor], None]:
    """The step of diffusers' training example."""
    down = tuple("AttnDownBlock2D" if has else "DownBlock2D" for has in ATTENTION)
    up = tuple("AttnUpBlock2D" if has else "UpBlock2D" for has in reversed(ATTENTION))
    network = UNet2DModel(
        sample_size=SIDE_PX,
        block_out_channels=(128, 256, 256, 256),
        layers_per_block=2,
        down_block_types=down,
        up_block_types=up,
        attention_head_dim=None,
    )
    print(f"ddpm: diffusers {sum(p.numel() for p in network.parameters()):,} parameters", file=sys.stderr)
    scheduler = DDPMScheduler(1000, beta_start=1e-4, beta_end=0.02)
    optimizer = torch.optim.AdamW(network.parameters(), lr=2e-5)
    ema = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True)

    def step(number: int, images: torch.Tensor) -> None:
        noise = torch.randn_like(images)
        t = torch.randint(0, 1000, (BATCH,))
        predicted = network(scheduler.add_noise(images, noise, t), t, return_dict=False)[0]
        torch.nn.functional.mse_loss(predicted, noise).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(network.parameters())

    return step


def run() -> Iterator[dict[str, Any]]:
    """Seconds of a step, ours over theirs; and what a sampled image takes."""
    torch.set_num_threads(os.cpu_count() or 1)
    images = torch.rand(BATCH, 3, SIDE_PX, SIDE_PX) * 2 - 1
    own, others = ours(), theirs()
    mine, other = in_turn(lambda: own(0, images), lambda: others(0, images), TURNS)
    yield {
        "bench": "ddpm.step", "ratio": mine / other, "bound": 0.9, "better": "lower", "ours": mine, "other": other,
        "unit": "s",
    }  # fmt: skip
