"""Datasets of versions without scores, keywords and labels: they are read, published again and forgotten from."""

import json

import pyarrow as pa
import pyarrow.parquet as pq

import mien.datasets
from mien import schema
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.forget import forget
from mien.datasets.inspect import summarize
from mien.datasets.parquet import ParquetConfig
from mien.datasets.publish import publish
from mien.datasets.tables import parquet_bytes
from mien.datasets.verify import verify
from mien.storage.local import LocalStore
from people import ADAEZE, BERTILLE, PREVIEW, assert_clean, make_people, traces
from sample_datasets import PROVENANCE

NEW = (
    *("clip_score", "score_variation", "score_stability", "keyword", "keyword_s", "matches", "text", "labels"),
    "header_crc32c",
)


def make_earlier(store: LocalStore) -> None:
    """A dataset as it was before there were these columns, wherever they stand beside the data."""
    make_people(store, ParquetConfig())
    tables = [index.INDEX, index.FAILURES, *index.plan_files(store)]
    for name in tables:
        store.replace(name, parquet_bytes(pq.read_table(store.fetch(name)).drop_columns(list(NEW))))
    for entry in list(store.list("commits/")):
        record = json.loads(store.read(entry.name))
        for row in (*record["samples"], *record["failures"]):
            for key in NEW:
                row.pop(key, None)
        store.replace(entry.name, json.dumps(record).encode())


def test_the_columns_are_the_last_of_the_plan() -> None:
    assert tuple(schema.names(schema.PLAN)[-len(NEW) :]) == NEW


def test_it_is_read_as_it_is(store: LocalStore) -> None:
    make_earlier(store)
    dataset = mien.datasets.open(store.root)
    assert not set(NEW) & set(dataset.index.column_names)
    summary = summarize(dataset)
    assert (summary["labels"], summary["keywords"], summary["num_samples"]) == ({}, {}, 6)
    assert len(dataset[dataset.clip_ids[0]]["pts"]) == 4


def test_it_is_published_again_with_nothing_in_the_new_columns(store: LocalStore) -> None:
    make_earlier(store)
    dataset = publish(store, CardConfig(), PREVIEW, PROVENANCE)
    table: pa.Table = dataset.index
    assert table.column_names == schema.names(schema.INDEX)
    assert all(table.column(name).null_count == table.num_rows for name in NEW)
    assert summarize(dataset)["labels"] == {}
    assert "| subject | 3 different |" in store.read("README.md").decode()
    assert_clean(store)


def test_a_subject_is_forgotten_from_it(store: LocalStore) -> None:
    make_earlier(store)
    publish(store, CardConfig(), PREVIEW, PROVENANCE)
    forget(store, BERTILLE)
    assert traces(store.root, BERTILLE) == set()
    assert traces(store.root, ADAEZE) != set()
    assert verify(mien.datasets.open(store.root))["problems"] == []
