"""Arrays and the texts beside them as safetensors, which hold no code: arrays as tensors, texts in the metadata.

`columns` of the metadata is JSON: name of a column → one text for each row. `mien` is JSON, too: what made the file.
"""

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from mien.datasets.shard import readable
from mien.errors import DatasetError

ABOUT, _COLUMNS = "mien", "columns"
_MAX_HEADER_BYTES = 90_000_000
"""The library reads headers of up to 100 MB."""


def read(path: Path, place: str, chosen: Callable[[Sequence[str]], list[str]]) -> dict[str, Any]:
    """Arrays as they are, bfloat16 as float32; columns of texts as lists.

    Args:
        path: The file, on this disk.
        place: What messages call it.
        chosen: Given all names, those that are read.

    Raises:
        DatasetError: It is damaged.
    """
    import torch

    with _opened(path, place, "pt") as file:
        texts = _texts(file.metadata() or {})
        found: dict[str, Any] = {}
        for name in chosen([*file.keys(), *texts]):
            if name in texts:
                found[name] = texts[name]
            else:
                tensor = file.get_tensor(name)
                found[name] = (tensor.float() if tensor.dtype == torch.bfloat16 else tensor).numpy()
        return found


def about(path: Path, place: str) -> dict[str, Any] | None:
    """What a file says of itself; None for one of somebody else.

    Raises:
        DatasetError: It is damaged.
    """
    with _opened(path, place, "np") as file:
        said = (file.metadata() or {}).get(ABOUT)
        found: dict[str, Any] | None = json.loads(said) if said else None
        return found


def content(arrays: Mapping[str, np.ndarray], texts: Mapping[str, Sequence[str]], said: Mapping[str, Any]) -> bytes:
    """The bytes of a file.

    Args:
        arrays: Of one length.
        texts: Columns of that length.
        said: What made it, plain values.

    Raises:
        DatasetError: There are more texts than a reader takes.
    """
    from safetensors.numpy import save

    metadata = {ABOUT: json.dumps(dict(said)), _COLUMNS: json.dumps({name: [*each] for name, each in texts.items()})}
    if (size := sum(map(len, metadata.values()))) > _MAX_HEADER_BYTES:
        raise DatasetError(f"safetensors: {size} bytes of names and labels are too many for its header; take Parquet")
    return bytes(save({name: np.ascontiguousarray(array) for name, array in arrays.items()}, metadata))


@contextmanager
def _opened(path: Path, place: str, framework: str) -> Iterator[Any]:
    from safetensors import SafetensorError, safe_open

    with readable(place, "is no readable safetensors file"):
        try:
            with safe_open(path, framework=framework) as file:
                yield file
        except SafetensorError as error:
            raise ValueError(str(error)) from None


def _texts(metadata: Mapping[str, str]) -> dict[str, list[str]]:
    found = json.loads(metadata.get(_COLUMNS, "{}"))
    if not isinstance(found, dict) or not all(
        isinstance(each, list) and all(isinstance(text, str) for text in each) for each in found.values()
    ):
        raise ValueError(f"{_COLUMNS} of its metadata is no mapping of names to lists of texts")
    return found
