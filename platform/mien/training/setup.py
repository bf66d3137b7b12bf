"""Everything that a worker needs before its first step: data, model, optimiser, and where the run is."""

import hashlib
import tempfile
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch

from mien.datasets.dataset import Dataset, open_dataset
from mien.datasets.local_shards import LocalShards
from mien.datasets.split import HELD_OUT, TRAIN, split
from mien.models import checkpoint
from mien.objectives.objective import Objective
from mien.storage.uri import Store, canonical, open_store
from mien.training.begin import begin_with
from mien.training.ema import Ema
from mien.training.forward import Batches
from mien.training.job import Job, TrainConfig
from mien.training.order import Order, Window
from mien.training.state import State
from mien.training.windows import Reader, SampleRows, sample_rows
from mien.training.world import World


@dataclass
class Setup:
    """What a worker trains with."""

    job: Job
    store: Store
    objective: Objective
    state: State
    batches: Batches
    reader: Reader
    """Of the training windows."""
    held_out: Reader
    dataset: Dataset

    def name_of(self, window: Window) -> dict[str, str | int]:
        """Which clip a window is of, for a message."""
        sample = self.dataset.sample(window.sample)
        return {"clip_id": sample.clip_id, "track": sample.track, "start": window.start, "frames": window.num_frames}


def set_up(job: Job, world: World, weights: bytes | None = None) -> Setup:
    """Open the dataset, build the model, and go on from the newest checkpoint that is whole.

    Args:
        job: What the driver found out.
        world: This worker.
        weights: File of the frozen network, where it computes tokens.

    Raises:
        DatasetError: The dataset cannot be read.
        CheckpointError: There are checkpoints, and none can be read, or they are of another architecture.
    """
    config = job.config
    torch.set_num_threads(max(1, int(config.workers.num_cpus)))
    store, dataset = open_store(config.output), open_dataset(config.dataset)
    found = checkpoint.newest(store)
    objective = build(job, resumes=found is not None).to(world.device)
    state = State(objective, config.optimizer.build(objective), Ema(config.ema, objective) if config.ema else None)
    if found is not None:
        state.restore(found)
    rows = sample_rows(dataset.index_file, job.subjects)
    shards = LocalShards(dataset, columns_of(config), shards_folder(config), config.data.cache_gb * 1e9)
    train, held_out = orders(dataset, rows, config)
    return Setup(
        job,
        store,
        objective,
        state,
        Batches(job, world, weights, image_size_px(config)),
        Reader(train, shards, rows, config.data.length),
        Reader(held_out, shards, rows, config.data.length),
        dataset,
    )


def build(job: Job, *, resumes: bool = False) -> Objective:
    """The objective with the weights that the run begins with: the same on every worker, by the seed.

    A run that resumes has its own weights, and does not need those of `begin_with` any more.
    """
    config = job.config
    with torch.random.fork_rng(devices=[]):
        torch.default_generator.manual_seed(config.seed)
        objective = config.objective.build()
    if config.begin_with and not resumes:
        begin_with(objective, config.begin_with)
    return objective.double() if config.precision == "float64" else objective  # sums in float64 stay what they are


def image_size_px(config: TrainConfig) -> int | None:
    """Side of the images that the objective compares; None where it compares none."""
    return config.objective.reconstruction.image_size_px if config.objective.kind == "joint" else None


def columns_of(config: TrainConfig) -> tuple[str, ...]:
    """Columns of the dataset that training reads."""
    return config.data.columns(with_images=image_size_px(config) is not None)


def orders(dataset: Dataset, rows: SampleRows, config: TrainConfig) -> tuple[Order, Order]:
    """The stream of training windows, and the held-out windows in the order of the index.

    Raises:
        ConfigError: One of the two would be empty.
    """
    parts = split(dataset.index_file, config.data.split)
    made = []
    for part, seed in ((TRAIN, config.seed), (HELD_OUT, None)):
        frames = np.where(parts == part, rows.num_frames, 0)
        together = config.data.shards_together
        made.append(Order(frames, rows.shard, config.data.length, seed=seed, shards_together=together))
    return made[0], made[1]


def shards_folder(config: TrainConfig) -> Path:
    """Decoded shards on a local disk, shared by the workers of a machine and found again after a crash."""
    name = hashlib.sha256(f"{canonical(config.dataset)} {canonical(config.output)}".encode()).hexdigest()[:16]
    return Path(tempfile.gettempdir()) / "mien-shards" / name
