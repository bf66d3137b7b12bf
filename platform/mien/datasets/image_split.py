"""Which images train and which are held out: by name, by the folder of a subject, or by the list of a data set."""

from collections.abc import Iterator, Sequence
from typing import Literal, Self

import numpy as np
from pydantic import Field, model_validator

from mien.config import Config
from mien.datasets.split import HELD_OUT, LEFT_OUT, TRAIN, by_group, require_both
from mien.errors import ConfigError, StorageError
from mien.log import printable
from mien.storage.tar import is_tar
from mien.storage.uri import canonical, open_store

_PARTS = {"0": TRAIN, "1": LEFT_OUT, "2": HELD_OUT}
_MAX_LIST_BYTES = 256 << 20


class ImageSplitConfig(Config):
    """How images are divided. It follows from their names alone, so that every machine divides them alike."""

    by: Literal["name", "folder", "list"] = "name"
    """`name`: some images. `folder`: all images of some folders, those right below the place (in a tar, right in it):
    the folder of a subject. `list`: as `partition_file` says."""
    held_out: float = Field(0.1, gt=0, lt=1)
    """Share of the images or of the folders, at least one; `list` does not ask."""
    seed: int = 0
    """Which images or folders."""
    partition_file: str | None = None
    """Text with a line `name number` for every image, as CelebA's list_eval_partition.txt: 0 trains, 2 is held out, 1
    is left out. A path or gs://; a name is that below the place, or its last part alone."""

    @model_validator(mode="after")
    def _has_its_list(self) -> Self:
        if (self.by == "list") != (self.partition_file is not None):
            raise ValueError("by=list and partition_file go together: give both or none")
        return self


def divide(names: Sequence[str], config: ImageSplitConfig) -> np.ndarray:
    """TRAIN, HELD_OUT or LEFT_OUT for every image: uint8 [images].

    Args:
        names: Paths below the place.
        config: The rule.

    Raises:
        ConfigError: A side would be empty, an image lies in no folder, or the list and the images do not match.
    """
    if config.partition_file is not None:
        parts = _listed(names, config.partition_file)
        require_both(parts, f"data.split.partition_file={config.partition_file}", "give another list")
        return parts
    groups = names if config.by == "name" else [_folder(name) for name in names]
    rule = f"data.split.by={config.by}, data.split.held_out={config.held_out:g}"
    parts = by_group(groups, config.held_out, config.seed)
    require_both(parts, rule, "there must be two at least; give more images or split by another rule")
    return parts


def _folder(name: str) -> str:
    """The first folder of a path. Tars and tables hold images as a parcel does: what is in two is not of two persons.

    Raises:
        ConfigError: There is none.
    """
    folders = [part for part in name.split("/")[:-1] if not (is_tar(part) or part.lower().endswith(".parquet"))]
    if not folders:
        raise ConfigError(f"data.split.by=folder: {name} lies in no folder below the place; move it, or split by name")
    return folders[0]


def _listed(names: Sequence[str], place: str) -> np.ndarray:
    numbers = _by_last_part(names) | {name: number for number, name in enumerate(names)}
    parts = np.full(len(names), 255, np.uint8)
    for line, name, part in _lines(place):
        number = numbers.get(name, -1)
        if number < 0:
            why = "is not among the images" if name not in numbers else "is the name of several images"
            raise ConfigError(f"{place}: line {line}: {printable(name)} {why}; correct the list or the place")
        if parts[number] != 255:
            raise ConfigError(f"{place}: line {line}: {printable(name)} stands there twice; correct the list")
        parts[number] = part
    missing = np.flatnonzero(parts == 255)
    if len(missing):
        told = f"{names[missing[0]]} and {len(missing) - 1} others" if len(missing) > 1 else names[missing[0]]
        raise ConfigError(f"{place}: lists no number for {told}; add 1 to leave an image out")
    return parts


def _by_last_part(names: Sequence[str]) -> dict[str, int]:
    """Last part of a path -> its number; -1 where several end alike."""
    found = dict[str, int]()
    for number, name in enumerate(names):
        last = name.rpartition("/")[2]
        found[last] = -1 if last in found else number
    return found


def _lines(place: str) -> Iterator[tuple[int, str, int]]:
    """Line, name and part of every line that is not empty."""
    for line, text in enumerate(_text(place).splitlines(), 1):
        name, _, number = text.strip().rpartition(" ")
        if number not in _PARTS or not name.strip():
            if text.strip():
                raise ConfigError(f"{place}: line {line}: is no `name number` with 0, 1 or 2, but {text!r:.80}")
            continue
        yield line, name.strip(), _PARTS[number]


def _text(place: str) -> str:
    """All of a list.

    Raises:
        ConfigError: It cannot be read, is larger than any such list, or no text.
    """
    folder, _, name = canonical(place).rpartition("/")
    try:
        store = open_store(folder or "/")
        if store.stat(name).size_bytes > _MAX_LIST_BYTES:
            raise ConfigError(f"{place}: is larger than {_MAX_LIST_BYTES} bytes, so no list of names")
        return store.read(name).decode()
    except (StorageError, UnicodeDecodeError) as error:
        why = str(error) if isinstance(error, StorageError) else f"{place}: is not UTF-8 text"
        raise ConfigError(f"data.split.partition_file: {why}; give another") from None
