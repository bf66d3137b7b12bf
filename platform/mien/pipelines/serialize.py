"""The main job: plan → decode, detect, crop → features → shards → index, card, mien.json."""

import hashlib
import shutil
from collections.abc import Mapping
from typing import Any, NamedTuple

import ray
import ray.data
from pydantic import Field

import mien
from mien import assets
from mien.config import Config, differing_keys, fingerprint
from mien.datasets import index, publish
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG, Dataset
from mien.datasets.formats import FormatConfig
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.errors import (
    AlreadyExists,
    ConfigError,
    MienError,
    PreflightError,
    RefusedError,
    StorageError,
    TooManyFailures,
)
from mien.features.extractor import Extractor
from mien.features.registry import ExtractorConfig, resolve
from mien.log import logger
from mien.pipelines import stages
from mien.pipelines.cluster import ClusterConfig, session
from mien.pipelines.cut import CutConfig
from mien.pipelines.plan import PlanConfig, PlanReport, preview_plan, write_plan
from mien.pipelines.progress import Progress, Tally
from mien.pipelines.sink import ShardSink
from mien.storage.uri import Store, canonical, open_store

_NOT_IDENTITY = {"output", "cluster", "workers", "max_failed", "card", "preview", "min_free_gb"}
"""Keys that do not change what is in the dataset: they may differ when a run is resumed."""


class PoolConfig(Config):
    """Resources of one stage."""

    num_cpus: float = Field(1.0, ge=0)
    """CPUs that Ray counts for each worker."""

    num_gpus: float = Field(0.0, ge=0)
    """GPUs of each worker; a fraction shares one."""

    memory_gb: float | None = Field(None, gt=0)
    """Memory that Ray counts for each worker; without it Ray does not know what a worker needs."""

    min_workers: int = Field(1, ge=1)
    """Workers that are always there (features)."""

    max_workers: int | None = Field(None, ge=1)
    """Workers at most; without it as many as the cluster has room for."""


class WorkersConfig(Config):
    """Resources of the stages. Nothing here changes what is written."""

    cut: PoolConfig = PoolConfig()
    """Decode, detect, crop and landmarks, one clip at a time, in one task."""

    features: PoolConfig = PoolConfig(max_workers=2)
    """The extractor, in actors that keep the network loaded."""

    clips_per_batch: int = Field(1, ge=1)
    """Clips that a feature actor takes at once; more for short clips, so that its forward passes are full."""


class SerializeConfig(PlanConfig, CutConfig):
    """One run of `mien serialize`."""

    output: str = ""
    """Folder of the dataset. A run needs it."""

    features: ExtractorConfig | None = None
    """Frozen network whose output is stored for every crop; none by default."""

    format: FormatConfig = ParquetConfig()
    """How shards are written."""

    min_shard_mb: float = Field(64.0, ge=0, le=1024)
    """A shard is written when this much has come together; what is not yet written is done again after a crash."""

    workers: WorkersConfig = WorkersConfig()
    """Resources of the stages."""

    cluster: ClusterConfig = ClusterConfig()
    """Where Ray runs."""

    max_failed: float = Field(0.0, ge=0, le=1)
    """Share of clips that may fail before the run ends with exit code 3."""

    min_free_gb: float = Field(0.1, ge=0)
    """Free space that the output must have at the start."""

    card: CardConfig = CardConfig()
    """What a person says about the data."""

    preview: PreviewConfig = PreviewConfig()
    """How much the contact sheet shows."""

    def identity(self) -> dict[str, Any]:
        """The keys that decide what is written, with the source spelled canonically."""
        values = {key: value for key, value in self.dump().items() if key not in _NOT_IDENTITY}
        return values | {"source": canonical(self.source)}


class SerializeReport(NamedTuple):
    """How a run ended."""

    path: str
    num_clips: int
    num_samples: int
    num_frames: int
    num_failed: int
    contact_sheet: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self._asdict()


def serialize(config: SerializeConfig, *, fresh: bool = False, retry_failed: bool = False) -> SerializeReport:
    """Make a dataset, or go on where an earlier run of the same config stopped.

    Raises:
        PreflightError: A source, model or right is missing; nothing was started.
        RefusedError: The output was made with another config.
        TooManyFailures: It is finished, but more clips failed than `max_failed`.
        StorageError: The output could not be written; what was committed stays, the same command resumes.
    """
    store = open_store(config.output)
    models, extractor = _preflight(config)
    if fresh:
        publish.remove(store)
    plan(config, store)
    _run_pending(config, store, stages.Models(models, extractor), retry_failed)
    provenance = {
        "version": mien.__version__,
        "fingerprint": fingerprint(config.identity()),
        "source": canonical(config.source),
        "models": _model_facts(models, extractor),
    }
    dataset = publish.publish(store, config.card, config.preview, provenance)
    shutil.rmtree(f"{store.uri}/.scratch", ignore_errors=True)
    return _report(config, dataset)


def plan(config: SerializeConfig, store: Store) -> None:
    """Claim the output for this config and write its plan, unless it has one: a plan is written once.

    Raises:
        PreflightError: The output cannot be written, or the source holds no video.
        RefusedError: The output was made with another config.
    """
    _probe_output(store, config.min_free_gb)
    _claim(config, store)
    if not index.plan_files(store):
        report = write_plan(config, store)
        logger.info("plan     %d clips from %d videos", report.num_clips, report.num_sources)


def dry_run(config: SerializeConfig) -> tuple[PlanReport, list[dict[str, Any]]]:
    """What a run would do, by the same code; nothing is written."""
    _preflight(config)
    return preview_plan(config)


def _preflight(config: SerializeConfig) -> tuple[dict[str, bytes], Any]:
    """What can be known before the first clip. Returns the model files and the resolved extractor."""
    for key in ("source", "output"):
        if not getattr(config, key):
            raise ConfigError(f"{key}: is required; add it to the file or as {key}=PLACE")
    if canonical(config.source) == canonical(config.output):
        raise ConfigError(f"output: {config.output} is the source, too; choose another folder")
    names = ["face_detector", *(["face_landmarker"] if config.landmarks else [])]
    models = {name: assets.read(name) for name in names}
    extractor = resolve(config.features) if config.features else None
    return models, extractor


def _probe_output(store: Store, min_free_gb: float) -> None:
    """Write and delete a small object, and look at the free space."""
    name = f".probe-{fingerprint({'output': store.uri})[:8]}"
    try:
        store.replace(name, b"mien")
        store.delete(name)
        free_gb = shutil.disk_usage(store.uri).free / 1e9
    except (StorageError, OSError) as error:
        raise PreflightError(f"output={error}") from None
    if free_gb < min_free_gb:
        raise PreflightError(
            f"output={store.uri}: only {free_gb:.2f} GB free, {min_free_gb:g} GB are asked for; "
            "free some space or set min_free_gb"
        )


def _claim(config: SerializeConfig, store: Store) -> None:
    """Write the config once; an output that has another one is refused with the keys that differ."""
    try:
        store.put_new(CONFIG, config.to_yaml().encode())
    except AlreadyExists:
        standing = SerializeConfig.load(store.fetch(CONFIG))
        keys = differing_keys(standing.identity(), config.identity())
        if keys:
            raise RefusedError(
                f"{store.uri}: was made with another config; these keys differ: {', '.join(keys)}. "
                "Choose another output, or start over with --fresh"
            ) from None


def _run_pending(config: SerializeConfig, store: Store, models: stages.Models, retry_failed: bool) -> None:
    """Run the graph over the planned clips that no commit names yet."""
    made, failed = index.committed(store)
    skip = made if retry_failed else index.merge_ids(made, failed)
    num_clips = sum(part.num_rows for part in index.read_plan(store, ["clip_id"]))
    if len(skip) >= num_clips:
        logger.info("resume   all %d clips are done already", num_clips)
        return
    if len(skip):
        logger.info("resume   %d of %d clips are done", len(skip), num_clips)
    try:
        with session(config.cluster):
            tally = Tally.remote(stages.names(config))
            progress = Progress(tally, num_clips, len(skip))
            with progress.shown():
                _run_graph(config, store, models, skip, tally)
            logger.info("%s", progress.line())
    except ray.exceptions.RayError as error:
        raise _cause(error) from error


def _run_graph(config: SerializeConfig, store: Store, models: stages.Models, skip: Any, tally: Any) -> None:
    """The pipeline as a diagram."""
    cut, features = config.workers.cut, config.workers.features
    clips = ray.data.read_parquet(f"{store.uri}/{index.PLAN_FOLDER}")
    # 1:1 without what is done; the ids travel once, through the object store.
    clips = clips.map_batches(stages.drop_done, fn_args=(ray.put(skip),), batch_format="pyarrow")
    clips = clips.repartition(target_num_rows_per_block=1)
    # 1:1 clip → all frames of its face tracks, as one row that is never split. One decoder thread, so one CPU.
    clips = clips.map_batches(
        stages.CutStage(config, ray.put(models.files), tally),
        batch_size=1,
        batch_format="pyarrow",
        num_cpus=cut.num_cpus,
        memory=_bytes(cut.memory_gb),
        compute=ray.data.TaskPoolStrategy(cut.max_workers),
    )
    if config.features is not None:
        # 1:1 adds the feature column. Actors, because loading the network costs seconds.
        clips = clips.map_batches(
            stages.FeatureStage,
            fn_constructor_args=(models.extractor, tally),
            batch_size=config.workers.clips_per_batch,
            batch_format="pyarrow",
            num_cpus=features.num_cpus,
            num_gpus=features.num_gpus,
            memory=_bytes(features.memory_gb),
            compute=ray.data.ActorPoolStrategy(min_size=features.min_workers, max_size=features.max_workers),
        )
    # N:1 clips → one shard with one commit record. Waits for the disk, so it needs no CPU of its own.
    metadata = {"version": mien.__version__, "models": _model_facts(models.files, models.extractor)}
    sink = ShardSink(store.uri, config.format, config.min_shard_mb, metadata)
    clips.write_datasink(sink, ray_remote_args={"num_cpus": 0.05})


def _bytes(memory_gb: float | None) -> int | None:
    return int(memory_gb * 1e9) if memory_gb else None


def _cause(error: BaseException) -> MienError:
    """The error of ours that a worker raised, or one that says what Ray said."""
    seen: BaseException | None = error
    while seen is not None:
        if isinstance(seen, MienError):
            return seen
        seen = getattr(seen, "cause", None) or seen.__cause__
    first_line = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    return MienError(f"a worker failed: {first_line}; the same command resumes (MIEN_DEBUG=1 shows the trace)")


def _model_facts(files: Mapping[str, bytes], extractor: Extractor | Any) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "licence": assets.ASSETS[name].licence}
        for name, data in files.items()
    }
    return facts | ({"feature": dict(extractor.provenance)} if extractor is not None else {})


def _report(config: SerializeConfig, dataset: Dataset) -> SerializeReport:
    num_failed, num_clips = dataset.failures.num_rows, dataset.failures.num_rows + len(dataset.clip_ids)
    for failure in dataset.failures.slice(0, 10).to_pylist():
        logger.info("failed   %s", failure["error"])
    if num_failed > config.max_failed * num_clips:
        raise TooManyFailures(
            f"{dataset.uri}: finished, but {num_failed} of {num_clips} clips failed (tolerated: "
            f"max_failed={config.max_failed:g}); see failures.parquet and {publish.FAILURE_GALLERY}"
        )
    frames = dataset.index.column("num_frames")
    return SerializeReport(
        dataset.uri,
        num_clips,
        len(dataset),
        sum(frames.to_pylist()),
        num_failed,
        f"{dataset.uri}/{publish.CONTACT_SHEET}",
    )
