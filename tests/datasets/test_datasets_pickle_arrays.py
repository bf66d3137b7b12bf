"""Files of the first tools, as NumPy and torch pickle them; a pickle that would run is refused, and did not run."""

import io
import pickle
from argparse import Namespace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from mien.datasets.array_file import read_arrays
from mien.errors import DatasetError
from pickle_bomb import WRAPPINGS, Bomb

BEFORE = np.random.default_rng(0).normal(size=(4, 3)).astype(np.float32)
TEXT = np.asfortranarray(np.random.default_rng(1).normal(size=(2, 3)))
METADATA = [{"image_id": f"i{row // 2}.jpg", "pair_idx": row % 2, "gt_hoi": [1, 2]} for row in range(4)]
FILE = {"visual_before": BEFORE, "visual_after": None, "text_adapted": TEXT, "metadata": METADATA, "config": {"a": 1}}
TENSORS = {**FILE, "visual_before": torch.from_numpy(BEFORE), "text_adapted": torch.from_numpy(np.array(TEXT))}


def everything(path: Path, data: bytes) -> dict[str, Any]:
    path.write_bytes(data)
    return read_arrays(str(path), list)


def saved(content: Any, is_zip: bool) -> bytes:
    file = io.BytesIO()
    torch.save(content, file, _use_new_zipfile_serialization=is_zip)
    return file.getvalue()


def require_file(found: dict[str, Any]) -> None:
    assert found.keys() == {"visual_before", "text_adapted", "image_id", "visual_names"}
    assert np.array_equal(found["visual_before"], BEFORE)
    assert found["text_adapted"] == pytest.approx(TEXT, abs=1e-7)
    assert found["image_id"] == ["i0.jpg", "i0.jpg", "i1.jpg", "i1.jpg"]
    assert found["visual_names"] == ["i0.jpg#0", "i0.jpg#1", "i1.jpg#0", "i1.jpg#1"]


@pytest.mark.parametrize("protocol", range(6))
def test_arrays_of_numpy(tmp_path: Path, protocol: int) -> None:
    require_file(everything(tmp_path / "a.pkl", pickle.dumps(FILE, protocol)))


@pytest.mark.parametrize(
    "data", [pickle.dumps(TENSORS, 2), pickle.dumps(TENSORS, 4), saved(TENSORS, True), saved(TENSORS, False)]
)
def test_tensors_of_torch(tmp_path: Path, data: bytes) -> None:
    require_file(everything(tmp_path / "a.pt", data))


def test_parts_of_a_tensor(tmp_path: Path) -> None:
    whole = torch.arange(24.0).view(4, 6)
    found = everything(tmp_path / "a.pkl", pickle.dumps({"turned": whole.T, "part": whole[1:3, ::2]}))
    assert np.array_equal(found["turned"], whole.T.numpy())
    assert np.array_equal(found["part"], whole[1:3, ::2].numpy())


@pytest.mark.parametrize("kind", [np.float16, np.float32, np.float64, ">f4", np.int64, np.uint8, bool])
def test_every_kind_of_number(tmp_path: Path, kind: Any) -> None:
    array = np.arange(24).reshape(2, 3, 4).astype(kind)
    for protocol in (2, 5):
        found = everything(tmp_path / "a.pkl", pickle.dumps({"x": array, "y": array[:, ::2]}, protocol))
        assert np.array_equal(found["x"], array)
        assert np.array_equal(found["y"], array[:, ::2])


def test_without_metadata_rows_have_numbers_and_a_namespace_is_passed_over(tmp_path: Path) -> None:
    found = everything(tmp_path / "a.pkl", pickle.dumps({**FILE, "metadata": [], "config": {"args": Namespace(a=1)}}))
    assert found["image_id"] == ["0", "1", "2", "3"]
    odd = [{"image_id": [1], "pair_idx": None}] * 4
    found = everything(tmp_path / "a.pkl", pickle.dumps({**FILE, "metadata": odd}))
    assert found["visual_names"] == ["0#0", "1#0", "2#0", "3#0"]


@pytest.mark.parametrize("wrapping", ["pickle", "pt"])
@pytest.mark.parametrize("suffix", ["pkl", "pickle", "pt", "pth"])
def test_a_bomb_is_refused_and_not_run(tmp_path: Path, wrapping: str, suffix: str) -> None:
    mark = tmp_path / "ran"
    with pytest.raises(DatasetError, match="holds more than arrays and plain values") as raised:
        everything(tmp_path / f"a.{suffix}", WRAPPINGS[wrapping](mark))
    assert "\n" not in str(raised.value)
    inside = {**FILE, "visual_before": Bomb(mark)}
    with pytest.raises(DatasetError, match=r"it names \w+\.mkdir, which only code could make"):
        everything(tmp_path / "b.pkl", pickle.dumps(inside))
    assert not mark.exists()


def test_a_bomb_in_the_storage_of_a_tensor(tmp_path: Path) -> None:
    mark = tmp_path / "ran"

    class Tensor:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return torch._utils._rebuild_tensor_v2, (Storage(), 0, (2,), (1,), False, {})

    class Storage:
        def __reduce__(self) -> tuple[Any, tuple[Any, ...]]:
            return torch.storage._load_from_bytes, (WRAPPINGS["pickle"](mark),)

    with pytest.raises(DatasetError, match="torch's restricted reader refuses it"):
        everything(tmp_path / "a.pkl", pickle.dumps({"x": Tensor()}))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("content", "message"),
    [
        ({"x": np.array([None, 1], object)}, "holds other things than numbers"),
        ({"x": np.array(["a", "b"])}, "holds other things than numbers"),
        ({"x": torch.arange(3.0).expand(2, 3)}, "a tensor has more numbers than its storage"),
        ([BEFORE], "it holds a list, not a mapping"),
        ({"x": Namespace(a=1)}, "it names argparse.Namespace"),
    ],
)
def test_what_is_no_array_of_numbers(tmp_path: Path, content: Any, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        everything(tmp_path / "a.pkl", pickle.dumps(content))


def test_a_shape_that_its_bytes_do_not_fill(tmp_path: Path) -> None:
    whole = pickle.dumps({"x": BEFORE}, 4)
    assert whole.count(b"K\x04K\x03\x86") == 1
    for shape in (b"K\x04K\xff\x86", b"K\x04N\x86", b"K\x04J\xff\xff\xff\xff\x86"):
        with pytest.raises(DatasetError, match=r"has not as many bytes|has no shape"):
            everything(tmp_path / "a.pkl", whole.replace(b"K\x04K\x03\x86", shape))


@pytest.mark.parametrize("data", [pickle.dumps(FILE, 4), saved(TENSORS, True)], ids=["pickle", "zip"])
def test_a_damaged_file_is_one_line_or_reads_as_something_else(tmp_path: Path, data: bytes) -> None:
    for size in (0, 1, 20, len(data) // 2, len(data) - 1):
        assert "\n" not in reason(tmp_path / "a.pkl", data[:size])
    for place in np.random.default_rng(0).integers(len(data), size=200):
        turned = data[:place] + bytes([data[place] ^ 0xFF]) + data[place + 1 :]
        assert "\n" not in reason(tmp_path / "a.pkl", turned)


def reason(path: Path, data: bytes) -> str:
    """Why it is refused; empty if it is not."""
    try:
        everything(path, data)
    except DatasetError as error:
        return str(error)
    return ""
