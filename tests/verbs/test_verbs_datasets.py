"""Verbs that read and prove a dataset, as a person types them."""

import json
from pathlib import Path
from typing import Any

import pytest

from command_line import assert_refused
from mien.datasets.dataset import Dataset
from mien.datasets.parquet import ParquetConfig
from mien.storage.local import LocalStore


@pytest.fixture
def dataset(tmp_path: Path, put_finished: Any) -> Dataset:
    return put_finished(LocalStore(tmp_path / "dataset"), ParquetConfig())


def test_without_json_a_person_reads_the_same(run: Any, dataset: Dataset) -> None:
    ended = run("inspect", dataset.uri)
    assert ended.code == 0
    assert "num_samples" in ended.out
    with pytest.raises(json.JSONDecodeError):
        json.loads(ended.out)


@pytest.mark.parametrize("verb", ["inspect", "head", "status", "verify"])
def test_what_is_no_dataset_is_told(run: Any, verb: str, tmp_path: Path) -> None:
    for place in (tmp_path, tmp_path / "absent", Path(__file__)):
        assert_refused(run(verb, place), 1, f"{place}: is not a dataset of mien")


def test_verify_ends_with_1_and_names_what_is_damaged(run: Any, dataset: Dataset) -> None:
    name = dataset.index.column("file")[0].as_py()
    shard = Path(dataset.uri) / name
    damaged = bytearray(shard.read_bytes())
    damaged[len(damaged) // 2] ^= 255
    shard.write_bytes(damaged)
    ended = run("verify", dataset.uri, "--json")
    assert ended.code == 1
    assert not json.loads(ended.out)["ok"]
    assert [problem for problem in json.loads(ended.out)["problems"] if problem.startswith(name)]
    assert len(ended.complaints) == 1
