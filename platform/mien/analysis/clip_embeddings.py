"""Two modalities of a dataset of faces, in the space that CLIP shares: its crops, and what is said in its clips.

A row is one face track: the mean of the unit vectors of some of its crops. Its label is the keyword that chose its
clip, or what the transcript says there; each of these is one text.
"""

import time
from dataclasses import dataclass
from typing import Any, Literal, NamedTuple

import numpy as np
from pydantic import Field, field_validator

from mien import schema
from mien.analysis.compute import Compute, Task, Work, here, named
from mien.analysis.dataset_tracks import TracksConfig
from mien.analysis.feature_sheets import spread
from mien.datasets.dataset import Dataset, Sample, open_dataset
from mien.datasets.embedding_file import EmbeddingFile
from mien.errors import ConfigError, DatasetError
from mien.evaluation.embedded import Floats
from mien.features import clip_vit_text, recorded, registry
from mien.features.backbone import Resolved
from mien.features.clip_vit import ClipVitConfig
from mien.features.clip_vit_text import ClipVitTextConfig, ResolvedText, TextTower
from mien.log import logger
from mien.storage.uri import Store

NAME = "embeddings"
VISUAL, TEXT = "visual", "text"
_TELL_EVERY_S = 30
_COLUMNS = {"keyword": "keyword", "transcript": "text"}
"""What a person calls it, and the column of the index."""
_GROUPS = {"video": "source_uri", "subject": "subject", "clip": "clip_id"}


class ClipEmbeddingsConfig(TracksConfig):
    """What the two modalities of a dataset are."""

    text: Literal["keyword", "transcript"] = "keyword"
    """Of a clip: the keyword that chose it, or what its transcript says where keywords were found."""
    template: str = Field("{}", max_length=500)
    """What CLIP reads, with {} for the text: a sentence such as `a face of somebody who was asked to {}`."""
    num_frames: int = Field(8, ge=1)
    """Crops of each track that are looked at, evenly spread over its frames with a face."""
    independent: Literal["video", "subject", "clip"] = "video"
    """What rows have nothing in common across: intervals are over these."""
    features: ClipVitConfig = ClipVitConfig()
    """CLIP, for both sides; a local folder holds config.json, model.safetensors and tokenizer.json."""

    @field_validator("template")
    @classmethod
    def _has_a_place(cls, given: str) -> str:
        if given.count("{}") != 1:
            raise ValueError(f"{given!r:.60} must have {{}} once, where the text comes")
        return given

    @field_validator("features")
    @classmethod
    def _is_one_vector(cls, given: ClipVitConfig) -> ClipVitConfig:
        if given.output != "cls":
            raise ValueError(f"output={given.output} is not in the space of texts; leave it at cls")
        return given


@dataclass(frozen=True)
class Source:
    """A dataset whose tracks have texts, and networks that were found."""

    dataset: Dataset
    config: ClipEmbeddingsConfig
    tracks: tuple[int, ...]
    """Rows of the index."""
    texts: tuple[str, ...]
    """Each once, at least two."""
    num_silent: int
    """Tracks that were chosen, and have none."""
    images: Resolved
    reader: ResolvedText

    @property
    def is_random(self) -> bool:
        """Whether the networks were never trained."""
        return self.config.features.weights == "random"

    def looking(self) -> "Looking":
        """What it takes to look at its tracks.

        Raises:
            AssetError: The files of CLIP cannot be read.
        """
        made_by = self.dataset.record.get("models", {}).get("feature", {})
        is_there = not recorded.differing(made_by, self.images)
        images, weights = (None, b"") if is_there else (self.images, self.images.read_weights())
        projection = clip_vit_text.visual_projection(self.images, self.reader.dim)
        return Looking(self.dataset.uri, self.config.num_frames, projection, images, weights)

    def about(self) -> dict[str, Any]:
        """What decides the embeddings, as plain values."""
        return {
            "dataset": self.dataset.uri,
            "dataset_fingerprint": self.dataset.record.get("fingerprint"),
            "clips": self.config.dump(),
            "images": dict(self.images.provenance),
            "texts": dict(self.reader.provenance),
        }


def opened(place: str, config: ClipEmbeddingsConfig) -> Source:
    """Open a dataset, choose its tracks, and find the networks.

    Raises:
        ConfigError: Its clips have no texts, or all of them one; or random weights are of no known network.
        DatasetError: It is none, unfinished or damaged.
        AssetError: The files of the networks cannot be had.
    """
    dataset = open_dataset(place)
    chosen = config.choose(dataset)
    texts = {number: _text(dataset.sample(number), config) for number in chosen}
    known = dict.fromkeys(text for text in texts.values() if text)
    if len(known) < 2:
        found = f"all say {next(iter(known))!r:.60}" if known else "none has one"
        other = next(name for name in _COLUMNS if name != config.text)
        raise ConfigError(
            f"{dataset.uri}: of {len(chosen)} face tracks {found}, but two {config.text}s are needed; serialize with "
            f"clips.kind=keyword and several keywords, set clips.text={other}, or give visual=FILE text=FILE"
        )
    images = registry.resolve(config.features)
    shared = config.features.model_dump(include={"model", "revision", "weights", "seed"})
    reader = clip_vit_text.resolve_text(ClipVitTextConfig(**shared))
    tracks = tuple(number for number, text in texts.items() if text)
    return Source(dataset, config, tracks, tuple(known), len(chosen) - len(tracks), images, reader)


def write(source: Source, store: Store, compute: Compute = here) -> str:
    """Write the rows of both modalities; the same call takes up what an earlier one left. Gives the file's name.

    Args:
        source: What is embedded.
        store: Where the file lies.
        compute: Who looks at the crops, a task for each track that is not there yet.

    Raises:
        DatasetError: The dataset is damaged, or none of its tracks shows a face.
        AssetError: The networks cannot be loaded.
        RefusedError: The file was begun with something else.
        StorageError: It cannot be read or written.
    """
    file = EmbeddingFile(store, NAME, source.about())
    if TEXT not in file.done:
        _add_texts(file, source)
    left = [number for number in source.tracks if _name(source.dataset.sample(number)) not in file.done]
    arguments = [source.looking()] if left else []
    tasks = (Task(f"clip {_name(source.dataset.sample(number))}", number) for number in left)
    told = time.monotonic()
    for place, (number, vector) in enumerate(zip(left, compute(_visual, arguments, tasks), strict=True)):
        if time.monotonic() - told > _TELL_EVERY_S:
            told = time.monotonic()
            logger.info("tracks   %d of %d", place, len(left))
        _add_track(file, source.dataset.sample(number), vector, source.config)
    if not file.items_of(VISUAL):
        raise DatasetError(f"{source.dataset.uri}: none of {len(source.tracks)} face tracks shows a face")
    return file.finish()


def notes(source: Source) -> list[str]:
    """What a reader must know."""
    told = f"{source.num_silent} face tracks have no {source.config.text} and are left out"
    random = "RANDOM weights: these embeddings mean nothing, they only exercise the analysis"
    return [*([random] if source.is_random else []), *([told] if source.num_silent else [])]


def _add_texts(file: EmbeddingFile, source: Source) -> None:
    tower = TextTower(source.reader)
    found = tower([source.config.template.replace("{}", text) for text in source.texts])
    if found.num_cut:
        logger.warning(
            "%d of %d texts are longer than CLIP reads; their ends are left out", found.num_cut, len(source.texts)
        )
    file.add(TEXT, TEXT, found.values, source.texts, source.texts)
    file.end_item(TEXT)


def _add_track(file: EmbeddingFile, sample: Sample, vector: Floats | None, config: ClipEmbeddingsConfig) -> None:
    """One row, or a failure that says why there is none."""
    name, group = _name(sample), str(sample.row[_GROUPS[config.independent]] or sample.row["source_uri"])
    if vector is None:
        file.fail(name, DatasetError("shows no face in any frame"))
    else:
        file.add(group, VISUAL, vector[None], [name], [_text(sample, config)])
    file.end_item(name)


class Looking(NamedTuple):
    """What it takes to look at tracks."""

    dataset: str
    num_frames: int
    """Crops of each."""
    projection: np.ndarray
    """From a class token to the shared space [d, hidden]."""
    images: Resolved | None
    """CLIP; None where the dataset has its class tokens."""
    weights: bytes
    """Its file."""


def _visual(looking: Looking) -> Work[int, Floats | None]:
    """From a track to its vector in the shared space [d]; None where it shows no face."""
    dataset = open_dataset(looking.dataset)
    extractor = looking.images and registry.build(looking.images, looking.weights)

    def look(number: int) -> Floats | None:
        sample = dataset.sample(number)
        faces = np.flatnonzero(np.asarray(sample["face"]) != schema.FACE_NONE)
        if not len(faces):
            return None
        rows = spread(faces.tolist(), looking.num_frames)
        classes = extractor(sample.crops(rows)) if extractor else np.asarray(sample["feature"])[rows]
        projected = classes.astype(np.float64) @ looking.projection.T
        unit = projected / np.linalg.norm(projected, axis=1, keepdims=True)
        return np.asarray(unit.mean(0))

    return named(look)


def _name(sample: Sample) -> str:
    return f"{sample.clip_id}/{sample.track}" if sample.track else sample.clip_id


def _text(sample: Sample, config: ClipEmbeddingsConfig) -> str:
    """On one line; empty where there is none."""
    return " ".join((sample.row.get(_COLUMNS[config.text]) or "").split())
