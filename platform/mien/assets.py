"""Model files: name → origins, sha256, licence; where they lie, and how they get there.

A file is looked for in the folder `MIEN_ASSETS`, then in the cache: `MIEN_CACHE`, or `mien` in the user's cache folder.
Nothing is fetched except by `pull`, and a file counts only with one of its pinned sums.
"""

import hashlib
import os
import tempfile
import time
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import lru_cache
from http.client import HTTPException
from pathlib import Path
from typing import IO, Literal, NamedTuple, Self

from mien.errors import AssetError, ConfigError
from mien.log import logger
from mien.origins import Url, Wheel


@dataclass(frozen=True)
class Asset:
    """A model file and where it can be had, best origin first. Origins may carry builds that differ in their bytes."""

    file: str
    purpose: str
    licence: str
    origins: tuple[Url | Wheel, ...]
    is_optional: bool = False
    """Whether it is fetched by its name alone: few need it."""

    @property
    def sums(self) -> frozenset[str]:
        """The pinned SHA-256 sums, one per build of the file."""
        return frozenset(origin.sha256 for origin in self.origins)


ASSETS: Mapping[str, Asset] = {
    "face_detector": Asset(
        file="face_detection_short_range.tflite",
        purpose="finds faces (BlazeFace, short range)",
        licence="Apache-2.0",
        origins=(
            Url(
                "https://storage.googleapis.com/mediapipe-models/face_detector/blaze_face_short_range/float16/1/"
                "blaze_face_short_range.tflite",
                "b4578f35940bf5a1a655214a1cce5cab13eba73c1297cd78e1a04c2380b0152f",
                229_746,
            ),
            Wheel(
                "mediapipe==0.10.21",
                "mediapipe/modules/face_detection/face_detection_short_range.tflite",
                "bbff11cebd1eb27a1e004cae0b0e63ec8c551cbf34a4451148b4908b8db3eca8",
                229_714,
            ),
        ),
    ),
    "face_landmarker": Asset(
        file="face_landmarker.task",
        purpose="478 landmarks, 52 blendshapes and the head pose of a face",
        licence="Apache-2.0",
        origins=(
            Url(
                "https://storage.googleapis.com/mediapipe-models/face_landmarker/face_landmarker/float16/1/"
                "face_landmarker.task",
                "64184e229b263107bc2b804c6625db1341ff2bb731874b0bcc2fe6544e0bc9ff",
                3_758_596,
            ),
        ),
    ),
    "inception": Asset(
        file="weights-inception-2015-12-05-6726825d.pth",
        purpose="FID and KID of made images (Inception-v3 as TensorFlow had it); optional",
        licence="Apache-2.0",
        origins=(
            Url(
                "https://github.com/toshas/torch-fidelity/releases/download/v0.2.0/"
                "weights-inception-2015-12-05-6726825d.pth",
                "6726825d0af5f729cebd5821db510b11b1cfad8faad88a03f1befd49fb9129b2",
                95_628_359,
            ),
        ),
        is_optional=True,
    ),
}
"""Every model file that mien can use, except the weights of backbones, which come from the hub."""


State = Literal["ok", "absent", "damaged"]


class AssetStatus(NamedTuple):
    """What is known of a model file on this machine; sum and size are the pinned ones while it is absent."""

    name: str
    file: str
    path: Path | None
    state: State
    sha256: str
    size_bytes: int
    licence: str
    url: str
    purpose: str


@dataclass(frozen=True)
class Store:
    """A table of assets, the folders they may lie in, and whether they may be fetched."""

    assets: Mapping[str, Asset]
    cache: Path
    given: Path | None = None
    is_offline: bool = False
    pip_options: tuple[str, ...] = ()

    @classmethod
    def from_environment(cls) -> Self:
        """The store that `MIEN_ASSETS`, `MIEN_CACHE`, `XDG_CACHE_HOME` and `MIEN_OFFLINE` describe."""
        given = os.environ.get("MIEN_ASSETS")
        return cls(ASSETS, cache_folder() / "assets", Path(given).expanduser() if given else None, is_offline())

    def path(self, name: str) -> Path:
        """Where the file lies, its sum checked.

        Raises:
            ConfigError: No asset has that name.
            AssetError: The file is absent, or does not have a pinned sum.
        """
        found = self.status(name)
        if found.path is None:
            raise AssetError(self._absent(name))
        if found.state == "damaged":
            raise AssetError(self._damaged(name, found.path, found.sha256))
        return found.path

    def read(self, name: str) -> bytes:
        """The bytes of the file, which are those that were checked."""
        path = self.path(name)
        content = path.read_bytes()
        found = hashlib.sha256(content).hexdigest()
        if found not in self._asset(name).sums:
            raise AssetError(self._damaged(name, path, found))
        return content

    def status(self, name: str) -> AssetStatus:
        """What is known of one file; a damaged or absent one is no error here."""
        asset = self._asset(name)
        path = self._find(asset)
        first = asset.origins[0]
        state: State = "absent"
        sha256, size_bytes = first.sha256, first.size_bytes
        if path is not None:
            sha256, size_bytes = _sum_and_size(path)
            state = "ok" if sha256 in asset.sums else "damaged"
        return AssetStatus(name, asset.file, path, state, sha256, size_bytes, asset.licence, str(first), asset.purpose)

    def usual(self) -> list[str]:
        """Names that are meant where none is given: what is not optional, and of the optional what is there."""
        return [name for name, asset in self.assets.items() if not asset.is_optional or self._find(asset)]

    def pull(self, names: Iterable[str] | None = None) -> list[AssetStatus]:
        """Fetch what is absent or damaged, the usual if none is named; what is there and whole is left alone.

        Raises:
            ConfigError: No asset has that name.
            AssetError: A file cannot be had from any origin, or cannot be stored.
        """
        wanted = [self.status(name) for name in (names or self.usual())]
        for asset in wanted:
            if asset.state != "ok":
                self._pull(asset)
        return [self.status(asset.name) for asset in wanted]

    def _pull(self, found: AssetStatus) -> None:
        if found.path and found.path.parent == self.given:
            raise AssetError(self._damaged(found.name, found.path, found.sha256))
        if self.is_offline:
            raise AssetError(f"{found.file} is not fetched because MIEN_OFFLINE is set; {self._by_hand(found.name)}")
        start_s = time.monotonic()
        with _new_file(self.cache / found.file) as file:
            content = self._fetch(found.name)
            file.write(content)
        logger.info("%s: %.1f MB in %.1f s", self.cache / found.file, len(content) / 1e6, time.monotonic() - start_s)

    def _fetch(self, name: str) -> bytes:
        """Bytes with a pinned sum from the first origin that has them."""
        failures = []
        for origin in self._asset(name).origins:
            logger.info("%s: fetching from %s", self._asset(name).file, origin)
            try:
                content = origin.fetch(self.pip_options)
            except (OSError, ValueError, HTTPException) as error:
                failures.append(f"{origin}: {error}")
                continue
            found = hashlib.sha256(content).hexdigest()
            if found == origin.sha256:
                return content
            failures.append(f"{origin}: sha256 is {found}, expected {origin.sha256}")
        reasons = "".join(f"\n  {failure}" for failure in failures)
        raise AssetError(f"{self._asset(name).file} cannot be had:{reasons}\n{self._by_hand(name)}")

    def _find(self, asset: Asset) -> Path | None:
        folders = (self.given, self.cache) if self.given else (self.cache,)
        return next((folder / asset.file for folder in folders if (folder / asset.file).is_file()), None)

    def _asset(self, name: str) -> Asset:
        if name not in self.assets:
            raise ConfigError(f"{name!r}: no such asset; there are {', '.join(self.assets)}")
        return self.assets[name]

    def _absent(self, name: str) -> str:
        hint = f" (MIEN_ASSETS={self.given} does not)" if self.given else ""
        return (
            f"{self._asset(name).file} is absent: run `mien assets pull {name}`, "
            f"or set MIEN_ASSETS to a folder that holds it{hint}"
        )

    def _damaged(self, name: str, path: Path, found: str) -> str:
        expected = " or ".join(sorted(self._asset(name).sums))
        given = "replace it, or unset MIEN_ASSETS"
        remedy = given if path.parent == self.given else f"run `mien assets pull {name}`"
        return f"{path}: sha256 is {found}, expected {expected}: {remedy}"

    def _by_hand(self, name: str) -> str:
        asset = self._asset(name)
        return f"put {asset.file} (sha256 {' or '.join(sorted(asset.sums))}) into a folder and set MIEN_ASSETS to it"


def path(name: str) -> Path:
    """Where a model file of this machine lies, its sum checked; see `Store.path`."""
    return Store.from_environment().path(name)


def read(name: str) -> bytes:
    """The checked bytes of a model file, for handing them to workers; see `Store.read`."""
    return Store.from_environment().read(name)


def pull(names: Iterable[str] | None = None) -> list[AssetStatus]:
    """Fetch what is absent or damaged into the cache; see `Store.pull`."""
    return Store.from_environment().pull(names)


def status() -> list[AssetStatus]:
    """What is known of every model file on this machine."""
    store = Store.from_environment()
    return [store.status(name) for name in store.assets]


def verify(names: Iterable[str] | None = None) -> list[AssetStatus]:
    """Check the sums of the named files, of the usual if none is named.

    Raises:
        AssetError: Some are absent or damaged; the message has a line for each.
    """
    store = Store.from_environment()
    problems = []
    for name in (wanted := tuple(names or store.usual())):
        try:
            store.path(name)
        except AssetError as error:
            problems.append(str(error))
    if problems:
        raise AssetError("\n".join(problems))
    return [store.status(name) for name in wanted]


def is_offline() -> bool:
    """Whether `MIEN_OFFLINE` forbids every request to the network."""
    return os.environ.get("MIEN_OFFLINE", "") not in {"", "0"}


def cache_folder() -> Path:
    """Folder for what can be fetched or made again: `MIEN_CACHE`, or `mien` in the user's cache folder."""
    if chosen := os.environ.get("MIEN_CACHE"):
        return Path(chosen).expanduser()
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "mien"


def _sum_and_size(path: Path) -> tuple[str, int]:
    """SHA-256 and bytes of a file.

    Raises:
        AssetError: It cannot be read.
    """
    try:
        stat = path.stat()
        return _sha256(path, stat.st_mtime_ns, stat.st_size), stat.st_size
    except OSError as error:
        raise AssetError(f"{path}: cannot be read: {error.strerror}; make it readable or remove it") from None


@lru_cache(maxsize=64)
def _sha256(path: Path, _mtime_ns: int, _size_bytes: int) -> str:
    """Sum of a file, computed again when its time or size changes."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


@contextmanager
def _new_file(path: Path) -> Iterator[IO[bytes]]:
    """A file that appears at `path` whole or not at all; of two writers the last wins.

    Raises:
        AssetError: The folder cannot be written.
    """
    temporary = None
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=path.parent, prefix=f".{path.name}.", delete=False) as file:
            temporary = Path(file.name)
            yield file
            file.flush()
            os.fsync(file.fileno())
        temporary.chmod(0o644)
        temporary.replace(path)
    except OSError as error:
        raise AssetError(f"{path}: cannot be written: {error.strerror}; set MIEN_CACHE to a folder that can") from None
    finally:
        if temporary:
            with suppress(FileNotFoundError):
                temporary.unlink()
