"""Which clips of a dataset are shown: those that are named, or the first ones with a face; and their frames."""

import heapq
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from mien import schema
from mien.config import Config
from mien.datasets.dataset import Dataset, Sample, open_dataset
from mien.errors import ConfigError, DatasetError

_NUM_OFFERED, _ID_CHARS = 3, 8


class ClipsConfig(Config):
    """Which clips of which dataset."""

    dataset: str = ""
    """Dataset of `mien serialize`."""
    clips: tuple[str, ...] = ()
    """Ids of clips, of which all tracks are shown; by default the first clips with a face."""
    num_clips: int = Field(1, ge=1, le=64)
    """How many of these first ones."""
    max_frames: int = Field(2000, ge=2, le=20_000)
    """Frames of a clip that are shown; later ones are left out, and it is told."""


class Shown(NamedTuple):
    """Frames of a clip."""

    sample: Sample
    rows: np.ndarray
    """Those with a face, of the rows of the sample: int64 [F]."""
    time_s: np.ndarray
    """Of each in the source: float64 [F]."""
    notes: tuple[str, ...]
    """What is left out."""

    @property
    def clip_id(self) -> str:
        """Of the clip."""
        return self.sample.clip_id

    @property
    def label(self) -> str:
        """What a person calls it: the beginning of its id, and the track after the first."""
        track = f" track {self.sample.track}" if self.sample.track else ""
        return f"{self.clip_id[:_ID_CHARS]}{track}"

    def name_in(self, kind: str, config: ClipsConfig) -> str:
        """Ends the names of its files: the kind of source alone, where one clip is shown and nobody named it."""
        if not config.clips and config.num_clips == 1:
            return kind
        return f"{kind}_{self.clip_id}" + (f"_track{self.sample.track}" if self.sample.track else "")

    @property
    def facts(self) -> dict[str, Any]:
        """Plain values."""
        return {"clip_id": self.clip_id, "track": self.sample.track, "num_frames_of_clip": len(self.sample)}


def opened(config: ClipsConfig) -> Dataset:
    """The dataset.

    Raises:
        ConfigError: None is named.
        DatasetError: It is none, unfinished or damaged.
    """
    if not config.dataset:
        raise ConfigError("source.dataset: is required; name a dataset of `mien serialize`")
    return open_dataset(config.dataset)


def shown(dataset: Dataset, config: ClipsConfig) -> Iterator[Shown]:
    """The clips, in the order in which they are named, or of the index.

    Raises:
        ConfigError: A clip is not in the dataset; the nearest ids are offered.
        DatasetError: No clip, or one that is named, shows a face.
    """
    return (frames_of(sample, config) for sample in chosen(dataset, config))


def chosen(dataset: Dataset, config: ClipsConfig) -> list[Sample]:
    """Their samples. Raises as `shown`."""
    if config.clips:
        return [sample for clip_id in config.clips for sample in _clip(dataset, clip_id)]
    detected = np.asarray(dataset.index_file.column("num_detected").to_numpy())
    if not (detected > 0).any():
        raise DatasetError(f"{dataset.uri}: shows no face in any clip; see its failures.parquet")
    return [dataset.sample(int(number)) for number in np.flatnonzero(detected > 0)[: config.num_clips]]


def _clip(dataset: Dataset, clip_id: str) -> list[Sample]:
    try:
        return dataset.clip(clip_id)
    except (KeyError, ValueError):
        near = ", ".join(nearest(clip_id, dataset.clip_ids))
        raise ConfigError(f"clip {clip_id}: is not in {dataset.uri}; the nearest are {near}") from None


def nearest(wanted: str, known: Iterable[str]) -> list[str]:
    """Ids that agree with one from the beginning for longest: its end is mistyped, or missing."""

    def num_alike(name: str) -> int:
        pairs = enumerate(zip(name, wanted, strict=False))
        return next((place for place, (one, other) in pairs if one != other), min(len(name), len(wanted)))

    return heapq.nlargest(_NUM_OFFERED, known, key=num_alike)


def frames_of(sample: Sample, config: ClipsConfig) -> Shown:
    """Those of a clip that are shown.

    Raises:
        DatasetError: None shows a face, or the shard is damaged.
    """
    rows = np.flatnonzero(np.asarray(sample["face"]) != schema.FACE_NONE)
    if not len(rows):
        raise DatasetError(f"clip {sample.clip_id}: shows no face in any frame; choose another clip")
    notes = [f"{len(sample) - len(rows)} of {len(sample)} frames show no face and are left out"]
    notes = notes if len(rows) < len(sample) else []
    if len(rows) > config.max_frames:
        notes.append(f"the first {config.max_frames} of {len(rows)} frames with a face are shown (source.max_frames)")
        rows = rows[: config.max_frames]
    return Shown(sample, rows, np.asarray(sample["time_s"])[rows], tuple(notes))
