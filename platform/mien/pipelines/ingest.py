"""Ingest: list → one task per item (fetch, prove, unpack, publish, record) → report."""

import contextlib
from collections import Counter
from collections.abc import Iterable
from typing import Any, NamedTuple

import ray
from pydantic import Field

from mien.datasets.ingested import Report, Standing, read_report, write_failure, write_report
from mien.datasets.links import REPORTS, Checked, Item, LinkConfig, Links
from mien.errors import ConfigError, PreflightError, TooManyFailures
from mien.log import logger, printable
from mien.pipelines.cap import leave_no_core
from mien.pipelines.cluster import ClusterConfig, beside_driver, cause_of, session
from mien.pipelines.ingest_item import FAILED, ItemConfig, Outcome, ingest
from mien.pipelines.ingest_table import Board, Progress, Seen, Teller, counts_of
from mien.pipelines.pools import PoolConfig, require_room
from mien.storage import lease
from mien.storage.rights import Right, free_gb, require_all, try_rights
from mien.storage.uri import Store, canonical, is_bucket, open_store

_NUM_RETRIES = 3
"""How often an item is tried again whose worker or machine died."""
_LOOK_TIMEOUT_S = 5.0
_NUM_SHOWN = 10
_MAX_FAILURES_SHOWN = 10


class DownloadPoolConfig(PoolConfig):
    """Resources of the tasks."""

    num_cpus: float = Field(0.5, ge=0, allow_inf_nan=False)
    """CPUs that Ray counts for each item: downloads wait more than they work."""

    max_workers: int | None = Field(8, ge=1)
    """Items at work together, over all machines."""


class IngestConfig(ItemConfig):
    """One run of `mien ingest`."""

    source: str = ""
    """List of addresses: .csv, .jsonl or .parquet with a column url, or .txt with one address per line."""

    datasets: tuple[LinkConfig, ...] = ()
    """The list itself, in place of `source`."""

    unzip: bool | None = None
    """Whether archives (zip, tar, tar.gz, tar.bz2) are unpacked where the list does not say; by default .zip is."""

    workers: DownloadPoolConfig = DownloadPoolConfig()
    """Resources of the tasks."""

    cluster: ClusterConfig = ClusterConfig()
    """Where Ray runs."""

    max_failed: float = Field(0.0, ge=0, le=1)
    """Share of items that may fail before the run ends with exit code 3."""

    @property
    def links(self) -> Links:
        """The list; nothing of it is read yet."""
        return Links(self.source, self.datasets, self.unzip)


class Plan(NamedTuple):
    """What a run would do."""

    num_items: int
    num_left: int
    first_left: list[dict[str, Any]]
    """The first few items that are not done: number, name, url without query, target."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self._asdict()


def run(config: IngestConfig, *, take_over: bool = False) -> Report:
    """Bring everything of a list below the output, or go on where an earlier run stopped; failures are counted only.

    Raises:
        ConfigError: The list, or a row of it, cannot be used; nothing was started.
        PreflightError: The list cannot be read, or the output lacks a right or space; nothing was started.
        RefusedError: Another ingest is at work on the output.
        StorageError: The disk is full, or a bucket does not answer; the same command resumes.
    """
    links, checked = _listed(config)
    store = open_store(config.output)
    _require_rights(config, store)
    reports = open_store(f"{store.uri}/{REPORTS}")
    with lease.held(reports, take_over=take_over, watch="mien ingest … --dry-run"):
        ended = _run_left(config, store, links, checked)
        standing = read_report(store)
        if not ended and standing and standing.fingerprint == checked.fingerprint:
            return standing
        return _told(write_report(store, links, checked.fingerprint))


def check(report: Report, max_failed: float) -> None:
    """Hold the share of items that are not done against what is tolerated.

    Raises:
        TooManyFailures: It is larger.
    """
    num_missing = report.num_items - report.num_done
    if num_missing > max_failed * report.num_items:
        raise TooManyFailures(
            f"{report.path}: finished, but {num_missing} of {report.num_items} items failed (tolerated: "
            f"max_failed={max_failed:g}); see {report.report}, and the same command tries them again"
        )


def dry_run(config: IngestConfig) -> Plan:
    """What a run would do, by the same code; nothing is written.

    Raises:
        ConfigError: The list, or a row of it, cannot be used.
        PreflightError: The list cannot be read.
    """
    links, checked = _listed(config)
    num_left, first = 0, list[dict[str, Any]]()
    for item in Standing(open_store(config.output)).left(links.items()):
        num_left += 1
        if len(first) < _NUM_SHOWN:
            first.append({"number": item.number, "name": item.name, "url": item.shown, "target": item.target})
    return Plan(checked.num_items, num_left, first)


def rights(config: IngestConfig) -> list[Right]:
    """What the output allows, tried one by one: sign in, list, write, read, delete.

    Raises:
        ConfigError: No output is given.
    """
    _require_output(config)
    return try_rights(open_store(config.output))


def _require_output(config: IngestConfig) -> None:
    if not config.output:
        raise ConfigError("output: is required; add it to the file or as output=PLACE")
    canonical(config.output)


def _listed(config: IngestConfig) -> tuple[Links, Checked]:
    """The list, walked once."""
    _require_output(config)
    links = config.links
    return links, links.check()


def _require_rights(config: IngestConfig, store: Store) -> None:
    found = try_rights(store)
    if any(right.state != "ok" for right in found):
        for right in found:
            logger.info("%-8s %-8s %s", right.state, right.name, right.found)
    require_all(found, store.uri)
    if not is_bucket(store.uri) and (free := free_gb(str(config.folder))) < config.min_free_gb:
        raise PreflightError(
            f"output={store.uri}: only {free:.2f} GB free, {config.min_free_gb:g} GB are to stay free; "
            "free some space or set min_free_gb"
        )


def _run_left(config: IngestConfig, store: Store, links: Links, checked: Checked) -> Counter[str]:
    """Work on the items that are not done; how those ended."""
    standing = Standing(store)
    num_left = sum(1 for _ in standing.left(links.items()))
    num_done = checked.num_items - num_left
    if not num_left:
        logger.info("resume   all %d items are done already", checked.num_items)
        return Counter()
    if num_done:
        logger.info("resume   %d of %d items are done", num_done, checked.num_items)
    try:
        with session(config.cluster):
            require_room(config.cluster, "workers", config.workers)
            board = ray.remote(Board).options(**beside_driver()).remote()
            progress = Progress(lambda: _look(board), checked.num_items, num_done)
            with progress.shown():
                _run_tasks(config, store, standing.left(links.items()), board, progress.ended)
            with contextlib.suppress(OSError):  # it holds what failed items brought
                config.folder.rmdir()
            logger.info("ingest   %s", counts_of(progress.ended))
            return progress.ended
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error


def _look(board: Any) -> Seen:
    seen: Seen = ray.get(board.look.remote(), timeout=_LOOK_TIMEOUT_S)
    return seen


def _run_tasks(config: IngestConfig, store: Store, items: Iterable[Item], board: Any, ended: Counter[str]) -> None:
    """One task per item, so many at a time: the driver holds those at work and no others."""
    # 1:1 item → outcome. Waits for the network, so half a CPU; a worker that dies is replaced and its item done again.
    task = ray.remote(_work).options(**config.workers.demands, max_retries=_NUM_RETRIES)
    work = ray.put(ItemConfig.parse(config.model_dump(include=set(ItemConfig.model_fields)), "config"))
    waiting = dict[Any, Item]()
    for item in items:
        if len(waiting) >= (config.workers.max_workers or _fitting(config.workers)):
            _take(waiting, store, board, ended)
        waiting[task.remote(item, work, board)] = item
    while waiting:
        _take(waiting, store, board, ended)


def _fitting(pool: PoolConfig) -> int:
    """As many as the cluster has room for now, and one more so that a cluster that can grow sees the need."""
    return int(ray.cluster_resources().get("CPU", 1.0) / max(0.1, pool.num_cpus)) + 1


def _work(item: Item, config: ItemConfig, board: Any) -> Outcome:
    """The task."""
    leave_no_core()
    return ingest(item, config, Teller(board, item.key, item.name))


def _take(waiting: dict[Any, Item], store: Store, board: Any, ended: Counter[str]) -> None:
    """Wait for one item to end, and count it."""
    (done,), _ = ray.wait(list(waiting), num_returns=1)
    item = waiting.pop(done)
    try:
        outcome: Outcome = ray.get(done)
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.NodeDiedError, ray.exceptions.OutOfMemoryError) as error:
        said = f"{item.shown}: ended its worker {_NUM_RETRIES + 1} times; leave it out, or look at it by hand"
        facts = {"url": item.shown, "target": item.target, "error_type": type(error).__name__, "error": said}
        write_failure(store, item, facts)
        outcome = Outcome(FAILED, said)
    board.end.remote(item.key)
    ended[outcome.state] += 1
    if outcome.error and ended[FAILED] <= _MAX_FAILURES_SHOWN:
        logger.info("failed   %s: %s", printable(item.name), outcome.error)


def _told(report: Report) -> Report:
    hidden = report.num_failed - _MAX_FAILURES_SHOWN
    if hidden > 0:
        logger.info("failed   %d more, see %s", hidden, report.report)
    return report
