"""Lists of sources: what they know is believed, what they do not know is asked."""

from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from buckets import BUCKET
from mien.clips.clip import Source
from mien.clips.source_list import Skipped, is_list, listed
from mien.errors import ConfigError
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore


def test_a_list_is_known_by_its_ending(tmp_path: Path) -> None:
    (tmp_path / "folder.csv").mkdir()
    for place in ("videos.txt", "videos.CSV", "gs://bucket/videos.parquet", "videos.jsonl"):
        assert is_list(place), place
    for place in ("videos", "a.mp4", f"{tmp_path}/folder.csv", "videos/*.txt"):
        assert not is_list(place), place


def test_places_alone_are_looked_up_and_a_missing_one_is_told_by_its_line(tmp_path: Path) -> None:
    for name in ("a.mp4", "b.mp4"):
        (tmp_path / name).write_bytes(name.encode())
    (tmp_path / "list.txt").write_text(f"b.mp4\ngone.mp4\n{tmp_path}/a.mp4\n./b.mp4\n")
    found = list(listed(str(tmp_path / "list.txt"), str(tmp_path)))
    stats = [(tmp_path / name).stat() for name in ("b.mp4", "a.mp4")]
    assert [each for each in found if isinstance(each, Source)] == [
        Source(str(tmp_path / "b.mp4"), stats[0].st_size, stats[0].st_mtime_ns),
        Source(str(tmp_path / "a.mp4"), stats[1].st_size, stats[1].st_mtime_ns),
    ]
    assert [each for each in found if isinstance(each, Skipped)] == [
        Skipped(str(tmp_path / "gone.mp4"), "line 2: does not exist")
    ]


def test_what_a_table_knows_is_not_asked(tmp_path: Path) -> None:
    rows = [
        {
            "source": "gs://nowhere/a.mp4",
            "size_bytes": 10,
            "generation": 5,
            "duration_s": 8.0,
            "subject": 12,
            "age": 30,
        },
        {
            "source": "gs://nowhere/b.mp4",
            "size_bytes": 11,
            "generation": 6,
            "duration_s": None,
            "subject": None,
            "age": None,
        },
    ]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "list.parquet")
    assert list(listed(str(tmp_path / "list.parquet"), str(tmp_path))) == [
        Source("gs://nowhere/a.mp4", 10, 5, "12", '{"age":30}', 8.0),
        Source("gs://nowhere/b.mp4", 11, 6),
    ]


def test_a_bucket_is_asked_for_what_is_not_known(emulator: Emulator, tmp_path: Path) -> None:
    store = GcsStore(f"gs://{BUCKET}/listed")
    for number in range(40):
        store.replace(f"{number:02d}.mp4", b"x" * (number + 1))
    (tmp_path / "list.txt").write_text("".join(f"{store.uri}/{number:02d}.mp4\n" for number in (*range(40), 77)))
    found = list(listed(str(tmp_path / "list.txt"), str(tmp_path)))
    sources = [each for each in found if isinstance(each, Source)]
    assert [(each.uri, each.size_bytes) for each in sources] == [
        (f"{store.uri}/{number:02d}.mp4", number + 1) for number in range(40)
    ]
    assert all(each.generation > 0 for each in sources)
    assert found[40] == Skipped(f"{store.uri}/77.mp4", "line 41: does not exist")


def test_names_in_a_list_of_a_bucket_are_relative_to_it(emulator: Emulator) -> None:
    store = GcsStore(f"gs://{BUCKET}/relative")
    store.replace("deep/a.mp4", b"xx")
    store.replace("list.csv", b"source,look\ndeep/a.mp4,up\n")
    (source,) = listed(f"{store.uri}/list.csv", store.uri)
    assert isinstance(source, Source)
    assert (source.uri, source.size_bytes, source.labels) == (f"{store.uri}/deep/a.mp4", 2, '{"look":"up"}')


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("place\na.mp4\n", "line 2 has no source; write one place a line, or a table with the column source"),
        ("source,duration_s\na.mp4,-3\n", "line 2: -3 is no length"),
        ("source,size_bytes,generation\na.mp4,many,3\n", "line 2: invalid literal"),
    ],
)
def test_a_damaged_list_is_told_by_its_line(tmp_path: Path, content: str, said: str) -> None:
    (tmp_path / "a.mp4").touch()
    (tmp_path / "list.csv").write_text(content)
    with pytest.raises(ConfigError) as error:
        list(listed(str(tmp_path / "list.csv"), str(tmp_path)))
    assert f"{tmp_path}/list.csv: {said}" in str(error.value)
