"""`mien evaluate`: how good a trained model is, on the clips of a dataset that it has not seen."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any, NamedTuple

import ray
import torch
from pydantic import Field

from mien.analysis.clip_tokens import has_tokens
from mien.config import Config
from mien.datasets.dataset import Dataset, open_dataset
from mien.datasets.subjects import Subjects
from mien.errors import CheckpointError, ConfigError, PreflightError
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.image_scores import MIN_SIDE_PX, MeanImages
from mien.evaluation.report import EvaluationConfig, Report
from mien.evaluation.report import evaluate as measured
from mien.evaluation.report import numbers as report_numbers
from mien.features.recorded import backbone_of
from mien.log import logger
from mien.models import checkpoint
from mien.models.checkpoint import Checkpoint
from mien.objectives.load import Weights, load_objective
from mien.pipelines.cluster import ClusterConfig, cause_of, session
from mien.pipelines.embed import Work
from mien.pipelines.embed import embed as over_actors
from mien.pipelines.pools import PoolConfig
from mien.storage.rights import require_all, try_rights
from mien.storage.uri import Store, canonical, open_store
from mien.training import evaluate_bridge, evaluate_samples, gather
from mien.training.clip_tasks import NOBODY, Chosen, ClipTask, choose
from mien.training.embedding import Arrays, Embedder, EmbeddingJob, packed, unpacked
from mien.training.evaluate_bridge import PairsConfig
from mien.training.evaluate_samples import SamplesConfig, SamplesJob
from mien.training.evaluation_files import EvaluateReport, write
from mien.training.job import TrainConfig
from mien.training.windows import DataConfig as ClipDataConfig

FOLDER = "evaluation"
"""Below a run, where no output is given."""


class EvaluateWorkersConfig(Config):
    """Who computes."""

    embed: PoolConfig = PoolConfig(num_cpus=0.5)
    """Model and backbone, in actors that keep both loaded. Half a CPU each fills a local Ray, which starts as many as
    fit into half of it."""


class EvaluateConfig(Config):
    """One run of `mien evaluate`."""

    checkpoint: str = ""
    """Output of `mien train`, of which the newest checkpoint is taken, or RUN/checkpoints/step_…."""
    dataset: str = ""
    """Dataset of `mien serialize`; the run's rule says which of its clips are held out. By default that of the run."""
    output: str = ""
    """Where the report goes, a folder or gs://; by default `evaluation` below the run."""
    weights: Weights = "ema"
    """`ema`: averages over the steps, where the run has them; `model`: as the last step left them."""
    max_frames: int = Field(20_000, ge=100)
    """Frames of each side of the split that are looked at, in whole clips that are spread evenly."""
    batch: int = Field(16, ge=1, le=4096)
    """Frames of a forward pass."""
    evaluation: EvaluationConfig = EvaluationConfig()
    """How it is measured."""
    samples: SamplesConfig = SamplesConfig()
    """How a model is measured that makes images of noise."""
    bridging: PairsConfig = PairsConfig()
    """How a bridge between embeddings is measured."""
    workers: EvaluateWorkersConfig = EvaluateWorkersConfig()
    """Who computes."""
    cluster: ClusterConfig = ClusterConfig()
    """Where Ray runs."""


class Prepared(NamedTuple):
    """A checkpoint and a dataset that were found to fit."""

    found: Checkpoint
    trained: TrainConfig
    dataset: Dataset
    chosen: Chosen
    job: EmbeddingJob

    def facts(self) -> dict[str, Any]:
        """What the numbers are about."""
        has_ema = checkpoint.EMA in self.found.parts
        return {
            "checkpoint": self.found.uri,
            "step": self.found.step,
            "weights": self.job.weights if has_ema else "model",
            "objective": self.trained.objective.kind,
            "dataset": self.dataset.uri,
            "split": self.trained.data.split.dump(),
            "backbone": dict(self.job.backbone.provenance),
            "patch_tokens": "stored" if self.job.is_stored else "computed",
            "notes": self.notes(),
        }

    def notes(self) -> list[str]:
        """What a reader of the numbers should know."""
        notes = list(self.chosen.notes)
        if self.job.backbone.config.weights == "random":
            notes.insert(0, "RANDOM weights of the backbone: these numbers tell nothing of one that was trained")
        if canonical(self.trained.dataset) != self.dataset.uri:
            notes.append(
                f"the run was trained on another dataset, {self.trained.dataset}: what is held out here by its rule "
                "is unseen only as far as it was not in there"
            )
        strangers = {task.person for task in self.chosen.unseen if not task.is_known}
        if strangers:
            notes.append(
                f"people of held-out clips without a training clip that was looked at: {len(strangers)}; where the "
                "model reads their row of its table, that may be as it was drawn"
            )
        return notes


def run(config: EvaluateConfig) -> EvaluateReport:
    """Embed the clips of a dataset, measure, and write JSON, tables and a figure; an earlier report is overwritten.

    Raises:
        CheckpointError: There is no checkpoint of `mien train`, or it cannot be read.
        DatasetError: The dataset is unfinished or damaged.
        PreflightError: It holds no face, a network's weights cannot be had, a worker fits on no machine, or the report
            could not be written.
        StorageError: The report cannot be written any more.
    """
    found = find(config)
    store = open_store(config.output or f"{found.store.uri}/{FOLDER}")
    trained = trained_by(found)
    if trained.objective.kind == "ddpm":
        return _of_images(config, found, trained, store)
    if trained.objective.kind == "bridge":
        _require_output(store)
        facts = _facts_of(config, found, trained)
        return evaluate_bridge.run(config.bridging, found.uri, config.weights, facts, store)
    prepared = prepare(config)
    for note in prepared.notes():
        logger.warning("note     %s", note)
    _require_output(store)
    seen, unseen = embed(config, prepared)
    return write(store, measure(config.evaluation, prepared, seen, unseen), prepared.facts())


def find(config: EvaluateConfig) -> Checkpoint:
    """The checkpoint that is measured.

    Raises:
        ConfigError: None is named.
        CheckpointError: There is none.
    """
    if not config.checkpoint:
        raise ConfigError("checkpoint: is required; name the output of `mien train`")
    return checkpoint.find(config.checkpoint)


def _of_images(config: EvaluateConfig, found: Checkpoint, trained: TrainConfig, store: Store) -> EvaluateReport:
    """Of a model that makes images."""
    inception = config.samples.read_inception()  # that it is absent is told before anything is fetched or begun
    trained = trained.model_copy(update={"dataset": config.dataset or trained.dataset})
    backbone = evaluate_samples.backbone_of(config.samples, trained)
    notes = ["RANDOM weights of the backbone: these numbers tell little"] if backbone.config.weights == "random" else []
    facts = _facts_of(config, found, trained) | {"notes": notes}
    for note in notes:
        logger.warning("note     %s", note)
    _require_output(store)
    job = SamplesJob(found.uri, config.weights, trained, config.samples, backbone)
    return evaluate_samples.run(job, inception, facts, store, config.workers.embed, config.cluster)


def _require_output(store: Store) -> None:
    """Before minutes of work, not after."""
    require_all(try_rights(store), store.uri)


def _facts_of(config: EvaluateConfig, found: Checkpoint, trained: TrainConfig) -> dict[str, Any]:
    """What the numbers of samples are about."""
    return {
        "checkpoint": found.uri,
        "step": found.step,
        "weights": config.weights if checkpoint.EMA in found.parts else "model",
        "objective": trained.objective.kind,
        "dataset": canonical(trained.dataset),
        "notes": [],
    }


def prepare(config: EvaluateConfig) -> Prepared:
    """Find checkpoint, dataset and backbone, see that they can be read, and choose clips.

    Raises:
        ConfigError: No checkpoint is named.
        CheckpointError: There is none, or it is not of `mien train`, or not of clips.
        DatasetError: The dataset is unfinished or damaged.
        PreflightError: It holds no face, or the run's backbone cannot be had.
    """
    found = find(config)
    trained = trained_by(found)
    if not isinstance(trained.data, ClipDataConfig):
        raise CheckpointError(f"{found.uri}: {trained.objective.kind} is not measured by clips")
    dataset = open_dataset(config.dataset or trained.dataset)
    load_objective(found.uri, config.weights)  # one that is damaged is told here, before any worker starts
    table = Subjects.parse(found.facts.get("subjects"), found.uri)
    chosen = choose(dataset.index_file, trained.data.split, table, config.max_frames)
    if not chosen.seen and not chosen.unseen:
        raise PreflightError(f"{dataset.uri}: shows no face in any clip; see its failures.parquet")
    backbone = backbone_of(found)
    is_stored = has_tokens(dataset, backbone)
    job = EmbeddingJob(found.uri, config.weights, dataset.uri, backbone, is_stored, config.batch)
    return Prepared(found, trained, dataset, chosen, job)


def trained_by(found: Checkpoint) -> TrainConfig:
    """Config of the run that left a checkpoint.

    Raises:
        CheckpointError: The record has none, or one that this version does not know.
    """
    try:
        return TrainConfig.parse(found.facts.get("config") or {}, found.uri)
    except ConfigError as error:
        raise CheckpointError(f"{error}; it was not left by `mien train` of this version") from None


def embed(config: EvaluateConfig, prepared: Prepared) -> tuple[list[Arrays], list[Arrays]]:
    """Arrays of the training clips and of the held-out ones, in two rounds: the second needs the mean images."""
    means, wanted = MeanImages(), {task.person for task in prepared.chosen.unseen}
    try:
        with session(config.cluster):
            seen = _over_ray(config, prepared.job, prepared.chosen.seen, None)
            seen_arrays = [gather.counted(clip, means, wanted) for clip in seen]
            unseen_arrays = list(_over_ray(config, prepared.job, prepared.chosen.unseen, means))
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error
    return seen_arrays, unseen_arrays


def numbers(config: EvaluateConfig) -> dict[str, float]:
    """The same measures in this process, by their names (`evaluation.report.numbers`): a trial is in Ray already.

    Raises:
        CheckpointError: There is none of clips, or it cannot be read.
        DatasetError: The dataset is damaged.
        PreflightError: It holds no face, or the run's backbone cannot be had.
    """
    prepared, means = prepare(config), MeanImages()
    chosen, weights = prepared.chosen, prepared.job.backbone.read_weights()
    wanted = {task.person for task in chosen.unseen}
    see = Embedder(prepared.job, weights)
    seen = [gather.counted(see(task), means, wanted) for task in chosen.seen]
    judge = Embedder(prepared.job, weights, means)
    return report_numbers(measure(config.evaluation, prepared, seen, [judge(task) for task in chosen.unseen]))


def _over_ray(
    config: EvaluateConfig, job: EmbeddingJob, tasks: Sequence[ClipTask], means: MeanImages | None
) -> Iterator[Arrays]:
    """Arrays of each clip, in no order."""
    pool = config.workers.embed
    arguments = (job, job.backbone.read_weights(), means, max(1, int(pool.num_cpus)))
    rows = [task._asdict() for task in tasks]
    return map(unpacked, over_actors(_loaded, arguments, rows, pool, config.cluster))


def _loaded(job: EmbeddingJob, weights: bytes, means: MeanImages | None, num_threads: int) -> Work:
    """Both networks in an actor, and what it does with a task."""
    torch.set_num_threads(num_threads)
    embedder = Embedder(job, weights, means)
    return lambda task: packed(embedder(ClipTask(**task)))


def measure(config: EvaluationConfig, prepared: Prepared, seen: Sequence[Arrays], unseen: Sequence[Arrays]) -> Report:
    """All measures that the model and the clips allow, and why the others are not there."""
    from mien.faces.landmarks import BLENDSHAPE_NAMES  # loads MediaPipe

    frames = gather.embedded_frames([*seen, *unseen])
    known = frames.where(~frames.is_held_out)
    scores, swaps = gather.frame_scores(unseen), gather.swapped_frames(unseen, known, config.probe.ridge)
    report = measured(frames, BLENDSHAPE_NAMES, config, scores, swaps)
    missing: dict[str, Any] = lacking(prepared.trained, prepared.chosen.unseen, report)
    return replace(report, **missing)


def lacking(trained: TrainConfig, unseen: Sequence[ClipTask], report: Report) -> dict[str, NotMeasurable]:
    """Measures that a kind of model or a choice of clips does not allow, with the reason: fields of the report."""
    objective, reasons = trained.objective, dict[str, str]()
    if objective.kind == "face_id":
        reasons |= dict.fromkeys(("probe", "smoothness"), "face_id makes vectors of identity, no expression tokens")
    if objective.kind != "joint":
        reasons |= dict.fromkeys(("images", "swap"), f"a model of kind {objective.kind} makes no images")
    elif not any(task.is_known for task in unseen):
        held_out = f"held-out clips: {len(unseen)}, none of them of a person with training clips"
        reasons |= dict.fromkeys(("images", "swap"), f"{held_out}; a run with data.split.by=source_end has such clips")
    else:
        if objective.reconstruction.image_size_px < MIN_SIDE_PX:
            reasons["images"] = f"images are smaller than the {MIN_SIDE_PX} px of SSIM's window"
        if isinstance(report.swap, NotMeasurable):
            reasons["swap"] = _no_swap(unseen)
    return {name: NotMeasurable(reason) for name, reason in reasons.items()}


def _no_swap(unseen: Sequence[ClipTask]) -> str:
    if not any(task.target != NOBODY for task in unseen):
        return "no held-out clip is of a subject that the model knows by name beside another"
    return "blendshapes are missing, in the held-out clips or in the training clips that a probe is fitted on"
