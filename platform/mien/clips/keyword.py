"""Clips around keywords that are found in transcripts."""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from itertools import groupby
from typing import Any, Literal, NamedTuple

from pydantic import Field, field_validator

from mien.clips.clip import Clip, Match, Source
from mien.clips.matching import Found, Matcher, MatchingConfig
from mien.clips.rule import Extent, Probe, Rule, RuleConfig, extent_of
from mien.clips.transcript import SUFFIXES
from mien.clips.transcripts import CorpusTranscripts, Heard, SidecarTranscripts
from mien.log import logger, printable
from mien.storage.tar import is_tar

_MAX_SHOWN = 5


class KeywordConfig(MatchingConfig, RuleConfig):
    """A clip where a keyword is found, or where what it asks for is done."""

    kind: Literal["keyword"] = "keyword"

    transcripts: str | None = None
    """JSON of a corpus, with what is said in every video; without it a file beside each video, of the same name, in a
    tar another member."""

    transcript_suffixes: tuple[str, ...] = SUFFIXES
    """Endings of the files beside the videos, in the order in which they are tried; `.en.vtt` finds a.en.vtt."""

    min_keywords: int = Field(1, ge=1)
    """A video in which fewer different keywords are found is left out."""

    offset_s: float = Field(1.0, allow_inf_nan=False)
    """A clip begins so long after the time of its match, or before it where that is too near the end of the video, or
    not at all where both are outside. 0: at the match, without a look at the margin."""

    end_margin_s: float = Field(2.0, ge=0, allow_inf_nan=False)
    """What must be left of the video after such a start."""

    length_s: float = Field(2.0, gt=0, allow_inf_nan=False)
    """Length of a clip; one that would go beyond the end of the video ends with it."""

    overlaps: Literal["merge", "keep"] = "merge"
    """Clips that overlap become one long clip, or stay. The same span is one clip either way; `matches` has all."""

    @field_validator("transcript_suffixes")
    @classmethod
    def _must_be_known(cls, suffixes: tuple[str, ...]) -> tuple[str, ...]:
        for suffix in suffixes:
            if not suffix.lower().endswith(SUFFIXES):
                raise ValueError(f"{suffix} is none of {' '.join(SUFFIXES)}")
        return suffixes

    def build(self, root: str) -> Rule:
        """The rule, with its corpus read; names in it are relative to the root.

        Raises:
            PreflightError: There is no such corpus.
            ConfigError: It is no corpus.
        """
        return KeywordRule(self, root)


class Shifted(NamedTuple):
    """Where a clip begins for a match, and how that came."""

    start_s: float | None
    """None where there is no room."""
    how: Literal["unchanged", "forward", "reverse", "skipped"]


def shifted(time_s: float, offset_s: float, end_margin_s: float, duration_s: float | None) -> Shifted:
    """A time moved by the offset, or against it near the end of the video; all in seconds from the first frame.

    The rule of the seed: t + o if it is in [0, duration - margin]; else t - o if it is not negative; else nothing.
    Without a known duration t + o if it is not negative. An offset of 0 changes and checks nothing.
    """
    if not offset_s:
        return Shifted(time_s, "unchanged")
    forward_s, reverse_s = time_s + offset_s, time_s - offset_s
    if forward_s >= 0 and (duration_s is None or forward_s <= duration_s - end_margin_s):
        return Shifted(forward_s, "forward")
    if duration_s is not None and reverse_s >= 0:
        return Shifted(reverse_s, "reverse")
    return Shifted(None, "skipped")


class Cue(NamedTuple):
    """A span that stands for some matches."""

    start_s: float
    end_s: float
    found: tuple[Found, ...]


def joined(cues: Iterable[Cue], overlaps: str) -> list[Cue]:
    """Spans in their order, those that overlap as one (`merge`) or only those that are the same (`keep`)."""
    result = list[Cue]()
    for cue in sorted(cues, key=lambda cue: cue.start_s):
        last = result[-1] if result else None
        is_joined = last is not None and (cue.start_s < last.end_s if overlaps == "merge" else cue[:2] == last[:2])
        if last is not None and is_joined:
            result[-1] = Cue(last.start_s, max(last.end_s, cue.end_s), (*last.found, *cue.found))
        else:
            result.append(cue)
    return result


class KeywordRule(Rule):
    """`keyword` at work; it counts what it finds."""

    config: KeywordConfig

    def __init__(self, config: KeywordConfig, root: str) -> None:
        """Read the corpus, if there is one."""
        super().__init__(config)
        self._matcher = Matcher(config)
        suffixes = config.transcript_suffixes
        place = config.transcripts
        self.reads = () if place else suffixes
        self._transcripts = CorpusTranscripts(place, root) if place else SidecarTranscripts(suffixes)
        self._num_matches = Counter[str]()
        self._num_videos = Counter[str]()
        self._count = Counter[str]()

    def walk(self, sources: Iterable[Source], probe_of: Callable[[Source], Probe]) -> Iterator[Clip]:
        """The clips of all sources; what is said is read ahead."""
        for heard in self._transcripts.of(sources):
            yield from self._clips(heard, probe_of(heard.source))

    def _clips(self, heard: Heard, probe: Probe) -> Iterator[Clip]:
        if is_tar(heard.source.uri):  # one that is damaged: the clip that it becomes says what is wrong
            yield Clip(heard.source)
            return
        if heard.transcript is None:
            self._tell(heard)
            return
        self._count["transcripts"] += 1
        found = self._matcher.find(heard.transcript)
        different = {each.keyword for each in found}
        self._num_matches.update(each.keyword for each in found)
        self._num_videos.update(different)
        self._count["without_word_times"] += sum(not each.has_words for each in found)
        if len(different) < self.config.min_keywords:
            key = f"with fewer than clips.min_keywords={self.config.min_keywords} different keywords"
            self.left_out[key if found else "without any of the keywords"] += 1
            return
        source, extent = heard.source, extent_of(heard.source, probe)
        begin_s = extent.start_s if extent else source.start_s
        for cue in joined(self._cues(found, extent), self.config.overlaps):
            yield _clip(source, cue, begin_s)

    def _tell(self, heard: Heard) -> None:
        self.left_out["whose transcript cannot be read" if heard.problem else "without a transcript"] += 1
        if heard.problem and self.left_out["whose transcript cannot be read"] <= _MAX_SHOWN:
            logger.info("skipped  %s", printable(heard.problem))

    def _cues(self, found: list[Found], extent: Extent | None) -> Iterator[Cue]:
        """Spans in seconds from the first frame; matches at the same time are one."""
        config, duration_s = self.config, extent.duration_s if extent else None
        for time_s, matches in groupby(found, key=lambda each: each.time_s):
            start_s, how = shifted(time_s, config.offset_s, config.end_margin_s, duration_s)
            is_beyond = start_s is not None and duration_s is not None and start_s >= duration_s
            self._count["beyond" if is_beyond else how] += 1
            if start_s is None or is_beyond:  # there is no room, or the transcript is longer than its video
                continue
            end_s = start_s + config.length_s
            yield Cue(start_s, end_s if duration_s is None else min(end_s, duration_s), tuple(matches))

    def found(self) -> dict[str, Any]:
        """Matches and videos of every keyword, also of those that occur nowhere, and what came of their times."""
        count = self._count
        return {
            "keywords": {
                keyword: {"num_matches": self._num_matches[keyword], "num_videos": self._num_videos[keyword]}
                for keyword in self.config.keywords
            },
            "num_transcripts": count["transcripts"],
            "times": {how: count[how] for how in ("unchanged", "forward", "reverse", "skipped", "beyond")},
            "num_without_word_times": count["without_word_times"],
        }


def _clip(source: Source, cue: Cue, begin_s: float) -> Clip:
    """A clip on the container's time line, in which the first frame is at `begin_s`."""
    keywords = ", ".join(dict.fromkeys(each.keyword for each in cue.found))
    matches = tuple(Match(each.keyword, begin_s + each.time_s) for each in cue.found)
    text = " ".join(dict.fromkeys(each.text for each in cue.found))
    return Clip(source, begin_s + cue.start_s, begin_s + cue.end_s, f"keyword {keywords}", matches, text)
