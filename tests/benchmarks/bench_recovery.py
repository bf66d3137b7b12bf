"""How long a run of `mien train` stands still when a worker or a machine is lost, and how many steps it does again.

Two workers of one CPU on a simulated cluster and a model whose step takes milliseconds: measured is how soon a loss
is seen and how quickly workers start. Stock Ray Train took 10.8 s and 79.5 s for the same on such a machine.
"""

import random
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import yaml

from training_backbones import make_whole
from training_runs import SMALL
from training_scenes import NODE, Training, cluster_of, drain

WORKER_BOUND_S, NODE_BOUND_S = 6.0, 20.0
DRAIN_S = 15.0
WARM_STEPS = 25


def line(bench: str, ours: float, bound: float, unit: str) -> dict[str, Any]:
    """A result whose bound is in its own unit."""
    found = {"bench": f"recovery.{bench}", "ratio": ours, "bound": bound, "better": "lower", "ours": ours}
    return found | {"other": bound, "unit": unit}


def words_of(folder: Path) -> list[str]:
    """Config and dataset of the run."""
    make_whole(folder / "dataset", folder / "backbone").close()
    (folder / "train.yaml").write_text(yaml.safe_dump(SMALL))
    return [str(folder / "train.yaml"), f"dataset={folder / 'dataset'}"]


def of_workers(folder: Path, words: list[str]) -> Iterator[dict[str, Any]]:
    """Workers killed with -9, one after the other."""
    with cluster_of(2) as cluster, Training(cluster, folder / "workers", *words, "workers.num=2") as training:
        step, stood_s = WARM_STEPS, []
        for _ in range(3):
            training.wait_for_step(step)
            killed_at = time.time()
            random.choice(training.workers()).kill()
            _, first = training.wait_for_restart(killed_at)
            stood_s.append(first["time"] - killed_at)
            step = first["step"] + WARM_STEPS
        print(f"recovery: a worker killed, to the next step: {stood_s} s", file=sys.stderr)
        yield line("worker", sorted(stood_s)[1], WORKER_BOUND_S, "s")


def of_machines(folder: Path, words: list[str]) -> Iterator[dict[str, Any]]:
    """A machine that dies, one that comes, and one that is taken away with notice, in one elastic run."""
    with cluster_of(2) as cluster, Training(cluster, folder / "machines", *words, "workers.num=[1,2]") as training:
        training.wait_for_step(WARM_STEPS)
        died_at = time.time()
        cluster.remove_node(list(cluster.worker_nodes)[1], allow_graceful=False)
        _, first = training.wait_for_restart(died_at)
        yield line("machine", first["time"] - died_at, NODE_BOUND_S, "s")
        training.wait_for_step(first["step"] + WARM_STEPS)
        came_at = time.time()
        new = cluster.add_node(**NODE)
        start, first = training.wait_for_restart(came_at)
        print(f"recovery: a machine that came is used after {first['time'] - came_at:.1f} s", file=sys.stderr)
        yield line("resize_lost", training.last_step_before(start["time"]) - start["step"], 0, "steps")
        training.wait_for_step(first["step"] + WARM_STEPS)
        told_at = time.time()
        drain(cluster, new, DRAIN_S)
        training.wait(lambda _: time.time() > told_at + DRAIN_S + 1, "the deadline")
        cluster.remove_node(new, allow_graceful=False)
        start, _ = training.wait_for_restart(told_at)
        yield line("drain_lost", training.last_step_before(start["time"]) - start["step"], 1, "steps")


def run() -> Iterator[dict[str, Any]]:
    """All four."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        words = words_of(folder)
        yield from of_workers(folder, words)
        yield from of_machines(folder, words)
