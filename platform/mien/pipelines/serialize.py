"""The main job: plan → decode, detect, crop → features → shards → index, card, mien.json."""

import contextlib
import hashlib
import time
from collections.abc import Mapping
from functools import partial
from typing import Any, NamedTuple, Self

import ray
import ray.data
from pydantic import Field, model_validator

import mien
from mien import assets
from mien.config import Config, differing_keys, fingerprint
from mien.datasets import audit, index, publish
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG, Dataset
from mien.datasets.formats import FormatConfig
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.errors import (
    AlreadyExists,
    ConfigError,
    RefusedError,
    StorageError,
    TooManyFailures,
)
from mien.features.registry import ExtractorConfig, Resolved
from mien.log import logger
from mien.pipelines import stages
from mien.pipelines.cluster import ClusterConfig, beside_driver, cause_of, session
from mien.pipelines.cut import CutConfig
from mien.pipelines.estimate import EstimateConfig
from mien.pipelines.handout import Pending, TaskSize, handed_out, pending
from mien.pipelines.plan import (
    NUM_SHOWN,
    PlanConfig,
    Planner,
    PlanReport,
    check_matches,
    preview_plan,
    write_plan,
)
from mien.pipelines.pools import (
    TASK_S,
    CutPoolConfig,
    PoolConfig,
    actor_pool,
    clips_per_task,
    require_room,
    require_room_beside,
)
from mien.pipelines.preflight import PROBE, Ready, preflight, require_output
from mien.pipelines.progress import Progress
from mien.pipelines.scored_plan import is_scored, scored_clips
from mien.pipelines.sink import ShardSink, Target
from mien.pipelines.tally import Tally
from mien.storage import lease
from mien.storage.commit import new_write_id
from mien.storage.uri import Store, canonical, open_store

_NOT_IDENTITY = {"output", "cluster", "workers", "max_failed", "card", "preview", "min_free_gb", "fetch", "estimate"}
"""Keys that do not change what is in the dataset: they may differ when a run is resumed."""

_TRAILS = (audit.FOLDER, publish.NOTES, PROBE)
"""What stays when a dataset is started over, and makes no dataset by itself."""

_MAX_FAILURES_SHOWN = 10

Times = tuple[float, float]
"""Unix times of the start of execution and of the first finished clip."""


class WorkersConfig(Config):
    """Resources of the stages. Nothing here changes what is written."""

    cut: CutPoolConfig = CutPoolConfig()
    """Decode, detect, crop and landmarks, one clip at a time, in one task."""

    score: CutPoolConfig = CutPoolConfig()
    """Scoring of candidates while the plan is made (clips.kind=scored): decoder, detector and extractor in an actor."""

    features: PoolConfig = PoolConfig(num_cpus=0.5)
    """The extractor, in actors that keep the network loaded. They hold their CPUs to the end, so that half a CPU each
    leaves the other half of the machine to the tasks that feed them."""

    clips_per_task: int | None = Field(None, ge=1)
    """Clips that go through a stage together, and fill the forward passes together; without it as many as make ten
    seconds of video; clips of one video in a bucket stay together up to those ten seconds also where there are few, so
    that its index is read once. A worker that dies takes those of its task with it; they are done again."""

    clip_timeout_s: float = Field(4 * 3600, gt=0, allow_inf_nan=False)
    """What a clip may take to be cut before it is given up; a decoder that hangs is ended after twice the time."""


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

    estimate: EstimateConfig = EstimateConfig()
    """What `mien plan` tries, and the cluster it estimates for."""

    @model_validator(mode="after")
    def _scored_by_features(self) -> Self:
        if is_scored(self) and self.features is None:
            raise ValueError("clips.kind: scored needs an extractor; add features.kind=dinov2, vit or clip_vit")
        return self

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
    executed_at: float = 0.0
    """Unix time at which execution began; 0 if there was nothing to do."""
    first_clip_at: float = 0.0
    """Unix time at which the first clip was finished; 0 if none was."""
    matches: dict[str, Any] | None = None
    """What a keyword plan found; empty for the others."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self._asdict()

    def summary(self) -> dict[str, Any]:
        """What a person wants to read of it."""
        hidden = ("executed_at", "first_clip_at", "matches")
        return {key: value for key, value in self._asdict().items() if key not in hidden}

    def check(self, max_failed: float) -> None:
        """Hold the share of failed clips against what is tolerated, and what was found against what was looked for.

        Raises:
            TooManyFailures: It is larger, or a keyword occurs nowhere (NothingFound).
        """
        if self.num_failed > max_failed * self.num_clips:
            raise TooManyFailures(
                f"{self.path}: finished, but {self.num_failed} of {self.num_clips} clips failed (tolerated: "
                f"max_failed={max_failed:g}); see {index.FAILURES} and {publish.FAILURE_GALLERY}"
            )
        check_matches(self.matches or {}, f"{self.path}: finished")


def serialize(config: SerializeConfig, *, fresh: bool = False, retry_failed: bool = False) -> SerializeReport:
    """Make a dataset as `run` does, and hold its failures against `max_failed`.

    Raises:
        TooManyFailures: It is finished, but more clips failed than `max_failed`.
    """
    report = run(config, fresh=fresh, retry_failed=retry_failed)
    report.check(config.max_failed)
    return report


def run(
    config: SerializeConfig, *, fresh: bool = False, retry_failed: bool = False, take_over: bool = False
) -> SerializeReport:
    """Make a dataset, or go on where an earlier run of the same config stopped; clips that failed are counted only.

    Raises:
        PreflightError: A source, model or right is missing; nothing was started.
        NothingFound: The videos hold no clip; nothing was started.
        RefusedError: The output was made with another config or holds something else, or another run is at work on it
            or took over.
        StorageError: The output could not be written; what was committed stays, the same command resumes.
    """
    store = open_store(config.output)
    ready = preflight(config)
    standing = _standing(store)
    with lease.held(store, take_over=take_over) as mine:
        if fresh and standing:
            publish.remove(store)
        plans_on_ray = is_scored(config) and not index.plan_files(store)
        with session(config.cluster) if plans_on_ray else contextlib.nullcontext():  # one for the plan and the clips
            _plan_once(config, store, ready)
            return _make(config, store, ready, mine, retry_failed)


def _make(
    config: SerializeConfig, store: Store, ready: Ready, mine: lease.Lease, retry_failed: bool
) -> SerializeReport:
    """Do what is left of the plan, and finish the dataset; a run that was told to stop leaves that to the other."""
    try:
        times = _run_pending(config, store, ready, retry_failed)
    except RefusedError as error:  # it was finished under this run's hands: the lease tells whose it is now
        logger.debug("resume   %s", error)
        times = 0.0, 0.0
    lease.renew(store, mine, time.time())
    provenance = {
        "version": mien.__version__,
        "fingerprint": fingerprint(config.identity()),
        "source": canonical(config.source),
        "models": index.committed_models(store) or _model_facts(ready.models, ready.extractor),
    }
    dataset = publish.publish(store, config.card, config.preview, provenance)
    store.clear_scratch()
    matches = index.read_matches(store)
    return _report(dataset)._replace(executed_at=times[0], first_clip_at=times[1], matches=matches)


def plan(config: SerializeConfig, store: Store) -> tuple[PlanReport, list[dict[str, Any]]] | None:
    """Claim the output for this config and write its plan, unless it has one: a plan is written once.

    Returns:
        The report and the first rows, from one walk over the sources; None where there is a plan already.

    Raises:
        PreflightError: The output cannot be written, or the source holds no video.
        NothingFound: The videos hold no clip.
        RefusedError: The output was made with another config, or holds something else.
        DatasetError: An erasure was interrupted there.
    """
    require_output(config)
    return _plan_once(config, store)


def _plan_once(
    config: SerializeConfig, store: Store, ready: Ready | None = None
) -> tuple[PlanReport, list[dict[str, Any]]] | None:
    has_plan, chooser = bool(index.plan_files(store)), None
    if is_scored(config) and not has_plan:
        chooser = partial(scored_clips, config, ready or preflight(config, writes=False))
    planner = Planner(config, chooser)
    if not has_plan and chooser is None:
        planner.first(NUM_SHOWN)  # before the output is claimed: there may be no video
    _claim(config, store)
    publish.require_settled(store)
    if has_plan or index.plan_files(store):
        return None
    first = planner.first(NUM_SHOWN)
    report = write_plan(planner, store)
    logger.info("plan     %d clips from %d videos", report.num_clips, report.num_sources)
    return report, first


def dry_run(config: SerializeConfig) -> tuple[PlanReport, list[dict[str, Any]]]:
    """What a run would do, by the same code; nothing is written."""
    preflight(config, writes=False)
    return preview_plan(config)


def _claim(config: SerializeConfig, store: Store) -> None:
    """Write the config once; an output that has another one is refused with the keys that differ."""
    if _standing(store) is None:
        with contextlib.suppress(AlreadyExists):  # another run of the same command was first
            store.put_new(CONFIG, config.to_yaml().encode())
    standing = _standing(store) or config
    keys = differing_keys(standing.identity(), config.identity())
    if keys:
        raise RefusedError(
            f"{store.uri}: was made with another config; these keys differ: {', '.join(keys)}. "
            "Choose another output, or start over with --fresh"
        )


def _standing(store: Store) -> SerializeConfig | None:
    """The config of the dataset at the output, finished or not; None where there is nothing.

    Raises:
        RefusedError: There is something else.
    """
    if all(lease.is_lease(entry.name) or entry.name.startswith(_TRAILS) for entry in store.list()):
        return None
    try:
        return SerializeConfig.load(store.fetch(CONFIG))
    except (StorageError, ConfigError) as error:
        reason = " ".join(str(error).split())
        raise RefusedError(
            f"{store.uri}: holds files but no dataset of mien ({reason}); choose a new or empty folder as output"
        ) from None


def _run_pending(config: SerializeConfig, store: Store, ready: Ready, retry_failed: bool) -> Times:
    """Run the graph over the planned clips that no commit names yet; when it began and had its first clip."""
    left = pending(store, retry_failed)
    if not left.num_left:
        logger.info("resume   all %d clips are done already", left.num_clips)
        return 0.0, 0.0
    if len(left.skip):
        logger.info("resume   %d of %d clips are done", len(left.skip), left.num_clips)
    try:
        with session(config.cluster):
            for stage in stages.names(config):
                require_room(config.cluster, stage, getattr(config.workers, stage))
            if ready.extractor is not None:
                require_room_beside(config.cluster, config.workers.features, config.workers.cut)
            # begins again at zero if Ray ends it for memory: without it no clip that ends its workers is given up
            tally = ray.remote(Tally).options(**beside_driver(), max_restarts=-1).remote(stages.names(config))
            progress = Progress(tally, left.num_clips, len(left.skip))
            with progress.shown():
                _run_graph(config, store, ready, left, tally)
            logger.info("%s", progress.line())
            return progress.started_at, progress.counts.first_clip_at
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error


def _run_graph(config: SerializeConfig, store: Store, ready: Ready, left: Pending, tally: Any) -> None:
    """The pipeline as a diagram."""
    cut, features = config.workers.cut, config.workers.features
    # 1:N slice of the plan → tasks of clips that are not done, a few ahead of the workers.
    clips = handed_out(store.uri, left, _task_size(config, left))
    # 1:N task → its clips, each all frames of its face tracks, as one row that is never split. One decoder thread, so
    # one CPU.
    clips = clips.map_batches(
        stages.CutStage(config, ray.put(ready.models), tally),
        batch_size=1,
        batch_format="pyarrow",
        **cut.demands,
        compute=ray.data.TaskPoolStrategy(cut.max_workers),
    )
    extractor = ready.extractor
    if extractor is not None:
        standing = index.committed_models(store).get("feature", {}).get("dtype")
        extractor = stages.pin_dtype(extractor, standing, features.demands)
        # 1:1 adds the feature column. Actors, because loading the network costs seconds.
        clips = clips.map_batches(
            stages.FeatureStage,
            fn_constructor_args=(extractor, ray.put(extractor.read_weights()), tally),
            batch_size=None,  # what one task cut
            batch_format="pyarrow",
            **features.demands,
            compute=actor_pool(config.cluster, features),
        )
    # N:1 clips → one shard with one commit record. Waits for the disk, so it needs no CPU of its own.
    metadata = {"version": mien.__version__, "models": _model_facts(ready.models, extractor)}
    target = Target(store.uri, new_write_id(), config.format, metadata, left.started_at, left.completion)
    clips.write_datasink(ShardSink(target, config.min_shard_mb), ray_remote_args={"num_cpus": 0})


def _task_size(config: SerializeConfig, left: Pending) -> TaskSize:
    if config.workers.clips_per_task:
        return TaskSize(config.workers.clips_per_task)
    return TaskSize(clips_per_task(left.num_left, left.mean_s), TASK_S)


def _model_facts(files: Mapping[str, bytes], extractor: Resolved | None) -> dict[str, dict[str, Any]]:
    facts: dict[str, dict[str, Any]] = {
        name: {"sha256": hashlib.sha256(data).hexdigest(), "licence": assets.ASSETS[name].licence}
        for name, data in files.items()
    }
    return facts | ({"feature": dict(extractor.provenance)} if extractor is not None else {})


def _report(dataset: Dataset) -> SerializeReport:
    failures = dataset.failure_file
    for failure in failures.slice(0, _MAX_FAILURES_SHOWN).to_pylist():
        logger.info("failed   %s", failure["error"])
    if failures.num_rows > _MAX_FAILURES_SHOWN:
        logger.info("failed   %d more, see %s", failures.num_rows - _MAX_FAILURES_SHOWN, index.FAILURES)
    return SerializeReport(
        dataset.uri,
        dataset.num_clips + failures.num_rows,
        len(dataset),
        int(dataset.index_file.column("num_frames").to_numpy().sum()),
        failures.num_rows,
        f"{dataset.uri}/{publish.CONTACT_SHEET}",
    )
