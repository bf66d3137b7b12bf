"""What a run needs, tried before anything is planned: one table, and one error for all that is missing."""

import shutil
import tempfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple, cast

from mien import assets
from mien.config import fingerprint
from mien.errors import ConfigError, MienError, PreflightError, StorageError, Unavailable
from mien.features.registry import Resolved, resolve
from mien.log import logger
from mien.pipelines.plan import require_video
from mien.storage.source import opened
from mien.storage.tar import is_tar
from mien.storage.uri import Entry, Store, canonical, contains, is_bucket, open_store
from mien.video.limits import missing_decoders

PROBE = ".probe-"
"""Beginning of the name of a small object that is written on trial and deleted again."""

_MAX_PROBES = 5


class Check(NamedTuple):
    """One thing that was tried."""

    name: str
    problem: str
    """What is missing and what to do; empty if all is well."""
    found: str
    """What is there."""


class Ready(NamedTuple):
    """What the trials brought."""

    models: dict[str, bytes]
    """Model files by the names of `mien.assets`."""
    extractor: Resolved | None


def preflight(config: Any, *, writes: bool = True) -> Ready:
    """Try all that can be known before the first clip.

    Args:
        config: A SerializeConfig.
        writes: Whether the output may be touched: a small object is written, read, listed and deleted.

    Raises:
        ConfigError: Source and output are not given, or do not lie apart.
        PreflightError: Something is missing; a table of all trials was logged before.
    """
    _require_places(config)
    brought = dict[str, Any]()
    names = ["face_detector", *(["face_landmarker"] if config.landmarks else [])]
    trials: dict[str, Callable[[], str]] = {"source": lambda: _source(config)}
    trials |= {name: lambda name=name: _model(name, brought) for name in names}  # type: ignore[misc]
    if config.features:
        trials["features"] = lambda: _extractor(config, brought)
    trials["codecs"] = lambda: _codecs(config)
    checks = [_try(name, trial) for name, trial in trials.items()]
    if writes and not any(check.problem for check in checks):  # a run that cannot be leaves no trace
        checks.append(_try("output", lambda: _output(open_store(config.output), config.min_free_gb)))
    _require(checks)
    return Ready({name: brought[name] for name in names}, brought.get("features"))


def require_output(config: Any) -> None:
    """The same for a job that only plans: source and output lie apart, and the output can be written.

    Raises:
        ConfigError: Source and output are not given, or do not lie apart.
        PreflightError: The output cannot be written.
    """
    _require_places(config)
    _output(open_store(config.output), config.min_free_gb)


def _try(name: str, trial: Callable[[], str]) -> Check:
    try:
        return Check(name, "", trial())
    except MienError as error:
        return Check(name, " ".join(str(error).split()), "")


def _require(checks: list[Check]) -> None:
    problems = [check.problem for check in checks if check.problem]
    if not problems:
        return
    for check in checks:
        logger.info("%-8s %-16s %s", "missing" if check.problem else "ok", check.name, check.problem or check.found)
    if len(problems) == 1:
        raise PreflightError(problems[0])
    raise PreflightError(f"{len(problems)} things are missing, see the table above; the first: {problems[0]}")


def _require_places(config: Any) -> None:
    """Source and output must be given and lie apart: mien replaces and deletes files below its output."""
    for key in ("source", "output"):
        if not getattr(config, key):
            raise ConfigError(f"{key}: is required; add it to the file or as {key}=PLACE")
    if contains(canonical(config.output), canonical(config.source)):
        raise ConfigError(f"output: the source {config.source} lies in {config.output}; choose another folder")


def _source(config: Any) -> str:
    """There is a video, and it may be listed; in a bucket, where one right is for all, it may be read as well."""
    first = require_video(config)
    if is_bucket(first.uri) and first.size_bytes and not is_tar(first.uri):  # a damaged tar has been read
        with opened(first.uri, Entry(first.uri, first.size_bytes, first.generation), "ranges") as file:
            cast("BinaryIO", file).read(1)
    return _place(canonical(config.source))


def _output(store: Store, min_free_gb: float) -> str:
    """Write, read, list and delete a small object, and look at the free space that a shard needs before it is sent."""
    name = f"{PROBE}{fingerprint({'output': store.uri})[:8]}"
    try:
        if _written(store, name) != b"mien":
            raise StorageError(f"{store.uri}: what was written reads back differently")
        next(store.list(), None)
        store.delete(name)
        folder = Path(tempfile.gettempdir() if is_bucket(store.uri) else store.uri)
        free_gb = shutil.disk_usage(folder).free / 1e9
    except (StorageError, OSError) as error:
        reason = str(error).removeprefix(f"{store.uri}/{name}: ")
        raise PreflightError(f"output={store.uri}: {reason}") from None
    if free_gb < min_free_gb:
        raise PreflightError(
            f"output={store.uri}: only {free_gb:.2f} GB free in {folder}, {min_free_gb:g} GB are asked for; "
            "free some space or set min_free_gb"
        )
    return f"{_place(store.uri)}, {free_gb:.0f} GB free in {folder}"


def _written(store: Store, name: str) -> bytes:
    """Write a small object and read it back; another run that starts at the same moment may delete it in between."""
    for _ in range(_MAX_PROBES):
        store.replace(name, b"mien")
        try:
            return store.read(name)
        except Unavailable:
            raise
        except StorageError as error:
            failure = error
    raise failure


def _place(uri: str) -> str:
    """A place, and for a bucket its region and who pays."""
    if not is_bucket(uri):
        return uri
    from mien.storage.gcs import GcsStore

    return f"{uri} ({GcsStore(uri).about()})"


def _model(name: str, brought: dict[str, Any]) -> str:
    brought[name] = assets.read(name)
    return f"{len(brought[name]) / 1e6:.1f} MB, licence {assets.ASSETS[name].licence}"


def _extractor(config: Any, brought: dict[str, Any]) -> str:
    brought["features"] = resolve(config.features)
    facts: Mapping[str, Any] = brought["features"].provenance
    return f"{config.features.kind}: {facts.get('model', '')}"


def _codecs(config: Any) -> str:
    missing = missing_decoders(config.limits)
    if missing:
        raise PreflightError(f"limits.codecs: this FFmpeg has no {', '.join(missing)}; leave them out, or reinstall av")
    return f"{len(config.limits.codecs)} decoders"
