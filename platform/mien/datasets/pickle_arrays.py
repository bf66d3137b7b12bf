"""Embeddings that the first tools stored as pickles: arrays and plain values alone, read without running anything.

A file of `torch.save` is read by torch's own restricted reader; one of `pickle.dump` by `pickle_data`. What is neither
an array of numbers nor a plain value is refused.
"""

import io
import math
import re
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from mien.datasets import pickle_data
from mien.datasets.pickle_data import Call
from mien.datasets.shard import readable
from mien.errors import DatasetError

BEFORE, TEXT = "visual_before", "text_adapted"
"""Arrays of the first tool."""
NAMES, IMAGES = "visual_names", "image_id"
"""What its metadata say of each row."""

CONVERT = 'convert it where you trust it: numpy.savez("arrays.npz", NAME=ARRAY)'
_MAX_BYTES = _MAX_SIDE = 2**31
_MAX_AXES = 8
_ZIP, _TORCH_MAGIC = b"PK", 0x1950A86A20F9469CFC6C
_KIND = re.compile("[biuf][1248]")


def read(path: Path, place: str, chosen: Callable[[Sequence[str]], list[str]]) -> dict[str, Any]:
    """Arrays and lists of texts of a mapping; of the first tool's files also names and images of the rows.

    Args:
        path: The file, on this disk.
        place: What messages call it.
        chosen: Given all names, those that are read.

    Raises:
        DatasetError: It is damaged, holds what only code could make, or is no mapping.
    """
    if path.stat().st_size > _MAX_BYTES:
        raise DatasetError(f"{place}: is larger than {_MAX_BYTES} bytes, too large for a pickle; {CONVERT}")
    with readable(place, f"is damaged, or holds more than arrays and plain values ({CONVERT})"):
        content = _content(path.read_bytes())
        if not isinstance(content, dict):
            raise TypeError(f"it holds a {type(content).__name__}, not a mapping of names to arrays")
        columns = {str(key): value for key, value in content.items()} | _of_metadata(content)
        values = {name: _column(value) for name, value in columns.items()}
        there = {name: value for name, value in values.items() if value is not None}
        return {name: there[name] for name in chosen([*there])}


def _content(data: bytes) -> Any:
    found = None if data.startswith(_ZIP) else pickle_data.parse(data)
    return found if found is not None and found != _TORCH_MAGIC else _torch(data)


def _torch(data: bytes) -> Any:
    import torch

    try:
        return torch.load(io.BytesIO(data), map_location="cpu", weights_only=True)
    except Exception as error:  # noqa: BLE001  a damaged file fails in torch, in zip or in its unpickler
        raise ValueError(f"torch's restricted reader refuses it ({type(error).__name__})") from None


def _of_metadata(content: dict[Any, Any]) -> dict[str, Any]:
    """Names and images of the rows, where each row has its entry."""
    before, metadata = _column(content.get(BEFORE)), content.get("metadata")
    if not isinstance(before, np.ndarray):
        return {}
    num = len(before)
    if not isinstance(metadata, list) or len(metadata) != num or not all(isinstance(one, dict) for one in metadata):
        metadata = [{IMAGES: number} for number in range(num)]
    images = [_text(one.get(IMAGES), number) for number, one in enumerate(metadata)]
    pairs = [_text(one.get("pair_idx"), 0) for one in metadata]
    return {IMAGES: images, NAMES: [f"{image}#{pair}" for image, pair in zip(images, pairs, strict=True)]}


def _text(value: Any, default: int) -> str:
    return str(value if isinstance(value, str | int) else default)


def _column(value: Any) -> Any:
    """An array, or a list of texts and numbers; None for all else."""
    if isinstance(value, Call):
        return _made(value)
    if isinstance(value, list):
        return value if value and all(isinstance(one, str | int | float) for one in value) else None
    numpy = getattr(value, "numpy", None)
    return None if numpy is None else np.asarray(value.detach().float() if value.is_floating_point() else value)


def _made(call: Call) -> np.ndarray:
    """What a call stands for.

    Raises:
        ValueError: It is none of those that make arrays.
    """
    known = _MAKERS.get(call.name.text.replace("numpy.core.", "numpy._core."))
    if known is None:
        raise ValueError(f"it names {call.name.text:.100}, which only code could make")
    return known(call)


def _dtype(value: Any) -> np.dtype[Any]:
    if not isinstance(value, Call) or value.name.text != "numpy.dtype" or not isinstance(value.state, tuple):
        raise ValueError("an array has no type")
    kind, order = value.arguments[0], value.state[1]
    if not isinstance(kind, str) or not _KIND.fullmatch(kind) or order not in ("<", ">", "|", "="):
        raise ValueError("an array holds other things than numbers")
    found: np.dtype[Any] = np.dtype(order + kind)
    return found


def _size(shape: Any) -> int:
    """How many numbers."""
    is_shape = isinstance(shape, tuple) and len(shape) <= _MAX_AXES
    if not is_shape or not all(isinstance(side, int) and 0 <= side < _MAX_SIDE for side in shape):
        raise ValueError("an array has no shape")
    return math.prod(shape)


def _array(data: Any, kind: np.dtype[Any], shape: Any, order: str) -> np.ndarray:
    data = _bytes(data)
    if len(data) != kind.itemsize * _size(shape):
        raise ValueError("an array has not as many bytes as its shape says")
    return np.frombuffer(data, kind).reshape(shape, order="F" if order == "F" else "C")


def _of_state(call: Call) -> np.ndarray:
    _, shape, kind, is_fortran, data = call.state
    return _array(data, _dtype(kind), shape, "F" if is_fortran is True else "C")


def _of_buffer(call: Call) -> np.ndarray:
    data, kind, shape, order = call.arguments
    return _array(data, _dtype(kind), shape, order)


def _bytes(value: Any) -> bytes:
    """Bytes as they are, or as the call by which old protocols tell them from texts."""
    if isinstance(value, bytes | bytearray):
        return bytes(value)
    if not isinstance(value, Call) or value.name.text != "_codecs.encode" or not isinstance(value.arguments[0], str):
        raise ValueError("an array has no bytes")
    return value.arguments[0].encode("latin1")


def _tensor(call: Call) -> np.ndarray:
    """Of torch; its storage is a file of torch within the file."""
    import torch

    storage, offset, shape, stride = call.arguments[:4]
    if not isinstance(storage, Call) or storage.name.text != "torch.storage._load_from_bytes":
        raise ValueError("a tensor has no storage")
    with warnings.catch_warnings(action="ignore"):  # torch deprecates storages with a type, which old files hold
        found = _torch(_bytes(storage.arguments[0]))
        flat = torch.empty(0, dtype=found.dtype).set_(found).float()
    if _size(shape) > len(flat):
        raise ValueError("a tensor has more numbers than its storage")
    return np.ascontiguousarray(torch.as_strided(flat, shape, stride, offset).numpy())


_MAKERS: dict[str, Callable[[Call], np.ndarray]] = {
    "numpy._core.multiarray._reconstruct": _of_state,
    "numpy._core.numeric._frombuffer": _of_buffer,
    "torch._utils._rebuild_tensor_v2": _tensor,
}
