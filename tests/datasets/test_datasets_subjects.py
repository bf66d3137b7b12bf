"""Rows of subjects: given once, kept for ever, and without the name of whoever left."""

import json
from pathlib import Path

import pytest

from mien.datasets import index, subjects
from mien.datasets.card import CardConfig
from mien.datasets.dataset import Dataset, open_dataset
from mien.datasets.forget import forget
from mien.datasets.formats import FormatConfig
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish, remove
from mien.datasets.subjects import UNKNOWN, Subjects
from mien.errors import ConfigError, DatasetError
from mien.storage.local import LocalStore
from people import ADAEZE, BERTILLE, CSONGOR, make_people
from sample_datasets import PROVENANCE, make_clip, make_finished, write_shard


def test_new_subjects_get_rows_in_the_order_of_their_names_and_keep_them() -> None:
    first = Subjects({}).extended(["Zoe", "Ada", "", "Ada"])
    assert first == Subjects({"Ada": 1, "Zoe": 2}, 3)
    assert first.extended(["Bo", "Zoe", "Abe"]) == Subjects({"Ada": 1, "Zoe": 2, "Abe": 3, "Bo": 4}, 5)
    assert first.extended([]) == first
    assert (first.row("Zoe"), first.row("Bo"), first.row("")) == (2, UNKNOWN, UNKNOWN)


def test_the_row_of_who_left_is_not_given_again() -> None:
    left = Subjects({"Ada": 1, "Zoe": 2}, 3).only(["Ada"])
    assert left.extended(["Bo"]) == Subjects({"Ada": 1, "Bo": 3}, 4)
    assert left.only([]).extended(["Bo"]).row("Bo") == 3
    assert left.extended(["Zoe"]).row("Zoe") == 3, "who comes back is somebody new"


def test_a_table_that_is_too_small_says_how_large_it_must_be() -> None:
    table = Subjects({"Ada": 1, "Zoe": 7}, 8)
    table.require_room(8)
    with pytest.raises(ConfigError, match=r"max_subjects=7: the subjects fill 8 rows.*set it to at least 8"):
        table.require_room(7)


def test_what_is_dumped_is_parsed() -> None:
    table = Subjects({"Ada": 1, "Zoë": 7}, 9)
    assert Subjects.parse(json.loads(json.dumps(table.dump())), "x") == table


@pytest.mark.parametrize(
    "values",
    [
        None,
        [],
        {},
        {"rows": [], "next_row": 1},
        {"rows": {"Ada": 0}, "next_row": 1},
        {"rows": {"Ada": "1"}, "next_row": 2},
        {"rows": {"Ada": 1, "Zoe": 1}, "next_row": 2},
        {"rows": {"Ada": 1}, "next_row": 1},
        {"rows": {}, "next_row": 0},
        {"rows": {"Ada": 1}},
    ],
)
def test_a_table_in_which_two_could_share_a_row_is_refused(values: object) -> None:
    with pytest.raises(DatasetError, match=r"^x: "):
        Subjects.parse(values, "x")


def test_a_damaged_file_is_refused_and_an_old_dataset_has_none(store: LocalStore) -> None:
    assert subjects.read(store) == Subjects({})
    store.put_new(subjects.NAME, b"{")
    with pytest.raises(DatasetError, match=r"subjects\.json: is damaged"):
        subjects.read(store)


def listed(dataset: Dataset) -> bool:
    return subjects.NAME in {file["name"] for file in dataset.record["files"]}


def test_a_finished_dataset_has_the_subjects_of_its_samples(finished: Dataset, store: LocalStore) -> None:
    assert subjects.read(store) == Subjects({"s0": 1, "s1": 2, "s2": 3}, 4), "a clip that failed names nobody"
    assert subjects.names(finished.index_file) == ["s0", "s1", "s2"]
    assert listed(finished)


def test_rows_stay_when_clips_come_later(store: LocalStore) -> None:
    kind = ParquetConfig()
    make_finished(store, kind)
    before = subjects.read(store).rows
    clips = [make_clip(number) for number in (11, 0, 1, 2, 3, 10)]
    index.write_plan(store, (clip.to_row() for clip in clips))
    write_shard(store, kind, [clips[5], clips[0]], "d4")
    publish(store, CardConfig(), PreviewConfig(), PROVENANCE)
    assert subjects.read(store).rows == before | {"s10": 4, "s11": 5}


def test_who_is_forgotten_is_named_no_more_and_others_keep_their_rows(store: LocalStore, kind: FormatConfig) -> None:
    make_people(store, kind)
    assert subjects.read(store) == Subjects({ADAEZE: 1, BERTILLE: 2, CSONGOR: 3}, 4)
    forget(store, BERTILLE)
    assert BERTILLE.encode() not in store.read(subjects.NAME)
    assert subjects.read(store) == Subjects({ADAEZE: 1, CSONGOR: 3}, 4)
    assert listed(open_dataset(store.root))
    forget(store, CSONGOR)
    assert subjects.read(store) == Subjects({ADAEZE: 1}, 4), "the last row stays taken too"


def test_a_fresh_dataset_begins_with_no_rows(store: LocalStore, tmp_path: Path) -> None:
    make_people(store, ParquetConfig())
    remove(store)
    assert not [entry for entry in store.list() if entry.name == subjects.NAME]
