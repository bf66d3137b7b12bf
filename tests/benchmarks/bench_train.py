"""Training: what the loop costs beside the network, and what batches and stored tokens gain.

The dataset is made here of the shared videos, with random DINOv2 weights, which cost what trained ones cost.
"""

import os
import statistics
import sys
import tempfile
import time
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import ray
import torch
from bench_serialize import SHARED
from timing import in_turn

from mien import draws
from mien.losses import terms
from mien.losses.terms import Term
from mien.models.clip_norm import fold_pending
from mien.objectives.batch import Batch
from mien.objectives.expression import Joint, JointConfig
from mien.pipelines.cluster import ClusterConfig, session
from mien.pipelines.serialize import SerializeConfig, serialize
from mien.storage.uri import open_store
from mien.training import log, train
from mien.training.job import TrainConfig

BACKBONE = {"kind": "dinov2", "output": "patch", "weights": "random", "size_px": 112}
PATCHES, DIM, FRAMES, CLIPS = 64, 384, 16, 2
NUM_CPUS = os.cpu_count() or 1
TURNS, LINES, STEPS_PER_LINE = 3, 4, 10
"""Runs of mien and of the bare loop in turns; lines of the log in a run, of which the first is warm-up."""
CLIP_FRAMES = 30
SMALL: dict[str, Any] = {
    "expression": {"kind": "expression_transformer", "num_patches": PATCHES, "num_layers": 2, "ff_dim": 384},
    "reconstruction": {
        "kind": "reconstruction",
        "num_patches": PATCHES,
        "num_cross_attention_layers": 1,
        "num_self_attention_layers": 1,
        "ff_dim": 384,
        "image_size_px": 112,
        "channels": [64, 64, 48, 32, 24, 16],
    },
}
"""The joint model in small: 5.9 million parameters."""
NARROW: dict[str, Any] = {
    "expression": {**SMALL["expression"], "num_patches": 16, "embed_dim": 64, "ff_dim": 64},
    "reconstruction": {
        **SMALL["reconstruction"],
        "num_patches": 16,
        "embed_dim": 64,
        "ff_dim": 64,
        "image_size_px": 32,
        "channels": [16, 16, 16, 8, 8, 8],
    },
}
"""So narrow that a frame's arithmetic is small beside the calls: on a CPU, what an accelerator sees of a larger one."""


class Rates(NamedTuple):
    """Of one run, from its log, without warm-up."""

    step_s: float
    """Median over lines."""
    data_wait_share: float
    """Mean over lines."""


def make_dataset(folder: Path) -> str:
    """Clips of a second, with crops and patch tokens."""
    clips = {"kind": "stride", "length_s": 1, "stride_s": 2}
    places = {"source": str(SHARED / "faces"), "output": f"{folder}/dataset"}
    values = {"clips": clips, "crop": {"size_px": 112}, "features": BACKBONE, "preview": {"max_clips": 1}}
    serialize(SerializeConfig.parse({**values, **places}, "bench"))
    return places["output"]


def mien_rates(dataset: str, *, exact: bool = False, **data: Any) -> Rates:
    """One run of the trainer, in workers of its own; all clips at once, as the bare loop, unless `exact`."""
    with tempfile.TemporaryDirectory() as output:
        rarely = {"every_steps": 10**6}
        values = {"objective": {"kind": "joint", **SMALL}, "data": {"length": FRAMES, **data}}
        values |= {
            "batch": {"size": CLIPS, "exact": exact},
            "num_steps": LINES * STEPS_PER_LINE,
            "log": {"every_steps": STEPS_PER_LINE},
        }
        values |= {"validation": {**rarely, "max_windows": 1}, "checkpoints": rarely}
        values |= {"workers": {"num_cpus": NUM_CPUS}, "dataset": dataset, "output": output}
        train.run(TrainConfig.parse(values, "bench"))
        lines = [line for line in log.read(open_store(output)) if line["kind"] == "train"][1:]
    step_s, waited = ([line[key] for line in lines] for key in ("step_s", "data_wait_share"))
    print(f"train: mien {[round(value, 3) for value in step_s]} s/step", file=sys.stderr)
    return Rates(statistics.median(step_s), statistics.mean(waited))


def noise(config: JointConfig, num_clips: int, num_frames: int) -> Batch:
    """Clips of noise without a gap, in memory."""
    patches, dim = config.expression.num_patches, config.expression.embed_dim
    size_px = config.reconstruction.image_size_px
    return Batch(
        tokens=torch.randn(num_clips, num_frames, patches, dim),
        positions=torch.randn(patches, dim),
        images=torch.rand(num_clips, num_frames, 3, size_px, size_px),
        mask=torch.ones(num_clips, num_frames, dtype=torch.bool),
        subjects=torch.zeros(num_clips, dtype=torch.int64),
        keys=draws.keys(0, "dropout", torch.arange(num_clips)),
    )


def bare_step_s() -> float:
    """Median seconds per step of the loop that anybody would write: same network, batch and threads, data in memory.

    In a worker process of Ray too: these are niced by 15, so that a busy machine would slow one side alone.
    """
    torch.set_num_threads(NUM_CPUS)
    config = JointConfig.parse(SMALL, "bench")
    objective = config.build()
    optimizer = torch.optim.AdamW(objective.parameters(), lr=5e-5, fused=True)
    batch, seconds = noise(config, CLIPS, FRAMES), []
    for _ in range(LINES * STEPS_PER_LINE):
        started = time.perf_counter()
        optimizer.zero_grad()
        loss_of(objective(batch).terms.values()).backward()
        torch.nn.utils.get_total_norm([p.grad for p in objective.parameters() if p.grad is not None]).item()
        optimizer.step()
        fold_pending(objective)
        seconds.append(time.perf_counter() - started)
    lines = [seconds[start : start + STEPS_PER_LINE] for start in range(STEPS_PER_LINE, len(seconds), STEPS_PER_LINE)]
    return statistics.median(statistics.mean(line) for line in lines)


def loss_of(found: Iterable[Term]) -> torch.Tensor:
    """Unweighted; weights cost nothing."""
    return torch.stack([term.sum / term.count.clamp(min=1) for term in found]).sum()


def run() -> Iterator[dict[str, Any]]:
    """The loop, its waits, batched frames, and stored tokens."""
    os.environ.setdefault("MIEN_ASSETS", str(SHARED / "models"))
    with session(ClusterConfig(address="local")), tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(Path(folder))
        ours, bare = [], []
        for _ in range(TURNS):
            ours.append(mien_rates(dataset))
            bare.append(ray.get(ray.remote(num_cpus=NUM_CPUS)(bare_step_s).remote()))
            print(f"train: bare {bare[-1]:.3f} s/step", file=sys.stderr)
        stored = statistics.median(rates.step_s for rates in ours)
        yield _line("train.loop", 1 / stored, 1 / statistics.median(bare), bound=0.97, better="higher", unit="steps/s")
        waited = statistics.median(rates.data_wait_share for rates in ours)
        yield _line("train.data_wait", waited, 1.0, bound=0.05, better="lower", unit="share of time")
        exact = mien_rates(dataset, exact=True).step_s
        yield _line("train.exact", 1 / exact, 1 / stored, bound=None, better="higher", unit="steps/s")
        online = mien_rates(dataset, tokens="online", backbone=BACKBONE).step_s
        read_gb, saved_s = CLIPS * FRAMES * PATCHES * DIM * 4 / 1e9, max(1e-9, online - stored)
        print(
            f"train: a step reads {1e3 * read_gb:.1f} MB of stored tokens and saves {1e3 * saved_s:.0f} ms of the "
            f"backbone; storing pays where storage gives a worker more than {read_gb / saved_s:.2g} GB/s",
            file=sys.stderr,
        )
        yield _line("train.tokens", 1 / stored, 1 / online, bound=None, better="higher", unit="steps/s")
    yield batched("train.batched", NARROW, 5.0)
    yield batched("train.batched_small", SMALL, None)  # arithmetic bounds it: one frame fills two cores


def batched(bench: str, sizes: dict[str, Any], bound: float | None) -> dict[str, Any]:
    """One clip forward and backward: all frames at once against one frame per forward pass, as the first tools did."""
    config = JointConfig.parse(sizes, bench)
    objective, batch = config.build(), noise(config, 1, CLIP_FRAMES)
    all_s, each_s = in_turn(lambda: together(objective, batch), lambda: frame_by_frame(objective, batch))
    rates = (CLIP_FRAMES / seconds for seconds in (all_s, each_s))
    return _line(bench, *rates, bound=bound, better="higher", unit="frames/s")


def together(objective: Joint, batch: Batch) -> None:
    """Gradients of a clip, its frames in one pass."""
    objective.zero_grad()
    loss_of(objective(batch).terms.values()).backward()


def frame_by_frame(objective: Joint, batch: Batch) -> None:
    """The same with a forward pass of both networks for each frame."""
    objective.zero_grad()
    expression, keys = objective.expression_transformer, batch.frame_keys
    tokens, images = [], []
    for frame in range(CLIP_FRAMES):
        key = keys[frame : frame + 1]
        tokens.append(expression(batch.frames[frame : frame + 1], batch.positions, batch.subjects, key))
        subject, positions = expression.subject(batch.subjects), expression.positions(batch.positions)
        there = batch.mask[:, frame : frame + 1]
        images.append(objective.expression_reconstruction(subject, tokens[-1], positions, there, key))
    assert batch.images is not None
    clip, pixels = (
        torch.stack(tokens, dim=1),
        terms.reconstruction(torch.stack(images, dim=1), batch.images, batch.mask),
    )
    loss_of([pixels, terms.temporal(clip, batch.mask), terms.diversity(clip, batch.mask)]).backward()


def _line(bench: str, ours: float, other: float, **promise: Any) -> dict[str, Any]:
    return {"bench": bench, "ratio": round(ours / other, 3), "ours": ours, "other": other, **promise}
