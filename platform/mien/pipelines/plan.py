"""The plan: one row per clip, written before anything is decoded."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from itertools import islice
from typing import Any, NamedTuple

from mien.clips.clip import Clip, Skipped, Source
from mien.clips.sampling import ClipsConfig, WholeConfig
from mien.clips.sources import SourcesConfig, find_videos, first_video
from mien.config import Config
from mien.datasets import index
from mien.errors import ConfigError, MediaError, PreflightError, StorageError, Unavailable
from mien.log import logger, printable
from mien.pipelines.cap import memory_cap
from mien.storage.source import opened
from mien.storage.uri import Entry, Store
from mien.video.limits import LimitsConfig
from mien.video.probe import VideoInfo, probe

_MAX_SKIPPED_SHOWN = 5
NUM_SHOWN = 10
"""Rows of a plan that are shown."""
_HEADER_BYTES = 1 << 30
"""Memory that reading one header may take: the index of a fragment can claim gigabytes for nothing."""


class PlanConfig(Config):
    """What is looked at: which videos, and which spans of them."""

    source: str = ""
    """Folder of videos, one video, or a pattern such as `videos/*/front.mp4`. A run needs it."""

    sources: SourcesConfig = SourcesConfig()
    """Which files are videos and who is in them."""

    clips: ClipsConfig = WholeConfig()
    """When in a video to look."""

    limits: LimitsConfig = LimitsConfig()
    """What a video may be at most; larger ones fail with that reason."""


class PlanReport(NamedTuple):
    """What was planned."""

    num_clips: int
    num_sources: int
    num_skipped: int
    source_bytes: int

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self._asdict()


Chooser = Callable[[Iterable[Source]], Iterator[Clip]]
"""Turns sources into clips, in their order; it may look ahead."""


class Planner:
    """Turns sources into plan rows, one at a time, and counts what it saw."""

    def __init__(self, config: PlanConfig, choose: Chooser | None = None) -> None:
        """Nothing is read yet. `choose` takes the place of the rule of `clips` where that needs more than headers."""
        self._config, self._choose = config, choose or self._by_rule
        self._count = Counter[str]()
        self._first = list[dict[str, Any]]()
        self._left = self._walk()

    def first(self, num_rows: int) -> list[dict[str, Any]]:
        """The first rows, which `rows` gives too: the sources are walked once, and only so far.

        Raises:
            ConfigError: No source is given.
            PreflightError: There is nothing at the source, or no video in it.
        """
        self._first += islice(self._left, max(0, num_rows - len(self._first)))
        return self._first[:num_rows]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per clip, in the order of the sources; to be called once, with the errors of `first`."""
        yield from self._first
        yield from self._left

    def _walk(self) -> Iterator[dict[str, Any]]:
        for clip in self._choose(self._sources()):
            self._count["clips"] += 1
            yield clip.to_row()
        hidden = self._count["skipped"] - _MAX_SKIPPED_SHOWN
        if hidden > 0:
            logger.info("skipped  %d more files that are no videos", hidden)
        if not self._count["sources"]:
            raise _no_video(self._config)

    def _sources(self) -> Iterator[Source]:
        for found in find_videos(_source(self._config), self._config.sources):
            if isinstance(found, Skipped):
                self._skip(found)
            else:
                self._count.update(sources=1, bytes=found.size_bytes)
                yield found

    def report(self) -> PlanReport:
        """What was seen so far."""
        count = self._count
        return PlanReport(count["clips"], count["sources"], count["skipped"], count["bytes"])

    def _skip(self, skipped: Skipped) -> None:
        self._count["skipped"] += 1
        if self._count["skipped"] <= _MAX_SKIPPED_SHOWN:
            logger.info("skipped  %s: %s", printable(skipped.path), skipped.why)

    def _by_rule(self, sources: Iterable[Source]) -> Iterator[Clip]:
        for source in sources:
            yield from self._config.clips.cut(source, partial(self._probe, source))

    def _probe(self, source: Source, uri: str) -> VideoInfo:
        del uri  # also of a member of a tar, or of an object: what opens it needs size and generation
        with memory_cap(_HEADER_BYTES):
            return probed(source, self._config.limits)


def probed(source: Source, limits: LimitsConfig) -> VideoInfo:
    """What a source says about itself, wherever it lies.

    Raises:
        MediaError: It cannot be read.
        Unavailable: The bucket did not answer.
    """
    try:
        with opened(source.uri, Entry(source.uri, source.size_bytes, source.generation)) as file:
            return probe(file, limits)
    except Unavailable:
        raise
    except StorageError as error:
        raise MediaError(str(error)) from None


def require_video(config: PlanConfig) -> Source:
    """Make sure that the source has a video, before anything is written; returns the first.

    Raises:
        ConfigError: No source is given.
        PreflightError: There is nothing at the source, or no video in it.
    """
    first = first_video(_source(config), config.sources)
    if first is None:
        raise _no_video(config)
    return first


def _source(config: PlanConfig) -> str:
    if not config.source:
        raise ConfigError("source: is required; add it to the file or as source=PLACE")
    return config.source


def _no_video(config: PlanConfig) -> PreflightError:
    endings = " ".join(config.sources.suffixes)
    return PreflightError(
        f"{config.source}: holds no video (a name ending in {endings}); give another source, or add the ending to "
        "sources.suffixes"
    )


def write_plan(planner: Planner, store: Store) -> PlanReport:
    """Plan every source and write plan/*.parquet below the store."""
    index.write_plan(store, planner.rows())
    return planner.report()


def preview_plan(
    config: PlanConfig, num_rows: int = NUM_SHOWN, watch: Callable[[dict[str, Any]], None] | None = None
) -> tuple[PlanReport, list[dict[str, Any]]]:
    """The same plan without writing it, for `--dry-run`: the report and the first rows; `watch` is shown every row."""
    planner = Planner(config)
    if config.clips.kind == "scored":
        logger.info("scoring  left out of a look: what is shown are candidates, as many as would be kept at most")
    first = planner.first(num_rows)
    for row in planner.rows():
        if watch is not None:
            watch(row)
    return planner.report(), first


def standing_plan(store: Store, num_rows: int = NUM_SHOWN) -> tuple[PlanReport, list[dict[str, Any]]]:
    """The plan as it was written: the report, without what was skipped then, and the first rows."""
    count, first, last_source = Counter[str](), list[dict[str, Any]](), ""
    for part in index.read_plan(store):
        first += part.slice(0, num_rows - len(first)).to_pylist()
        count["clips"] += part.num_rows
        for uri, size_bytes in zip(
            *(part.column(name).to_pylist() for name in ("source_uri", "source_bytes")), strict=True
        ):
            if uri != last_source:
                count.update(sources=1, bytes=size_bytes)
            last_source = uri
    return PlanReport(count["clips"], count["sources"], 0, count["bytes"]), first
