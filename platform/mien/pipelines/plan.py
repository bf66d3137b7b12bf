"""The plan: one row per clip, written before anything is decoded."""

import json
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager, suppress
from functools import partial
from itertools import groupby, islice
from typing import Any, NamedTuple

from mien.clips.annotations import AnnotationsConfig, Annotator
from mien.clips.clip import Clip, Skipped, Source
from mien.clips.rule import Probe, Rule, RuleConfig, with_length
from mien.clips.sampling import ClipsConfig, WholeConfig
from mien.clips.search import require_found
from mien.clips.sources import SourcesConfig, find_videos, first_video, names_root
from mien.config import Config
from mien.datasets import index
from mien.errors import ConfigError, MediaError, NothingFound, PreflightError, StorageError, Unavailable
from mien.log import logger, printable
from mien.pipelines.cap import memory_cap
from mien.storage.ahead import NUM_THREADS, ahead
from mien.storage.source import Recent, Way, opened
from mien.storage.uri import Entry, Store, is_bucket
from mien.video import header
from mien.video.limits import LimitsConfig, reading_media
from mien.video.probe import VideoInfo, probe

_MAX_SKIPPED_SHOWN = 5
NUM_SHOWN = 10
"""Rows of a plan that are shown."""
_HEADER_BYTES = 1 << 30
"""Memory that reading one header may take: the index of a fragment can claim gigabytes for nothing."""


class PlanConfig(Config):
    """What is looked at: which videos, and which spans of them."""

    source: str = ""
    """Folder or prefix of videos, one video, a pattern such as `videos/*/front.mp4`, or a list of them: .txt with a
    place a line; .csv, .jsonl or .parquet with the column source, and size_bytes, generation and duration_s where they
    are known. A run needs it."""

    sources: SourcesConfig = SourcesConfig()
    """Which files are videos and who is in them."""

    annotations: AnnotationsConfig = AnnotationsConfig()
    """Who is in the videos, and which are left out for it."""

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
    left_out: dict[str, int]
    """Videos without a clip, by why."""
    matches: dict[str, Any]
    """What a keyword plan found; empty for the others."""

    def to_json(self) -> dict[str, Any]:
        """Plain values for `--json`."""
        return self._asdict()

    def check(self, place: str) -> None:
        """Every keyword must occur somewhere; `place` is what was planned.

        Raises:
            NothingFound: One does not; the others are planned.
        """
        check_matches(self.matches, place)


def check_matches(matches: dict[str, Any], place: str) -> None:
    """Hold what a keyword plan found against what was asked for.

    Raises:
        NothingFound: A keyword occurs nowhere.
    """
    if matches:
        counts = {keyword: int(found["num_matches"]) for keyword, found in matches["keywords"].items()}
        require_found(place, counts, int(matches["num_transcripts"]))


Chooser = Callable[[Iterable[Source]], Iterator[Clip]]
"""Turns sources into clips, in their order; it may look ahead."""


class Planner:
    """Turns sources into plan rows, one at a time, and counts what it saw."""

    def __init__(self, config: PlanConfig, choose: Chooser | None = None) -> None:
        """Nothing is read yet. `choose` takes the place of the rule of `clips` where that needs more than headers."""
        self._config, self._choose = config, choose
        self._count = Counter[str]()
        self._left_out = Counter[str]()
        self._rule = Rule(RuleConfig())
        self._first = list[dict[str, Any]]()
        self._left = self._walk()

    def first(self, num_rows: int) -> list[dict[str, Any]]:
        """The first rows, which `rows` gives too: the sources are walked once, and only so far.

        Raises:
            ConfigError: No source is given, or a file that the config names is damaged.
            PreflightError: There is nothing at the source, or no video in it, or such a file is not there.
            NothingFound: There is no clip in the videos.
        """
        self._first += islice(self._left, max(0, num_rows - len(self._first)))
        return self._first[:num_rows]

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per clip, in the order of the sources; to be called once, with the errors of `first`."""
        yield from self._first
        yield from self._left

    def _walk(self) -> Iterator[dict[str, Any]]:
        config = self._config
        root = names_root(_place(config), config.sources)
        annotator = Annotator(config.annotations, root)
        self._rule = config.clips.build(root)
        sources = self._measured(self._sources(annotator))
        for clip in self._choose(sources) if self._choose else self._rule.walk(sources, self._probe_of):
            self._count["clips"] += 1
            yield clip.to_row()
        annotator.finish()
        self._rule.finish()
        if not self._count["clips"]:
            raise self._no_clip()

    def _sources(self, annotator: Annotator) -> Iterator[Source]:
        """The videos that are wanted, each with what is known of it."""
        for found in find_videos(self._config.source, self._config.sources):
            if isinstance(found, Skipped):
                self._skip(found)
                continue
            source = annotator(found)
            self._left_out = annotator.left_out
            self._count["videos"] += 1
            if source is not None:
                self._count.update(sources=1, bytes=source.size_bytes)
                yield source
        hidden = self._count["skipped"] - _MAX_SKIPPED_SHOWN
        if hidden > 0:
            logger.info("skipped  %d more files that are no videos", hidden)
        if not self._count["videos"]:
            raise _no_video(self._config)

    def _measured(self, sources: Iterable[Source]) -> Iterator[Source]:
        """The same, with their lengths where the rule needs each: the headers of many are read at once.

        One that cannot be read in a group is looked at again by the rule, when the group is done: they share the cap of
        memory, and what a plan holds must not depend on who was read beside whom.
        """
        if not self._config.clips.needs_length:
            yield from sources
            return
        for is_known, some in groupby(sources, lambda source: source.duration_s is not None):
            while group := list(islice(some, 1 if is_known else NUM_THREADS)):
                yield from group if is_known else list(ahead(self._with_length, group))

    def _with_length(self, source: Source) -> Source:
        recent = Recent()
        found = with_length(source, partial(self._probe, source, recent=recent))
        return source if found is source else found._replace(header_crc32c=recent.crc32c())

    def report(self) -> PlanReport:
        """What was seen so far."""
        count = self._count
        left_out = dict(self._left_out + self._rule.left_out)
        counts = count["clips"], count["sources"], count["skipped"], count["bytes"]
        return PlanReport(*counts, left_out, self._rule.found())

    def _no_clip(self) -> NothingFound:
        report = self.report()
        reasons = ", ".join(f"{count} {why}" for why, count in report.left_out.items())
        times = {how: count for how, count in report.matches.get("times", {}).items() if count}
        told = f"; times of matches: {', '.join(f'{count} {how}' for how, count in times.items())}" if times else ""
        return NothingFound(
            f"{printable(self._config.source)}: no clip of kind {self._config.clips.kind} in {self._count['videos']} "
            f"videos: {reasons or 'none has one'}{told}; nothing was written"
        )

    def _skip(self, skipped: Skipped) -> None:
        if skipped.path.endswith(self._rule.reads or "\n"):
            return
        self._count["skipped"] += 1
        if self._count["skipped"] <= _MAX_SKIPPED_SHOWN:
            logger.info("skipped  %s: %s", printable(skipped.path), skipped.why)

    def _probe_of(self, source: Source) -> Probe:
        return partial(self._probe, source)

    def _probe(self, source: Source, uri: str, recent: Recent | None = None) -> VideoInfo:
        del uri  # also of a member of a tar, or of an object: what opens it needs size and generation
        limits = self._config.limits
        with memory_cap(_HEADER_BYTES):
            return measured(source, limits, recent) if recent else probed(source, limits)


def measured(source: Source, limits: LimitsConfig, recent: Recent) -> VideoInfo:
    """What a source says about itself, of which only start and length are sure; `recent` keeps what was read for it.

    Most of an index of an object is of no account for these two, and whoever cuts reads all of it again: so it comes
    once, and what FFmpeg makes of it is held against what the boxes say in a second reply. What such boxes do not say,
    or say otherwise, is read until two replies agree.

    Raises:
        MediaError: It cannot be read.
        Unavailable: The bucket did not answer.
    """
    if is_bucket(source.uri):
        with suppress(MediaError, MemoryError):
            info = probed(source, limits, recent, "ranges")
            with _opened(source, "glance") as again, reading_media(source.uri):
                if (info.start_s, info.duration_s) in header.extents(again):
                    return info
    return probed(source, limits, recent)


def probed(source: Source, limits: LimitsConfig, recent: Recent | None = None, way: Way = "checked") -> VideoInfo:
    """What a source says about itself, wherever it lies; `recent` keeps what was read of an object.

    Raises:
        MediaError: It cannot be read.
        Unavailable: The bucket did not answer.
    """
    with _opened(source, way, recent) as file:
        return probe(file, limits, with_sound=False)


@contextmanager
def _opened(source: Source, way: Way, recent: Recent | None = None) -> Iterator[Any]:
    try:
        planned = Entry(source.uri, source.size_bytes, source.generation)
        with opened(source.uri, planned, way, recent) as file:
            yield file
    except Unavailable:
        raise
    except StorageError as error:
        raise MediaError(str(error)) from None


def require_video(config: PlanConfig) -> Source:
    """Make sure that the source has a video, before anything is written; returns the first.

    Raises:
        ConfigError: No source is given, or a list of them is damaged.
        PreflightError: There is nothing at the source, or no video in it.
    """
    first = first_video(_place(config), config.sources)
    if first is None:
        raise _no_video(config)
    return first


def _place(config: PlanConfig) -> str:
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
    """Plan every source and write plan/*.parquet below the store, and what was found if keywords were looked for."""
    index.write_plan(store, _rows_then_matches(planner, store))
    return planner.report()


def _rows_then_matches(planner: Planner, store: Store) -> Iterator[dict[str, Any]]:
    """Rows for a plan that does not stand before its end, and so not without the matches beside it."""
    yield from planner.rows()
    matches = planner.report().matches
    if matches:
        store.replace(index.MATCHES, json.dumps(matches, indent=1, ensure_ascii=False).encode())


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
    return PlanReport(count["clips"], count["sources"], 0, count["bytes"], {}, index.read_matches(store)), first
