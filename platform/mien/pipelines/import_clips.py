"""Clip files of older tools into a dataset: find → plan → read each → shards → index, card, mien.json."""

import contextlib
import time
from collections.abc import Iterable, Iterator, Mapping
from itertools import chain, islice
from typing import Any, Literal, NamedTuple

import numpy as np
import pyarrow as pa
import ray
from pydantic import Field

import mien
from mien.clips.clip import Clip, Source, to_labels
from mien.config import Config, differing_keys, fingerprint
from mien.datasets import ids, index, publish
from mien.datasets.card import CardConfig
from mien.datasets.clip_file import ClipFacts, ClipFile, opened_clip
from mien.datasets.dataset import CONFIG, Dataset
from mien.datasets.formats import FormatConfig
from mien.datasets.frames import Values, serialize, to_table
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.errors import (
    AlreadyExists,
    ConfigError,
    MediaError,
    PreflightError,
    RefusedError,
    StorageError,
    TooManyFailures,
    Unavailable,
)
from mien.faces.crop import CropConfig, encode_jpeg
from mien.log import logger, printable
from mien.pipelines.cluster import ClusterConfig, cause_of, session
from mien.pipelines.sink import Target, failure_of, write_clips
from mien.schema import FACE_DETECTED
from mien.storage import lease
from mien.storage.ahead import ahead
from mien.storage.commit import new_write_id
from mien.storage.source import opened
from mien.storage.uri import Entry, Store, canonical, contains, open_store

READ = "import"
TICKS_PER_S = 1_000_000
"""Clip files have seconds; the dataset has whole ticks of this unit."""

_NOTHING = pa.py_buffer(b"")
_NOT_IDENTITY = {"output", "card", "preview", "max_failed", "clips_per_shard"}


class ImportConfig(Config):
    """One run of `mien import`."""

    source: str = ""
    """Folder or bucket with clip files (.h5)."""

    output: str = ""
    """Folder of the dataset."""

    channel_order: Literal["rgb", "bgr"] = "rgb"
    """Order of the colours in the files. Serialisers wrote RGB, `clip_generation` BGR: look at the contact sheet."""

    crop: CropConfig = CropConfig()
    """How the pictures are stored; `size_px` must be theirs."""

    format: FormatConfig = ParquetConfig()
    """How shards are written."""

    clips_per_shard: int = Field(64, ge=1)
    """Clip files that are read and written together."""

    max_failed: float = Field(0.0, ge=0, le=1)
    """Share of files that may fail before the run ends with exit code 3."""

    card: CardConfig = CardConfig()
    """What a person says about the data."""

    preview: PreviewConfig = PreviewConfig()
    """How much the contact sheet shows."""

    def identity(self) -> dict[str, Any]:
        """The keys that decide what is written."""
        values = {key: value for key, value in self.dump().items() if key not in _NOT_IDENTITY}
        return values | {"source": canonical(self.source)}


class ImportReport(NamedTuple):
    """How a run ended."""

    path: str
    num_clips: int
    num_samples: int
    num_frames: int
    num_failed: int
    contact_sheet: str

    def check(self, max_failed: float) -> None:
        """Hold the share of failed files against what is tolerated; TooManyFailures if it is larger."""
        if self.num_failed > max_failed * self.num_clips:
            raise TooManyFailures(
                f"{self.path}: finished, but {self.num_failed} of {self.num_clips} clip files could not be read "
                f"(tolerated: max_failed={max_failed:g}); see {index.FAILURES}"
            )


def run(config: ImportConfig) -> ImportReport:
    """Make a dataset of clip files, or go on where an earlier run stopped; files that failed are counted only.

    Raises:
        ConfigError: Source or output are not given, or lie in one another.
        PreflightError: There is no clip file at the source.
        RefusedError: The output holds something else, or another run is at work on it.
        StorageError: The output could not be written; the same command resumes.
    """
    _require_places(config)
    store = open_store(config.output)
    with lease.held(store):
        _claim(config, store)
        if not index.plan_files(store):
            num_clips = index.write_plan(store, _planned(config))
            logger.info("plan     %d clip files", num_clips)
        _run_left(config, store)
        provenance = {"version": mien.__version__, "fingerprint": fingerprint(config.identity()), "models": {}}
        provenance["source"] = canonical(config.source)
        dataset = publish.publish(store, config.card, config.preview, provenance)
        store.clear_scratch()
    return _report(dataset)


def _require_places(config: ImportConfig) -> None:
    for key in ("source", "output"):
        if not getattr(config, key):
            raise ConfigError(f"{key}: is required; give the folder of the clip files and -o OUT")
    inner, outer = canonical(config.source), canonical(config.output)
    if contains(outer, inner) or contains(inner, outer):
        raise ConfigError(f"output: {outer} and the source {inner} must not lie in one another; choose another")


def _claim(config: ImportConfig, store: Store) -> None:
    """Write the config once; an output that has another one, or something else, is refused."""
    entries = [entry.name for entry in store.list() if not lease.is_lease(entry.name)]
    if not entries:
        next(_found(config))  # nothing is left behind where there is nothing to import
        with contextlib.suppress(AlreadyExists):
            store.put_new(CONFIG, config.to_yaml().encode())
    try:
        standing = ImportConfig.load(store.fetch(CONFIG))
    except (StorageError, ConfigError) as error:
        reason = " ".join(str(error).split())
        raise RefusedError(
            f"{store.uri}: holds files but no imported dataset ({reason:.200}); choose a new or empty folder"
        ) from None
    keys = differing_keys(standing.identity(), config.identity())
    if keys:
        raise RefusedError(f"{store.uri}: was imported with other settings; these differ: {', '.join(keys)}")
    publish.require_settled(store)


def _found(config: ImportConfig) -> Iterator[Source]:
    """Every clip file.

    Raises:
        PreflightError: There is none.
    """
    source, num_found = open_store(config.source), 0
    for entry in source.list():
        if entry.name.endswith((".h5", ".hdf5")):
            num_found += 1
            yield Source(f"{source.uri}/{entry.name}", entry.size_bytes, entry.generation)
    if not num_found:
        raise PreflightError(f"{source.uri}: holds no clip file (.h5); give the folder that has them")


def _planned(config: ImportConfig) -> Iterator[dict[str, Any]]:
    """A row of the plan per file, with who is in it; a file that cannot be read says so when its turn comes."""
    return ahead(_plan_row, _found(config))


def _plan_row(source: Source) -> dict[str, Any]:
    try:
        with _clip_file(source.uri, source.size_bytes, source.generation) as file:
            facts = file.facts()
    except (MediaError, StorageError):
        return Clip(source, reason="imported").to_row()
    reason = f"imported from {facts.video}" if facts.video else "imported"
    return Clip(
        source._replace(subject=facts.subject, labels=to_labels(facts.labels)), facts.start_s, reason=reason
    ).to_row()


@contextlib.contextmanager
def _clip_file(uri: str, num_bytes: int, generation: int) -> Iterator[ClipFile]:
    with opened(uri, Entry(uri, num_bytes, generation)) as source, opened_clip(source, uri, num_bytes) as file:
        yield file


def _run_left(config: ImportConfig, store: Store) -> None:
    """Read the files that no commit names yet: one batch alone here, more as Ray tasks."""
    target = Target(store.uri, new_write_id(), config.format, {"version": mien.__version__}, time.time())
    batches = _batches(store, config.clips_per_shard)
    first = list(islice(batches, 2))
    if len(first) < 2:
        for batch in first:
            import_batch(config, target, batch)
        return
    try:
        with session(ClusterConfig()):
            # 1:1 batch of files → one shard with its commit record. One thread that unpacks, so one CPU.
            task = ray.remote(import_batch).options(num_cpus=1, max_retries=3)
            at_most, running = 2 * max(1, int(ray.cluster_resources().get("CPU", 1))), list[Any]()
            for batch in chain(first, batches):
                running = _await(running, at_most - 1)
                running.append(task.remote(config, target, batch))
            _await(running, 0)
    except ray.exceptions.RayError as error:
        raise cause_of(error) from error


def _await(running: list[Any], at_most: int) -> list[Any]:
    """Wait until no more than so many tasks run; an error of one is raised."""
    while len(running) > at_most:
        ready, running = ray.wait(running, num_returns=1)
        ray.get(ready)
    return running


def _batches(store: Store, size: int) -> Iterator[list[dict[str, Any]]]:
    """Rows of the plan that are neither made nor failed, so many at a time."""
    made, failed = index.committed(store)
    done, plan = ids.distinct(np.concatenate([made, failed])), index.read_plan(store)
    left = (part.filter(pa.array(~ids.are_among(ids.from_column(part.column("clip_id")), done))) for part in plan)
    rows = (row for part in left for row in part.to_pylist())
    while batch := list(islice(rows, size)):
        yield batch


def import_batch(config: ImportConfig, target: Target, batch: Iterable[Mapping[str, Any]]) -> None:
    """Read some clip files and commit them as one shard."""
    write_clips(target, (_crossing(config, row) for row in batch))


def _crossing(config: ImportConfig, row: Mapping[str, Any]) -> tuple[dict[str, Any], pa.Buffer, dict[str, Any]]:
    """One file as the sink takes it: whatever is wrong with it becomes its failure."""
    clip = dict(row)
    try:
        with _clip_file(clip["source_uri"], clip["source_bytes"], clip["source_generation"]) as file:
            facts = file.facts()
            frames = serialize(to_table(_columns(config, clip["clip_id"], facts, file)))
    except Unavailable:
        raise
    except MediaError as error:
        return clip, _NOTHING, failure_of(clip, READ, _named(error, clip["source_uri"]))
    except StorageError as error:
        return clip, _NOTHING, failure_of(clip, READ, MediaError(str(error)))
    return {**clip, **_index_facts(facts)}, frames, {}


def _named(error: MediaError, uri: str) -> MediaError:
    """The error with the file in front, where it is not there yet."""
    return error if str(error).startswith(printable(uri)) else MediaError(f"{printable(uri)}: {error}")


def _index_facts(facts: ClipFacts) -> dict[str, Any]:
    """What the index keeps of the source; the rate is that of the frames that are here."""
    steps = np.diff(facts.time_s)
    fps = 1 / float(steps.mean()) if len(steps) else facts.fps
    return {
        "width_px": facts.width_px,
        "height_px": facts.height_px,
        "rotation_deg": 0,
        "fps": fps,
        "is_vfr": bool(len(steps) and np.ptp(steps) > 2 / TICKS_PER_S),
        "source_duration_s": facts.source_duration_s or None,
        "source_num_frames": facts.source_num_frames or None,
        "source_codec": facts.source_codec or None,
        "time_base_num": 1,
        "time_base_den": TICKS_PER_S,
    }


def _columns(config: ImportConfig, clip_id: str, facts: ClipFacts, file: ClipFile) -> dict[str, Values]:
    """Rows of one track: the first face of each frame. What the file does not say is NaN."""
    length, size = len(facts.time_s), config.crop.size_px
    raw = config.crop.encoding == "raw"
    pictures: Any = np.zeros((length, size, size, 3), np.uint8) if raw else [b""] * length
    face, num_faces = np.zeros(length, np.uint8), np.zeros(length, np.int16)
    score, shown = np.full(length, np.nan, np.float32), np.full((length, 4), np.nan, np.float32)
    for found in file.faces():
        rgb = _upright_colours(config, found.rgb)
        _require_fits(found.frame, rgb, length, size)
        if not rgb.any():  # a missing face, as clip_generation wrote it
            continue
        row = found.frame
        pictures[row] = rgb if raw else encode_jpeg(rgb, config.crop.jpeg_quality)
        face[row], num_faces[row] = FACE_DETECTED, found.num_faces
        score[row], shown[row] = found.score, found.shown_box
    if not face.any():
        raise MediaError("holds no face in any frame; leave it out")
    unknown = np.full(length, np.nan, np.float32)
    return {
        "clip_id": [clip_id] * length,
        "track": np.zeros(length, np.int16),
        "pts": np.round(facts.time_s * TICKS_PER_S).astype(np.int64),
        "time_s": facts.time_s,
        "face": face,
        "num_faces": num_faces,
        "score": score,
        "box": np.full((length, 4), np.nan, np.float32),
        "crop_box": shown,
        "padded": unknown,
        "crop": pictures,
        "thumb": [b""] * length,
    }


def _upright_colours(config: ImportConfig, pixels: np.ndarray) -> np.ndarray:
    return np.ascontiguousarray(pixels[..., ::-1]) if config.channel_order == "bgr" else pixels


def _require_fits(frame: int, rgb: np.ndarray, length: int, size_px: int) -> None:
    if frame >= length:
        raise MediaError(f"has a frame {frame}, and times of {length} frames; leave it out or write it again")
    if rgb.shape[:2] != (size_px, size_px):
        raise MediaError(f"holds pictures of {rgb.shape[1]}x{rgb.shape[0]} px, not {size_px}; set crop.size_px")


def _report(dataset: Dataset) -> ImportReport:
    failures = dataset.failure_file
    for failure in failures.slice(0, 10).to_pylist():
        logger.info("failed   %s", failure["error"])
    num_frames = int(dataset.index_file.column("num_frames").to_numpy().sum())
    num_clips = dataset.num_clips + failures.num_rows
    sheet = f"{dataset.uri}/{publish.CONTACT_SHEET}"
    return ImportReport(dataset.uri, num_clips, len(dataset), num_frames, failures.num_rows, sheet)
