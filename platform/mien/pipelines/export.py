"""A dataset in the form that others read: its parts over Ray tasks, or in this process where only one is left."""

import time
from collections.abc import Iterable
from itertools import chain, islice
from typing import Any, NamedTuple

import ray

from mien.datasets.dataset import Dataset, open_dataset
from mien.datasets.export import record
from mien.datasets.export.kind import Kind, Outbox, Part, Total
from mien.datasets.export.parts import Parts
from mien.errors import ConfigError, RefusedError
from mien.log import logger
from mien.pipelines.cluster import ClusterConfig, cause_of, session
from mien.storage.uri import Store, canonical, contains, open_store

_SAY_EVERY_S = 10.0
_TRIES = 3
"""Times that a part is begun again when its worker or machine is lost."""
_WAITING_PER_CPU = 2
"""Parts handed out for each CPU: enough that none waits for the driver."""


class Job(NamedTuple):
    """What a worker needs for any part; small, and sent with each."""

    dataset: str
    index_sha256: str
    """Of the index when the job began: a worker that finds another one stops."""
    output: str
    kind: Kind


def export(place: str, output: str, kind: Kind, *, fresh: bool = False) -> dict[str, Any]:
    """Export a finished dataset, or go on where an earlier call of the same was interrupted.

    Args:
        place: The dataset.
        output: Folder or bucket of the export.
        kind: What is made.
        fresh: Delete an earlier export of this kind first.

    Returns:
        What `export.json` says, with `path`.

    Raises:
        ConfigError: The dataset does not fit the kind, or the output lies in it.
        DatasetError: The dataset is unfinished or damaged.
        RefusedError: The output holds something else.
        StorageError: The output could not be written; the same command resumes.
    """
    _require_apart(place, output)
    dataset, store = open_dataset(place), open_store(output)
    parts = Parts(dataset, kind)
    kind.check(dataset)
    if fresh:
        record.remove(store, kind)
    if record.claim(store, dataset, kind):
        logger.info("resume   the export is finished already")
        return {"path": store.uri, **(record.read(store) or {})}
    record.note(dataset, open_store(place), store, kind)
    done = record.done(store)
    if done:
        logger.info("resume   %d of %d parts are written", len(done), parts.total.num_parts)
    job = Job(dataset.uri, record.identity(dataset, kind)["index_sha256"], store.uri, kind)
    _run(job, (part for part in parts if part.number not in done), parts.total, len(done))
    finished = record.finish(store, dataset, kind, parts.total)
    store.clear_scratch()
    return {"path": store.uri, **finished}


def _require_apart(place: str, output: str) -> None:
    inner, outer = canonical(output), canonical(place)
    if contains(outer, inner) or contains(inner, outer):
        raise ConfigError(f"{inner}: the export and its dataset {outer} must not lie in one another; choose another -o")


def _run(job: Job, parts: Iterable[Part], total: Total, num_done: int) -> None:
    """Write the parts: one alone here, more as Ray tasks."""
    parts = iter(parts)
    first = list(islice(parts, 2))
    if len(first) < 2:
        for part in first:
            write_part(job, part)
        return
    try:
        with session(ClusterConfig()):
            _run_tasks(job, chain(first, parts), total, num_done)
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error


def _run_tasks(job: Job, parts: Iterable[Part], total: Total, num_done: int) -> None:
    """1:1 part → its files and its record. One encoder thread, so one CPU; what comes back is nothing."""
    task = ray.remote(write_part).options(num_cpus=1, max_retries=_TRIES, retry_exceptions=False)
    at_most = _WAITING_PER_CPU * max(1, int(ray.cluster_resources().get("CPU", 1)))
    running, said_at = list[Any](), time.monotonic()
    for part in chain(parts, [None]):
        while running and (part is None or len(running) >= at_most):
            ready, running = ray.wait(running, num_returns=1)
            ray.get(ready)
            num_done += len(ready)
            if time.monotonic() - said_at > _SAY_EVERY_S:
                logger.info("export   %d of %d parts", num_done, total.num_parts)
                said_at = time.monotonic()
        if part is not None:
            running.append(task.remote(job, part))


def write_part(job: Job, part: Part) -> None:
    """Write the files of one part, and then its record.

    Raises:
        RefusedError: The dataset was published again since the job began.
        DatasetError: A sample is damaged.
        StorageError: The output could not be written.
    """
    dataset, store = open_dataset(job.dataset), open_store(job.output)
    try:
        if record.identity(dataset, job.kind)["index_sha256"] != job.index_sha256:
            raise RefusedError(f"{job.dataset}: was published again while it was exported; start over with --fresh")
        facts, files = _written(dataset, store, job.kind, part)
    finally:
        dataset.close()
    record.put_part(store, part.number, {"files": files, "facts": facts})


def _written(dataset: Dataset, store: Store, kind: Kind, part: Part) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    with Outbox(store) as outbox:
        facts = kind.write(dataset, part, outbox)
        return facts, outbox.files
