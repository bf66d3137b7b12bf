"""One job over many videos: Ray tasks, a row for each video, and nothing that fails stops the others.

A result appears whole under its name or not at all; what is there already is kept, so that the same command resumes.
On the driver are a window of tasks and two numbers for each video; the rows wait in a file.
"""

import contextlib
import json
import shutil
import tempfile
import weakref
from collections import Counter, deque
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import ray

from mien.errors import ConfigError, MienError, PreflightError, StorageError, TooManyFailures, Unavailable
from mien.log import logger, printable
from mien.pipelines.cap import leave_no_core, memory_cap
from mien.pipelines.cluster import cause_of, session
from mien.pipelines.pace import Pace
from mien.pipelines.video_items import Item, Selection, Skip
from mien.pipelines.video_jobs import JOBS, VideoJob
from mien.pipelines.watchdog import process_ends_after
from mien.storage import lease
from mien.storage.folder import has, publish_folder
from mien.storage.local import translated
from mien.storage.source import Way, opened
from mien.storage.uri import Entry, Store, open_store

DONE, KEPT, FAILED = "done", "kept", "failed"
MAX_DEATHS = 3
"""Workers that a video may cost."""
WINDOW_PER_CPU = 8
"""Videos that are given to Ray at once, for each of its CPUs."""
_MAX_SKIPPED_SHOWN = 5
_MAX_IN_MEMORY = 1 << 20

Row = dict[str, Any]


class Report:
    """What became of each video; the rows lie in a temporary file."""

    def __init__(self, output: str) -> None:
        """Nothing is known yet."""
        self.output = output
        self.counts = Counter[str]()
        self._file = tempfile.SpooledTemporaryFile(_MAX_IN_MEMORY)  # noqa: SIM115
        weakref.finalize(self, self._file.close)

    def add(self, row: Mapping[str, Any]) -> None:
        """Take the row of one video; a failure is told at once."""
        self.counts[row["status"]] += 1
        if row["status"] == FAILED:
            logger.info("failed   %s", row["error"])
        self._file.write(json.dumps(row).encode() + b"\n")

    def rows(self) -> Iterator[Row]:
        """All rows, in the order of the videos."""
        self._file.seek(0)
        return map(json.loads, self._file)

    def summary(self) -> dict[str, Any]:
        """Counts and place."""
        numbers = {f"num_{status}": self.counts[status] for status in (DONE, KEPT, FAILED)}
        return {"output": self.output or None, **numbers}

    def check(self) -> None:
        """Hold the failures against none.

        Raises:
            TooManyFailures: There is one.
        """
        num_failed = self.counts[FAILED]
        if num_failed:
            raise TooManyFailures(
                f"{num_failed} of {self.counts.total()} videos failed, see above; the others are done, and the same "
                "command tries these again"
            )


def run(verb: str, places: Sequence[str], settings: Sequence[str], output: str = "", overwrite: bool = False) -> Report:
    """Do the job of a verb to every video at some places.

    Args:
        verb: A name in `JOBS`.
        places: Videos, folders, patterns, prefixes in buckets.
        settings: `key=value` of the job.
        output: Folder or prefix that takes the results; the job that describes needs none.
        overwrite: Make what is there already once more.

    Raises:
        ConfigError: A setting does not fit, or the output lies where the videos do.
        PreflightError: There is no video.
        RefusedError: Another command is at work on the output.
        Unavailable: A bucket did not answer; the same command resumes.
    """
    job = JOBS[verb].load(None, settings)
    if not output and JOBS[verb].target(job, "video"):
        raise ConfigError(f"output: is required; say with -o FOLDER where the results of `mien video {verb}` go")
    selection = Selection(places, job, output, overwrite=overwrite)
    num_videos = _count(selection, places)
    report = Report(open_store(output).uri if output else "")
    store = open_store(output) if output else None
    with lease.held(store) if store else contextlib.nullcontext():
        if store:
            store.clear_scratch()  # of a command that was killed
        items = (item for item in selection if isinstance(item, Item))
        work = Work(job, output, overwrite)
        rows = (work(item) for item in items) if num_videos == 1 else _over_ray(work, items)
        with Pace(num_videos) as pace:
            for row in rows:
                report.add(row)
                pace.step(report.counts[FAILED])
        if store:
            store.clear_scratch()
    return report


def _count(selection: Selection, places: Sequence[str]) -> int:
    """How many videos there are; what else is there is told."""
    count = Counter[type]()
    for found in selection:
        count[type(found)] += 1
        if isinstance(found, Skip) and count[Skip] <= _MAX_SKIPPED_SHOWN:
            logger.info("skipped  %s: %s", printable(found.path), found.why)
    if count[Skip] > _MAX_SKIPPED_SHOWN:
        logger.info("skipped  %d more files", count[Skip] - _MAX_SKIPPED_SHOWN)
    if not count[Item]:
        raise PreflightError(f"{' '.join(places)}: holds no video; give another place, or add to sources.suffixes")
    return count[Item]


class Work(NamedTuple):
    """What a task is sent: the job, and where its results go."""

    job: VideoJob
    output: str
    overwrite: bool

    def __call__(self, item: Item) -> Row:
        """Do it to one video; whatever goes wrong becomes its row.

        Raises:
            Unavailable: A bucket did not answer: no video would fare better.
        """
        try:
            if item.problem:
                raise ConfigError(item.problem)
            with memory_cap(int(self.job.memory_gb * 1e9)):
                return self._made(item)
        except Unavailable:
            raise
        except MienError as error:
            return failure(item, error)
        except MemoryError:
            return failure(item, StorageError(f"{item.source.uri}: needs more memory than memory_gb; raise it"))
        except Exception as defect:  # noqa: BLE001  a defect met on one video must not stop the others
            reason = f"{type(defect).__name__}: {defect}; a defect of mien, please report it"
            return failure(item, MienError(f"{item.source.uri}: {reason}"))

    @property
    def _way(self) -> Way:
        return "whole" if self.job.reads_whole else "ranges"

    def _made(self, item: Item) -> Row:
        planned = Entry(item.source.uri, item.source.size_bytes, item.source.generation)
        if not self.output:
            with opened(item.source.uri, planned, self._way) as source:
                return row(item, DONE, self.job.make(source, Path()))
        store = open_store(self.output)
        place = f"{store.uri}/{item.target}"
        if not self.overwrite and has(store, item.done):
            return row(item, KEPT, {"output": place})
        scratch = store.scratch()
        try:
            draft = scratch / PurePosixPath(item.target).name
            with translated(item.source.uri), opened(item.source.uri, planned, self._way) as source:
                facts = self.job.make(source, draft)
            _publish(store, draft, item)
        except StorageError as error:  # the draft is where it is until it is whole, which nobody needs to know
            raise type(error)(str(error).replace(str(draft), place)) from None
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
        return row(item, DONE, {"output": place, **facts})


def _publish(store: Store, draft: Path, item: Item) -> None:
    if draft.is_dir():
        publish_folder(store, draft, item.target, PurePosixPath(item.done).name)
    else:
        store.replace_file(draft, item.target)


def row(item: Item, status: str, facts: Mapping[str, Any]) -> Row:
    """What is said of one video."""
    return {"source": item.source.uri, "status": status, **facts}


def failure(item: Item, error: BaseException) -> Row:
    """The same of one that failed."""
    text = printable(" ".join(str(error).split()))
    return row(item, FAILED, {"error_type": type(error).__name__, "error": text})


def _over_ray(work: Work, items: Iterable[Item]) -> Iterator[Row]:
    """A task per video, as many at once as keep the cluster busy; rows come in the order of the items."""
    try:
        with session(work.job.cluster):
            # One decoder thread, so one CPU. A worker that dies is tried again by Ray.
            task = ray.remote(_in_worker).options(num_cpus=1, max_retries=MAX_DEATHS - 1)
            reference, items = ray.put(work), iter(items)
            window = max(1, int(WINDOW_PER_CPU * ray.cluster_resources().get("CPU", 1)))
            waiting = deque((item, task.remote(reference, item)) for item in islice(items, window))
            while waiting:
                yield _row_of(*waiting.popleft())
                waiting.extend((item, task.remote(reference, item)) for item in islice(items, 1))
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error


def _in_worker(work: Work, item: Item) -> Row:
    leave_no_core()
    with process_ends_after(work.job.timeout_s):
        return work(item)


def _row_of(item: Item, reference: Any) -> Row:
    try:
        return dict(ray.get(reference))
    except (ray.exceptions.WorkerCrashedError, ray.exceptions.OutOfMemoryError):
        reason = f"ended its worker {MAX_DEATHS} times (a crash, too little memory, or over timeout_s); leave it out"
        return failure(item, MienError(f"{item.source.uri}: {reason}"))
