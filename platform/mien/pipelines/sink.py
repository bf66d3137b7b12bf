"""The sink: one write task makes one shard, verifies it, publishes it and commits it once."""

import base64
import hashlib
import json
import shutil
import time
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pyarrow as pa
from ray.data.block import Block
from ray.data.datasource import Datasink

from mien.datasets.effort import Busy, Stopwatch, add_to
from mien.datasets.formats import FormatConfig, open_shard
from mien.datasets.frames import checksums, deserialize, tracks, values_of
from mien.datasets.shard import ShardWriter
from mien.datasets.sound import join
from mien.errors import DatasetError, RefusedError
from mien.log import printable
from mien.pipelines.cap import give_back
from mien.pipelines.sound import SOUND_FILE
from mien.schema import FACE_DETECTED
from mien.storage.commit import completion_generation, data_name, digest, new_write_id, publish_shard
from mien.storage.local import translated
from mien.storage.uri import Store, open_store
from mien.video.audio import AudioClip, write_audio

# A clip crosses from stage to stage as one row: never split, never apart from its failure.
CLIP, FRAMES, FAILURE = "clip", "frames", "failure"
_EMPTY = pa.py_buffer(b"")
CROSSING = pa.schema([(CLIP, pa.string()), (FRAMES, pa.large_binary()), (FAILURE, pa.string())])
"""clip: JSON of the plan's row and, when it was cut, of its video; frames: Arrow IPC; failure: JSON or empty."""

BUSY, HOSTS = "busy", "hosts"
"""Keys of the clip's JSON that are for the commit record alone: what each stage took, and the machines."""

WRITE = "write"
"""The sink's name among the stages."""


def crossing_row(
    clip: Mapping[str, Any], frames: pa.Buffer = _EMPTY, failure: Mapping[str, Any] | None = None
) -> pa.Table:
    """One clip between two stages."""
    ends = pa.py_buffer(np.array([0, frames.size], np.int64))
    payload = pa.LargeBinaryArray.from_buffers(pa.large_binary(), 1, [None, ends, frames])  # no copy of the pictures
    texts = [json.dumps(dict(clip)), json.dumps(dict(failure)) if failure else ""]
    return pa.table([pa.array(texts[:1]), payload, pa.array(texts[1:])], schema=CROSSING)


def failure_of(clip: Mapping[str, Any], stage: str, error: BaseException, thumb: bytes = b"") -> dict[str, Any]:
    """The row of failures.parquet for a clip; the thumbnail is in base64, since it travels in JSON."""
    return {
        **clip,
        "stage": stage,
        "error_type": type(error).__name__,
        "error": printable(" ".join(str(error).split())),
        "thumb": base64.b64encode(thumb).decode(),
    }


class Target(NamedTuple):
    """Where shards go and how they are written; small, and sent to every write task."""

    root: str
    """Place of the dataset."""
    run_id: str
    """Names the run: its own second attempt at a shard must meet the first, another run's retry must not."""
    format: FormatConfig
    metadata: Mapping[str, Any]
    """Written into every shard."""
    started_at: float = 0.0
    """Unix time at which the run began."""
    completion: int | None = None
    """Generation of the completion record when the run looked what is left; None asks nothing of it."""


class ShardSink(Datasink[None]):  # type: ignore[misc]  # ray is not typed
    """Writes shards below a dataset's root and returns nothing: the driver learns from the commit records."""

    def __init__(self, target: Target, min_shard_mb: float) -> None:
        """Take only what can be sent to a worker."""
        self._target, self._min_bytes = target, int(min_shard_mb * 1e6)

    @property
    def min_bytes_per_write(self) -> int:
        """Ray gathers blocks up to this size for one write task."""
        return self._min_bytes

    def write(self, blocks: Iterable[Block], ctx: Any) -> None:
        """One shard from all the clips of the blocks."""
        del ctx
        write_clips(self._target, _rows(blocks))
        give_back()


def _rows(blocks: Iterable[Block]) -> Iterator[tuple[dict[str, Any], pa.Buffer, dict[str, Any]]]:
    for block in blocks:
        for row in range(block.num_rows):
            clip, frames, failure = (block.column(name)[row] for name in (CLIP, FRAMES, FAILURE))
            yield json.loads(clip.as_py()), frames.as_buffer(), json.loads(failure.as_py() or "{}")


def write_clips(
    target: Target,
    clips: Iterable[tuple[dict[str, Any], pa.Buffer, dict[str, Any]]],
    names: Callable[[], str] = new_write_id,
    clock: Callable[[], float] = time.time,
    store: Store | None = None,
) -> None:
    """Write, verify, publish and commit one shard; does nothing for no clips.

    Args:
        target: Where, and how.
        clips: JSON of each clip, its frames as Arrow IPC, and its failure or nothing.
        names: Gives names that no other attempt has.
        clock: Tells the time of the commit.
        store: What to write with, if not the store at the target's place.

    Raises:
        RefusedError: Another run has finished the dataset since this one began; nothing was written.
        StorageError: The store refused; nothing was committed, or it is unknown (CommitUnknown).
    """
    watch = Stopwatch()
    store = store or open_store(target.root)
    scratch = store.scratch()
    try:
        draft = ShardDraft(scratch, names(), target)
        with translated(scratch.parent):  # for a bucket this is a disk of this machine, not the output
            draft.fill(clips)
        if not draft.clip_ids:
            return
        record: dict[str, Any] = {"samples": draft.samples, "failures": draft.failures}
        record |= {"models": target.metadata.get("models", {}), "effort": draft.effort(watch.read())}
        record |= {"run_id": target.run_id, "started_at": target.started_at, "finished_at": clock()}
        data = draft.path if draft.samples else None
        _require_unfinished(store, target)
        publish_shard(store, draft.shard, draft.write_id, data, record, draft.sounds())
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def _require_unfinished(store: Store, target: Target) -> None:
    """A courtesy, as the lease is: who wakes up late need not add to a finished dataset what its index never names."""
    if target.completion is not None and completion_generation(store) != target.completion:
        raise RefusedError(
            f"{target.root}: another run took over and has finished it, so this one stopped; what is committed stays"
        )


class ShardDraft:
    """A shard while it is written to a local file."""

    def __init__(self, scratch: Path, write_id: str, target: Target) -> None:
        """The file is created with the first sample: a shard of failures alone has none."""
        self.path, self.write_id, self._target = scratch / f"{write_id}{target.format.suffix}", write_id, target
        self.samples = list[dict[str, Any]]()
        self.failures = list[dict[str, Any]]()
        self._busy, self._hosts = dict[str, Busy](), set[str]()
        self._sounds = dict[str, Path]()  # clip -> local file

    def sounds(self) -> dict[str, Path]:
        """Sound files of clips that keep it apart from the shard, by the names that they get."""
        return {self._sound_name(path): path for path in self._sounds.values()}

    def _sound_name(self, path: Path) -> str:
        return data_name(self.shard, self.write_id, f"-{path.name}")

    def effort(self, write: Busy) -> dict[str, Any]:
        """What the clips took, for the commit record, and what writing them took."""
        busy = {stage: spent.plain() for stage, spent in {**self._busy, WRITE: write}.items()}
        return {"busy": busy, "hosts": sorted(self._hosts)}

    @property
    def clip_ids(self) -> list[str]:
        """Every clip of the shard, made or failed."""
        return [row["clip_id"] for row in (*self.samples, *self.failures)]

    @property
    def shard(self) -> str:
        """The same for all attempts of a run at these clips, and for nothing else."""
        return hashlib.sha256("".join([self._target.run_id, *sorted(self.clip_ids)]).encode()).hexdigest()[:32]

    def fill(self, clips: Iterable[tuple[dict[str, Any], pa.Buffer, dict[str, Any]]]) -> None:
        """Write all clips, close the file and read it back."""
        writer: ShardWriter | None = None
        for clip, payload, failure in clips:
            add_to(self._busy, clip.pop(BUSY, {}))
            self._hosts.update(clip.pop(HOSTS, ()))
            if failure:
                self.failures.append(failure)
                continue
            writer = writer or self._target.format.writer(self.path, self._target.metadata)
            rows = deserialize(payload)
            suffix = clip.pop(SOUND_FILE, "")
            if suffix:
                clip, rows = self._apart(clip, rows, suffix)
            self._add(writer, clip, rows)
        if writer is not None:
            name = data_name(self.shard, self.write_id, self.path.suffix)
            for sample in self.samples:
                sample["file"] = name
                if sample["clip_id"] in self._sounds:
                    sample["audio_file"] = self._sound_name(self._sounds[sample["clip_id"]])
            writer.close(self.samples)
            self._verify()

    def _add(self, writer: ShardWriter, clip: Mapping[str, Any], frames: pa.Table) -> None:
        for track, rows in tracks(frames):
            start, stop = writer.add(rows)
            self.samples.append({**clip, **sample_row(track, rows), "row_start": start, "row_stop": stop})

    def _apart(self, clip: dict[str, Any], frames: pa.Table, suffix: str) -> tuple[dict[str, Any], pa.Table]:
        """Move the sound of a clip, which all its tracks have, into a file of its own."""
        if clip["audio_rate_hz"]:
            path = self.path.with_name(f"{clip['clip_id']}{suffix}")
            _, first = next(tracks(frames))
            samples = join(values_of(first, "audio"), clip["audio_channels"])
            write_audio(AudioClip(samples, clip["audio_rate_hz"]), path)
            self._sounds[clip["clip_id"]] = path
            clip = {**clip, "audio_sha256": digest(path).sha256}
        return clip, frames.drop_columns(["audio"])

    def _verify(self) -> None:
        """What a reader gets must be what was given: all row counts, and two columns by their checksums."""
        with open_shard(self.path) as shard:
            if shard.num_rows != sum(sample["num_frames"] for sample in self.samples):
                raise DatasetError(f"{self.path}: holds {shard.num_rows} rows after writing; disk or memory is faulty")
            _compare(shard, self.samples, self.path)


def sample_row(track: int, frames: pa.Table) -> dict[str, Any]:
    """What the index says of one sample, but for where it lies."""
    status = values_of(frames, "face")
    return {
        "track": track,
        "num_frames": frames.num_rows,
        "num_detected": int((status == FACE_DETECTED).sum()),  # type: ignore[union-attr]
        "checksums": json.dumps(checksums(frames)),
    }


def _compare(shard: Any, samples: Sequence[Mapping[str, Any]], path: Path) -> None:
    from mien.datasets.frames import checksum

    for sample in samples:
        expected = json.loads(sample["checksums"])
        for column in ("pts", "crop"):
            if checksum(shard.read(column, sample["row_start"], sample["row_stop"])) != expected[column]:
                raise DatasetError(f"{path}: column {column} reads back differently; disk or memory is faulty")
