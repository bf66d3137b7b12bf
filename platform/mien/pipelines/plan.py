"""The plan: one row per clip, written before anything is decoded."""

from collections import Counter
from collections.abc import Iterator
from itertools import islice
from typing import Any, NamedTuple

from mien.clips.clip import Source
from mien.clips.sampling import ClipsConfig, WholeConfig
from mien.clips.sources import Skipped, SourcesConfig, find_videos
from mien.config import Config
from mien.datasets import index
from mien.errors import ConfigError, PreflightError
from mien.log import logger
from mien.storage.uri import Store
from mien.video.limits import LimitsConfig
from mien.video.probe import probe

_MAX_SKIPPED_SHOWN = 5


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


class Planner:
    """Turns sources into plan rows, one at a time, and counts what it saw."""

    def __init__(self, config: PlanConfig) -> None:
        """Nothing is read yet."""
        self._config = config
        self._count = Counter[str]()

    def rows(self) -> Iterator[dict[str, Any]]:
        """One row per clip, in the order of the sources.

        Raises:
            ConfigError: No source is given.
            PreflightError: There is nothing at the source, or no video in it.
        """
        for found in _find(self._config):
            if isinstance(found, Skipped):
                self._skip(found)
            else:
                yield from self._clips(found)
        hidden = self._count["skipped"] - _MAX_SKIPPED_SHOWN
        if hidden > 0:
            logger.info("skipped  %d more files that are no videos", hidden)
        if not self._count["sources"]:
            raise _no_video(self._config)

    def report(self) -> PlanReport:
        """What was seen so far."""
        count = self._count
        return PlanReport(count["clips"], count["sources"], count["skipped"], count["bytes"])

    def _skip(self, skipped: Skipped) -> None:
        self._count["skipped"] += 1
        if self._count["skipped"] <= _MAX_SKIPPED_SHOWN:
            logger.info("skipped  %s: %s", skipped.path, skipped.why)

    def _clips(self, source: Source) -> Iterator[dict[str, Any]]:
        self._count.update(sources=1, bytes=source.size_bytes)
        for clip in self._config.clips.cut(source, self._probe):
            self._count["clips"] += 1
            yield clip.to_row()

    def _probe(self, uri: str) -> Any:
        return probe(uri, self._config.limits)


def require_video(config: PlanConfig) -> None:
    """Make sure that the source has a video, before anything is written.

    Raises:
        ConfigError: No source is given.
        PreflightError: There is nothing at the source, or no video in it.
    """
    if not any(isinstance(found, Source) for found in _find(config)):
        raise _no_video(config)


def _find(config: PlanConfig) -> Iterator[Source | Skipped]:
    if not config.source:
        raise ConfigError("source: is required; add it to the file or as source=PLACE")
    return find_videos(config.source, config.sources)


def _no_video(config: PlanConfig) -> PreflightError:
    endings = " ".join(config.sources.suffixes)
    return PreflightError(
        f"{config.source}: holds no video (a name ending in {endings}); give another source, or add the ending to "
        "sources.suffixes"
    )


def write_plan(config: PlanConfig, store: Store) -> PlanReport:
    """Plan every source and write plan/*.parquet below the store."""
    planner = Planner(config)
    index.write_plan(store, planner.rows())
    return planner.report()


def preview_plan(config: PlanConfig, num_rows: int = 10) -> tuple[PlanReport, list[dict[str, Any]]]:
    """The same plan without writing it, for `--dry-run`: the report and the first rows."""
    planner = Planner(config)
    rows = planner.rows()
    first = list(islice(rows, num_rows))
    for _ in rows:
        pass
    return planner.report(), first
