import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.datasets.dataset import Dataset
from mien.datasets.inspect import MAX_VALUES, OTHERS, describe, head, label_counts, sample_rows, summarize
from mien.datasets.parquet import ParquetConfig
from mien.datasets.tables import TableFile
from mien.storage.local import LocalStore
from people import make_people
from sample_datasets import make_frames


def test_the_summary_counts_what_is_there(finished: Dataset) -> None:
    summary = summarize(finished)
    expected = {"num_clips": 3, "num_samples": 3, "num_failed": 1, "num_sources": 4, "num_frames": 18, "num_shards": 2}
    assert {key: summary[key] for key in expected} == expected
    assert summary["face_share"] == pytest.approx(0.5)
    assert summary["duration_s"] == pytest.approx(18 / 25)
    assert summary["failures"] == {"FaceError": 1}
    assert summary["subjects"] == {"s0": 1, "s1": 1, "s2": 1}
    assert summary["columns"]["feature"] == "float32 [8]"
    assert summary["columns"]["crop"] == "bytes"
    assert summary["data_bytes"] > 10_000


def test_labels_and_keywords_are_counted_by_sample(store: LocalStore) -> None:
    summary = summarize(make_people(store, ParquetConfig()))
    assert summary["keywords"] == {"smile": 6}
    assert summary["labels"]["age"] == {"42": 2, "56": 2, "49": 2}
    assert list(summary["labels"]) == ["age", "voice"]


def test_a_label_with_endless_values_is_cut_short(tmp_path: Path) -> None:
    rows = [{"labels": json.dumps({"take": number, "set": "x"})} for number in range(1500)]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "index.parquet")
    counts = label_counts(TableFile(tmp_path / "index.parquet"))
    assert counts["set"] == {"x": 1500}
    assert (len(counts["take"]), counts["take"]["7"], counts["take"][OTHERS]) == (MAX_VALUES + 1, 1, 500)


def test_everything_is_plain_json(finished: Dataset) -> None:
    for result in (summarize(finished), sample_rows(finished), head(finished, 4)):
        assert json.loads(json.dumps(result)) == result


def test_head_gives_frames_in_order_across_samples(finished: Dataset) -> None:
    rows = head(finished, 8)
    assert [row["pts"] for row in rows] == [512 * n for n in (0, 1, 2, 3, 4, 5, 0, 1)]
    assert rows[0]["landmarks"] == "<float32 [478, 3]>"
    assert rows[0]["score"] is None
    assert rows[1]["crop"].endswith("bytes>")


def test_types_are_described_in_words() -> None:
    table = make_frames("c" * 32, 2)
    from mien.datasets.frames import values_of

    assert describe(values_of(table, "pts")) == "int64"
    assert describe(values_of(table, "box")) == "float32 [4]"
    assert describe(values_of(table, "clip_id")) == "text"
