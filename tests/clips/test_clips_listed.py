"""Clips of a list: every row becomes a clip or is told by its line."""

import json
import math
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.clips.clip import Clip, Source
from mien.clips.listed import ListConfig
from mien.errors import ConfigError, PreflightError

A, B, C = (Source(f"/videos/{name}.mp4", 1000, 7, subject=name, labels='{"age":30,"set":"x"}') for name in "abc")


def no_probe(uri: str) -> Any:
    raise AssertionError(f"{uri} was opened")


def clips(path: Path, sources: list[Source]) -> list[Clip]:
    rule = ListConfig(path=str(path)).build("/videos")
    found = list(rule.walk(sources, lambda _: no_probe))
    rule.finish()
    return found


def test_every_row_is_a_clip_with_what_it_carries_and_no_video_is_opened(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text(
        "source,start_s,end_s,subject,age,take\n"
        "b.mp4,5,7.5,,,\n/videos/a.mp4,0,2,zoe,31,t1\nb.mp4,1,2,,,t2\na.mp4,3,,,,\n"
    )
    found = clips(path, [A, B])
    assert [(clip.source.uri, clip.start_s, clip.end_s, clip.source.subject) for clip in found] == [
        (A.uri, 0.0, 2.0, "zoe"),
        (A.uri, 3.0, math.inf, "a"),
        (B.uri, 5.0, 7.5, "b"),
        (B.uri, 1.0, 2.0, "b"),
    ]
    labels = [json.loads(clip.to_row()["labels"]) for clip in found]
    assert labels[0] == {"age": "31", "set": "x", "take": "t1"}
    assert labels[1] == labels[2] == {"age": 30, "set": "x"}
    assert labels[3] == {"age": 30, "set": "x", "take": "t2"}
    assert {clip.reason for clip in found} == {"list"}


def test_parquet_keeps_numbers_and_lines_give_the_same_ids(tmp_path: Path) -> None:
    rows = [
        {"source": "a.mp4", "start_s": 0.1, "end_s": 2.0, "score": 0.5},
        {"source": "b.mp4", "start_s": 3.0, "end_s": 4.0},
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    (tmp_path / "list.jsonl").write_text("\n".join(map(json.dumps, rows)))
    first, second = (clips(tmp_path / name, [A, B]) for name in ("list.parquet", "list.jsonl"))
    assert [clip.to_row() for clip in first] == [clip.to_row() for clip in second]
    assert json.loads(first[0].labels)["score"] == 0.5


def test_a_video_that_is_not_listed_has_no_clip_and_is_counted(tmp_path: Path) -> None:
    (tmp_path / "list.csv").write_text("source,start_s,end_s\na.mp4,0,1\n")
    rule = ListConfig(path=str(tmp_path / "list.csv")).build("/videos")
    assert len(list(rule.walk([A, B, C], lambda _: no_probe))) == 1
    assert rule.left_out == {"not in clips.path": 2}


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ("a.mp4,2,1", "has no span: start_s=2, end_s=1"),
        ("a.mp4,2,2", "has no span"),
        ("a.mp4,-1,2", "has no span: start_s=-1"),
        ("a.mp4,,2", "has no span: start_s=None"),
        ("a.mp4,nan,2", "has no span"),
        ("a.mp4,inf,inf", "has no span"),
        ("a.mp4,one,2", "start_s=one or end_s=2 is no number"),
        (",1,2", "has no source"),
        ("b.mp4,0,1", "has the source and span of line 2"),
    ],
)
def test_a_bad_row_is_told_by_its_line(tmp_path: Path, row: str, said: str) -> None:
    path = tmp_path / "list.csv"
    path.write_text(f"source,start_s,end_s\nb.mp4,0,1\nb.mp4,1,2\n{row}\n")
    with pytest.raises(ConfigError) as error:
        clips(path, [A, B])
    assert f"{path}: 1 row cannot be used: line 4: {said}" in str(error.value)


def test_an_unknown_source_is_told_by_its_line(tmp_path: Path) -> None:
    path = tmp_path / "list.csv"
    path.write_text("source,start_s,end_s\nb.mp4,0,1\nx.mp4,1,2\na.mp4,1,2\ny.mp4,1,2\n")
    with pytest.raises(ConfigError) as error:
        clips(path, [A, B])
    assert str(error.value) == (
        f"{path}: 2 rows cannot be used: line 3: /videos/x.mp4 is not among the sources; "
        "line 5: /videos/y.mp4 is not among the sources"
    )


def test_a_list_is_required_and_must_be_there(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="path: is required"):
        ListConfig.parse({"kind": "list"}, "x.yaml")
    with pytest.raises(PreflightError, match=r"gone.csv: does not exist"):
        ListConfig(path=str(tmp_path / "gone.csv")).build("/videos")
