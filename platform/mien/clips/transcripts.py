"""The transcript of each source: a file beside the video, found by its name, or an entry of one corpus for all."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mien.clips import corpus
from mien.clips.by_source import BySource
from mien.clips.clip import Source
from mien.clips.naming import as_named, located
from mien.clips.transcript import MAX_BYTES, Transcript, from_markers, in_order, is_of_facts, parse, too_large
from mien.errors import StorageError, TranscriptError, Unavailable
from mien.log import logger, printable
from mien.storage.ahead import ahead
from mien.storage.local import translated
from mien.storage.source import read_small
from mien.storage.uri import GCS, Entry, is_bucket


class Heard(NamedTuple):
    """A source and what is said in it."""

    source: Source
    transcript: Transcript | None
    """None where there is none, or it cannot be read."""
    problem: str = ""
    """Why it cannot be read."""


class CorpusTranscripts:
    """Transcripts of one corpus."""

    def __init__(self, place: str, root: str) -> None:
        """Read it once; names in it are relative to the root.

        Raises:
            PreflightError: It is not there.
            ConfigError: It is no corpus.
        """
        self._rows, num_again = BySource(), 0
        for number, entry in enumerate(corpus.entries(place), 1):
            if entry.marked_text is not None:
                kept = entry.marked_text, entry.duration_s
                num_again += bool(self._rows.add(located(entry.name, root), number, kept))
        if num_again:
            logger.info("corpus   %d entries of %s name a video again; the first counts", num_again, printable(place))

    def of(self, sources: Iterable[Source]) -> Iterator[Heard]:
        """Every source, with the length that the corpus tells where the source does not."""
        for source in sources:
            found = self._rows.of(source.uri)
            if not found:
                yield Heard(source, None)
                continue
            text, duration_s = found[0]
            if source.duration_s is None and duration_s is not None:
                source = source._replace(duration_s=duration_s)
            yield Heard(source, in_order(from_markers(text, source.duration_s or 0.0)))


class SidecarTranscripts:
    """Transcripts beside the videos: `a.mp4` has `a.srt` or `a.mp4.srt`; the first ending that is there counts.

    In a tar they are other members, and `a.front.mp4` may have `a.srt`, the one of its sample.
    """

    def __init__(self, suffixes: tuple[str, ...]) -> None:
        """Look for these endings, in their order."""
        self._suffixes = suffixes

    def of(self, sources: Iterable[Source]) -> Iterator[Heard]:
        """Every source in its order; some are read ahead, since a bucket answers late.

        Raises:
            Unavailable: The bucket did not answer.
        """
        return ahead(self._heard, sources)

    def _heard(self, source: Source) -> Heard:
        place, name = source.uri, source.uri
        try:
            found = self._beside(source)
            if found is None:
                return Heard(source, None)
            name = found.name
            data = _data(found)
            if source.sidecars and name.lower().endswith(".json") and is_of_facts(data):
                return Heard(source, None)
            return Heard(source, parse(data, as_named(name)))
        except Unavailable:
            raise
        except (StorageError, TranscriptError) as error:
            return Heard(source, None, str(error) if name != place else f"{place}: {error}")

    def _beside(self, source: Source) -> Entry | None:
        uri = as_named(source.uri)
        folder, _, name = uri.rpartition("/")
        stem = name.rpartition(".")[0] or name
        key = name.partition(".")[0] if uri != source.uri else stem  # what a sample of a tar is called
        bases = dict.fromkeys((stem, name, key))
        wanted = [f"{folder}/{base}{suffix}" for suffix in self._suffixes for base in bases]
        wanted = [place for place in wanted if place != uri]
        there = {as_named(each.name): each for each in source.sidecars} if uri != source.uri else _there(wanted, stem)
        return next((there[place] for place in wanted if place in there), None)


def _there(wanted: list[str], stem: str) -> dict[str, Entry]:
    """Those of some files beside a video that are there, by place; one listing tells it of a bucket."""
    if not wanted or not is_bucket(wanted[0]):
        return {place: _file(place) for place in wanted if Path(place).is_file()}
    from mien.storage.gcs import GcsStore

    folder = wanted[0].rpartition("/")[0]
    bucket, _, prefix = f"{folder}/{stem}.".removeprefix(GCS).partition("/")
    found = ((f"{GCS}{bucket}/{entry.name}", entry) for entry in GcsStore(GCS + bucket).list(prefix))
    return {place: entry._replace(name=place) for place, entry in found}


def _file(place: str) -> Entry:
    with translated(place):
        stat = Path(place).stat()
    return Entry(place, stat.st_size, stat.st_mtime_ns)


def read_transcript(found: Entry) -> Transcript:
    """A transcript on the disk, in a bucket or in a tar, by its place.

    Raises:
        StorageError: It cannot be read.
        TranscriptError: It is larger than one may be, or none.
    """
    return parse(_data(found), as_named(found.name))


def _data(found: Entry) -> bytes:
    if found.size_bytes > MAX_BYTES:
        raise too_large(found.name, found.size_bytes)
    return read_small(found.name, found, MAX_BYTES)
