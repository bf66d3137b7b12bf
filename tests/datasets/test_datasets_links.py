import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from buckets import BUCKET
from mien.datasets.links import Item, LinkConfig, Links
from mien.errors import ConfigError, PreflightError
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.sums import Sums
from peak_memory import run_measured

ROWS: list[dict[str, Any]] = [
    {"url": "https://host/one.mp4?sig=c0ffee"},
    {"url": "https://host/two.mp4", "path": "films/", "size_bytes": 5, "crc32c": "e3069283"},
    {"url": "https://host/part.zip", "name": "part 1", "remote_path": "corpus/part_1"},
    {"url": "https://host/shard.tar", "unzip": False},
]
ITEMS = [
    ("one.mp4", "one.mp4", False),
    ("two.mp4", "films/two.mp4", False),
    ("part 1", "corpus/part_1", True),
    ("shard.tar", "shard.tar", False),
]


def write_csv(path: Path) -> None:
    columns = ["url", "path", "size_bytes", "crc32c", "name", "remote_path", "unzip"]
    lines = [",".join(str(row.get(column, "")) for column in columns) for row in ROWS]
    path.write_text("\n".join([",".join(columns), *lines]) + "\n", encoding="utf-8-sig")


def write_jsonl(path: Path) -> None:
    path.write_text("\n\n".join(json.dumps(row) for row in ROWS))


def write_parquet(path: Path) -> None:
    pq.write_table(pa.Table.from_pylist([{**dict.fromkeys(ROWS[1] | ROWS[2] | ROWS[3]), **row} for row in ROWS]), path)


def write_text(path: Path) -> None:
    path.write_text("# films\n" + "\n".join(row["url"] for row in ROWS) + "\n")


def links(place: object, **options: Any) -> Links:
    return Links(str(place), (), options.get("unzip"))


def shown(items: Links) -> list[tuple[str, str, bool]]:
    return [(item.name, item.target, item.unzip) for item in items.items()]


@pytest.mark.parametrize(("ending", "write"), [("csv", write_csv), ("jsonl", write_jsonl), ("parquet", write_parquet)])
def test_every_kind_of_list_says_the_same(tmp_path: Path, ending: str, write: Callable[[Path], None]) -> None:
    path = tmp_path / f"list.{ending}"
    write(path)
    found = links(path)
    assert shown(found) == ITEMS
    assert [item.sums for item in found.items()][1] == Sums(size_bytes=5, crc32c="e3069283")
    inline = Links("", [LinkConfig(**row) for row in ROWS], None)
    assert shown(inline) == ITEMS
    assert found.check() == inline.check()
    assert found.check().num_items == 4


def test_a_text_is_one_address_per_line_and_its_lines_are_counted(tmp_path: Path) -> None:
    write_text(tmp_path / "list.txt")
    found = list(links(tmp_path / "list.txt").items())
    assert [item.number for item in found] == [2, 3, 4, 5]
    assert [item.target for item in found] == ["one.mp4", "two.mp4", "", "shard.tar"]


def test_a_list_may_lie_in_a_bucket(tmp_path: Path, emulator: Emulator) -> None:
    write_csv(tmp_path / "list.csv")
    GcsStore(f"gs://{BUCKET}/lists").replace("list.csv", (tmp_path / "list.csv").read_bytes())
    assert shown(links(f"gs://{BUCKET}/lists/list.csv")) == ITEMS
    with pytest.raises(PreflightError, match=r"source: gs://mien-test/lists/absent\.csv: does not exist"):
        links(f"gs://{BUCKET}/lists/absent.csv")


def test_relative_paths_are_below_the_folder_of_the_list(tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text("films/a.mp4\n")
    (item,) = links(tmp_path / "list.txt").items()
    assert item.url == str(tmp_path / "films" / "a.mp4")
    assert item.target == "a.mp4"


@pytest.mark.parametrize(("unzip", "unpacked"), [(None, [True, False]), (True, [True, True]), (False, [False, False])])
def test_the_config_says_what_is_unpacked_where_the_list_does_not(
    tmp_path: Path, unzip: bool | None, unpacked: list[bool]
) -> None:
    (tmp_path / "list.txt").write_text("https://host/a.ZIP\nhttps://host/b.tar\n")
    assert [item.unzip for item in links(tmp_path / "list.txt", unzip=unzip).items()] == unpacked


@pytest.mark.parametrize(
    ("row", "said"),
    [
        ({"url": ""}, "has no url"),
        ({"path": "a"}, "has no url"),
        ({"url": "ftp://host/a?sig=c0ffee"}, "'ftp://host/a': give http://"),
        ({"url": 5}, "url is no text"),
        ({"url": "https://host/"}, "names no file; give a path"),
        ({"url": "https://host/a", "path": "../a"}, "path '../a' has an empty or dotted part"),
        ({"url": "https://host/a", "path": "/a"}, "path '/a' is absolute"),
        ({"url": "https://host/a", "path": ".hidden/a"}, "begins with a dot"),
        ({"url": "https://host/a", "path": "ingest/a"}, "lies in ingest/, where the reports are"),
        ({"url": "https://host/a", "path": "a", "remote_path": "b"}, "has path and remote_path"),
        ({"url": "https://host/a.zip", "path": "a/../../b/"}, "dotted part"),
        ({"url": "https://host/a", "sha256": "abc"}, "sha256 'abc' is not 32 bytes"),
        ({"url": "https://host/a", "size_bytes": "big"}, "could not convert"),
        ({"url": "https://host/a", "unzip": "maybe"}, "unzip 'maybe' is neither true nor false"),
        ({"url": "https://host/a", "sha265": "x"}, "has no column 'sha265'; there are url, name, path"),
    ],
    ids=lambda value: json.dumps(value) if isinstance(value, dict) else None,
)
def test_a_row_that_cannot_be_used_is_named_by_its_line(tmp_path: Path, row: dict[str, Any], said: str) -> None:
    path = tmp_path / "list.jsonl"
    path.write_text(json.dumps({"url": "https://host/good.mp4"}) + "\n\n" + json.dumps(row))
    with pytest.raises(ConfigError) as raised:
        links(path).check()
    assert str(raised.value).startswith(f"{path}: line 3: ")
    assert said in str(raised.value)
    assert "c0ffee" not in str(raised.value)
    assert "\n" not in str(raised.value)


def test_the_first_few_bad_rows_are_told_together(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("ftp://host/a\n" * 20)
    with pytest.raises(ConfigError) as raised:
        links(path).check()
    assert [line.split(": ")[1] for line in str(raised.value).splitlines()] == [f"line {n}" for n in range(1, 6)]


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        ("a.csv", b"link\nhttps://host/a\n", "line 1: has no column url"),
        ("a.csv", b"", "line 1: has no column url"),
        ("a.csv", b"url\nhttps://host/a,b\n", "line 2: has no column 'more columns'"),
        ("a.csv", b'url\n"https://host/a', ": is not CSV: unexpected end"),
        ("a.jsonl", b'{"url": "https://host/a"}\nnope\n', "line 2: is not JSON"),
        ("a.jsonl", b"[1]\n", "line 1: is no JSON object"),
        ("a.jsonl", b"[" * 90_000, "line 1: is not JSON"),
        ("a.txt", b"x" * 200_000, "line 1: is longer than 100000 characters"),
        ("a.txt", "https://host/ä".encode("latin-1"), "line 1: is not UTF-8 text"),
        ("a.txt", b"# nothing\n\n", "lists nothing"),
        ("a.parquet", b"PAR1nope", "is damaged"),
    ],
    ids=str,
)
def test_a_file_that_is_no_such_list_is_told(tmp_path: Path, name: str, text: bytes, said: str) -> None:
    (tmp_path / name).write_bytes(text)
    with pytest.raises(ConfigError) as raised:
        links(tmp_path / name).check()
    assert str(raised.value).startswith(f"{tmp_path / name}: ")
    assert said in str(raised.value)


def test_a_parquet_list_without_addresses_is_told(tmp_path: Path) -> None:
    pq.write_table(pa.table({"link": ["https://host/a"]}), tmp_path / "a.parquet")
    with pytest.raises(ConfigError, match="has no column url"):
        links(tmp_path / "a.parquet").check()


def test_two_items_never_share_a_target_but_archives_may_share_a_folder(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("https://host/a.mp4\nhttps://host/b.mp4\nhttps://other/a.mp4?sig=c0ffee\nhttps://x/b.mp4\n")
    with pytest.raises(ConfigError) as raised:
        links(path).check()
    assert str(raised.value).splitlines() == [
        f"{path}: line 3: 'a.mp4' is also the target of line 1; give it a path",
        f"{path}: line 4: 'b.mp4' is also the target of line 2; give it a path",
    ]
    path.write_text("https://host/a.zip\nhttps://host/b.zip\n")
    assert links(path).check().num_items == 2
    path.write_text("https://host/a.zip?sig=1\nhttps://host/a.zip?sig=2\n")
    with pytest.raises(ConfigError, match="line 2"):
        links(path).check()


def test_a_list_or_an_inline_one_is_needed(tmp_path: Path) -> None:
    for source, datasets in (("", ()), ("a.csv", (LinkConfig(url="https://host/a"),))):
        with pytest.raises(ConfigError, match="give a list as source=LIST"):
            Links(source, datasets, None)
    with pytest.raises(ConfigError, match=r"is no list by its ending; give one that ends in \.csv, \.jsonl"):
        Links("videos", (), None)
    with pytest.raises(PreflightError, match=r"source: .*absent\.csv: does not exist"):
        Links(str(tmp_path / "absent.csv"), (), None)


def test_a_new_link_to_the_same_file_is_the_same_item_and_another_wish_is_another() -> None:
    base = Item(1, "a", "https://host/a.mp4?Expires=1&Signature=x", "a.mp4", False, Sums())
    assert base.key == base._replace(url="https://host/a.mp4?Expires=2&Signature=y", number=7, name="b").key
    others = [
        base._replace(url="https://host/b.mp4"),
        base._replace(target="b.mp4"),
        base._replace(unzip=True),
        base._replace(sums=Sums(size_bytes=1)),
    ]
    assert len({base.key, *(other.key for other in others)}) == 5
    assert base.shown == "https://host/a.mp4?..."


def test_memory_does_not_grow_with_the_list(tmp_path: Path) -> None:
    path = tmp_path / "list.txt"
    path.write_text("".join(f"https://host/{number:06d}.mp4?sig={'x' * 1000}\n" for number in range(20_000)))
    assert path.stat().st_size > 20e6
    program = (
        "import sys\nfrom mien.datasets.links import Links\nlinks, before = Links(sys.argv[1], (), None), peak_mb()\n"
    )
    line, peak_mb = run_measured(f"{program}print(links.check().num_items, before)", path)
    num_items, before_mb = map(int, line.split())
    assert num_items == 20_000
    assert peak_mb - before_mb < 12, "1 MB is what no two items may share"
