"""Images of strangers as samples of one size: a folder, a tar or a Parquet of them, here or in a bucket.

Each is decoded, cut and resized once per machine and kept on its disk.
"""

import hashlib
import json
import os
import threading
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import BinaryIO

import numpy as np
from pydantic import Field

from mien.datasets.image_chunks import Chunk, Content
from mien.datasets.image_files import find_images
from mien.datasets.image_pixels import PixelsConfig
from mien.datasets.image_split import ImageSplitConfig, divide
from mien.datasets.local_arrays import LocalArrays, begin_array
from mien.errors import DatasetError, MediaError
from mien.log import logger
from mien.storage.ahead import ahead

_MAX_FAULT_BYTES = 120
_NUM_DECODERS = min(8, os.cpu_count() or 1)
"""Images decoded at once: each may take four bytes per pixel of `max_pixels`, and once more while it is turned."""


class ImagesConfig(PixelsConfig):
    """How images are listed, divided and cut."""

    split: ImageSplitConfig = ImageSplitConfig()
    """Which of them are held out."""
    column: str | None = None
    """Of Parquet tables: byte strings, or structs with `bytes` as Hugging Face datasets have them; by default the first
    such column."""
    max_failed: float = Field(0.01, ge=0, le=1)
    """Share of the images of a chunk (of about a thousand neighbours) that may be damaged, and one at any rate if it is
    not 0; they take no part. More end the run."""


class ImageSet:
    """Images by their numbers, in the order of their names."""

    def __init__(
        self, chunks: list[Chunk], config: ImagesConfig, size_px: int, place: str, arrays: LocalArrays
    ) -> None:
        """Number and divide the images; nothing is decoded yet.

        Raises:
            ConfigError: The split does not fit them.
        """
        self._chunks, self._config, self._size_px, self._place, self._arrays = chunks, config, size_px, place, arrays
        names = [chunk.names() for chunk in chunks]
        self._names = [name for some in names for name in some]
        self._starts = np.cumsum([0, *map(len, names)])
        self._keys = [self._key(chunk) for chunk in chunks]
        self._judged = set[int]()
        self._turn = threading.Lock()
        self.shards = np.repeat(np.arange(len(chunks)), np.diff(self._starts))
        self.parts = divide(self._names, config.split)

    def read(self, number: int) -> tuple[np.ndarray, bool]:
        """RGB uint8 [size, size, 3] of an image and True, or black and False for one that is damaged.

        Raises:
            DatasetError: More of its chunk are damaged than may be.
            StorageError: A file is gone or has changed since it was listed, or the local disk is full.
        """
        chunk = int(self.shards[number])
        record = self._records(chunk)[number - self._starts[chunk]]
        return np.array(record["pixels"]), not record["fault"]

    def name(self, number: int) -> str:
        """Path below the place."""
        return self._names[number]

    @property
    def num_bytes(self) -> int:
        """What all prepared images take on the disk."""
        return len(self._names) * self._kind.itemsize

    @property
    def _kind(self) -> np.dtype:
        """An image and why it cannot be used, in one record, so that a file has both or none."""
        return np.dtype([("pixels", "u1", (self._size_px, self._size_px, 3)), ("fault", f"S{_MAX_FAULT_BYTES}")])

    def _key(self, chunk: Chunk) -> str:
        """Tells apart whatever leads to other pixels."""
        rules = self._config.model_dump(mode="json", include=set(PixelsConfig.model_fields))
        return hashlib.sha256(f"{json.dumps(rules)} {self._size_px} {chunk!r}".encode()).hexdigest()

    def _records(self, number: int) -> np.ndarray:
        """Prepared images of a chunk, mapped from the disk."""
        records = self._arrays.rows(self._keys[number], {"images": partial(self._write, self._chunks[number])})[
            "images"
        ]
        with self._turn:
            if number not in self._judged:
                self._judge(number, records)
                self._judged.add(number)
        return records

    def _write(self, chunk: Chunk, file: BinaryIO) -> None:
        begin_array(file, self._kind, (len(chunk.names()),))
        for record in self._prepared(chunk):
            file.write(record.tobytes())

    def _prepared(self, chunk: Chunk) -> Iterator[np.ndarray]:
        return ahead(self._record, chunk.contents(), _NUM_DECODERS)

    def _record(self, content: Content) -> np.ndarray:
        record = np.zeros((), self._kind)
        try:
            if isinstance(content, str):
                raise MediaError(content)
            record["pixels"] = self._config.prepare(content, self._size_px)
        except MediaError as error:
            record["fault"] = str(error).encode("ascii", "replace")[:_MAX_FAULT_BYTES]
        return record

    def _judge(self, number: int, records: np.ndarray) -> None:
        """Tell which images of a chunk are damaged, or refuse it."""
        failed = np.flatnonzero(records["fault"] != b"")
        if not len(failed):
            return
        first, share = failed[0], self._config.max_failed
        told = f"{self._names[self._starts[number] + first]} {records['fault'][first].decode()}"
        what = f"{self._place}: {len(failed)} of {len(records)} neighbouring images cannot be used; the first: {told}"
        if len(failed) > (max(1, share * len(records)) if share else 0):
            raise DatasetError(f"{what}; repair or remove them, or raise data.max_failed={share:g}")
        logger.warning(f"{what}; they take no part")


def open_images(place: str, config: ImagesConfig, size_px: int, folder: Path, max_bytes: float) -> ImageSet:
    """Images of a place.

    Args:
        place: Folder, .tar or .parquet on a disk or in a bucket; a folder may hold all kinds.
        config: How they are divided and cut.
        size_px: Width and height of a sample.
        folder: On a local disk, for prepared images; processes of one machine may share it.
        max_bytes: Size that the folder may have; what is in use may pass it.

    Raises:
        PreflightError: There are none, or the place may not be read.
        DatasetError: A table is damaged.
        ConfigError: The split does not fit the images.
    """
    chunks = find_images(place, config.column)
    images = ImageSet(chunks, config, size_px, place, LocalArrays(folder, max_bytes))
    if images.num_bytes > max_bytes:
        logger.warning(
            f"{place}: its images take {images.num_bytes / 1e9:.1f} GB at {size_px} px, more than data.cache_gb allows "
            f"({max_bytes / 1e9:g}); some are decoded again in every epoch"
        )
    return images
