"""Tars of videos, as WebDataset packs them: every video is a source, what has its name beside it belongs to it.

The key of a member is its name up to the first dot of its last part: `a/7.mp4`, `a/7.json` and `a/7.en.srt` are one
sample.
"""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import PurePosixPath
from typing import Any, NamedTuple

from mien.clips import corpus
from mien.clips.clip import Skipped, Source, to_labels
from mien.errors import StorageError
from mien.storage.source import tar_reader
from mien.storage.tar import Member, TarReader, member_uri
from mien.storage.uri import Entry

MAX_JSON_BYTES = 1 << 20
"""A larger .json beside a video is no set of labels."""
MAX_LABELS = 64
MAX_LABEL_CHARS = 256
"""A longer value is a text, such as a transcript, and no label."""

Label = str | int | float | bool
_SUBJECT = ("subject", "subject_id")
_LABELS = ("label", "labels")
"""Keys below which the corpus of the seed has its labels."""


class PackedVideo(NamedTuple):
    """A video in a tar, and what lies beside it."""

    video: Member
    sidecars: tuple[Member, ...]
    """Other members of its key, in the order of the tar; only those of its own name without ending, if there are any:
    `7.front.mp4` with `7.front.srt` and `7.json` has the first."""


def sources_in(shard: Entry, suffixes: Sequence[str]) -> Iterator[Source | Skipped]:
    """Every video of a tar in its order, with subject, labels and sidecars.

    A tar that is damaged, or is none, is a source itself after the good ones: the clip that it becomes says what is
    wrong.

    Args:
        shard: Place of the tar, its size and generation.
        suffixes: Endings by which a member is taken for a video.
    """
    listing = _Listing(shard, suffixes)
    try:
        with tar_reader(shard.name, shard) as reader:
            for member in reader.members():
                yield from listing.add(member, reader)
    except StorageError:
        damaged = [Source(shard.name, shard.size_bytes, shard.generation)]
    else:
        damaged = []
    yield from listing.sources()
    yield from damaged
    if not listing.videos and not damaged:
        yield Skipped(shard.name, f"holds no video (a name ending in {' '.join(suffixes)})")


def first_in(shard: Entry, suffixes: Sequence[str]) -> Source | None:
    """The first video of a tar, or the tar itself if it is damaged before one; nothing beyond is read."""
    listing = _Listing(shard, suffixes)
    try:
        with tar_reader(shard.name, shard) as reader:
            for member in reader.members():
                if listing.is_video(member) and not member.problem:
                    return Source(member_uri(shard.name, member), member.size_bytes, shard.generation)
    except StorageError:
        return Source(shard.name, shard.size_bytes, shard.generation)
    return None


def packed_videos(shard: Entry, suffixes: Sequence[str]) -> Iterator[PackedVideo]:
    """The videos of a tar with offsets, sizes and what lies beside each.

    Raises:
        StorageError: It cannot be read, or is damaged.
    """
    listing = _Listing(shard, suffixes)
    with tar_reader(shard.name, shard) as reader:
        for member in reader.members():
            for _ in listing.add(member, reader):
                pass
    yield from listing.packed()


class _Listing:
    """The members of one tar by name; a later one of a name takes the place of the one before, as tar has it."""

    def __init__(self, shard: Entry, suffixes: Sequence[str]) -> None:
        self._shard, self._suffixes = shard, suffixes
        self.videos = dict[str, Member]()
        self._beside = dict[str, dict[str, Member]]()
        """Key -> name -> member that is no video."""
        self._facts = dict[str, dict[str, Any]]()
        """Name of a .json -> what it tells."""

    def is_video(self, member: Member) -> bool:
        path = PurePosixPath(member.name)
        return path.suffix.lower() in self._suffixes and not path.name.startswith(".")

    def add(self, member: Member, reader: TarReader) -> Iterator[Skipped]:
        """Take in one member; what cannot be taken is told. Small .json are read at once, while the reader is there."""
        uri, path = member_uri(self._shard.name, member), PurePosixPath(member.name)
        if path.name.startswith("."):  # also `._name`, which macOS puts beside every file
            return
        if member.problem or not uri.isprintable():
            if self.is_video(member):
                yield Skipped(ascii(uri)[1:-1], member.problem or "its name has unprintable characters; rename it")
        elif self.is_video(member):
            if member.name in self.videos:
                older = member_uri(self._shard.name, self.videos.pop(member.name))
                yield Skipped(older, "stands again later in the tar; the last of a name counts")
            self.videos[member.name] = member
        else:
            self._beside.setdefault(_key(member.name), {})[member.name] = member
            if path.suffix.lower() == ".json":
                yield from self._read_facts(uri, member, reader)

    def packed(self) -> Iterator[PackedVideo]:
        for name, video in self.videos.items():
            beside = list(self._beside.get(_key(name), {}).values())
            stem = name.removesuffix(PurePosixPath(name).suffix)
            own = [member for member in beside if member.name.startswith(f"{stem}.")]
            yield PackedVideo(video, tuple(own or beside))

    def sources(self) -> Iterator[Source]:
        for video, sidecars in self.packed():
            facts = dict[str, Any]()
            for sidecar in sidecars:
                facts |= self._facts.get(sidecar.name, {})
            others = {key: value for key, value in facts.items() if key not in _SUBJECT}
            yield Source(
                member_uri(self._shard.name, video),
                video.size_bytes,
                self._shard.generation,
                subject_of(facts),
                to_labels(corpus.labels_of(others)),
                sidecars=tuple(self._entry(sidecar) for sidecar in sidecars),
            )

    def _entry(self, member: Member) -> Entry:
        return Entry(member_uri(self._shard.name, member), member.size_bytes, self._shard.generation)

    def _read_facts(self, uri: str, member: Member, reader: TarReader) -> Iterator[Skipped]:
        if member.size_bytes > MAX_JSON_BYTES:
            yield Skipped(uri, f"is larger than {MAX_JSON_BYTES} bytes, so that no labels are read from it")
            return
        try:
            facts = json.loads(reader.read(member))
        except (ValueError, RecursionError):
            yield Skipped(uri, "is not JSON, so that no labels are read from it")
            return
        if isinstance(facts, dict):  # a list is a transcript
            self._facts[member.name] = labels_of(facts)


def _key(name: str) -> str:
    folder, slash, last = name.rpartition("/")
    return folder + slash + last.partition(".")[0]


def labels_of(facts: Mapping[str, Any]) -> dict[str, Label]:
    """The short scalar values of what a .json tells, also of the mapping below `label` or `labels`; no transcript."""
    flat = dict(facts)
    for key in _LABELS:
        below = flat.pop(key, None)
        flat = {**flat, **below} if isinstance(below, dict) else flat if below is None else {**flat, key: below}
    own = corpus.OWN - set(_SUBJECT)
    scalars = ((key, value) for key, value in flat.items() if key not in own and _is_label(value))
    short = [(key, value) for key, value in scalars if len(f"{key}{value}") <= MAX_LABEL_CHARS]
    return dict(short[:MAX_LABELS])


def _is_label(value: object) -> bool:
    return isinstance(value, str | int) or (isinstance(value, float) and math.isfinite(value))


def subject_of(labels: Mapping[str, Label]) -> str:
    """Who is in a video, by its labels; empty where they do not say."""
    return next((str(labels[key]) for key in _SUBJECT if labels.get(key) not in (None, "")), "")
