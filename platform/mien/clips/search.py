"""Keywords in the transcripts of a corpus or of a folder, without any video."""

import json
from collections.abc import Iterator
from typing import Any, NamedTuple

from pydantic import Field

from mien.clips import corpus
from mien.clips.clip import Skipped, Source
from mien.clips.matching import Matcher, MatchingConfig
from mien.clips.naming import as_named
from mien.clips.sources import SourcesConfig, find_videos, names_root
from mien.clips.transcript import SPEECH, SUFFIXES, Transcript, from_markers, in_order, to_markers
from mien.clips.transcripts import read_transcript
from mien.errors import ConfigError, NothingFound, StorageError, TranscriptError, Unavailable
from mien.log import logger, printable
from mien.storage.ahead import ahead
from mien.storage.uri import Entry, canonical, open_store

_LEFT_FREE = 4
"""Keywords that a video may lack, where nothing else is said."""


class SearchConfig(MatchingConfig):
    """One run of `mien clips search`."""

    transcripts: str = ""
    """JSON of a corpus, or a folder, prefix, pattern or file of transcripts. A run needs it."""

    min_keywords: int | None = Field(None, ge=1)
    """Different keywords that a video must have; without it all but four of them, and at least one."""

    output: str = ""
    """JSON file for the result; without it the result is printed."""


class Spoken(NamedTuple):
    """One video and what is said in it."""

    entry: corpus.Entry
    transcript: Transcript


class Search(NamedTuple):
    """What was found, and where."""

    result: dict[str, Any]
    """search_criteria, total_videos, total_keyword_matches and videos."""
    keywords: dict[str, int]
    """Keyword -> its matches in all transcripts, kept or not."""
    num_transcripts: int

    def summary(self) -> dict[str, Any]:
        """What a person reads."""
        return {
            "num_transcripts": self.num_transcripts,
            "total_videos": self.result["total_videos"],
            "total_keyword_matches": self.result["total_keyword_matches"],
            "matches": self.keywords,
        }

    def check(self, place: str) -> None:
        """Every keyword must occur somewhere.

        Raises:
            NothingFound: One does not.
        """
        require_found(place, self.keywords, self.num_transcripts)


def require_found(place: str, num_matches: dict[str, int], num_transcripts: int) -> None:
    """Every keyword must occur somewhere; `place` is what was searched.

    Raises:
        NothingFound: One does not; the message counts.
    """
    absent = [keyword for keyword, count in num_matches.items() if not count]
    if absent:
        others = sum(num_matches.values())
        raise NothingFound(
            f"{printable(place)}: {', '.join(map(repr, absent))}: 0 matches in {num_transcripts} transcripts; the "
            f"other {len(num_matches) - len(absent)} keywords have {others}. Leave it out, or match substrings"
        )


def search(config: SearchConfig) -> Search:
    """Look for the keywords in all transcripts, and write the result if an output is given.

    Raises:
        ConfigError: No transcripts are given, or a file of them is damaged.
        PreflightError: There is nothing at the place.
        StorageError: The output cannot be written.
    """
    if not config.transcripts:
        raise ConfigError("transcripts: is required; add it to the file or as transcripts=PLACE")
    least = config.min_keywords or max(1, len(config.keywords) - _LEFT_FREE)
    matcher, counts, num_transcripts = Matcher(config), dict.fromkeys(config.keywords, 0), 0
    videos, num_matches = list[dict[str, Any]](), 0
    for entry, transcript in _spoken(config.transcripts):
        num_transcripts += 1
        times = dict[str, list[float]]()
        for found in matcher.find(transcript):
            counts[found.keyword] += 1
            times.setdefault(found.keyword, []).append(found.time_s)
        if len(times) >= least:
            num_matches += sum(map(len, times.values()))
            videos.append(_video(entry, transcript, {key: times[key] for key in config.keywords if key in times}))
    criteria = {key: value for key, value in config.dump().items() if key not in {"transcripts", "output"}}
    result = {"search_criteria": criteria | {"min_keywords": least}, "total_videos": len(videos)}
    result |= {"total_keyword_matches": num_matches, "videos": videos}
    if config.output:
        _write(config.output, result)
    return Search(result, counts, num_transcripts)


def _video(entry: corpus.Entry, transcript: Transcript, times: dict[str, list[float]]) -> dict[str, Any]:
    labels = entry.labels
    return {
        "video_path": entry.name,
        "subject_id": entry.subject,
        "age": labels.get("age"),
        "gender": labels.get("gender"),
        "skin_type": labels.get("skin_type"),
        "is_dark": labels.get("is_dark"),
        "transcription_timestamp": to_markers(transcript) if entry.marked_text is None else entry.marked_text,
        "keywords": times,
    }


def _spoken(place: str) -> Iterator[Spoken]:
    if place.lower().endswith(".json") and _is_corpus(place):
        for entry in corpus.entries(place):
            if entry.marked_text is not None:
                yield Spoken(entry, in_order(from_markers(entry.marked_text, entry.duration_s or 0.0)))
        return
    config = SourcesConfig(suffixes=SUFFIXES)
    root = f"{names_root(place, config)}/"
    files = (found for found in find_videos(place, config) if not isinstance(found, Skipped))
    for name, transcript in ahead(_parsed, files):
        if isinstance(transcript, str):
            logger.info("skipped  %s", printable(transcript))
        else:
            yield Spoken(corpus.Entry(name.removeprefix(root), "", {}), transcript)


def _is_corpus(place: str) -> bool:
    """Whether a JSON file is of many videos: that of one has its segments, words or marked text at the top."""
    values = corpus.read_json(place)
    return not (isinstance(values, dict) and SPEECH & values.keys())


def _parsed(found: Source) -> tuple[str, Transcript | str]:
    """A transcript with its place, or what is wrong with it."""
    place = as_named(found.uri)
    try:
        return place, read_transcript(Entry(found.uri, found.size_bytes, found.generation))
    except Unavailable:
        raise
    except (StorageError, TranscriptError) as error:
        return place, str(error)


def _write(place: str, result: dict[str, Any]) -> None:
    folder, _, name = canonical(place).rpartition("/")
    open_store(folder or "/").replace(name, json.dumps(result, indent=1, ensure_ascii=False).encode())
