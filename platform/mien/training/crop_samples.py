"""Faces of a dataset as images one by one."""

from pathlib import Path

import numpy as np
import torch

from mien import schema
from mien.datasets.dataset import Dataset, open_dataset
from mien.datasets.local_shards import LocalShards
from mien.datasets.split import SplitConfig, split
from mien.datasets.subjects import Subjects
from mien.errors import PreflightError
from mien.features.resize import resize
from mien.training.windows import sample_rows


class CropSamples:
    """Frames with a face; a sample is one of them."""

    def __init__(
        self, dataset: Dataset, rule: SplitConfig, every_frames: int, size_px: int, shards: LocalShards
    ) -> None:
        """Number the frames; pixels are read when they are asked for."""
        rows = sample_rows(dataset.index_file, Subjects({}))
        counts = -(-rows.num_frames // every_frames)
        track = np.repeat(np.arange(len(counts)), counts)
        frame = (np.arange(len(track)) - np.repeat(np.cumsum(counts) - counts, counts)) * every_frames
        self._row, self._rows, self._size_px, self._local = rows.row_start[track] + frame, rows, size_px, shards
        self.track, self._dataset = track, dataset
        self.shards = rows.shard[track]
        self.parts = split(dataset.index_file, rule)[track]

    def read(self, number: int) -> tuple[np.ndarray, bool]:
        """Pixels uint8 [s, s, 3], and whether they show a face."""
        row = int(self._row[number])
        columns = self._local.rows(self._rows.file(int(self.track[number])))
        crop = torch.from_numpy(np.array(columns["crop"][row]))
        if len(crop) != self._size_px:
            crop = resize(crop.permute(2, 0, 1)[None], self._size_px, "bilinear")[0].permute(1, 2, 0)
        return crop.numpy(), bool(columns["face"][row] != schema.FACE_NONE)

    def name(self, number: int) -> str:
        """Clip, track and frame."""
        sample = self._dataset.sample(int(self.track[number]))
        return f"{sample.clip_id}, track {sample.track}, row {int(self._row[number])} of {sample.row['file']}"


def open_crops(
    place: str, rule: SplitConfig, every_frames: int, size_px: int, folder: Path, max_bytes: float
) -> CropSamples:
    """Frames of a dataset.

    Raises:
        DatasetError: The dataset is unfinished or damaged.
        PreflightError: It holds no sample.
        ConfigError: A side of the split is empty.
    """
    dataset = open_dataset(place)
    if not len(dataset):
        raise PreflightError(f"{dataset.uri}: holds no sample, only failures; see its failures.parquet")
    return CropSamples(dataset, rule, every_frames, size_px, LocalShards(dataset, ("face", "crop"), folder, max_bytes))
