"""What runs in each worker of Ray Train, and, without Ray, in any process."""

import contextlib
import shutil
from collections.abc import Generator
from typing import Any

import ray
import ray.train
import ray.train.torch

from mien.config import fingerprint
from mien.storage.uri import Store
from mien.training.hooks import RayNotices
from mien.training.job import Job
from mien.training.log import RunLog, TensorBoard, Tracker, WandB, wants_wandb
from mien.training.loop import Loop
from mien.training.mail import Report, deliver
from mien.training.notice import Notices
from mien.training.record import Record
from mien.training.setup import Setup, set_up, shards_folder
from mien.training.world import World


def worker(given: dict[str, Any]) -> None:
    """What runs in each worker; see `Handover` for which errors are tried again."""
    context = ray.train.get_context()
    device = ray.train.torch.get_device()
    world = World(context.get_world_rank(), context.get_world_size(), device)
    job, weights = ray.get([given["job"], given["weights"]])
    if "mail" in given:
        deliver(reports(job, world, RayNotices(), weights), given["mail"], world)
    else:
        work(job, world, RayNotices(), weights)


def work(job: Job, world: World, notices: Notices, weights: bytes | None = None) -> dict[str, Any]:
    """Train on this worker until the last step; needs no Ray.

    Raises:
        MienError: The run cannot go on.
    """
    _, record, loop = _begin(job, world, notices, weights)
    loop.run()
    _forget_shards(job)  # after a crash they are found again
    return record.summary()


def reports(job: Job, world: World, notices: Notices, weights: bytes | None = None) -> Generator[Report]:
    """The same, told of at each validation, on every worker; whoever closes it ends the run there.

    Raises:
        MienError: The run cannot go on.
    """
    setup, record, loop = _begin(job, world, notices, weights)
    try:
        with contextlib.closing(loop.steps()) as steps:
            for step in steps:
                metrics = record.report(setup.state)
                if metrics is not None:
                    yield Report(step, metrics)
    except GeneratorExit:  # a trial that is stopped does not come back to them
        _forget_shards(job)
        raise
    _forget_shards(job)


def _begin(job: Job, world: World, notices: Notices, weights: bytes | None) -> tuple[Setup, Record, Loop]:
    setup = set_up(job, world, weights)
    run_log = None
    if world.is_first:
        run_log = RunLog(setup.store, job.config.log, setup.state.step, _trackers(job, setup.store, setup.state.step))
        run_log.write(setup.state.step, "event", {"event": "start", "workers": world.size})
    record = Record(setup, world, run_log)
    return setup, record, Loop(setup, world, notices, record)


def _forget_shards(job: Job) -> None:
    shutil.rmtree(shards_folder(job.config), ignore_errors=True)


def _trackers(job: Job, store: Store, step: int) -> list[Tracker]:
    config = job.config.log
    found: list[Tracker] = [TensorBoard(store, step)] if config.tensorboard else []
    if wants_wandb(config):
        run_id = fingerprint({"output": store.uri})[:16]
        found.append(WandB(config.wandb_project or "mien", run_id, job.config.dump(), config.wandb_group))
    return found
