"""Pickles where a dataset keeps its files: none runs, each is one clear error. Row 34 of SECURITY.md."""

import pickle
from pathlib import Path

import pytest
import yaml

from mien.datasets.dataset import CONFIG, Dataset, open_dataset
from mien.datasets.formats import open_shard
from mien.errors import DatasetError
from mien.storage.local import LocalStore
from pickle_bomb import WRAPPINGS, bare, in_npy, in_npz, in_yaml


@pytest.mark.parametrize("wrapping", WRAPPINGS)
@pytest.mark.parametrize("name", ["mien.json", "index.parquet", "failures.parquet", CONFIG, "shard", "commit"])
def test_a_pickle_in_the_place_of_a_file_is_refused(
    finished: Dataset, store: LocalStore, tmp_path: Path, name: str, wrapping: str
) -> None:
    mark = tmp_path / "unpickled"
    places = {"shard": finished.sample(0).row["file"], "commit": next(store.list("commits/")).name}
    place = places.get(name, name)
    store.replace(place, WRAPPINGS[wrapping](mark))
    if name == "commit":
        store.delete("mien.json")
    with pytest.raises(DatasetError) as caught:
        dataset = open_dataset(store.root, allow_unfinished=True)
        _ = dataset.config
        _ = [dataset.sample(0)[column] for column in dataset.sample(0).columns]
    assert Path(place).name in str(caught.value)
    assert str(caught.value).isprintable()
    assert not mark.exists()


@pytest.mark.parametrize("ending", ["npy", "npz", "pt", "pkl"])
def test_no_shard_has_the_ending_of_a_pickle(tmp_path: Path, ending: str) -> None:
    path, mark = tmp_path / f"shard.{ending}", tmp_path / "unpickled"
    path.write_bytes(WRAPPINGS.get(ending, bare)(mark))
    with pytest.raises(DatasetError, match="is no shard; a shard ends in"):
        open_shard(path)
    assert not mark.exists()


@pytest.mark.parametrize("text", [b"a: &x [1]\nb: *x\n", b"- 1\n", b"\xff\xfe", b"a: [" * 5000, bytes(2_000_000)])
def test_a_config_that_is_none_is_one_clear_error(finished: Dataset, store: LocalStore, text: bytes) -> None:
    store.replace(CONFIG, text)
    with pytest.raises(DatasetError, match=r"config\.yaml"):
        _ = open_dataset(store.root).crop_size_px


def test_the_bombs_go_off_where_they_are_unpickled(tmp_path: Path) -> None:
    import io

    import numpy as np

    pickle.loads(bare(tmp_path / "a"))
    np.load(io.BytesIO(in_npy(tmp_path / "b")), allow_pickle=True)
    _ = np.load(io.BytesIO(in_npz(tmp_path / "c")), allow_pickle=True)["a"]
    yaml.unsafe_load(in_yaml(tmp_path / "d"))
    assert {path.name for path in tmp_path.iterdir()} == {"a", "b", "c", "d"}
