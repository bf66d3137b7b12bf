"""Which samples a run trains on: images of a folder, a tar or a table, faces of a dataset, or embeddings of a file."""

from pathlib import Path
from typing import Literal

from pydantic import Field

from mien.config import Config
from mien.datasets.embeddings import EmbeddingsConfig, open_embeddings
from mien.datasets.images import ImagesConfig, open_images
from mien.datasets.split import SplitConfig
from mien.training.crop_samples import open_crops
from mien.training.samples import SampleSet


class ImageDataConfig(ImagesConfig):
    """Images; `dataset` is a folder, a tar or a Parquet of them, here or in a bucket."""

    kind: Literal["images"] = "images"
    """Kind of data."""
    flip: float = Field(0.5, ge=0, le=1)
    """Share of the images that are mirrored in training; held-out ones never are."""
    cache_gb: float = Field(50.0, gt=0, allow_inf_nan=False)
    """Local disk that prepared images may take on each machine."""
    read_ahead: int = Field(2, ge=1, le=64)
    """Steps whose data are read before they are needed."""

    def open(self, place: str, size_px: int, folder: Path) -> SampleSet:
        """Every image, cut and made `size_px` wide and high; prepared ones are kept in `folder`."""
        return open_images(place, self, size_px, folder, self.cache_gb * 1e9)


class CropDataConfig(Config):
    """Faces of a dataset of `mien serialize`, frame by frame."""

    kind: Literal["crops"] = "crops"
    """Kind of data."""
    split: SplitConfig = SplitConfig()
    """Which samples are held out."""
    every_frames: int = Field(1, ge=1)
    """Take one frame in so many: neighbours are nearly the same picture."""
    flip: float = Field(0.5, ge=0, le=1)
    """Share of the images that are mirrored in training; held-out ones never are."""
    cache_gb: float = Field(50.0, gt=0, allow_inf_nan=False)
    """Local disk that decoded shards may take on each machine."""
    read_ahead: int = Field(2, ge=1, le=64)
    """Steps whose data are read before they are needed."""

    def open(self, place: str, size_px: int, folder: Path) -> SampleSet:
        """Every chosen frame that has a face, made `size_px` wide and high."""
        return open_crops(place, self.split, self.every_frames, size_px, folder, self.cache_gb * 1e9)


class EmbeddingDataConfig(EmbeddingsConfig):
    """Embeddings; `dataset` is an .npz or a Parquet of them, here or in a bucket."""

    kind: Literal["embeddings"] = "embeddings"
    """Kind of data."""
    read_ahead: int = Field(2, ge=1, le=64)
    """Steps whose data are read before they are needed."""

    def open(self, place: str, embed_dim: int, folder: Path) -> SampleSet:
        """All of them, in memory."""
        del folder
        return open_embeddings(place, self, embed_dim)


SampleData = ImageDataConfig | CropDataConfig | EmbeddingDataConfig
