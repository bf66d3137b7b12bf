"""Shards of strangers in Parquet: true values or one class of error, no code of theirs runs. Row 33 of SECURITY.md."""

import pickle
import subprocess
import sys
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from test_datasets_hdf5_hostile import NUM_SEEDS, assert_damage_is_noticed

from mien.datasets.formats import open_shard
from mien.datasets.parquet import ParquetConfig
from mien.errors import DatasetError
from pickle_bomb import bare
from sample_datasets import make_frames

EXTENSIONS = ["ray.data.arrow_tensor", "ray.data.arrow_tensor_v2", "ray.data.arrow_variable_shaped_tensor"]
EXTENSIONS += ["ray.data.arrow_pickled_object", "arrow.py_extension_type"]

READ = """
import sys
from pathlib import Path
import ray.data  # registers its extension types
from mien.datasets import index
from mien.datasets.formats import open_shard
from mien.errors import DatasetError
from mien.storage.uri import open_store

def read_shard(path):
    with open_shard(path) as shard:
        return [len(shard.read(column, 0, 3)) for column in shard.columns]

def read_table(path):
    return index.read_parquet(open_store(str(path.parent)), path.name).to_pylist()

for path in sorted(Path(sys.argv[1]).glob("*.parquet")):
    for read in (read_shard, read_table):
        try:
            print(path.stem, "read", len(read(path)))
        except DatasetError as error:
            print(path.stem, "refused", error)
"""


def test_a_damaged_shard_gives_its_true_values_or_an_error(tmp_path: Path) -> None:
    assert_damage_is_noticed(tmp_path / "plain", ParquetConfig(), range(NUM_SEEDS))


@pytest.mark.slow
def test_hundreds_of_damaged_shards_give_true_values_or_an_error(tmp_path: Path) -> None:
    assert_damage_is_noticed(tmp_path / "plain", ParquetConfig(), range(100, 400))


def storage(name: str, values: int, payload: bytes) -> pa.Array:
    if "object" in name or "py_extension" in name:
        return pa.array([payload] * values, pa.large_binary())
    if "variable" in name:
        rows = [{"data": [1.0], "shape": [1]}] * values
        return pa.array(rows, pa.struct([("data", pa.large_list(pa.float64())), ("shape", pa.list_(pa.int64()))]))
    item = pa.list_(pa.float64()) if "v2" not in name else pa.large_list(pa.float64())
    return pa.array([[1.0]] * values, item)


def write_with_extension(path: Path, name: str, payload: bytes) -> None:
    """A table whose column `feature` has an extension type with the payload as its metadata, or as its values."""
    frames = make_frames("a" * 32, 3).drop_columns(["feature"])
    values = storage(name, frames.num_rows, payload)
    metadata = {"ARROW:extension:name": name, "ARROW:extension:metadata": b"" if "object" in name else payload}
    pq.write_table(frames.append_column(pa.field("feature", values.type, metadata=metadata), values), path)


def test_an_extension_type_runs_no_code_in_a_shard_or_an_index(tmp_path: Path) -> None:
    for name in EXTENSIONS:
        write_with_extension(tmp_path / f"{name}.parquet", name, bare(tmp_path / f"{name}.unpickled"))
    done = subprocess.run([sys.executable, "-c", READ, tmp_path], capture_output=True, text=True, check=True)
    assert list(tmp_path.glob("*.unpickled")) == []
    outcomes = [line.split()[:2] for line in done.stdout.splitlines()]
    assert len(outcomes) == 2 * len(EXTENSIONS)
    refused = {name for name, outcome in outcomes if outcome == "refused"}
    assert {name for name in EXTENSIONS if name.startswith("ray.")} <= refused


def test_the_payload_would_have_run(tmp_path: Path) -> None:
    pickle.loads(bare(tmp_path / "unpickled"))
    assert (tmp_path / "unpickled").exists()


@pytest.mark.parametrize(
    "values",
    [pa.array([[1], [2], [3]]), pa.array([{"a": 1}] * 3), pa.array(["a", "b", "a"]).dictionary_encode()],
    ids=["list", "struct", "dictionary"],
)
def test_a_column_of_a_kind_that_mien_does_not_write_is_refused(tmp_path: Path, values: pa.Array) -> None:
    path = tmp_path / "a.parquet"
    pq.write_table(make_frames("a" * 32, 3).append_column("other", values), path)
    with pytest.raises(DatasetError, match="other is of no kind that mien writes; refused"):
        open_shard(path)


@pytest.mark.parametrize("rows", [(-1, 2), (2, 1), (0, 4), (5, 9)])
def test_rows_that_are_not_there_are_refused(tmp_path: Path, rows: tuple[int, int]) -> None:
    path = tmp_path / "a.parquet"
    writer = ParquetConfig().writer(path, {})
    writer.add(make_frames("a" * 32, 3))
    writer.close()
    with open_shard(path) as shard, pytest.raises(DatasetError, match=r"rows .* of 3"):
        shard.read("pts", *rows)
