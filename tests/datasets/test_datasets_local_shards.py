"""Shards as mapped arrays against the columns that the dataset reads, in a folder that crashes and fills up."""

import threading
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from mien.datasets.dataset import Dataset
from mien.datasets.local_shards import LocalShards
from mien.errors import DatasetError, NoSpace
from mien.storage.local import LocalStore
from sample_datasets import SIZE_PX, make_finished

COLUMNS = ("face", "feature", "crop")


def shards_of(dataset: Dataset) -> list[str]:
    return list(dict.fromkeys(dataset.index_file.column("file").to_pylist()))


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Where the arrays go."""
    return tmp_path / "arrays"


def test_rows_are_those_of_the_samples(finished: Dataset, folder: Path) -> None:
    local = LocalShards(finished, COLUMNS, folder, 1e9)
    for sample in finished:
        rows, span = local.rows(sample.row["file"]), slice(sample.row["row_start"], sample.row["row_stop"])
        np.testing.assert_array_equal(rows["face"][span], sample["face"])
        np.testing.assert_array_equal(rows["feature"][span], sample["feature"])
        np.testing.assert_array_equal(rows["crop"][span], sample.crops())
        assert rows["crop"].shape[1:] == (SIZE_PX, SIZE_PX, 3)
        assert isinstance(rows["feature"], np.memmap)
        assert not rows["feature"].flags.writeable


def test_an_array_is_made_once_and_found_again(finished: Dataset, folder: Path) -> None:
    shard = shards_of(finished)[0]
    LocalShards(finished, COLUMNS, folder, 1e9).rows(shard)
    made = {path.name: path.stat().st_ino for path in folder.glob("*.npy")}
    assert len(made) == len(COLUMNS)
    LocalShards(finished, COLUMNS, folder, 1e9).rows(shard)
    assert {path.name: path.stat().st_ino for path in folder.glob("*.npy")} == made


@pytest.mark.parametrize("size", [0, 3, 60, 135])
def test_what_a_crash_left_half_is_made_again(finished: Dataset, folder: Path, size: int) -> None:
    sample = finished.sample(0)
    LocalShards(finished, COLUMNS, folder, 1e9).rows(sample.row["file"])
    for path in folder.glob("*.npy"):
        path.write_bytes(path.read_bytes()[:size])
        path.with_suffix(".draft").write_bytes(b"of a killed process")
    rows = LocalShards(finished, COLUMNS, folder, 1e9).rows(sample.row["file"])
    np.testing.assert_array_equal(rows["feature"][: len(sample)], sample["feature"])
    np.testing.assert_array_equal(rows["crop"][: len(sample)], sample.crops())
    assert not [*folder.glob("*.draft")]


def test_a_pickle_among_the_arrays_is_not_opened(finished: Dataset, folder: Path, tmp_path: Path) -> None:
    from pickle_bomb import in_npy

    shard = shards_of(finished)[0]
    LocalShards(finished, COLUMNS, folder, 1e9).rows(shard)
    for path in folder.glob("*.npy"):
        path.write_bytes(in_npy(tmp_path / "mark"))
    LocalShards(finished, COLUMNS, folder, 1e9).rows(shard)
    assert not (tmp_path / "mark").exists()


def test_the_least_recently_used_go_when_the_folder_is_full(finished: Dataset, folder: Path) -> None:
    one, other = shards_of(finished)
    LocalShards(finished, COLUMNS, folder, 1e9).rows(one)
    before = {path.name for path in folder.glob("*.npy")}
    local = LocalShards(finished, COLUMNS, folder, 1)
    rows = local.rows(other)
    assert not before & {path.name for path in folder.glob("*.npy")}
    assert len([*folder.glob("*.npy")]) == len(COLUMNS), "what is in use may pass the size"
    local.rows(one)
    sample = next(sample for sample in finished if sample.row["file"] == other)
    np.testing.assert_array_equal(rows["feature"], sample["feature"], "what is mapped can be read on")


def test_processes_and_threads_that_want_the_same_room_do_not_disturb_each_other(
    finished: Dataset, folder: Path
) -> None:
    expected = {sample.row["file"]: len(sample) for sample in finished}
    failures = []

    def read() -> None:
        own = Dataset(finished.store)
        for _ in range(5):
            local = LocalShards(own, ("face", "feature"), folder, 1)
            for shard in shards_of(own):
                try:
                    assert len(local.rows(shard)["feature"]) >= expected[shard]
                except Exception as error:  # noqa: BLE001  looked at by the test
                    failures.append(error)
        own.close()

    threads = [threading.Thread(target=read) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []


def test_a_column_that_is_not_there_or_has_no_size_is_refused(finished: Dataset, folder: Path) -> None:
    shard = shards_of(finished)[0]
    with pytest.raises(DatasetError, match="has no column blendshapes"):
        LocalShards(finished, ("blendshapes",), folder, 1e9).rows(shard)
    with pytest.raises(ValueError, match="thumb: has values of variable length"):
        LocalShards(finished, ("thumb",), folder, 1e9).rows(shard)
    assert not [*folder.glob("*.npy")]
    assert not [*folder.glob("*.draft")]


def test_a_damaged_sample_is_told_and_no_array_of_it_stays(finished: Dataset, folder: Path) -> None:
    shard = shards_of(finished)[1]
    other = finished.store.fetch(shards_of(finished)[0]).read_bytes()
    finished.store.fetch(shard).write_bytes(other)  # sound, but not what the index has the sums of
    with pytest.raises(DatasetError, match="is damaged"):
        LocalShards(finished, ("feature", "crop"), folder, 1e9).rows(shard)
    assert not [*folder.glob("*.npy")]


def test_a_full_disk_is_told_and_what_was_made_stays(store: LocalStore, small_disk: Callable[[str], Path]) -> None:
    from mien.datasets.parquet import ParquetConfig

    dataset = make_finished(store, ParquetConfig())
    disk = small_disk("size=48k")  # two shards of crops need 37 and 18 kB
    local = LocalShards(dataset, ("crop",), disk / "arrays", 1e9)
    one, other = shards_of(dataset)
    local.rows(one)
    with pytest.raises(NoSpace, match="no space left on the disk; free some"):
        local.rows(other)
    assert len([*(disk / "arrays").glob("*.npy")]) == 1
    assert not [*(disk / "arrays").glob("*.draft")]
    small_disk("size=1m")
    assert len(local.rows(other)["crop"]) == 6
