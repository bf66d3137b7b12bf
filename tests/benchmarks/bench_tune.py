"""Sweeps: what Ray Tune and the bookkeeping of trials cost beside the trainings, which two plain processes run too."""

import multiprocessing
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from bench_train import SMALL, make_dataset

from mien.pipelines.cluster import ClusterConfig, session
from mien.storage.uri import open_store
from mien.training.job import TrainConfig
from mien.training.notice import NoNotices
from mien.training.prepare import prepare
from mien.training.worker import work
from mien.training.world import World
from mien.tuning import desk, tune
from mien.tuning.job import TuneConfig

NUM_TRIALS, NUM_PROCESSES, NUM_STEPS = 16, 2, 20
"""A training takes about five seconds."""


def config_of(dataset: str, output: str) -> TuneConfig:
    """A sweep of the small joint model, with stored tokens."""
    rarely = {"every_steps": NUM_STEPS}
    training = {
        "objective": {"kind": "joint", **SMALL},
        "data": {"length": 4},
        "batch": {"size": 2, "exact": False},
        "num_steps": NUM_STEPS,
        "validation": {**rarely, "max_windows": 4},
        "checkpoints": rarely,
        "log": {"figures": False, "tensorboard": False},
    }
    values = {
        "dataset": dataset,
        "output": output,
        "train": training,
        "space": {"objective.weights.temporal": {"kind": "uniform", "low": 0.0, "high": 1.0}},
        "metrics": {"reconstruction": "lowest"},
        "num_trials": NUM_TRIALS,
    }
    return TuneConfig.parse(values, "bench")


def train_all(config: TuneConfig, numbers: list[int]) -> None:
    """Trials one after the other: what one of the plain processes does."""
    for number in numbers:
        trial = config.trial(config.build().sample(number), f"{config.output}/{number}")
        assert isinstance(trial, TrainConfig)
        job, weights = prepare(trial, open_store(trial.output))
        work(job, World(), NoNotices(), weights)


def in_plain_processes(config: TuneConfig) -> float:
    """Seconds of all trials in two processes."""
    started = time.perf_counter()
    context = multiprocessing.get_context("spawn")
    processes = [
        context.Process(target=train_all, args=(config, list(range(first, NUM_TRIALS, NUM_PROCESSES))))
        for first in range(NUM_PROCESSES)
    ]
    for process in processes:
        process.start()
    for process in processes:
        process.join()
        assert process.exitcode == 0
    return time.perf_counter() - started


def in_a_sweep(config: TuneConfig) -> dict[str, float]:
    """Seconds of the same as `mien tune`, and where they go."""
    started = time.perf_counter()
    with session(ClusterConfig(address="local", num_cpus=NUM_PROCESSES)):
        ray_s = time.perf_counter() - started
        tune.run(config)
    whole_s = time.perf_counter() - started
    told = desk.read_all(open_store(config.output)).told
    trials_s = sum(reports[-1].seconds for reports in told.values()) / NUM_PROCESSES
    return {"whole": whole_s, "ray_start": ray_s, "trials": trials_s, "rest": whole_s - ray_s - trials_s}


def run() -> Iterator[dict[str, Any]]:
    """Both, once each: half a minute or more of them, so that what slows the machine for a moment is little."""
    with tempfile.TemporaryDirectory() as folder:
        dataset = make_dataset(Path(folder))
        plain_s = in_plain_processes(config_of(dataset, f"{folder}/plain"))
        ours = in_a_sweep(config_of(dataset, f"{folder}/sweep"))
    shares = ", ".join(f"{name} {seconds:.1f} s" for name, seconds in ours.items())
    print(f"tune: {shares}; plain processes {plain_s:.1f} s", file=sys.stderr)
    yield {
        "bench": "tune.overhead",
        "ratio": ours["whole"] / plain_s,
        "bound": 1.5,
        "better": "lower",
        "ours": ours["whole"],
        "other": plain_s,
        "unit": f"s for {NUM_TRIALS} trainings, two at a time",
    }
