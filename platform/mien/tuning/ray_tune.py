"""Trials on Ray Tune: it decides who trains, where and how long; what is found lies in the output (`desk`)."""

import contextlib
import os
import tempfile
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import ray
import ray.tune
from ray.tune.execution.placement_groups import PlacementGroupFactory

from mien.storage.uri import Store, arrow_place, is_bucket
from mien.training import train
from mien.tuning import desk
from mien.tuning.desk import Book
from mien.tuning.job import TuneConfig
from mien.tuning.progress import Progress
from mien.tuning.trial import TrialActor

_NOTES = "ray/"
"""What Ray Tune writes, where machines share no disk; of no use when it is over."""

_NOTHING = {"memory": 1}
"""A byte, for a process that only drives others: Ray Tune starts none that has nothing, and no CPU is to be taken."""

_SWITCHES = {
    "RAY_CHDIR_TO_TRIAL_DIR": "0",  # relative places mean what they mean to the driver
    "TUNE_DISABLE_AUTO_CALLBACK_LOGGERS": "1",  # every result of every trial, three times over
    "TUNE_DISABLE_STRICT_METRIC_CHECKING": "1",  # a trial says by itself what it lacks
    "TUNE_GLOBAL_CHECKPOINT_S": "3600",  # pickles that nobody reads
    "TUNE_WARN_EXCESSIVE_EXPERIMENT_CHECKPOINT_SYNC_THRESHOLD_S": "0",
    "RAY_AIR_NEW_OUTPUT": "0",
}
"""How Ray Tune runs."""


def switch_on() -> None:
    """Set how Ray Tune and Ray Train run, where a user has not."""
    train.switch_on()
    for name, value in _SWITCHES.items():
        os.environ.setdefault(name, value)


def run_listed(config: TuneConfig, store: Store, trials: Sequence[dict[str, Any]], scheduler: Any) -> Book:
    """Run trials that are known, to their ends or until the scheduler stops them.

    Args:
        config: Of the sweep.
        store: Its output.
        trials: What `TrialActor` takes.
        scheduler: Of Ray Tune.

    Raises:
        StorageError: What they left cannot be read.
    """
    space = {"trial": ray.tune.grid_search([*trials])}
    return _run(config, store, space, {"num_samples": 1, "scheduler": scheduler}, len(trials))


def run_proposed(config: TuneConfig, store: Store, searcher: Any, scheduler: Any) -> Book:
    """Run as many trials as the config says, which a searcher of Ray Tune proposes.

    Raises:
        StorageError: What they left cannot be read.
    """
    who = {"num_samples": config.num, "search_alg": searcher, "scheduler": scheduler}
    return _run(config, store, {}, who, config.num)


def _run(config: TuneConfig, store: Store, space: dict[str, Any], who: dict[str, Any], num_trials: int) -> Book:
    actor = ray.tune.with_parameters(TrialActor, sweep=config.model_copy(update={"output": store.uri}))
    with _notes(store) as (place, filesystem), ThreadPoolExecutor(1, thread_name_prefix="mien-tune") as pool:
        tuner = ray.tune.Tuner(
            ray.tune.with_resources(actor, _resources(config)),
            param_space=space,
            tune_config=ray.tune.TuneConfig(
                max_concurrent_trials=_at_once(config),
                reuse_actors=True,
                trial_dirname_creator=lambda trial: trial.trial_id,
                **who,
            ),
            run_config=ray.tune.RunConfig(
                name="sweep",
                storage_path=place,
                storage_filesystem=filesystem,
                failure_config=ray.tune.FailureConfig(max_failures=config.max_failures),
                callbacks=[Progress(config, num_trials)],
                verbose=0,
            ),
        )
        results = pool.submit(tuner.fit).result()  # in the main thread Ray takes Ctrl-C for itself
    for result in results:
        if result.error is not None:
            reason = str(result.error).strip().rpartition("\n")[2]
            why = f"died more often than max_failures allows ({reason:.300})"
            desk.fail(store, result.config["trial"]["number"], why)
    return desk.read_all(store)


@contextlib.contextmanager
def _notes(store: Store) -> Iterator[tuple[str, Any]]:
    """A place for what Ray Tune writes, and Arrow's file system of it: on this disk, or beside the trials."""
    if not is_bucket(store.uri):
        with tempfile.TemporaryDirectory(prefix="mien-tune-") as folder:
            yield folder, None
        return
    _remove_notes(store)
    yield arrow_place(f"{store.uri}/{_NOTES.rstrip('/')}")
    _remove_notes(store)


def _remove_notes(store: Store) -> None:
    for entry in list(store.list(_NOTES)):
        store.delete(entry.name)


def _resources(config: TuneConfig) -> PlacementGroupFactory:
    """What the process of a trial has: all it needs, or nothing where it only drives others."""
    return PlacementGroupFactory([_NOTHING if config.train.workers.bounds[1] > 1 else config.needs])


def _at_once(config: TuneConfig) -> int | None:
    """Trials at a time, where Ray Tune would not know: those that drive others need nothing themselves."""
    workers = config.train.workers
    if workers.bounds[1] == 1:
        return config.max_concurrent
    have = ray.cluster_resources()
    fitting = min(int(have.get(name, 0) // (workers.bounds[0] * need)) for name, need in config.needs.items())
    return max(1, min(fitting, config.max_concurrent or fitting))
