"""The transcript of each source: a file beside the video, found by its name, or an entry of one corpus for all."""

from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import NamedTuple

from mien.clips import corpus
from mien.clips.by_source import BySource
from mien.clips.clip import Source
from mien.clips.naming import located
from mien.clips.transcript import MAX_BYTES, Transcript, from_markers, in_order, parse
from mien.errors import StorageError, TranscriptError, Unavailable
from mien.log import logger, printable
from mien.storage.ahead import ahead
from mien.storage.local import translated
from mien.storage.uri import GCS, is_bucket


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
    """Transcripts beside the videos: `a.mp4` has `a.srt` or `a.mp4.srt`; the first ending that is there counts."""

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
            found = self._beside(source.uri)
            if found is None:
                return Heard(source, None)
            name = found
            return Heard(source, parse(read_transcript(found), found))
        except Unavailable:
            raise
        except (StorageError, TranscriptError) as error:
            return Heard(source, None, str(error) if name != place else f"{place}: {error}")

    def _beside(self, uri: str) -> str | None:
        folder, _, name = uri.rpartition("/")
        stem = name.rpartition(".")[0] or name
        wanted = [f"{folder}/{base}{suffix}" for suffix in self._suffixes for base in (stem, name)]
        wanted = [place for place in wanted if place != uri]
        if not is_bucket(uri):
            return next((place for place in wanted if Path(place).is_file()), None)
        from mien.storage.gcs import GcsStore

        bucket, _, prefix = f"{folder}/{stem}.".removeprefix(GCS).partition("/")
        there = {f"{GCS}{bucket}/{entry.name}" for entry in GcsStore(GCS + bucket).list(prefix)}
        return next((place for place in wanted if place in there), None)


def read_transcript(place: str) -> bytes:
    """The bytes of a transcript on the disk or in a bucket; no more than one may have.

    Raises:
        StorageError: It cannot be read.
    """
    if not is_bucket(place):
        with translated(place), Path(place).open("rb") as file:
            return file.read(MAX_BYTES + 1)
    from mien.storage.gcs import GcsStore

    bucket, _, name = place.removeprefix(GCS).partition("/")
    store = GcsStore(GCS + bucket)
    entry = store.stat(name)
    return store.read_range(name, 0, min(entry.size_bytes, MAX_BYTES + 1)) if entry.size_bytes else b""
