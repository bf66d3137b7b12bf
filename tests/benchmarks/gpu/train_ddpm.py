"""Training steps of the 64 px DDPM against diffusers' training example on the same card: images/s, share of the peak.

Needs no Ray and no images, only torch and: pip install diffusers pydantic pyyaml jaxtyping

    PYTHONPATH=platform python tests/benchmarks/gpu/train_ddpm.py
    PYTHONPATH=platform python tests/benchmarks/gpu/train_ddpm.py --batch 64 128 256 --without-diffusers

Ours is compiled, in bfloat16 and channels_last, with fused optimiser and average; theirs as the example runs it with
`--mixed_precision bf16`: eager, AdamW, EMAModel. One line of JSON for each batch.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mien import draws
from mien.models.unet import UnetConfig
from mien.objectives.batch import Samples
from mien.objectives.diffusion import DdpmConfig
from mien.training.ema import Ema, EmaConfig
from mien.training.optim import OptimizerConfig, gradient_norm, set_rate

PEAK_TFLOPS = 989.0
"""Dense bfloat16 of an H100 SXM or H200, from their data sheets."""
WARMUP_STEPS = 5

Step = Callable[[torch.Tensor], None]


def arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, nargs="+", default=[128], help="images of a step, one run for each")
    parser.add_argument("--steps", type=int, default=30, help="steps that are timed")
    parser.add_argument("--size-px", type=int, default=64)
    parser.add_argument("--channels", type=int, default=128)
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--without-diffusers", action="store_true")
    parser.add_argument("--peak-tflops", type=float, default=PEAK_TFLOPS, help="of the device, dense bfloat16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def config_of(given: argparse.Namespace) -> DdpmConfig:
    """The DDPM of `configs/train/ddpm_celeba.yaml`, unless it is made smaller."""
    return DdpmConfig(network=UnetConfig(image_size_px=given.size_px, base_channels=given.channels))


def flops_per_image(config: DdpmConfig) -> float:
    """Of forward and backward pass, 2 per multiplication; nothing is computed."""
    network = config.build().network.to("meta")
    size_px = config.network.image_size_px
    with FlopCounterMode(display=False) as counter:
        network(torch.empty(1, 3, size_px, size_px, device="meta"), torch.zeros(1, device="meta")).sum().backward()
    return float(counter.get_total_flops())


def ours(given: argparse.Namespace, batch: int) -> Step:
    """What a worker of `mien train` does in a step."""
    objective = config_of(given).build().to(given.device)
    called = objective if given.eager else torch.compile(objective)
    optimizer = OptimizerConfig(kind="adam").build(objective)
    ema, mask = Ema(EmaConfig(), objective), torch.ones(batch, dtype=torch.bool, device=given.device)
    keys = draws.keys(0, "sample", torch.arange(batch, device=given.device))

    def step(images: torch.Tensor) -> None:
        optimizer.zero_grad(set_to_none=True)
        with torch.autocast(images.device.type, torch.bfloat16):
            term = called(Samples(images, keys, mask)).terms["denoising"]
            loss = term.sum / batch
        loss.backward()
        gradient_norm(objective, 1.0)
        set_rate(optimizer, 2e-5)
        optimizer.step()
        ema.update()

    return step


def theirs(given: argparse.Namespace, batch: int) -> Step:
    """The step of diffusers' example `train_unconditional.py`."""
    from diffusers import DDPMScheduler, UNet2DModel
    from diffusers.training_utils import EMAModel

    widths = tuple(given.channels * multiplier for multiplier in (1, 2, 2, 2))
    network = UNet2DModel(
        sample_size=given.size_px,
        block_out_channels=widths,
        layers_per_block=2,
        down_block_types=("DownBlock2D", "DownBlock2D", "AttnDownBlock2D", "DownBlock2D"),
        up_block_types=("UpBlock2D", "AttnUpBlock2D", "UpBlock2D", "UpBlock2D"),
        attention_head_dim=None,
    ).to(given.device)
    scheduler, optimizer = DDPMScheduler(1000), torch.optim.AdamW(network.parameters(), lr=1e-4)
    ema = EMAModel(network.parameters(), decay=0.9999, use_ema_warmup=True)
    ema.to(given.device)

    def step(images: torch.Tensor) -> None:
        noise = torch.randn_like(images)
        t = torch.randint(0, 1000, (batch,), device=images.device)
        noisy = scheduler.add_noise(images, noise, t)
        with torch.autocast(images.device.type, torch.bfloat16):
            predicted = network(noisy, t, return_dict=False)[0]
        torch.nn.functional.mse_loss(predicted.float(), noise).backward()
        torch.nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()
        ema.step(network.parameters())

    return step


def seconds(step: Step, images: torch.Tensor, num_steps: int) -> float:
    """Median of a step, the device's work included."""

    def timed() -> float:
        started = time.perf_counter()
        step(images)
        if images.is_cuda:
            torch.cuda.synchronize()
        return time.perf_counter() - started

    for _ in range(WARMUP_STEPS):
        timed()
    return statistics.median(timed() for _ in range(num_steps))


def measured(given: argparse.Namespace, batch: int) -> dict[str, Any]:
    """One line."""
    torch.manual_seed(0)
    torch.compiler.reset()
    images = torch.rand(batch, 3, given.size_px, given.size_px, device=given.device) * 2 - 1
    if given.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    step_s = seconds(ours(given, batch), images, given.steps)
    work = flops_per_image(config_of(given)) * batch
    line = {
        "batch": batch,
        "images_per_s": batch / step_s,
        "share_of_peak": work / step_s / (given.peak_tflops * 1e12),
        "gflop_per_image": work / batch / 1e9,
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if given.device != "cpu" else None,
    }
    if given.without_diffusers:
        return line
    other_s = seconds(theirs(given, batch), images, given.steps)
    return line | {"diffusers_images_per_s": batch / other_s, "ratio": other_s / step_s}


if __name__ == "__main__":
    options = arguments()
    for size in options.batch:
        print(json.dumps(measured(options, size)), flush=True)
