"""`mien tune`: many short trainings that search the keys of one, on Ray Tune.

Ray Tune decides who trains; what was decided and found lies in the output (`desk`), and a resumed sweep is a new one of
Ray's that hears the old reports first. Its own way of resuming needs its pickles, and forgets what schedulers knew.
"""

import tempfile
from typing import Any

import ray

from mien.analysis.trials import rank
from mien.errors import ConfigError, PreflightError
from mien.log import logger
from mien.pipelines.cluster import cause_of, is_local, session
from mien.storage import lease
from mien.storage.claim import CONFIG, claim, require_own
from mien.storage.uri import Store, is_bucket, open_store
from mien.training.job import TrainConfig
from mien.training.prepare import prepare
from mien.tuning import desk, outcome
from mien.tuning.best import values_of
from mien.tuning.cost import estimate
from mien.tuning.desk import Book
from mien.tuning.job import TuneConfig
from mien.tuning.outcome import TuneReport
from mien.tuning.ray_tune import run_listed, run_proposed, switch_on
from mien.tuning.search import FifoConfig, OptunaSearchConfig

_NOT_IDENTITY = {"output", "cluster", "max_concurrent", "max_failures", "repeats"}
"""Keys that may differ when a sweep is resumed."""
_SHOWN = 10
_WHAT = "sweep of mien tune"


def run(config: TuneConfig, *, fresh: bool = False, take_over: bool = False, retry_failed: bool = False) -> TuneReport:
    """Search, or go on where an earlier run of the same config stopped.

    Raises:
        ConfigError: The config does not fit the dataset.
        PreflightError: Dataset, model or machines lack something; nothing was started.
        RefusedError: The output was made with another config, or another run is at work on it.
        TrainingError: No trial has a result.
        StorageError: The output cannot be written; what is committed stays, the same command resumes.
    """
    if not config.output:
        raise ConfigError("output: is required; add it to the file or as output=PLACE")
    store = open_store(config.output)
    with lease.held(store, take_over=take_over):
        if fresh:
            _remove(store)
        require_own(store, config, identity, _WHAT)
        num_steps = num_steps_of(config)
        claim(store, config, identity, _WHAT)
        num_forgiven = desk.forgive(store) if retry_failed else 0
        switch_on()  # before Ray starts, for its processes inherit it
        try:
            with session(config.cluster):
                require_room(config)
                book = _search(config, store, num_steps, is_over=outcome.is_there(store) and not num_forgiven)
                book = _repeat(config, store, book, num_steps)
        except ray.exceptions.RayError as error:
            raise cause_of(error) from error
        return outcome.write(store, config, book, num_steps)


def dry_run(config: TuneConfig) -> dict[str, Any]:
    """What a sweep would do, by the same checks: its first trials, and what they cost; nothing is written."""
    num_steps = num_steps_of(config)
    space, numbers = config.build(), range(min(config.num, _SHOWN))
    return {
        "trials": config.num,
        "repeats": config.repeats.num_configs * config.repeats.num_seeds,
        "steps_per_trial": num_steps,
        "reports_per_trial": config.goal(num_steps).num_reports,
        "metrics": config.metrics,
        "scheduler": config.scheduler.kind,
        "searcher": config.searcher.kind,
        **estimate(config, num_steps),
        "first_trials": [{"trial": number, **space.sample(number)} for number in numbers],
    }


def num_steps_of(config: TuneConfig) -> int:
    """Steps of a whole trial; and all that a training would find to be missing.

    Raises:
        MienError: The training cannot begin.
    """
    trial = config.trial(config.build().sample(0), "")
    if not isinstance(trial, TrainConfig):
        return trial.num_steps
    if not config.dataset:
        raise ConfigError("dataset: is required; add it to the file or as dataset=PLACE")
    with tempfile.TemporaryDirectory(prefix="mien-tune-") as folder:  # of no run
        job, _ = prepare(trial, open_store(folder))
    return job.num_steps


def identity(config: TuneConfig) -> dict[str, Any]:
    """The keys that decide what is tried."""
    return {key: value for key, value in config.dump().items() if key not in _NOT_IDENTITY}


def require_room(config: TuneConfig) -> None:
    """Refuse trials that would wait forever: a Ray of this machine alone does not grow.

    Raises:
        PreflightError: It cannot hold one trial; or the output lies where other machines do not see it.
    """
    if is_local(config.cluster):
        config.require_room(ray.cluster_resources())
    others = {node["NodeManagerHostname"] for node in ray.nodes() if node["Alive"]}
    if len(others) > 1 and not is_bucket(config.output):
        raise PreflightError(f"{config.output}: {len(others)} machines do not share this disk; give a gs:// output")


def _search(config: TuneConfig, store: Store, num_steps: int, *, is_over: bool) -> Book:
    """All trials, those that were begun before too."""
    if is_over:
        return desk.read_all(store)
    begun = {run.number: run for (_, first), run in sorted(desk.read_all(store).runs.items()) if first == 0}
    goal, searcher = config.goal(num_steps), config.searcher
    if isinstance(searcher, OptunaSearchConfig):
        places = [begun[number].place for number in range(len(begun)) if number in begun][: config.num]
        return run_proposed(config, store, searcher.build(goal, places), config.scheduler.build(goal))
    trials = [{"number": number, "place": goal.space.place(number)} for number in range(config.num)]
    return run_listed(config, store, trials, config.scheduler.build(goal))


def _repeat(config: TuneConfig, store: Store, book: Book, num_steps: int) -> Book:
    """The best configs again, each with some seeds."""
    repeats = config.repeats
    found = [trial for trial in book.trials(is_over=True) if trial.repeat_of is None]
    best = rank(found, *config.first)[: repeats.num_configs]
    trials = [
        {
            "number": config.num + place * repeats.num_seeds + seed,
            "values": values_of(config, book.way(one.number), num_steps),
            "repeat": seed + 1,
            "repeat_of": one.number,
        }
        for place, one in enumerate(best)
        for seed in range(repeats.num_seeds)
    ]
    ended = {trial.number for trial in book.trials(is_over=True) if trial.state in {"done", "failed"}}
    trials = [trial for trial in trials if trial["number"] not in ended]
    if not trials:
        return book
    logger.info("repeats  %d configs with %d seeds each", len(best), repeats.num_seeds)
    return run_listed(config, store, trials, FifoConfig().build(config.goal(num_steps)))


def _remove(store: Store) -> None:
    """What a sweep made; whatever else lies in a place that was named by mistake stays."""
    for prefix in (CONFIG, desk.FOLDER, *outcome.OWNED):
        for entry in list(store.list(prefix)):
            if entry.name == prefix or prefix.endswith("/"):
                store.delete(entry.name)
