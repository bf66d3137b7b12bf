"""What the driver finds out before a worker starts: does everything fit, and what is the same for all of them."""

from typing import Any

import numpy as np
import torch

import mien
from mien.config import Config
from mien.datasets import subjects
from mien.datasets.dataset import Dataset, open_dataset
from mien.datasets.subjects import Subjects
from mien.errors import ConfigError, PreflightError
from mien.features.network import Network
from mien.features.recorded import differing
from mien.features.registry import ExtractorConfig, Resolved, resolve
from mien.models import checkpoint
from mien.objectives.diffusion import ProcessConfig
from mien.storage.uri import Store, canonical
from mien.training.begin import is_seed
from mien.training.job import Job, TrainConfig
from mien.training.samples import readers
from mien.training.setup import columns_of, open_samples, orders
from mien.training.windows import DataConfig as ClipDataConfig
from mien.training.windows import sample_rows


class _MaybeFeatures(Config):
    """What a dataset says of its features."""

    features: ExtractorConfig | None = None
    """As in the config of `mien serialize`."""


def features_of(dataset: Dataset) -> ExtractorConfig | None:
    """Config of the extractor whose features a dataset holds."""
    return _MaybeFeatures.parse({"features": dataset.config.get("features")}, f"{dataset.uri}/config.yaml").features


def prepare(config: TrainConfig, store: Store) -> tuple[Job, bytes]:
    """Check a run and gather what its workers need; with it the weights of the frozen network, if one computes tokens.

    Raises:
        ConfigError: Sizes do not fit the dataset, a side of the split is empty, the subjects are too many.
        DatasetError: The dataset is unfinished or damaged.
        PreflightError: It lacks crops or features, or holds no sample.
        CheckpointError: What the run begins with or resumes from cannot be read.
        AssetError: The weights of the frozen network cannot be had.
    """
    if not isinstance(config.data, ClipDataConfig):
        return _of_samples(config), b""
    return _of_clips(config, config.data, store)


def _of_samples(config: TrainConfig) -> Job:
    train, _ = readers(open_samples(config), config.seed)
    num_steps = _steps_of(config, len(train.order))
    _require_stages(config, len(train.order), num_steps)
    facts = _facts(config, num_steps, canonical(config.dataset))
    return Job(config, num_steps, Subjects({}), np.zeros((0, 0), np.float32), None, facts)


def _require_stages(config: TrainConfig, num_samples: int, num_steps: int) -> None:
    """Hold the stages of a curriculum against the length of the run.

    Raises:
        ConfigError: They end before the run does.
    """
    if isinstance(config.objective, ProcessConfig):
        pacing = config.objective.timesteps.build(config.objective.schedule.num_steps)
        total = num_steps
        if getattr(config.objective.timesteps, "unit", "step") == "epoch":
            total = -(-num_steps * config.batch.size // num_samples)
        try:
            pacing.check_length(total)
        except ValueError as error:
            raise ConfigError(f"objective.timesteps: {error}") from None


def _of_clips(config: TrainConfig, data: ClipDataConfig, store: Store) -> tuple[Job, bytes]:
    dataset = open_dataset(config.dataset)
    if not len(dataset):
        raise PreflightError(f"{dataset.uri}: holds no sample, only failures; see its failures.parquet")
    _require_columns(config, data, dataset)
    resolved = _extractor(data, dataset)
    weights = resolved.read_weights()
    positions = Network(resolved.with_dtype("float32"), weights).positions().numpy()  # the same on every machine
    _require_sizes(config, resolved, positions)
    table = _subjects(config, store, dataset)
    num_steps = _num_steps(config, data, dataset, table)
    own = {"subjects": table.dump(), "tokens": dict(resolved.provenance)}
    facts = _facts(config, num_steps, dataset.uri) | own
    is_online = data.tokens == "online"
    return Job(
        config, num_steps, table, positions, resolved if is_online else None, facts
    ), weights if is_online else b""


def _facts(config: TrainConfig, num_steps: int, dataset: str) -> dict[str, Any]:
    """What the checkpoints of every run say."""
    return {
        "mien": mien.__version__,
        "objective": config.objective.dump(),
        "config": config.dump(),
        "dataset": dataset,
        "num_steps": num_steps,
        "torch": str(torch.__version__),
    }


def _require_columns(config: TrainConfig, data: ClipDataConfig, dataset: Dataset) -> None:
    """The first sample stands for all: one config made them."""
    have = dataset.sample(0).columns
    for name in columns_of(config, data):
        if name not in have:
            advice = {
                "feature": "serialize with features.output=patch, or set data.tokens=online with data.backbone",
                "crop": "serialize again; crops are always stored",
            }
            raise PreflightError(f"{dataset.uri}: has no column {name}; {advice.get(name, 'serialize it again')}")


def _extractor(data: ClipDataConfig, dataset: Dataset) -> Resolved:
    """The frozen network whose tokens are used: the one that made the stored ones, or that of the config."""
    if data.tokens == "online" and data.backbone is not None:
        return resolve(data.backbone)
    made_by: dict[str, Any] = dict(dataset.record.get("models", {}).get("feature", {}))
    given = features_of(dataset)
    if given is None or given.output != "patch":
        raise PreflightError(
            f"{dataset.uri}: its features are {given.output if given else 'none'}, not patch tokens; serialize with "
            "features.output=patch, or set data.tokens=online with data.backbone"
        )
    found = resolve(given)
    if keys := differing(made_by, found):
        raise PreflightError(
            f"{dataset.uri}: its tokens were made by another {given.model} ({', '.join(keys)} differ); "
            "name the same files, or serialize again"
        )
    return found


def _require_sizes(config: TrainConfig, resolved: Resolved, positions: np.ndarray) -> None:
    """The models have the number and length of the tokens written in their config.

    Raises:
        ConfigError: They are not those of the backbone.
    """
    objective = config.objective
    models = [
        getattr(objective, name) for name in ("expression", "reconstruction", "model") if hasattr(objective, name)
    ]
    for model in models:
        for field, size in (("num_patches", positions.shape[0]), ("embed_dim", positions.shape[1])):
            wanted = getattr(model, field, size)
            if wanted != size:
                raise ConfigError(
                    f"objective: {model.kind}.{field} is {wanted}, but {resolved.config.model} at "
                    f"{resolved.config.size_px} px makes {positions.shape[0]} tokens of {positions.shape[1]}; "
                    f"set {field} to {size}"
                )


def _subjects(config: TrainConfig, store: Store, dataset: Dataset) -> Subjects:
    """The table of the run: that of the checkpoint it goes on from or begins with, else that of the dataset.

    New subjects get rows of their own.

    Raises:
        ConfigError: The model's table is too small.
    """
    table = subjects.read(dataset.store)
    own = checkpoint.newest(store)
    if own is not None:
        table = _table_of(own)
    elif config.begin_with and not is_seed(config.begin_with):
        table = _table_of(checkpoint.find(config.begin_with))
    table = table.extended(subjects.names(dataset.index_file))
    objective = config.objective
    sizes = [getattr(getattr(objective, name, None), "max_subjects", None) for name in ("expression", "reconstruction")]
    for size in sizes:
        if size is not None:
            table.require_room(size)
    return table


def _table_of(found: checkpoint.Checkpoint) -> Subjects:
    return Subjects.parse(found.facts.get("subjects", {"rows": {}, "next_row": 1}), found.uri)


def _num_steps(config: TrainConfig, data: ClipDataConfig, dataset: Dataset, table: Subjects) -> int:
    """Steps of the run; both sides of the split must have windows, and every worker one."""
    train, _ = orders(dataset, sample_rows(dataset.index_file, table), data, config.seed)
    most = config.workers.bounds[1]
    if len(train) < most:
        raise ConfigError(
            f"workers.num: {most} workers, but the training side of {dataset.uri} has {len(train)} windows of "
            f"{data.length} frames; use fewer workers"
        )
    return _steps_of(config, len(train))


def _steps_of(config: TrainConfig, num_windows: int) -> int:
    return config.num_steps or max(1, round(config.num_epochs * num_windows / config.batch.size))
