"""What is said in a video and when: SRT, WebVTT, ASS, Whisper's JSON and texts with `[seconds.millis]` markers.

All times are seconds from the first frame.
"""

import codecs
import html
import json
import math
import re
from collections.abc import Iterable, Mapping
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from mien.errors import TranscriptError
from mien.log import printable

SUFFIXES = (".srt", ".vtt", ".ass", ".ssa", ".json")
"""Endings of transcripts, in the order in which they are looked for."""

MAX_BYTES = 16_000_000
"""A larger file is no transcript of one video: ten hours of speech with the times of all words have ten megabytes."""

SPEECH = frozenset({"segments", "words", "transcription_timestamp"})
"""Keys of a JSON below which there is what is said."""

MARKER = re.compile(r"\[(\d+\.\d+)\]")
"""Seconds and milliseconds in the text of a corpus."""

_TAG = re.compile(r"<[^<>\n]*>")
_LONELY = re.compile(r"\{(?![^{}\n]*\})|<(?![^<>\n]*>)")
_BLANKS = re.compile(r"\n{3,}")
_BEFORE = re.compile(r"-(?:\d+:)?\d{1,2}:\d{2}[.,]\d{1,3}")
_ZERO = "00:00:00.000"
_BLANK = re.compile(r"\n[ \t]*\n")


class Word(NamedTuple):
    """A word with times of its own."""

    text: str
    start_s: float
    end_s: float


class Segment(NamedTuple):
    """A cue, or the text between two markers."""

    start_s: float
    end_s: float
    """Not before the start."""
    text: str
    """One line, without markup; not empty."""
    words: tuple[Word, ...] = ()
    """With their times, where the transcript has them."""


class Transcript(NamedTuple):
    """What is said in one video."""

    segments: list[Segment]
    """By their starts; they may overlap."""
    markers: list[float]
    """Starts of all segments, also of those in which nothing is said, ascending."""


def parse(data: bytes, name: str) -> Transcript:
    """Read a transcript; the ending of its name tells its kind.

    Args:
        data: Its bytes: UTF-8, UTF-16, or else Windows-1252 or Latin-1.
        name: What messages call it.

    Raises:
        TranscriptError: It is of no kind that is known, or damaged.
    """
    suffix = PurePosixPath(name).suffix.lower()
    if suffix not in SUFFIXES:
        raise TranscriptError(f"{printable(name)}: is no transcript by its ending; give one of {' '.join(SUFFIXES)}")
    if len(data) > MAX_BYTES:
        raise too_large(name, len(data))
    text = to_text(data)
    try:
        return in_order(from_json(json.loads(text)) if suffix == ".json" else _from_subtitles(text, suffix))
    except (ValueError, KeyError, TypeError, AttributeError, LookupError, RecursionError) as error:
        reason = printable(" ".join(str(error).split()))
        raise TranscriptError(f"{printable(name)}: is no transcript or damaged: {reason:.200}") from None


def too_large(name: str, num_bytes: int) -> TranscriptError:
    """Says that a file has more than `MAX_BYTES`."""
    return TranscriptError(f"{printable(name)}: has {num_bytes} bytes, too many for a transcript; leave it out")


def to_text(data: bytes) -> str:
    """Bytes of unknown encoding as text with plain line ends."""
    text = data.decode(_encoding(data), errors="replace").removeprefix("\ufeff")
    return text.replace("\r\n", "\n").replace("\r", "\n").replace("\0", "")


def _encoding(data: bytes) -> str:
    """UTF-16 is known by its mark, or by zeros in every other byte of a beginning in Latin letters."""
    head = data[:256]
    if data.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
        return "utf-16"
    if head[1::2].count(0) > len(head) // 4:
        return "utf-16-le"
    if head[::2].count(0) > len(head) // 4:
        return "utf-16-be"
    for encoding in ("utf-8", "cp1252"):
        try:
            data.decode(encoding)
        except UnicodeDecodeError:
            continue
        return encoding
    return "latin-1"


def is_of_facts(data: bytes) -> bool:
    """Whether a JSON only tells other things of a video, as beside one in a tar: who is in it, how old they are."""
    try:
        values = json.loads(to_text(data))
    except (ValueError, RecursionError):
        return False
    return isinstance(values, dict) and not SPEECH & values.keys()


def in_order(segments: Iterable[Segment]) -> Transcript:
    """Segments by time, each on one line; none is empty, begins before 0 or ends before it begins."""
    kept, markers = list[Segment](), list[float]()
    for start_s, end_s, text, words in segments:
        if not math.isfinite(start_s):
            continue
        line, start_s = " ".join(text.split()), max(0.0, start_s)
        markers.append(start_s)
        if line:
            kept.append(Segment(start_s, max(start_s, end_s if math.isfinite(end_s) else start_s), line, words))
    return Transcript(sorted(kept, key=lambda segment: (segment.start_s, segment.end_s)), sorted(markers))


def _from_subtitles(text: str, suffix: str) -> Iterable[Segment]:
    """Cues of SRT, WebVTT and ASS; what is drawn, commented or marked up is left out."""
    from pysubs2 import SSAFile
    from pysubs2.exceptions import Pysubs2Error

    kind = suffix.removeprefix(".")
    text = _tame(text)
    if kind == "vtt":
        if not text.lstrip().startswith("WEBVTT"):
            raise ValueError("does not begin with WEBVTT")
        text = _TAG.sub("", text)  # times of single words would be taken for those of cues
    try:
        events = SSAFile.from_string(text, format_=kind).events
    except Pysubs2Error as error:
        raise ValueError(str(error) or type(error).__name__) from None
    if not events and text.strip() and kind != "vtt":
        raise ValueError("has no cue")
    for event in events:
        if event.is_text:
            yield Segment(event.start / 1000, event.end / 1000, _spoken(event.plaintext, kind))


def _tame(text: str) -> str:
    """The same without what the library takes endless time over, and with cues before the beginning at the beginning.

    Its patterns look for the end of a tag from each of its beginnings, and for a number after each of many line ends.
    """
    text = _BLANKS.sub("\n\n", _LONELY.sub(" ", text))
    lines = text.split("\n")  # a time before 0 has no notation; some tools write a minus
    return "\n".join(_BEFORE.sub(_ZERO, line) if "-->" in line else line for line in lines)


def _spoken(text: str, kind: str) -> str:
    """The words of a cue. A WebVTT cue ends with the first blank line: the name of the next one may follow it."""
    if kind == "vtt":
        text = _BLANK.split(text)[0]
    return text if kind in {"ass", "ssa"} else html.unescape(text)


def from_json(values: Any) -> Iterable[Segment]:
    """Whisper's result, with words or without, or an entry of a corpus with its marked text.

    Raises:
        ValueError: It is neither.
    """
    if not isinstance(values, Mapping):
        raise ValueError("is a list; a corpus of many videos is given as clips.transcripts")
    if isinstance(values.get("transcription_timestamp"), str):
        return from_markers(values["transcription_timestamp"], float(values.get("duration_ms") or 0) / 1000)
    if isinstance(values.get("segments"), list):
        return _with_words([_whisper_segment(each) for each in values["segments"]], _words(values.get("words")))
    if isinstance(values.get("words"), list):
        words = _words(values["words"])
        return [Segment(word.start_s, word.end_s, word.text, (word,)) for word in words]
    raise ValueError("has neither segments, words nor transcription_timestamp")


def _whisper_segment(values: Mapping[str, Any]) -> Segment:
    words = _words(values.get("words"))
    text = values.get("text") or " ".join(word.text for word in words)
    return Segment(float(values["start"]), float(values["end"]), str(text), words)


def _words(found: Any) -> tuple[Word, ...]:
    """Words with times; aligners leave out the times of what they could not place."""
    timed = (word for word in found or () if word.get("start") is not None and word.get("end") is not None)
    return tuple(Word(str(word["word"]).strip(), float(word["start"]), float(word["end"])) for word in timed)


def _with_words(segments: list[Segment], words: tuple[Word, ...]) -> list[Segment]:
    """Words that stand beside the segments, put into the one in which their middle lies."""
    if not words:
        return segments
    middles = [(word, (word.start_s + word.end_s) / 2) for word in words]
    return [
        segment._replace(
            words=segment.words or tuple(word for word, at_s in middles if segment.start_s <= at_s < segment.end_s)
        )
        for segment in segments
    ]


def from_markers(text: str, duration_s: float = 0.0) -> list[Segment]:
    """Segments of a text with `[seconds.millis]` markers: each lasts from its marker to the next one.

    What stands before the first marker begins at 0; what follows the last one lasts to the end of the video, where that
    is known.
    """
    before, *rest = MARKER.split(text)
    pieces = [(0.0, before)] * bool(before.strip()) + [
        (float(seconds), spoken) for seconds, spoken in zip(rest[::2], rest[1::2], strict=True)
    ]
    ends_s = [start_s for start_s, _ in pieces[1:]] + [duration_s]
    return [Segment(start_s, end_s, spoken) for (start_s, spoken), end_s in zip(pieces, ends_s, strict=True)]


def to_markers(transcript: Transcript) -> str:
    """A transcript as a text with markers."""
    return " ".join(f"[{segment.start_s:.3f}] {segment.text}" for segment in transcript.segments)
