"""An erasure that is killed ahead of each of its writes, and readers who are overtaken by one."""

import json
import shutil
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import mien.datasets
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import Dataset
from mien.datasets.forget import forget
from mien.datasets.formats import FormatConfig
from mien.datasets.hdf5 import Hdf5Config
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish, require_settled
from mien.datasets.verify import verify
from mien.errors import DatasetError
from mien.storage.local import LocalStore
from people import ADAEZE, BERTILLE, CSONGOR, PICTURES, assert_clean, clip_of, make_people, rows, traces
from sample_datasets import PROVENANCE


class Killed(BaseException):
    """The end of the process, which nothing catches."""


class Mortal(LocalStore):
    """Calls `before` ahead of each write or delete, with its number."""

    def __init__(self, root: Path, before: Callable[[int], None]) -> None:
        super().__init__(root)
        self._before, self.num_writes = before, 0

    def _count(self) -> None:
        self._before(self.num_writes)
        self.num_writes += 1

    def put_new(self, name: str, data: bytes) -> None:
        self._count()
        super().put_new(name, data)

    def replace(self, name: str, data: bytes) -> None:
        self._count()
        super().replace(name, data)

    def replace_file(self, path: Path, name: str) -> None:
        self._count()
        super().replace_file(path, name)

    def publish(self, path: Path, name: str) -> None:
        self._count()
        super().publish(path, name)

    def delete(self, name: str) -> None:
        self._count()
        super().delete(name)

    def clear_scratch(self) -> None:
        self._count()
        super().clear_scratch()


def state(store: LocalStore) -> dict[str, Any]:
    """Everything but random names and times."""
    dataset = mien.datasets.open(store.root)
    records = [json.loads(store.read(entry.name)) for entry in store.list("audit/")]
    facts = [{key: value for key, value in record.items() if key != "started_at"} for record in records]
    shards = [json.loads(store.read(entry.name)) for entry in store.list("commits/")]
    return {
        "rows": rows(dataset),
        "failures": dataset.failures.to_pylist(),
        "plan": [part.to_pylist() for part in index.read_plan(store)],
        "audit": facts,
        "shards": [(len(shard["files"]), len(shard["samples"]), len(shard["failures"])) for shard in shards],
        "kinds": Counter(entry.name.partition("/")[0] for entry in store.list()),
        "pictures": [store.read(name) for name in (*PICTURES, "README.md")],
    }


View = tuple[list[dict[str, Any]], list[dict[str, Any]]]


def view(root: Path) -> View:
    """What a reader gets who opens the dataset now."""
    dataset = mien.datasets.open(root)
    return rows(dataset), dataset.failures.to_pylist()


def kill_at(number: int) -> Callable[[int], None]:
    def before(count: int) -> None:
        if count == number:
            raise Killed

    return before


@pytest.mark.parametrize(
    "kind", [ParquetConfig(), pytest.param(Hdf5Config(chunk_mb=0.01), marks=pytest.mark.slow)], ids=["parquet", "hdf5"]
)
def test_readers_see_the_old_dataset_or_the_new_one_and_a_killed_run_is_finished_by_the_next(
    kind: FormatConfig, tmp_path: Path
) -> None:
    base = LocalStore(tmp_path / "base")
    make_people(base, kind)
    publish(base, CardConfig(), PreviewConfig(max_clips=1, num_columns=1), PROVENANCE)

    def fresh(name: str) -> Path:
        return shutil.copytree(base.root, tmp_path / name)

    whole, seen = fresh("whole"), list[View]()
    old = view(whole)
    counted = Mortal(whole, lambda _: seen.append(view(whole)))
    forget(counted, BERTILLE)
    new = view(whole)
    switched = seen.index(new)
    assert seen == [old] * switched + [new] * (counted.num_writes - switched)
    assert 0 < switched < counted.num_writes
    undisturbed = state(LocalStore(whole))
    for number in range(counted.num_writes):
        store = LocalStore(fresh(f"killed-{number}"))
        with pytest.raises(Killed):
            forget(Mortal(store.root, kill_at(number)), BERTILLE)
        assert view(store.root) == seen[number], number
        again = forget(store, BERTILLE)
        assert again is not None, number
        assert state(store) == undisturbed, number
        assert traces(store.root, BERTILLE) == set(), number
        assert_clean(store)


def test_an_interrupted_erasure_is_a_problem_and_holds_off_what_would_disturb_it(store: LocalStore) -> None:
    make_people(store, ParquetConfig())
    require_settled(store)
    with pytest.raises(Killed):
        forget(Mortal(store.root, kill_at(5)), BERTILLE)
    assert any("an erasure was interrupted" in line for line in verify(mien.datasets.open(store.root))["problems"])
    with pytest.raises(DatasetError, match="another subject"):
        forget(store, ADAEZE)
    with pytest.raises(DatasetError, match="finish it first with the same `mien forget`"):
        require_settled(store)


class Slow(LocalStore):
    """A reader that is overtaken: `meanwhile` happens once, before its first read of a table."""

    def __init__(self, root: Path, meanwhile: Callable[[], object]) -> None:
        super().__init__(root)
        self._meanwhile: Callable[[], object] | None = meanwhile

    def read(self, name: str) -> bytes:
        self._wait(name)
        return super().read(name)

    def fetch(self, name: str) -> Path:
        self._wait(name)
        return super().fetch(name)

    def _wait(self, name: str) -> None:
        if self._meanwhile is not None and name.endswith(".parquet"):
            meanwhile, self._meanwhile = self._meanwhile, None
            meanwhile()


def test_who_is_overtaken_while_opening_gets_the_new_dataset_whole(store: LocalStore) -> None:
    make_people(store, ParquetConfig())
    dataset = Dataset(Slow(store.root, lambda: forget(store, BERTILLE)))
    assert BERTILLE not in {*dataset.index["subject"].to_pylist(), *dataset.failures["subject"].to_pylist()}
    assert dataset.record == json.loads(store.read("mien.json"))
    assert rows(dataset)


def test_who_is_overtaken_while_tables_are_staged_gets_them_where_they_went(store: LocalStore) -> None:
    make_people(store, ParquetConfig())

    def when_staged(_: int) -> None:
        if "tables" in json.loads(store.read("mien.json")):
            raise Killed

    with pytest.raises(Killed):
        forget(Mortal(store.root, when_staged), BERTILLE)
    dataset = Dataset(Slow(store.root, lambda: forget(store, BERTILLE)))
    assert BERTILLE not in dataset.index["subject"].to_pylist()
    assert "tables" not in dataset.record


def test_who_opened_the_old_dataset_is_told_to_open_it_again(store: LocalStore) -> None:
    dataset = make_people(store, ParquetConfig())
    forget(store, BERTILLE)
    kept, touched = dataset[clip_of(CSONGOR, 1).clip_id], dataset[clip_of(CSONGOR, 0).clip_id]
    assert len(kept["crop"]) == len(kept)
    with pytest.raises(DatasetError, match="open it again"):
        _ = touched["crop"]
