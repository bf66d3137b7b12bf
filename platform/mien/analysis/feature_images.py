"""Images that are shown to two denoisers: held-out ones, one after the other, each decoded when it is its turn."""

from collections.abc import Iterator, Mapping
from typing import Annotated, Any, Literal

import numpy as np
import torch
from pydantic import Field

from mien import schema
from mien.analysis.feature_pair import Sample
from mien.config import Config
from mien.datasets.dataset import Sample as Track
from mien.datasets.dataset import open_dataset
from mien.datasets.image_files import find_images
from mien.datasets.image_pixels import PixelsConfig
from mien.datasets.image_split import ImageSplitConfig, divide
from mien.datasets.split import HELD_OUT, SplitConfig, split
from mien.errors import ConfigError, MediaError
from mien.features.resize import resize
from mien.log import logger


class ImagesConfig(PixelsConfig):
    """Images of a folder, a tar or a Parquet, in the order of their names."""

    kind: Literal["images"] = "images"
    """Kind of data."""
    place: str = ""
    """Here or in a bucket."""
    column: str | None = None
    """Of Parquet tables; by default the first that holds images."""
    split: ImageSplitConfig | None = None
    """Which of them are held out, and shown; None shows all."""

    def read(self, size_px: int) -> Iterator[tuple[str, np.ndarray]]:
        """Name and pixels uint8 [s, s, 3] of each; one that is damaged is passed over and told.

        Raises:
            ConfigError: No place is named, or the split does not fit the images.
            PreflightError: There are none, or the place may not be read.
            DatasetError: A table is damaged.
        """
        if not self.place:
            raise ConfigError("data.place: is required; name a folder, a tar or a Parquet of images")
        chunks = find_images(self.place, self.column)
        names = [name for chunk in chunks for name in chunk.names()]
        wanted = np.ones(len(names), bool) if self.split is None else divide(names, self.split) == HELD_OUT
        contents = (content for chunk in chunks for content in chunk.contents())
        for name, content, is_wanted in zip(names, contents, wanted, strict=True):
            if not is_wanted:
                continue
            try:
                if isinstance(content, str):
                    raise MediaError(content)
                yield name, self.prepare(content, size_px)
            except MediaError as error:
                logger.warning("%s/%s: %s; it takes no part", self.place, name, error)


class CropsConfig(Config):
    """Faces of a dataset of `mien serialize`: of each clip one in the middle, for its frames are nearly the same."""

    kind: Literal["crops"] = "crops"
    """Kind of data."""
    dataset: str = ""
    """Dataset of `mien serialize`."""
    split: SplitConfig | None = None
    """Which clips are held out, and shown; None shows all."""

    def read(self, size_px: int) -> Iterator[tuple[str, np.ndarray]]:
        """Name and pixels uint8 [s, s, 3] of each.

        Raises:
            ConfigError: No dataset is named, or the split leaves a side empty.
            DatasetError: It is none, unfinished or damaged.
        """
        if not self.dataset:
            raise ConfigError("data.dataset: is required; name a dataset of `mien serialize`")
        dataset = open_dataset(self.dataset)
        index = dataset.index_file
        parts = np.full(index.num_rows, HELD_OUT) if self.split is None else split(index, self.split)
        for number in np.flatnonzero(parts == HELD_OUT):
            track = dataset.sample(int(number))
            rows = np.flatnonzero(np.asarray(track["face"]) == schema.FACE_DETECTED)
            if len(rows):
                row = int(rows[len(rows) // 2])
                yield f"{track.clip_id}, track {track.track}, frame {row}", _crop(track, row, size_px)


DataConfig = Annotated[ImagesConfig | CropsConfig, Field(discriminator="kind")]
"""Every kind of data."""


def samples(config: ImagesConfig | CropsConfig, size_px: int) -> Iterator[Sample]:
    """Every image in [-1, 1], numbered from 0. Raises as `config.read`."""
    for number, (name, pixels) in enumerate(config.read(size_px)):
        yield Sample(number, name, torch.tensor(pixels).permute(2, 0, 1).float() / 127.5 - 1)


def held_out_by(facts: Mapping[str, Any], place: str) -> ImagesConfig | CropsConfig:
    """The images that a run held out, from the record of its checkpoint.

    Raises:
        ConfigError: It does not say which.
    """
    trained = facts.get("config") or {}
    data, dataset = trained.get("data") or {}, trained.get("dataset")
    if not dataset or data.get("kind") not in {"images", "crops"}:
        raise ConfigError(
            f"{place}: does not say which images it held out; give data.kind=images data.place=FOLDER, or "
            "data.kind=crops data.dataset=DATASET"
        )
    if data["kind"] == "crops":
        return CropsConfig.parse({"dataset": dataset, "split": data.get("split")}, place)
    kept = {key: data[key] for key in ImagesConfig.model_fields if key in data}
    return ImagesConfig.parse({**kept, "place": dataset}, place)


def _crop(track: Track, row: int, size_px: int) -> np.ndarray:
    pixels = torch.from_numpy(track.crops()[row])
    if len(pixels) != size_px:
        pixels = resize(pixels.permute(2, 0, 1)[None], size_px, "bilinear")[0].permute(1, 2, 0)
    return pixels.numpy()
