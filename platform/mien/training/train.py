"""`mien train`: one run on Ray Train, from its first step or from its last checkpoint."""

import contextlib
import os
import tempfile
import threading
import time
from collections.abc import Callable, Generator, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, NamedTuple

import ray
import ray.train
from ray.train.torch import TorchConfig

from mien.errors import ConfigError, MienError, PreflightError, TrainingError
from mien.log import logger
from mien.models import checkpoint
from mien.pipelines.cluster import cause_of, is_local, session
from mien.storage import lease
from mien.storage.claim import CONFIG, require_own
from mien.storage.claim import claim as claim_output
from mien.storage.uri import Store, open_store
from mien.training import log
from mien.training.hooks import Handover, Trainer, Watch
from mien.training.job import Job, TrainConfig, TrainWorkersConfig
from mien.training.mail import Report, collect, open_mail
from mien.training.prepare import prepare
from mien.training.worker import worker

_SWITCHES = {
    "RAY_TRAIN_HEALTH_CHECK_INTERVAL_S": "0.25",  # 2 s by default: that is how long nobody sees that a worker died
    "RAY_TRAIN_WORKER_GROUP_START_TIMEOUT_S": "30",
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # see `hooks.Watch`
    "RAY_TRAIN_ENABLE_CONTROLLER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_WORKER_STRUCTURED_LOGGING": "0",
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",
    "RAY_TRAIN_METRICS_ENABLED": "0",
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative places mean what they mean to the driver
}
"""How Ray Train runs; read when a run starts."""

_WHAT = "run of mien train"
_RESIZE_EVERY_S = 10.0
_LOOK_FOR_DRAINS_EVERY_S = 1.0
_TELL_EVERY_S = 30.0
_TIMEOUT_S = 120
"""A collective that takes longer is one that a dead machine does not answer."""


class TrainReport(NamedTuple):
    """How a run ended."""

    path: str
    num_steps: int
    num_parameters: int
    metrics: dict[str, float]
    latest: str
    best: str

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self._asdict()


def run(config: TrainConfig, *, fresh: bool = False, take_over: bool = False) -> TrainReport:
    """Train, or go on where an earlier run of the same config stopped.

    Raises:
        ConfigError: The config does not fit the dataset.
        PreflightError: Dataset, model or machines lack something; nothing was started.
        RefusedError: The output was made with another config, or another run is at work on it.
        TrainingError: The loss is no number, the workers disagree, or they die over and over.
        StorageError: The output cannot be written; what is committed stays, the same command resumes.
    """
    if not config.output:
        raise ConfigError("output: is required; add it to the file or as output=PLACE")
    store = open_store(config.output)
    with lease.held(store, take_over=take_over, watch=f"tensorboard --logdir {store.uri}"):
        if fresh:
            _remove(store)
        require_own(store, config, TrainConfig.identity, _WHAT)
        job, weights = prepare(config, store)
        claim(config, store)
        checkpoint.clear_orphans(store)
        if (done := _newest_step(store)) < job.num_steps:
            if done:
                logger.info("resume   from step %d of %d", done, job.num_steps)
            _train(job, weights, store)
        store.clear_scratch()
        return report(store, job)


def dry_run(config: TrainConfig) -> dict[str, Any]:
    """What a run would do, by the same checks; nothing is written."""
    job, _ = prepare(config, open_store(config.output or config.dataset))
    num = sum(parameter.numel() for parameter in config.objective.build().parameters())
    patches, dim = job.positions.shape
    of_clips = {"subjects": len(job.subjects.rows), "patches": patches, "token_dim": dim} if patches else {}
    workers = list(config.workers.bounds)
    return {"dataset": job.facts["dataset"], "steps": job.num_steps, "parameters": num, **of_clips, "workers": workers}


def reports(job: Job, weights: bytes) -> Generator[Report]:
    """Train on workers of a cluster that is connected, told of at each validation; closing it ends the run there.

    Raises:
        MienError: The run cannot go on.
    """
    switch_on()
    mail = open_mail()

    def fit() -> None:
        try:
            _fit(job, weights, mail)
        finally:
            ray.get(mail.end.remote())

    with ThreadPoolExecutor(1, thread_name_prefix="mien-fit") as pool:
        ended = pool.submit(fit)
        with contextlib.closing(collect(mail)) as told:
            yield from told
    ended.result()


def switch_on() -> None:
    """Set how Ray Train runs, where a user has not; before Ray starts, for its processes inherit it."""
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)


def _train(job: Job, weights: bytes, store: Store) -> None:
    switch_on()
    try:
        with session(job.config.cluster), _told(store, job):
            require_room(job.config)
            _fit(job, weights)
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error


def _fit(job: Job, weights: bytes, mail: Any = None) -> None:
    """Ray Train starts the workers, and starts them again when some of them are lost or machines come.

    It is told of no checkpoint: its `report` costs two seconds, and what it commits is known later than what we do.
    """
    config, workers = job.config, job.config.workers
    given = {"job": ray.put(job), "weights": ray.put(weights), **({"mail": mail} if mail else {})}
    least, most = workers.bounds
    with tempfile.TemporaryDirectory(prefix="mien-train-") as folder:  # for Ray's own notes
        trainer = Trainer(
            worker,
            train_loop_config=given,
            torch_config=TorchConfig(backend="nccl" if workers.use_gpu else "gloo", timeout_s=_TIMEOUT_S),
            scaling_config=ray.train.ScalingConfig(
                num_workers=most if least == most else (least, most),
                use_gpu=workers.use_gpu,
                resources_per_worker=_resources(workers),
                elastic_resize_monitor_interval_s=_RESIZE_EVERY_S,
            ),
            run_config=ray.train.RunConfig(
                name="run",
                storage_path=folder,
                failure_config=ray.train.FailureConfig(max_failures=config.max_failures, max_preemption_failures=-1),
                callbacks=[Handover(), Watch(_LOOK_FOR_DRAINS_EVERY_S)],
            ),
        )
        try:
            _beside(trainer.fit)
        except ray.train.TrainingFailedError as error:
            raise _lost(error) from error


def _beside(fit: Callable[[], Any]) -> None:
    """Wait for a run in another thread: in the main one Ray takes Ctrl-C for itself, and ends without a word."""
    ended = Future[Any]()

    def run_it() -> None:
        try:
            ended.set_result(fit())
        except BaseException as error:  # noqa: BLE001  raised again where it is waited for
            ended.set_exception(error)

    threading.Thread(target=run_it, daemon=True, name="mien-fit").start()
    ended.result()


def _lost(error: BaseException) -> MienError:
    """Why a run ended that Ray Train gave up."""
    if isinstance(error, ray.train.ControllerError):
        return cause_of(error.controller_failure)
    failures = getattr(error, "worker_failures", None) or {0: error}
    reason = str(next(iter(failures.values()))).strip().rpartition("\n")[2]
    return TrainingError(f"workers died more often than max_failures allows ({reason:.300}); the same command resumes")


def _resources(workers: TrainWorkersConfig) -> dict[str, float]:
    return {"CPU": workers.num_cpus, **({"GPU": 1} if workers.use_gpu else {}), **workers.resources}


def require_room(config: TrainConfig) -> None:
    """Refuse what would wait forever: a Ray of this machine alone does not grow.

    Raises:
        PreflightError: It cannot hold the fewest workers.
    """
    have, least = ray.cluster_resources(), config.workers.bounds[0]
    for name, need in _resources(config.workers).items():
        if is_local(config.cluster) and least * need > have.get(name, 0):
            raise PreflightError(
                f"workers: {least} with {need:g} {name} each, but the cluster has {have.get(name, 0):g}; use fewer "
                "(workers.num) or smaller ones (workers.num_cpus)"
            )


def claim(config: TrainConfig, store: Store) -> None:
    """Write the config once; an output of another run is refused.

    Raises:
        RefusedError: The keys that decide what a step does differ.
    """
    claim_output(store, config, TrainConfig.identity, _WHAT)


def _remove(store: Store) -> None:
    pointers, folders = (checkpoint.LATEST, checkpoint.BEST), (checkpoint.FOLDER, log.FOLDER, log.EVENTS, log.FIGURES)
    for prefix in (CONFIG, *pointers, *folders):
        for entry in list(store.list(prefix)):
            store.delete(entry.name)


def _newest_step(store: Store) -> int:
    found = checkpoint.newest(store)
    return found.step if found else 0


def report(store: Store, job: Job) -> TrainReport:
    """What a finished run left."""
    found = checkpoint.read(store, checkpoint.names(store)[-1])
    num = sum(tensor.numel() for tensor in found.tensors(checkpoint.MODEL).values())
    best = checkpoint.pointed(store, checkpoint.BEST).get("checkpoint", "")
    return TrainReport(
        store.uri, job.num_steps, num, found.facts["metrics"], found.uri, f"{store.uri}/{checkpoint.FOLDER}{best}.json"
    )


@contextlib.contextmanager
def _told(store: Store, job: Job) -> Iterator[None]:
    """One line every half minute, from the log."""
    over = threading.Event()

    def tell() -> None:
        while not over.wait(_TELL_EVERY_S):
            with contextlib.suppress(MienError):
                lines = [line for line in log.read(store) if line["kind"] == "train"]
                if lines:
                    logger.info("%s", told(lines[-1], job.num_steps))

    thread = threading.Thread(target=tell, daemon=True, name="mien-told")
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join(timeout=5)


def told(line: dict[str, Any], num_steps: int) -> str:
    """A line of the log for a person."""
    left_s = (num_steps - line["step"]) * line.get("step_s", 0)
    return (
        f"step {line['step']} of {num_steps}  loss {line['loss']:.4g}  lr {line['learning_rate']:.3g}  "
        f"{line['clips_per_s']:.3g} clips/s  waited {100 * line['data_wait_share']:.1f} %"
        + (f"  {time.strftime('%H:%M:%S', time.gmtime(left_s))} left" if left_s else "")
    )
