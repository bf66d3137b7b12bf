"""Everything that a worker needs before its first step: data, model, optimiser, and where the run is."""

import hashlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import torch

from mien.datasets.dataset import Dataset, open_dataset
from mien.datasets.local_shards import LocalShards, shards_root
from mien.datasets.split import HELD_OUT, TRAIN, split
from mien.models import checkpoint
from mien.models.unet import UnetConfig
from mien.objectives.bridge import EmbeddingBridgeConfig
from mien.objectives.diffusion import DdpmConfig
from mien.objectives.objective import Objective
from mien.storage.uri import Store, canonical, open_store
from mien.training.begin import begin_with
from mien.training.ema import Ema
from mien.training.forward import DTYPES, Batches
from mien.training.job import Job, TrainConfig
from mien.training.order import Order, Window
from mien.training.sample_data import SampleData
from mien.training.samples import SampleBatches, SampleReader, SampleSet, readers
from mien.training.state import State
from mien.training.windows import DataConfig as ClipDataConfig
from mien.training.windows import Reader, Reads, SampleRows, sample_rows
from mien.training.world import World


@dataclass
class Setup:
    """What a worker trains with."""

    job: Job
    store: Store
    objective: Objective
    state: State
    feed: "Feed"

    @property
    def reader(self) -> Reads:
        """Of the training windows."""
        return self.feed.reader

    @property
    def held_out(self) -> Reads:
        """Of the others, in a fixed order."""
        return self.feed.held_out

    @property
    def batches(self) -> "Makes":
        """What makes batches of what they read."""
        return self.feed.batches

    def name_of(self, window: Window) -> dict[str, Any]:
        """Which clip or sample a window is of, for a message."""
        return self.feed.name_of(window)


class Makes(Protocol):
    """Makes batches on one worker."""

    def make(self, raw: Any, step: int | None) -> Any:
        """Of a training step, with its random changes; or, without a step, of a validation."""


@dataclass
class Feed:
    """Where a worker's data come from."""

    reader: Reads
    held_out: Reads
    batches: Makes
    name_of: Callable[[Window], dict[str, Any]]


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
    store = open_store(config.output)
    found = checkpoint.newest(store)
    objective = build(job, resumes=found is not None).to(world.device)
    state = State(objective, config.optimizer.build(objective), Ema(config.ema, objective) if config.ema else None)
    if found is not None:
        state.restore(found)
    feed = _clips(job, config.data, world, weights) if config.data.kind == "clips" else _samples(job, world)
    if found is None and isinstance(feed.reader, SampleReader):
        objective.look_at(feed.reader.samples)
    return Setup(job, store, objective, state, feed)


def _clips(job: Job, data: ClipDataConfig, world: World, weights: bytes | None) -> Feed:
    config, dataset = job.config, open_dataset(job.config.dataset)
    rows = sample_rows(dataset.index_file, job.subjects)
    shards = LocalShards(dataset, columns_of(config, data), shards_folder(config), data.cache_gb * 1e9)
    train, held_out = (Reader(order, shards, rows, data.length) for order in orders(dataset, rows, data, config.seed))

    def name_of(window: Window) -> dict[str, Any]:
        sample = dataset.sample(window.sample)
        return {"clip_id": sample.clip_id, "track": sample.track, "start": window.start, "frames": window.num_frames}

    return Feed(train, held_out, Batches(job, world, weights, image_size_px(config)), name_of)


def _samples(job: Job, world: World) -> Feed:
    config = job.config
    train, held_out = readers(open_samples(config), config.seed)
    flip = getattr(config.data, "flip", 0.0)
    return Feed(
        train, held_out, SampleBatches(config.seed, flip, DTYPES[config.precision], world.device), train.name_of
    )


def open_samples(config: TrainConfig) -> SampleSet:
    """The images or embeddings of a run.

    Raises:
        MienError: They cannot be read, or do not fit the network.
    """
    if not isinstance(config.data, SampleData) or not isinstance(config.objective, DdpmConfig | EmbeddingBridgeConfig):
        raise ValueError(f"data.kind={config.data.kind} has no samples that {config.objective.kind} learns from")
    network = config.objective.network
    size = network.image_size_px if isinstance(network, UnetConfig) else network.embed_dim
    return config.data.open(config.dataset, size, shards_folder(config))


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


def columns_of(config: TrainConfig, data: ClipDataConfig) -> tuple[str, ...]:
    """Columns of the dataset that training reads."""
    return data.columns(with_images=image_size_px(config) is not None)


def orders(dataset: Dataset, rows: SampleRows, data: ClipDataConfig, seed: int) -> tuple[Order, Order]:
    """The stream of training windows, and the held-out windows in the order of the index.

    Raises:
        ConfigError: One of the two would be empty.
    """
    parts = split(dataset.index_file, data.split)
    made = []
    for part, own_seed in ((TRAIN, seed), (HELD_OUT, None)):
        frames = np.where(parts == part, rows.num_frames, 0)
        made.append(Order(frames, rows.shard, data.length, seed=own_seed, shards_together=data.shards_together))
    return made[0], made[1]


def shards_folder(config: TrainConfig) -> Path:
    """Decoded shards on a local disk, shared by the workers of a machine and found again after a crash."""
    return shards_root(config.dataset) / hashlib.sha256(canonical(config.output).encode()).hexdigest()[:16]
