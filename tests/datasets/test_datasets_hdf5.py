from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from mien.datasets.formats import open_shard
from mien.datasets.hdf5 import Hdf5Config
from mien.errors import DatasetError
from sample_datasets import SIZE_PX, make_frames


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    writer = Hdf5Config().writer(path, {})
    writer.add(make_frames("a" * 32, 4, raw=True))
    writer.add(make_frames("b" * 32, 3, raw=True))
    writer.close()
    return path


def test_the_layout_is_flat_with_explicit_chunks_and_fixed_length_ids(shard: Path) -> None:
    with h5py.File(shard) as file:
        assert all(isinstance(file[name], h5py.Dataset) for name in file)
        assert file["clip_id"].dtype == np.dtype("S32")
        assert file["row_splits"][:].tolist() == [0, 4, 7]
        assert file["crop"].chunks[1:] == (SIZE_PX, SIZE_PX, 3)
        assert np.prod(file["crop"].chunks) <= 1e6
        assert file["crop"].dtype == np.uint8


def test_plain_h5py_reads_a_jpeg_by_its_splits(tmp_path: Path) -> None:
    path = tmp_path / "a.h5"
    writer = Hdf5Config().writer(path, {})
    frames = make_frames("a" * 32, 4)
    writer.add(frames)
    writer.close()
    with h5py.File(path) as file:
        begin, end = file["crop_splits"][3:5]
        assert file["crop"][begin:end].tobytes() == frames.column("crop")[3].as_py()


@pytest.mark.parametrize("compression", ["lzf", "gzip"])
def test_compression_is_of_the_builtin_kind(tmp_path: Path, compression: str) -> None:
    path = tmp_path / "a.h5"
    writer = Hdf5Config.parse({"compression": compression}, "test").writer(path, {})
    writer.add(make_frames("a" * 32, 4))
    writer.close()
    with open_shard(path) as reader:
        assert reader.num_rows == 4
    with h5py.File(path) as file:
        assert file["feature"].compression == compression


def external_link(file: h5py.File) -> None:
    file["out"] = h5py.ExternalLink("/etc/hostname", "/x")


def soft_link(file: h5py.File) -> None:
    file["out"] = h5py.SoftLink("/pts")


def external_storage(file: h5py.File) -> None:
    file.create_dataset("out", (16,), "u1", external=[("/etc/hostname", 0, 16)])


def virtual(file: h5py.File) -> None:
    layout = h5py.VirtualLayout((4,), "i8")
    layout[:] = h5py.VirtualSource("/etc/hostname", "x", (4,))
    file.create_virtual_dataset("out", layout)


def group(file: h5py.File) -> None:
    file.create_group("out")


@pytest.mark.parametrize("harm", [external_link, soft_link, external_storage, virtual, group])
def test_what_reaches_outside_the_file_is_refused(shard: Path, harm: Callable[[h5py.File], None]) -> None:
    with h5py.File(shard, "a") as file:
        harm(file)
    with pytest.raises(DatasetError, match=r"out .*refused"):
        open_shard(shard)


def test_a_foreign_hdf5_file_is_not_a_shard(tmp_path: Path) -> None:
    with h5py.File(tmp_path / "x.h5", "w") as file:
        file["numbers"] = np.arange(3)
    with pytest.raises(DatasetError, match="row_splits"):
        open_shard(tmp_path / "x.h5")
