"""What every rule of `clips.kind` is: a config that becomes a rule at work, which turns sources into clips."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from typing import Any, ClassVar, NamedTuple

from mien.clips.clip import Clip, Source
from mien.config import Config
from mien.errors import MediaError
from mien.video.probe import VideoInfo

Probe = Callable[[str], VideoInfo]
"""Reads what a container says about itself; MediaError where it cannot."""


class RuleConfig(Config):
    """Base of the rules: one that needs nothing but the source has `cut`, another one `build`."""

    needs_length: ClassVar[bool] = False
    """Whether the length of every source is asked for, so that it is worth reading many headers at once."""

    def cut(self, source: Source, probe: Probe) -> Iterator[Clip]:
        """The clips of one source."""
        raise NotImplementedError(f"{type(self).__name__} has neither cut nor build")

    def build(self, root: str) -> "Rule":
        """The rule at work, with what it has to read first; names in its files are relative to the root."""
        del root
        return Rule(self)


class Rule:
    """A rule at work: it goes over the sources once, in their order."""

    def __init__(self, config: RuleConfig) -> None:
        """Nothing is read yet."""
        self.config = config
        self.reads: tuple[str, ...] = ()
        """Endings of files beside the videos that the rule reads: nobody is told that they are no videos."""
        self.left_out = Counter[str]()
        """Sources without a clip, by why: what is left out is told."""

    def walk(self, sources: Iterable[Source], probe_of: Callable[[Source], Probe]) -> Iterator[Clip]:
        """The clips of all sources, in the order of the sources."""
        for source in sources:
            yield from self.cut(source, probe_of(source))

    def cut(self, source: Source, probe: Probe) -> Iterator[Clip]:
        """The clips of one source."""
        return self.config.cut(source, probe)

    def finish(self) -> None:
        """Called after the last source.

        Raises:
            ConfigError: The rule names what none of the sources has.
        """

    def found(self) -> dict[str, Any]:
        """What a keyword rule found; empty for the others."""
        return {}


class Extent(NamedTuple):
    """Where a video lies on its container's time line, s."""

    start_s: float
    end_s: float

    @property
    def duration_s(self) -> float:
        """Length of the video."""
        return self.end_s - self.start_s


def with_length(source: Source, probe: Probe) -> Source:
    """The source with where its video lies; as it was where that cannot be read."""
    extent = extent_of(source, probe)
    return source if extent is None else source._replace(start_s=extent.start_s, duration_s=extent.duration_s)


def extent_of(source: Source, probe: Probe) -> Extent | None:
    """Where the video lies: as was told with the source, else as its container says; None where it cannot be read."""
    if source.duration_s is not None:
        return Extent(source.start_s, source.start_s + source.duration_s)
    try:
        info = probe(source.uri)
    except MediaError:
        return None
    return Extent(info.start_s, info.start_s + info.duration_s) if info.duration_s > 0 else None
