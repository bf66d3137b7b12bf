"""Shards of strangers in HDF5: refused by one class of error, nothing outside opened. Row 32 of SECURITY.md."""

from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pytest

from canary import SECRET, watched
from mien.datasets.dataset import Dataset, open_dataset
from mien.datasets.formats import open_shard
from mien.datasets.frames import checksum
from mien.datasets.hdf5 import Hdf5Config
from mien.errors import DatasetError
from mien.storage.local import LocalStore
from peak_memory import run_measured
from sample_datasets import make_finished, make_frames

NUM_SEEDS = 60


@pytest.fixture
def shard(tmp_path: Path) -> Path:
    path = tmp_path / "a.h5"
    writer = Hdf5Config().writer(path, {})
    writer.add(make_frames("a" * 32, 4))
    writer.close()
    return path


def link_away(file: h5py.File, canary: Path) -> None:
    file["box2"] = h5py.ExternalLink(str(canary), "/x")


def column_away(file: h5py.File, canary: Path) -> None:
    del file["pts"]
    file["pts"] = h5py.ExternalLink(str(canary), "/x")


def soft_link(file: h5py.File, canary: Path) -> None:
    file["box2"] = h5py.SoftLink("/pts")


def dangling(file: h5py.File, canary: Path) -> None:
    file["box2"] = h5py.SoftLink(f"../../{canary.name}")


def raw_storage(file: h5py.File, canary: Path) -> None:
    del file["score"]
    file.create_dataset("score", (4,), "u1", external=[(str(canary), 0, 4)])


def virtual(file: h5py.File, canary: Path) -> None:
    layout = h5py.VirtualLayout((4,), "i8")
    layout[:] = h5py.VirtualSource(str(canary), "x", (4,))
    file.create_virtual_dataset("box2", layout)


def virtual_without_end(file: h5py.File, canary: Path) -> None:
    layout = h5py.VirtualLayout((4,), "i8", maxshape=(None,))
    source = h5py.VirtualSource(str(canary), "x", (4,), maxshape=(None,))
    layout[: h5py.h5s.UNLIMITED] = source[: h5py.h5s.UNLIMITED]
    file.create_virtual_dataset("box2", layout)


def group_with_link(file: h5py.File, canary: Path) -> None:
    file.create_group("deep")["box2"] = h5py.ExternalLink(str(canary), "/x")


def the_root_itself(file: h5py.File, canary: Path) -> None:
    file["box2"] = file["/"]


def huge(file: h5py.File, canary: Path) -> None:
    """400 GB in one column, and a shard that agrees."""
    for name in [name for name in file if name != "samples"]:
        del file[name]
    file["row_splits"] = np.array([0, 50_000_000_000])
    file.create_dataset("time_s", (50_000_000_000,), "f8", chunks=(1 << 20,))


def huge_without_chunks(file: h5py.File, canary: Path) -> None:
    huge(file, canary)
    del file["time_s"]
    file.create_dataset("time_s", (50_000_000_000,), "f8")


def huge_chunks(file: h5py.File, canary: Path) -> None:
    del file["time_s"]
    column = file.create_dataset("time_s", (260 << 20,), "u1", chunks=(130 << 20,), compression="lzf")
    column[:16] = 1


def huge_row_splits(file: h5py.File, canary: Path) -> None:
    del file["row_splits"]
    file.create_dataset("row_splits", (50_000_000_000,), "i8", chunks=(1 << 20,))


def foreign_filter(file: h5py.File, canary: Path) -> None:
    properties = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
    properties.set_chunk((4,))
    properties.set_filter(32_015, h5py.h5z.FLAG_OPTIONAL, (3,))
    space = h5py.h5s.create_simple((4,))
    h5py.h5d.create(file.id, b"box2", h5py.h5t.NATIVE_INT64, space, properties)


def texts_of_any_length(file: h5py.File, canary: Path) -> None:
    file.create_dataset("box2", data=["a", "b"], dtype=h5py.string_dtype())


def references(file: h5py.File, canary: Path) -> None:
    file.create_dataset("box2", (2,), dtype=h5py.ref_dtype)


def opaque(file: h5py.File, canary: Path) -> None:
    file.create_dataset("box2", data=np.void(b"\x80\x04cos\nsystem\n."))


def compound(file: h5py.File, canary: Path) -> None:
    file.create_dataset("box2", (2,), dtype=[("a", "i4"), ("b", "f8")])


def named_type(file: h5py.File, canary: Path) -> None:
    file["box2"] = np.dtype("f8")


def crowd(file: h5py.File, canary: Path) -> None:
    for number in range(200):
        file[f"column_{number}"] = [1]


def short_column(file: h5py.File, canary: Path) -> None:
    file["time_s"].resize(3, axis=0)


def endless_rows(file: h5py.File, canary: Path) -> None:
    file["row_splits"][-1] = 1 << 60


HARM = [
    *(link_away, column_away, soft_link, dangling, raw_storage, virtual, virtual_without_end, group_with_link),
    *(the_root_itself, huge, huge_without_chunks, huge_chunks, huge_row_splits, foreign_filter, texts_of_any_length),
    *(references, opaque, compound, named_type, crowd, short_column, endless_rows),
]


@pytest.mark.parametrize("harm", HARM, ids=lambda harm: harm.__name__)
def test_a_shard_that_reaches_out_or_claims_too_much_is_refused(
    shard: Path, tmp_path: Path, harm: Callable[[h5py.File, Path], None]
) -> None:
    with h5py.File(tmp_path / "target.h5", "w") as target:
        target["x"] = np.frombuffer(SECRET[:8], "i8").repeat(4)
    with watched(tmp_path / "canary.h5", (tmp_path / "target.h5").read_bytes()) as canary:
        with h5py.File(shard, "a") as file:
            harm(file, canary.path)
        canary.num_openings()
        with pytest.raises(DatasetError) as caught:
            open_shard(shard)
        assert canary.num_openings() == 0
        assert str(caught.value).startswith(f"{shard}: ")
        assert str(caught.value).isprintable()


READ = """
import sys
from pathlib import Path
from mien.datasets.formats import open_shard
from mien.errors import DatasetError
before = peak_mb()
try:
    open_shard(Path(sys.argv[1])).read("time_s", 0, 4)
except DatasetError as error:
    print(peak_mb() - before, error)
"""


@pytest.mark.parametrize("harm", [huge, huge_chunks], ids=lambda harm: harm.__name__)
def test_a_huge_claim_costs_no_memory(shard: Path, harm: Callable[[h5py.File, Path], None]) -> None:
    with h5py.File(shard, "a") as file:
        harm(file, shard)
    growth_mb, _, message = run_measured(READ, shard)[0].partition(" ")
    assert "time_s" in message
    assert int(growth_mb) < 64


def damaged(data: bytes, seed: int) -> bytes:
    """A third of the seeds cut the file, the others turn 1 to 16 bits, half of them in the first 8 KB."""
    rng = np.random.default_rng(seed)
    if seed % 3 == 0:
        return data[: int(rng.integers(1, len(data)))]
    turned = bytearray(data)
    for at in rng.integers(0, len(data) if seed % 2 else 8192, int(rng.integers(1, 17))):
        turned[at] ^= 1 << int(rng.integers(8))
    return bytes(turned)


def truth(dataset: Dataset) -> dict[tuple[str, str], str]:
    return {(s.clip_id, name): checksum(s[name]) for s in dataset for name in s.columns}


def outcome(dataset: Dataset, expected: dict[tuple[str, str], str]) -> set[str]:
    """Read every value that the index names: each is the true one, or a DatasetError."""
    seen = set[str]()
    for sample in dataset:
        for name in {column for clip_id, column in expected if clip_id == sample.clip_id}:
            try:
                assert checksum(sample[name]) == expected[sample.clip_id, name], "a wrong value was accepted"
                seen.add("true")
            except (DatasetError, KeyError):  # KeyError: the damaged file does not have the column any more
                seen.add("refused")
    return seen


def assert_damage_is_noticed(place: Path, format_config: Hdf5Config, seeds: range) -> None:
    dataset = make_finished(LocalStore(place), format_config)
    expected = truth(dataset)
    dataset.close()
    (path,) = {place / str(row["file"]) for row in dataset.index.to_pylist() if row["clip_id"] == dataset.clip_ids[0]}
    data = path.read_bytes()
    seen = set[str]()
    for seed in seeds:
        path.write_bytes(damaged(data, seed))
        opened = open_dataset(place)
        seen |= outcome(opened, expected)
        opened.close()
    assert seen == {"true", "refused"}


def test_a_damaged_shard_gives_its_true_values_or_an_error(tmp_path: Path) -> None:
    assert_damage_is_noticed(tmp_path / "plain", Hdf5Config(), range(NUM_SEEDS))


@pytest.mark.slow
@pytest.mark.parametrize("compression", ["none", "gzip", "lzf"])
def test_hundreds_of_damaged_shards_give_true_values_or_an_error(tmp_path: Path, compression: str) -> None:
    config = Hdf5Config.parse({"compression": compression}, "test")
    assert_damage_is_noticed(tmp_path / compression, config, range(100, 400))
