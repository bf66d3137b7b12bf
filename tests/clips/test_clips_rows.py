"""Tables that a person brings: three kinds with the same rows, and what is wrong with others."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
import ray.data  # registers its extension types

from buckets import BUCKET
from mien.clips.rows import Row, length_of, name_of, number_of, read_rows, refuse
from mien.errors import ConfigError, PreflightError
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from pickle_bomb import bare

ROWS: list[dict[str, Any]] = [
    {"source": "a.mp4", "start_s": 1.5, "note": "one, two"},
    {"source": "b ü.mp4", "note": None},
]


def write(folder: Path, suffix: str) -> str:
    path = folder / f"list{suffix}"
    if suffix == ".parquet":
        pq.write_table(pa.Table.from_pylist(ROWS), path)
    elif suffix == ".jsonl":
        path.write_text("\n".join(map(json.dumps, ROWS)) + "\n\n")
    else:
        path.write_text('\ufeffsource,start_s,note\na.mp4,1.5,"one, two"\nb ü.mp4,,\n', encoding="utf-8")
    return str(path)


@pytest.mark.parametrize("suffix", [".csv", ".jsonl", ".parquet"])
def test_every_kind_has_the_same_rows(tmp_path: Path, suffix: str) -> None:
    rows = list(read_rows(write(tmp_path, suffix)))
    assert [row.values["source"] for row in rows] == ["a.mp4", "b ü.mp4"]
    assert [number_of(row.values.get("start_s")) for row in rows] == [1.5, None]
    assert [row.values.get("note") for row in rows] == ["one, two", None]
    assert [row.line for row in rows] == ([2, 3] if suffix == ".csv" else [1, 2])


def test_one_place_a_line(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("a.mp4\n\n  gs://bucket/b.mp4  \r\n# c.mp4")
    assert list(read_rows(str(tmp_path / "list.txt"))) == [
        Row(1, {"source": "a.mp4"}),
        Row(3, {"source": "gs://bucket/b.mp4"}),
        Row(4, {"source": "# c.mp4"}),
    ]


def test_a_table_in_a_bucket_is_read_the_same(emulator: Emulator, tmp_path: Path) -> None:
    path = Path(write(tmp_path, ".csv"))
    store = GcsStore(f"gs://{BUCKET}/tables")
    store.replace("list.csv", path.read_bytes())
    assert list(read_rows(f"{store.uri}/list.csv")) == list(read_rows(str(path)))


@pytest.mark.parametrize(
    ("name", "content", "said"),
    [
        ("a.csv", b"source\n\xff\xfe\n", "is not UTF-8 text"),
        ("a.csv", b"source,x\na,1,2\n", "line 2 has more values"),
        ("a.csv", b'source\n"a\n', "cannot be read"),
        ("a.jsonl", b'{"source": "a"}\n{"source"\n', "line 2 is no JSON"),
        ("a.jsonl", b"[1]\n", "line 1 is no object"),
        ("a.parquet", b"PAR1 no", "cannot be read"),
        ("a.xlsx", b"", "is no table by its ending; give one of .txt .csv .jsonl .parquet"),
    ],
)
def test_what_is_no_table_is_one_line(tmp_path: Path, name: str, content: bytes, said: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(ConfigError, match=said) as error:
        list(read_rows(str(path)))
    assert str(error.value).startswith(str(path))
    assert "\n" not in str(error.value)


def test_a_table_that_is_not_there_is_told_before_anything_starts(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match=r"gone.csv: does not exist; check the place"):
        list(read_rows(str(tmp_path / "gone.csv")))


def test_a_pickled_object_in_parquet_is_refused_and_not_loaded(tmp_path: Path) -> None:
    assert ray.data
    payload = bare(tmp_path / "mark")
    field = pa.field("note", pa.large_binary(), metadata={"ARROW:extension:name": "ray.data.arrow_pickled_object"})
    table = pa.table(
        [pa.array(["a.mp4"]), pa.array([payload], pa.large_binary())],
        schema=pa.schema([("source", pa.string()), field]),
    )
    pq.write_table(table, tmp_path / "list.parquet")
    with pytest.raises(ConfigError, match="column note is of an extension type"):
        list(read_rows(str(tmp_path / "list.parquet")))
    assert not (tmp_path / "mark").exists()


def test_values_as_tables_spell_them() -> None:
    assert [name_of(value) for value in (None, 12, 12.0, 12.5, "007")] == ["", "12", "12", "12.5", "007"]
    assert [length_of(value) for value in (None, "", "2.5", 3)] == [None, None, 2.5, 3.0]
    for value in (0, -1, "inf", "nan"):
        with pytest.raises(ValueError, match="is no length"):
            length_of(value)


def test_an_error_names_five_rows_and_counts_the_others() -> None:
    refuse("list.csv", [], 0)
    problems = [(line, "is bad") for line in range(2, 7)]
    with pytest.raises(ConfigError) as error:
        refuse("list.csv", problems, 12)
    assert str(error.value) == (
        "list.csv: 12 rows cannot be used: line 2: is bad; line 3: is bad; line 4: is bad; line 5: is bad; "
        "line 6: is bad; and 7 more"
    )
