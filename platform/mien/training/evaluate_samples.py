"""`mien evaluate` of a model that makes images: how far they are from held-out ones, and which are copies."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import ray
import torch
from pydantic import Field

from mien import assets, draws
from mien.datasets.dataset import open_dataset
from mien.errors import CheckpointError, ConfigError
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.distribution_scores import frames_of
from mien.evaluation.generation import Extractor, Frames, GenerationConfig, GenerationResult, ImageSet, measure_each
from mien.evaluation.report import plain
from mien.evaluation.tiles import tiles
from mien.features.inception import ASSET, Inception
from mien.features.registry import ExtractorConfig, Resolved, resolve
from mien.objectives.diffusion import Ddpm
from mien.objectives.load import Weights, load_objective
from mien.pipelines.cluster import ClusterConfig, cause_of, session
from mien.pipelines.pools import PoolConfig
from mien.storage.uri import Store
from mien.training.evaluation_files import FIGURE, JSON, TABLES, EvaluateReport
from mien.training.job import TrainConfig
from mien.training.prepare import features_of
from mien.training.samples import SampleReader, readers
from mien.training.setup import open_samples


class SamplesConfig(GenerationConfig):
    """How a model that makes images is measured."""

    num_samples: int = Field(2000, ge=2)
    """Images that are made, and at most as many held-out and training ones; only equal counts compare."""
    seed: int = Field(0, ge=0, lt=2**62)
    """Of the noise that they are made from."""
    batch: int = Field(64, ge=1, le=4096)
    """Images of a forward pass."""
    backbone: ExtractorConfig | None = None
    """Network in whose features images are compared, with `output=cls` or `mean`; by default that of the dataset."""
    fid: bool = False
    """Also FID and KID: of Inception's features, whose weights `mien assets pull inception` fetches. A core embeds ten
    images a second; the intervals take it two minutes more."""

    def read_inception(self) -> bytes:
        """The weights file to hand to the worker; empty if nobody asks for it.

        Raises:
            AssetError: It is absent or damaged.
        """
        return assets.read(ASSET) if self.fid else b""


@dataclass(frozen=True)
class SamplesJob:
    """What the worker is told."""

    checkpoint: str
    weights: Weights
    trained: TrainConfig
    config: SamplesConfig
    backbone: Resolved


class Measured(NamedTuple):
    """What it found."""

    result: GenerationResult | NotMeasurable
    copies: bytes
    """PNG: made images above, the nearest training images below."""
    by_inception: GenerationResult | NotMeasurable | None = None
    """The same of Inception's features, where FID is asked for."""


def run(
    job: SamplesJob, inception: bytes, facts: dict[str, Any], store: Store, pool: PoolConfig, cluster: ClusterConfig
) -> EvaluateReport:
    """Make images, compare them, and write JSON, a table and a picture of the nearest training images.

    Args:
        job: What is measured.
        inception: `SamplesConfig.read_inception`.
        facts: What the numbers are about.
        store: Of the report.
        pool: What the worker needs.
        cluster: Where it runs.

    Raises:
        PreflightError: No machine has room for the worker.
        StorageError: The report cannot be written.
    """
    try:
        with session(cluster):
            weights = [ray.put(content) for content in (job.backbone.read_weights(), inception)]
            task = ray.remote(_measured).options(**pool.demands, max_retries=3)
            found: Measured = ray.get(task.remote(job, *weights, max(1, int(pool.num_cpus))))
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error
    document = {**facts, "config": job.config.dump(), "generation": plain(found.result)}
    if found.by_inception is not None:
        document["inception"] = plain(found.by_inception)
    lines = summary(found)
    store.replace(TABLES, _tables(lines, facts).encode())
    if found.copies:
        store.replace(FIGURE, found.copies)
    store.replace(JSON, json.dumps(document, indent=1, allow_nan=False).encode())
    return EvaluateReport(store.uri, document, lines)


def backbone_of(config: SamplesConfig, trained: TrainConfig) -> Resolved:
    """The network whose features are compared.

    Raises:
        ConfigError: None is named and the data have none, or its features are not one vector for each image.
    """
    given = config.backbone
    if given is None and trained.data.kind == "crops":
        given = features_of(open_dataset(trained.dataset))
        given = None if given is None else given.model_copy(update={"output": "cls"})
    if given is None:
        raise ConfigError(
            "samples.backbone: is required, the data have no features; e.g. samples.backbone.kind=dinov2 "
            "samples.backbone.output=cls"
        )
    if given.output == "patch":
        raise ConfigError("samples.backbone.output: must be cls or mean, one vector for each image, not patch")
    return resolve(given)


def _measured(job: SamplesJob, weights: bytes, inception: bytes, num_threads: int) -> Measured:
    """What the worker does."""
    from mien.features.network import Network

    torch.set_num_threads(num_threads)
    objective = load_objective(job.checkpoint, job.weights).objective
    if not isinstance(objective, Ddpm):
        raise CheckpointError(f"{job.checkpoint}: makes no images")
    train, held_out = readers(open_samples(job.trained), job.trained.seed)
    networks: list[Extractor] = [Network(job.backbone, weights), *([Inception(inception)] if inception else [])]
    sides = [_spread(reader, job.config.num_samples) for reader in (train, held_out)]
    seen, unseen = (
        ImageSet(_read(reader, places, job.config.batch), _clips(reader, places))
        for reader, places in zip((train, held_out), sides, strict=True)
    )
    result, *more = measure_each(ImageSet(_made(objective, job.config)), unseen, seen, networks, job.config)
    return Measured(result, _copies(result, train, sides[0], objective, job.config), *more)


def _made(objective: Ddpm, config: SamplesConfig) -> Iterator[Frames]:
    for keys in torch.split(_keys(config), config.batch):
        yield frames_of(objective.sample(keys))


def _keys(config: SamplesConfig) -> torch.Tensor:
    return draws.keys(config.seed, "samples", torch.arange(config.num_samples))


def _spread(reader: SampleReader, num: int) -> list[int]:
    """Places of samples that count, spread evenly over one epoch."""
    total = len(reader.order)
    places = sorted({place * total // num for place in range(num)}) if total > num else [*range(total)]
    return [place for place in places if bool(reader.read([place]).mask[0])]


def _read(reader: SampleReader, places: list[int], batch: int) -> Iterator[Frames]:
    for start in range(0, len(places), batch):
        yield reader.read(places[start : start + batch]).values.numpy()


def _clips(reader: SampleReader, places: list[int]) -> np.ndarray | None:
    """Frames of one clip are alike; None where samples are independent."""
    track: np.ndarray | None = getattr(reader.samples, "track", None)
    return None if track is None else track[[window.sample for window in reader.order.windows(places)]]


def _copies(
    result: GenerationResult | NotMeasurable,
    train: SampleReader,
    places: list[int],
    objective: Ddpm,
    config: SamplesConfig,
) -> bytes:
    if isinstance(result, NotMeasurable) or not result.nearest:
        return b""
    made = objective.sample(_keys(config)[: len(result.nearest)])
    nearest = train.read([places[neighbour.training] for neighbour in result.nearest]).values
    return tiles(torch.cat([made, nearest.permute(0, 3, 1, 2) / 127.5 - 1]), len(made))


def summary(found: Measured) -> dict[str, str]:
    """The headlines."""
    result = found.result
    if isinstance(result, NotMeasurable):
        return {"images": f"not measurable: {result.reason}"}
    lines = _distances(result)
    if result.nearest:
        distances = [neighbour.distance for neighbour in result.nearest]
        lines["nearest training image"] = f"{np.median(distances):.4g} (median of {len(distances)})"
        lines["… of held-out images"] = f"{result.held_out_to_training:.4g}"
    lines["under"] = str(result.scores.frechet.conditions)
    if isinstance(found.by_inception, GenerationResult):
        conditions = found.by_inception.scores.frechet.conditions
        lines |= {**_distances(found.by_inception), "FID and KID under": str(conditions)}
    return lines


def _distances(result: GenerationResult) -> dict[str, str]:
    lines = {score.name: str(score).removeprefix(f"{score.name} ") for score in _scores(result.scores)}
    for score in _scores(result.training_scores):
        lines[f"{score.name} of training images"] = str(score).removeprefix(f"{score.name} ")
    return lines


def _scores(found: Any) -> list[Any]:
    return [] if isinstance(found, NotMeasurable) else [found.frechet, found.kernel]


def _tables(lines: dict[str, str], facts: dict[str, Any]) -> str:
    rows = [f"| {name} | {value} |" for name, value in lines.items()]
    notes = [f"- **Note:** {note}" for note in facts["notes"]]
    about = [
        f"- Model: {facts['objective']}, step {facts['step']}, weights `{facts['weights']}`: `{facts['checkpoint']}`",
        f"- Dataset: `{facts['dataset']}`",
        *notes,
    ]
    head = ["# Made images against held-out ones", "", *about, "", "| | value (95 % interval) |", "|---|---|"]
    return "\n".join(
        [*head, *rows, "", "The lower, the nearer. Picture: made images, below them the nearest of training.", ""]
    )
