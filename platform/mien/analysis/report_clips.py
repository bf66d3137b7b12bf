"""Clips of a dataset for a report page: frame by frame, and as points on a map of all samples."""

from collections.abc import Callable, Iterator, Sequence
from pathlib import PurePath
from typing import Any, NamedTuple

import numpy as np
from pydantic import Field

from mien import schema
from mien.analysis.report_blocks import Block, Clip, EmbeddingMap, Missing, Point, Scrubber
from mien.config import Config
from mien.datasets.dataset import Dataset, Sample
from mien.errors import DatasetError, MienError
from mien.evaluation.embedded import Floats, Ints
from mien.models.checkpoint import Checkpoint
from mien.objectives.load import Weights

_QUALITY = 82
"""Of the JPEGs on the page."""
_MIN_POINTS = 5


class ShownClipsConfig(Config):
    """How much of a dataset a report shows."""

    num_clips: int = Field(4, ge=0, le=64)
    """Clips that are shown frame by frame, spread evenly over the dataset; 0: none."""
    max_frames: int = Field(150, ge=2, le=2000)
    """Frames of each; of a longer one as many, spread evenly."""
    crop_px: int = Field(112, ge=16, le=512)
    """Side of a crop on the page."""
    weights: Weights = "ema"
    """Weights of a run that make the tokens of its clips."""
    batch: int = Field(16, ge=1, le=4096)
    """Frames of a forward pass."""
    num_points: int = Field(300, ge=0, le=5000)
    """Samples on the map, spread evenly over the dataset; 0: no map."""
    thumb_px: int = Field(72, ge=16, le=256)
    """Side of a thumbnail on the map."""
    seed: int = Field(0, ge=0, lt=2**32)
    """Of the map."""


class Reader(NamedTuple):
    """What is shown of a frame besides its crop."""

    about: str
    read: Callable[[Sample, Ints], Floats]
    """A sample and some of its rows, in their order, to [len(rows), D]; NaN for a frame without values."""


def stored(dataset: Dataset) -> Reader:
    """The vector of each frame that the dataset holds: its feature, or else its blendshapes.

    Raises:
        DatasetError: It holds neither; patch tokens are many vectors for each frame.
    """
    sample = dataset.sample(0) if len(dataset) else None
    columns = sample.columns if sample else []
    if sample and "feature" in columns and _first(dataset, sample, "feature").ndim == 1:
        return Reader("feature", lambda one, rows: np.asarray(one["feature"], np.float64)[rows])
    if "blendshapes" in columns:
        return Reader("blendshapes", lambda one, rows: np.asarray(one["blendshapes"], np.float64)[rows])
    what = "its features are patch tokens" if "feature" in columns else "it has no features"
    raise DatasetError(f"{dataset.uri}: {what}, and it has no blendshapes; serialize it with landmarks")


def _first(dataset: Dataset, sample: Sample, column: str) -> np.ndarray:
    """One row alone: patch tokens of a clip may be half a gigabyte."""
    row = sample.row
    return np.asarray(dataset.shard(row["file"]).read(column, row["row_start"], row["row_start"] + 1)[0])


def of_run(found: Checkpoint, dataset: Dataset, config: ShownClipsConfig) -> Reader:
    """The tokens that a trained model makes of the faces.

    Raises:
        CheckpointError: It cannot be read, or makes no tokens of faces.
        PreflightError: The frozen network of the run cannot be had.
    """
    from mien.analysis.clip_tokens import TokenMaker, has_tokens
    from mien.datasets.subjects import Subjects
    from mien.features.recorded import backbone_of
    from mien.objectives.load import load_objective

    backbone, table = backbone_of(found), Subjects.parse(found.facts.get("subjects"), found.uri)
    objective = load_objective(found.uri, config.weights).objective
    is_stored, maker = has_tokens(dataset, backbone), TokenMaker(objective, backbone)

    def read(sample: Sample, rows: Ints) -> Floats:
        has_face = np.asarray(sample["face"])[rows] != schema.FACE_NONE
        frames = np.asarray(sample["feature"]) if is_stored else sample.crops()
        made = maker.of_frames(frames[rows[has_face]], table.row(sample.row["subject"] or ""), config.batch)
        values = np.full((len(rows), made.shape[1]), np.nan)
        values[has_face] = made
        return values

    random = " (RANDOM weights of the backbone)" if backbone.config.weights == "random" else ""
    return Reader(f"expression token{random}", read)


def scrubber(dataset: Dataset, config: ShownClipsConfig, reader: Reader) -> Block:
    """Some clips frame by frame, or why there are none."""
    clips, reasons = [], list[str]()
    for sample in _spread(dataset, config.num_clips):
        try:
            clips.append(clip_of(sample, config, reader))
        except (MienError, ValueError) as error:
            reasons.append(str(error))
    if not clips:
        return Missing("Frame by frame", reasons[0] if reasons else f"{dataset.uri} shows no face in any clip")
    return Scrubber("Frame by frame", tuple(clips))


def clip_of(sample: Sample, config: ShownClipsConfig, reader: Reader) -> Clip:
    """The frames of a sample.

    Raises:
        ValueError: No frame has values.
        DatasetError: It is damaged.
    """
    num = len(sample)
    rows = np.unique(np.linspace(0, num - 1, min(num, config.max_frames)).round().astype(np.int64))
    blendshapes, names = np.zeros((num, 0)), tuple[str, ...]()
    if "blendshapes" in sample.columns:
        from mien.faces.landmarks import BLENDSHAPE_NAMES  # loads MediaPipe

        blendshapes, names = np.asarray(sample["blendshapes"], np.float64), BLENDSHAPE_NAMES
    return Clip(
        name=name_of(sample),
        time_s=np.asarray(sample["time_s"])[rows],
        values=reader.read(sample, rows),
        about=reader.about,
        blendshapes=blendshapes[rows],
        blendshape_names=names,
        crops=tuple(_crops(sample, rows, config.crop_px)),
    )


def name_of(sample: Sample) -> str:
    """Video, second of its begin, and beginning of the id."""
    row = sample.row
    track = f", track {sample.track}" if sample.track else ""
    return f"{PurePath(row['source_uri']).name} at {row['start_s']:g} s{track} ({sample.clip_id[:8]})"


def _crops(sample: Sample, rows: Ints, side_px: int) -> Iterator[bytes]:
    """A small JPEG of each of these frames; empty where it shows no face."""
    crops, face = sample["crop"], np.asarray(sample["face"])
    for row in rows:
        yield _small(crops[row], side_px) if face[row] != schema.FACE_NONE else b""


def _small(picture: Any, side_px: int) -> bytes:
    """Of pixels, or of a JPEG."""
    from mien.faces.crop import decode_jpeg, thumbnail

    return thumbnail(picture if isinstance(picture, np.ndarray) else decode_jpeg(picture), side_px, _QUALITY)


def sample_map(dataset: Dataset, config: ShownClipsConfig, reader: Reader) -> Block:
    """Means of samples in the plane: t-SNE (van der Maaten and Hinton 2008)."""
    title, found = f"Samples by the mean of their {reader.about}", list[tuple[Sample, Floats]]()
    for sample in _spread(dataset, config.num_points):
        values = reader.read(sample, np.arange(len(sample)))
        known = values[np.isfinite(values).all(axis=1)]
        if len(known):
            found.append((sample, known.mean(axis=0)))
    if len(found) < _MIN_POINTS:
        return Missing(title, f"samples with values: {len(found)}; a map needs {_MIN_POINTS}")
    places = _plane(np.stack([values for _, values in found]), config.seed)
    points = [_point(sample, place, config) for (sample, _), place in zip(found, places, strict=True)]
    words = f"t-SNE of {len(points)} samples, coloured by subject; seed {config.seed}."
    return EmbeddingMap(title, tuple(points), f"{words} Distances between groups mean nothing.")


def _point(sample: Sample, place: Floats, config: ShownClipsConfig) -> Point:
    """With the middle one of the whole frames that were kept of the clip."""
    kept = [jpeg for jpeg in sample["thumb"] if jpeg] if "thumb" in sample.columns else []
    thumb = _small(kept[len(kept) // 2], config.thumb_px) if kept else b""
    subject = str(sample.row["subject"] or "subject not known")
    return Point(float(place[0]), float(place[1]), subject, name_of(sample), thumb)


def _plane(values: Floats, seed: int) -> Floats:
    from sklearn.manifold import TSNE

    perplexity = min(30.0, (len(values) - 1) / 3)
    scaled = (values - values.mean(axis=0)) / max(float(values.std()), 1e-12)
    tsne = TSNE(2, perplexity=perplexity, random_state=seed, init="random")
    return np.asarray(tsne.fit_transform(scaled), np.float64)


def _spread(dataset: Dataset, num: int) -> Sequence[Sample]:
    """So many samples that show a face, evenly over the index."""
    with_face = np.flatnonzero(np.asarray(dataset.index_file.column("num_detected").to_numpy()) > 0)
    if len(with_face) > num:
        with_face = with_face[np.linspace(0, len(with_face) - 1, num).round().astype(int)]
    return [dataset.sample(int(number)) for number in with_face]
