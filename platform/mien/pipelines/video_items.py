"""Which videos a command of `mien video` is about, and what each one's result is called."""

import re
from collections.abc import Iterator, Sequence
from pathlib import Path, PurePosixPath
from typing import NamedTuple

from mien.clips.clip import Skipped, Source
from mien.clips.sources import find_videos
from mien.errors import ConfigError, MienError
from mien.log import printable
from mien.pipelines.video_jobs import VideoJob
from mien.storage.folder import has
from mien.storage.uri import GCS, canonical, contains, is_bucket, open_store

_GLOB = re.compile(r"[*?\[]")


class Item(NamedTuple):
    """One video and what becomes of it."""

    source: Source
    target: str = ""
    """Name of its result below the output."""
    done: str = ""
    """Name of the file that says that it is made."""
    problem: str = ""
    """Why nothing can be made of it."""


class Skip(NamedTuple):
    """A file of a folder that is no video."""

    path: str
    why: str


class Selection:
    """Videos at one or more places, each under a name that no other has.

    Names are paths relative to the deepest folder that all places share, without the ending, so that the same command
    finds what it made before.
    """

    def __init__(self, places: Sequence[str], job: VideoJob, output: str, *, overwrite: bool = False) -> None:
        """Take the places as typed, and where results go (empty for nowhere).

        Raises:
            ConfigError: They lie partly on disks and partly in buckets, or the results would replace the videos.
        """
        if not places:
            raise ConfigError("give a video, a folder, a pattern or gs://BUCKET/PREFIX")
        self._places, self._job = list(places), job
        self._output = canonical(output) if output else ""
        self._roots = [_root(place) for place in places]
        self._named = {canonical(place) for place in places}
        if len({is_bucket(root) for root in self._roots}) > 1:
            raise ConfigError("give either places on a disk or places in buckets; run the command twice for both")
        self._base = _shared([_parts(root) for root in self._roots])
        self._require_apart(overwrite)

    def _require_apart(self, overwrite: bool) -> None:
        for root, place in zip(self._roots, self._places, strict=True):
            is_one = root != canonical(place) and not _GLOB.search(place)
            is_inside = bool(self._output) and contains(self._output, root)
            if is_inside and not is_one and (overwrite or self._job.makes_videos):
                raise ConfigError(
                    f"{self._output}: the videos of {place} lie there and could be replaced; choose another"
                )

    def __iter__(self) -> Iterator[Item | Skip]:
        """Every video in the order of the places; a place that cannot be listed is an item with that problem."""
        taken = set[int]()  # 64 bits of each name, and of each name with its source
        for place, root in zip(self._places, self._roots, strict=True):
            try:
                for found in find_videos(place, self._job.sources):
                    if isinstance(found, Skipped):
                        yield Skip(found.path, found.why)
                    elif self._is_result(found.uri, root):
                        yield Skip(found.uri, "lies in the output")
                    else:
                        yield self._item(found, taken)
            except MienError as error:
                yield Item(Source(place, 0, 0), problem=_reason(error))

    def _is_result(self, uri: str, root: str) -> bool:
        """Whether a video lies in an output that lies in the place it was found at."""
        return bool(self._output) and contains(self._output, uri) and not contains(self._output, root)

    def _item(self, source: Source, taken: set[int]) -> Item | Skip:
        parts = _parts(source.uri)[len(self._base) :]
        stem = str(PurePosixPath(*parts).with_suffix("")) if parts else ""
        if not self._output:
            return Item(source)
        if {"", ".", ".."} & {*parts} or not stem:
            return Item(source, problem=f"{printable(source.uri)}: has an empty or dotted part in its name; rename it")
        target = self._job.target(stem)
        place = f"{self._output}/{target}"
        if hash((target, source.uri)) in taken:
            return Skip(source.uri, "was given before")
        if hash(target) in taken:
            why = f"another video has the same name but for its ending, and its result is {printable(target)} too"
            return Item(source, problem=f"{printable(source.uri)}: {why}; give this one another output")
        taken.update((hash(target), hash((target, source.uri))))
        if place == source.uri or place in self._named:
            return Item(source, problem=f"{printable(place)}: is a source and would be replaced; choose another output")
        return Item(source, target, self._job.done(stem))


def _root(place: str) -> str:
    """The folder, canonical, that names below a place are relative to."""
    root = canonical(place)
    if is_bucket(root):
        bucket, _, name = root.removeprefix(GCS).partition("/")
        store = open_store(GCS + bucket)
        if _GLOB.search(name):
            return "/".join([GCS + bucket, *_before_glob(name)])
        return root.rpartition("/")[0] if name and has(store, name) else root
    path = Path(root)
    if path.is_dir():
        return root
    if not path.exists() and _GLOB.search(place):
        return "/".join(_before_glob(root)) or "/"
    return str(path.parent)


def _before_glob(name: str) -> list[str]:
    """Folders of a pattern before its first special character."""
    parts = name.split("/")
    return parts[: next(number for number, part in enumerate(parts) if _GLOB.search(part))]


def _parts(place: str) -> list[str]:
    return place.rstrip("/").split("/")


def _shared(paths: Sequence[list[str]]) -> list[str]:
    """What all paths begin with."""
    shared = paths[0]
    for path in paths[1:]:
        same = [a == b for a, b in zip(shared, path, strict=False)]
        shared = shared[: same.index(False) if False in same else len(same)]
    return shared


def _reason(error: MienError) -> str:
    """What a listing says, without the key of another command."""
    return str(error).removeprefix("source: ").replace(" as source=PLACE", "")
