import json

import pytest

from mien.datasets.dataset import Dataset
from mien.datasets.inspect import describe, head, sample_rows, summarize
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
