"""Training steps of the joint model at full size, on random tokens: images/s, share of the peak, memory, compilation.

Needs no Ray and no dataset, only torch and: pip install pydantic pyyaml jaxtyping

    PYTHONPATH=platform python tests/benchmarks/gpu/train_joint.py
    PYTHONPATH=platform python tests/benchmarks/gpu/train_joint.py --clips 1 4 --frames 16 \\
        expression.attention_dropout=0 reconstruction.attention_dropout=0

One line of JSON for each number of clips. What a backward pass computes again to save memory does not count as work.
"""

import argparse
import json
import statistics
import time
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch.utils.flop_counter import FlopCounterMode

from mien import draws
from mien.losses.terms import Term
from mien.objectives.batch import Batch
from mien.objectives.expression import JointConfig

PEAK_TFLOPS = 989.0
"""Dense bfloat16 of an H100 SXM or H200, from their data sheets."""
WARMUP_STEPS = 3


def arguments() -> argparse.Namespace:
    """From the command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("overrides", nargs="*", metavar="key.path=value", help="of the joint objective")
    parser.add_argument("--clips", type=int, nargs="+", default=[1, 2, 4], help="clips of a step, one run for each")
    parser.add_argument("--frames", type=int, default=30, help="frames of a clip")
    parser.add_argument("--steps", type=int, default=10, help="steps that are timed")
    parser.add_argument("--eager", action="store_true", help="do not compile")
    parser.add_argument("--peak-tflops", type=float, default=PEAK_TFLOPS, help="of the device, dense bfloat16")
    parser.add_argument("--device", default="cuda" if torch.cuda.is_available() else "cpu")
    return parser.parse_args()


def random_batch(config: JointConfig, num_clips: int, num_frames: int, device: str) -> Batch:
    """Clips without a gap, of noise: a step takes as long whatever they show."""
    patches, dim, size_px = (
        config.expression.num_patches,
        config.expression.embed_dim,
        config.reconstruction.image_size_px,
    )
    return Batch(
        tokens=torch.randn(num_clips, num_frames, patches, dim, device=device),
        positions=torch.randn(patches, dim, device=device),
        images=torch.rand(num_clips, num_frames, 3, size_px, size_px, device=device),
        mask=torch.ones(num_clips, num_frames, dtype=torch.bool, device=device),
        subjects=torch.zeros(num_clips, dtype=torch.int64, device=device),
        keys=draws.keys(0, "dropout", torch.arange(num_clips, device=device)),
    )


def loss_of(objective: Callable[[Batch], Any], batch: Batch) -> torch.Tensor:
    """Forward pass in bfloat16, sums in float32."""
    with torch.autocast(batch.tokens.device.type, torch.bfloat16):
        return total(objective(batch).terms)


def total(terms: Mapping[str, Term]) -> torch.Tensor:
    """Unweighted; weights cost nothing."""
    return torch.stack([term.sum / term.count.clamp(min=1) for term in terms.values()]).sum()


def flops_per_frame(config: JointConfig) -> float:
    """Of the matrices and convolutions of a forward and backward pass, 2 per multiplication; nothing is computed."""
    objective = config.build().to("meta")
    with FlopCounterMode(display=False) as counter:
        total(objective(random_batch(config, 1, 2, "meta")).terms).backward()
    return counter.get_total_flops() / 2


def step(objective: Callable[[Batch], Any], optimizer: torch.optim.Optimizer, batch: Batch) -> float:
    """Seconds of one step of the optimiser, the device's work included."""
    started = time.perf_counter()
    optimizer.zero_grad()
    loss_of(objective, batch).backward()
    optimizer.step()
    if batch.tokens.is_cuda:
        torch.cuda.synchronize()
    return time.perf_counter() - started


def measured(given: argparse.Namespace, config: JointConfig, num_clips: int) -> dict[str, Any]:
    """One line."""
    torch.manual_seed(0)
    torch.compiler.reset()
    objective = config.build().to(given.device)
    work = flops_per_frame(config) * num_clips * given.frames
    optimizer = torch.optim.AdamW(objective.parameters(), lr=1e-5, fused=True)
    batch = random_batch(config, num_clips, given.frames, given.device)
    called = objective if given.eager else torch.compile(objective, dynamic=False)
    if given.device != "cpu":
        torch.cuda.reset_peak_memory_stats()
    first_s = step(called, optimizer, batch)
    for _ in range(WARMUP_STEPS):
        step(called, optimizer, batch)
    step_s = statistics.median(step(called, optimizer, batch) for _ in range(given.steps))
    return {
        "clips": num_clips,
        "images_per_s": num_clips * given.frames / step_s,
        "step_s": step_s,
        "tflop_per_step": work / 1e12,
        "share_of_peak": work / step_s / (given.peak_tflops * 1e12),
        "peak_memory_gb": torch.cuda.max_memory_allocated() / 1e9 if given.device != "cpu" else None,
        "first_step_s": first_s,  # with compilation
    }


def lines(given: argparse.Namespace) -> Iterator[dict[str, Any]]:
    """One for each number of clips; one that does not fit into memory says so."""
    config = JointConfig.load(None, given.overrides)
    device = torch.cuda.get_device_name() if given.device != "cpu" else "cpu"
    shared = {"device": device, "torch": torch.__version__, "compiled": not given.eager, "frames": given.frames}
    shared |= {"overrides": given.overrides}
    for num_clips in given.clips:
        try:
            yield {**shared, **measured(given, config, num_clips)}
        except torch.OutOfMemoryError as error:
            yield {**shared, "clips": num_clips, "error": str(error).partition(".")[0]}
        if given.device != "cpu":
            torch.cuda.empty_cache()


if __name__ == "__main__":
    for line in lines(arguments()):
        print(json.dumps(line), flush=True)
