"""Tensors and the texts beside them: ours, those of others, and what was damaged on its way."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import safetensors.numpy
import safetensors.torch
import torch

from mien.datasets import tensor_file
from mien.datasets.array_file import read_arrays
from mien.datasets.embeddings import ColumnsConfig, read_rows
from mien.errors import ConfigError, DatasetError

VALUES = np.random.default_rng(0).normal(size=(5, 3)).astype(np.float32)


def everything(path: Path) -> dict[str, Any]:
    return read_arrays(str(path), list)


def written(folder: Path, metadata: dict[str, str] | None = None, **tensors: Any) -> Path:
    path = folder / "a.safetensors"
    path.write_bytes(safetensors.numpy.save({"embeddings": VALUES, **tensors}, metadata))
    return path


def test_what_is_written_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "a.safetensors"
    path.write_bytes(tensor_file.content({"x": VALUES[:, ::2]}, {"names": ["é", "b\n"]}, {"seed": 3}))
    found = everything(path)
    assert np.array_equal(found["x"], VALUES[:, ::2])
    assert found["names"] == ["é", "b\n"]
    assert tensor_file.about(path, "a") == {"seed": 3}


def test_files_of_others(tmp_path: Path) -> None:
    path = written(tmp_path, {"format": "np"}, count=np.arange(5))
    assert tensor_file.about(path, "a") is None
    found = read_rows(str(path), ColumnsConfig())
    assert np.array_equal(found.values, VALUES)
    assert (found.names[2], found.labels) == ("row 2", None)
    with pytest.raises(ConfigError, match="has no column tokens, only count, embeddings"):
        read_rows(str(path), ColumnsConfig(column="tokens"))
    half = torch.from_numpy(VALUES).bfloat16()
    path.write_bytes(safetensors.torch.save({"embeddings": half}))
    found = read_rows(str(path), ColumnsConfig())
    assert np.array_equal(found.values, half.float().numpy())


@pytest.mark.parametrize(
    ("columns", "message"),
    [
        ("[1]", "no mapping of names to lists"),
        (json.dumps({"names": [1] * 5}), "no mapping of names to lists"),
        ("{", "is no readable safetensors file"),
        (json.dumps({"names": ["a"]}), "names has 1 rows, not 5"),
    ],
)
def test_texts_that_do_not_fit(tmp_path: Path, columns: str, message: str) -> None:
    with pytest.raises(DatasetError, match=message) as raised:
        read_rows(str(written(tmp_path, {"columns": columns})), ColumnsConfig())
    assert "\n" not in str(raised.value)


def test_a_damaged_file_is_one_line_or_reads_as_something_else(tmp_path: Path) -> None:
    path = written(tmp_path, {"columns": json.dumps({"names": [*"abcde"]})})
    whole = path.read_bytes()
    for size in (0, 5, len(whole) // 2, len(whole) - 1):
        path.write_bytes(whole[:size])
        with pytest.raises(DatasetError, match="is no readable safetensors file"):
            everything(path)
    for place in range(len(whole)):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0xFF]) + whole[place + 1 :])
        assert "\n" not in reason(path)


def reason(path: Path) -> str:
    """Why it is refused; empty if it is not."""
    try:
        everything(path)
    except DatasetError as error:
        return str(error)
    return ""


def test_more_texts_than_a_reader_takes() -> None:
    with pytest.raises(DatasetError, match="too many for its header; take Parquet"):
        tensor_file.content({"x": VALUES}, {"names": ["x" * 91_000_000]}, {})
