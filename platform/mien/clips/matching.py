"""Where in a transcript a keyword or phrase is said; case and accents do not matter."""

import re
import unicodedata
from bisect import bisect_right
from collections.abc import Iterator
from itertools import accumulate
from typing import Literal, NamedTuple

from pydantic import Field, field_validator, model_validator

from mien.clips.transcript import Segment, Transcript, Word
from mien.config import Config

DEFAULT_KEYWORDS = ("smile", "natural", "neutral", "sad", "surprised", "expressions", "happy", "angry")
"""What people are asked for in recordings of facial expressions."""


class MatchingConfig(Config):
    """What is looked for in transcripts, and which time a match has."""

    keywords: tuple[str, ...] = Field(DEFAULT_KEYWORDS, min_length=1)
    """Words, phrases or, with `match: regex`, regular expressions."""

    match: Literal["word", "substring", "regex"] = "word"
    """`word`: whole words, a phrase may go on in the next cue. `substring`: also inside words. `regex`: Python's, tried
    on text in lower case without accents."""

    anchor: Literal["next_marker", "word_start", "word_end", "segment_start"] = "next_marker"
    """The time of a match: the next cue or marker, when what was asked for is done (after the last one, its own start);
    when the words begin or end; or the start of the cue. Words without times of their own count as their cue."""

    @field_validator("keywords")
    @classmethod
    def _differ(cls, keywords: tuple[str, ...]) -> tuple[str, ...]:
        if len({fold(keyword) for keyword in keywords}) < len(keywords):
            raise ValueError("one stands twice (case and accents do not matter)")
        return keywords

    @model_validator(mode="after")
    def _must_compile(self) -> "MatchingConfig":
        for keyword in self.keywords:
            _pattern(keyword, self.match)
        return self


class Found(NamedTuple):
    """One match."""

    keyword: str
    time_s: float
    """Seconds from the first frame."""
    text: str
    """The segments in which it stands."""
    has_words: bool = True
    """Whether the time is as near as was asked for: False where a word should have had a time of its own."""


def fold(text: str) -> str:
    """Text without case and accents: é is e, ß is ss."""
    decomposed = unicodedata.normalize("NFKD", text)
    return "".join(char for char in decomposed if not unicodedata.combining(char)).casefold()


def _pattern(keyword: str, match: str) -> re.Pattern[str]:
    """What finds a keyword in folded text.

    Raises:
        ValueError: It cannot be looked for.
    """
    if match == "regex":
        try:
            return re.compile(keyword, re.IGNORECASE | re.MULTILINE)
        except re.error as error:
            raise ValueError(f"keyword {keyword!r} is not a regular expression: {error}") from None
    folded = " ".join(fold(keyword).split())
    if match == "substring":
        if not folded:
            raise ValueError(f"keyword {keyword!r} is empty")
        return re.compile(re.escape(folded))
    words = [re.escape(word) for word in re.findall(r"\w+", folded)]
    if not words:
        raise ValueError(f"keyword {keyword!r} has no letter or digit")
    return re.compile(r"(?<!\w)" + r"\W+".join(words) + r"(?!\w)")


class Matcher:
    """Looks for the keywords of a config."""

    def __init__(self, config: MatchingConfig) -> None:
        """Compile them once."""
        self._anchor = config.anchor
        self._patterns = [(keyword, _pattern(keyword, config.match)) for keyword in config.keywords]

    def find(self, transcript: Transcript) -> list[Found]:
        """Every match, by time; one keyword at one time counts once."""
        if not transcript.segments:
            return []
        said = _Said(transcript)
        found = {(each.time_s, number): each for number, each in self._each(said)}
        return [found[key] for key in sorted(found)]

    def _each(self, said: "_Said") -> Iterator[tuple[int, Found]]:
        for number, (keyword, pattern) in enumerate(self._patterns):
            for match in pattern.finditer(said.text):
                if match.end() > match.start():
                    yield number, said.found(keyword, match.start(), match.end(), self._anchor)


class _Said:
    """A transcript as one folded text, a line per segment, and the way back from a place in it."""

    def __init__(self, transcript: Transcript) -> None:
        self._segments, self._markers = transcript
        self._lines = [" ".join(fold(segment.text).split()) for segment in self._segments]
        self._starts = [0, *accumulate(len(line) + 1 for line in self._lines)]
        self.text = "\n".join(self._lines)

    def found(self, keyword: str, start: int, stop: int, anchor: str) -> Found:
        """A match at [start, stop) of the text."""
        first, last = (bisect_right(self._starts, place) - 1 for place in (start, stop - 1))
        text = " ".join(segment.text for segment in self._segments[first : last + 1])
        if anchor == "next_marker":
            return Found(keyword, self._next_marker(self._segments[last]), text)
        if anchor == "segment_start":
            return Found(keyword, self._segments[first].start_s, text)
        at = first if anchor == "word_start" else last
        words = self._words(at, start - self._starts[at], stop - self._starts[at])
        if anchor == "word_start":
            return Found(keyword, words[0].start_s if words else self._segments[at].start_s, text, bool(words))
        return Found(keyword, words[-1].end_s if words else self._segments[at].end_s, text, bool(words))

    def _next_marker(self, segment: Segment) -> float:
        after = bisect_right(self._markers, segment.start_s)
        return self._markers[after] if after < len(self._markers) else segment.start_s

    def _words(self, number: int, start: int, stop: int) -> list[Word]:
        """The words of a segment that share a letter with [start, stop) of its line, as far as they are found in it."""
        line, place, shared = self._lines[number], 0, list[Word]()
        for word in self._segments[number].words:
            folded = " ".join(fold(word.text).split())
            at = line.find(folded, place) if folded else -1
            if at < 0:
                continue
            place = at + len(folded)
            if at < stop and place > start:
                shared.append(word)
        return shared
