from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from export_datasets import read_json
from mien.datasets import index
from mien.datasets.dataset import Dataset, open_dataset
from mien.datasets.export import record
from mien.datasets.export.kinds import KINDS, read_kind
from mien.datasets.forget import forget
from mien.datasets.verify import verify
from mien.errors import DatasetError, RefusedError
from mien.storage.commit import digest
from mien.storage.local import LocalStore

Export = Callable[..., tuple[Path, dict[str, Any]]]


def test_the_record_says_what_is_in_the_export_and_of_what(one: Dataset, export_to: Export) -> None:
    folder, told = export_to(one, "clips", "size_px=null", "frames_per_part=15")
    found = read_json(folder / "export.json")
    assert found == told
    assert (found["finished"], found["dataset"], found["kind"]) == (True, one.uri, "clips")
    assert found["index_sha256"] == digest(Path(one.uri) / index.INDEX).sha256
    assert (found["num_samples"], found["num_frames"], found["num_files"]) == (3, 22, 7)
    files = [path for path in folder.iterdir() if path.is_file() and path.name != "export.json"]
    assert found["num_bytes"] == sum(path.stat().st_size for path in files)
    listed = [file for number in range(2) for file in read_json(folder / f"parts/0000{number}.json")["files"]]
    assert {file["name"]: file["sha256"] for file in listed} == {
        path.name: digest(path).sha256 for path in files if path.name != "README.md"
    }


@pytest.mark.parametrize("options", [["subject=s1"], ["shard_mb=9"], ["frames_per_part=3"]])
def test_another_export_is_refused_with_what_differs(one: Dataset, export_to: Export, options: list[str]) -> None:
    folder, _ = export_to(one, "hf")
    with pytest.raises(RefusedError, match=rf"options\.{options[0].partition('=')[0]}.*--fresh"):
        record.claim(LocalStore(folder), one, read_kind("hf", options))
    with pytest.raises(RefusedError, match="kind, options"):
        record.claim(LocalStore(folder), one, read_kind("openface"))
    assert record.claim(LocalStore(folder), one, read_kind("hf")), "the same one is finished"


def test_an_export_of_the_dataset_as_it_was_is_refused(one: Dataset, export_to: Export) -> None:
    folder, _ = export_to(one, "hf")
    forget(LocalStore(Path(one.uri)), "s1")
    with pytest.raises(RefusedError, match="index_sha256"):
        record.claim(LocalStore(folder), open_dataset(one.uri), read_kind("hf"))


def test_a_folder_with_other_files_is_refused_and_left_alone(one: Dataset, tmp_path: Path) -> None:
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "notes.txt").write_text("mine")
    store = LocalStore(tmp_path / "full")
    for number, content in enumerate(["mine", "[1]", "{"]):
        with pytest.raises(RefusedError, match="new or empty folder"):
            record.claim(store, one, read_kind("hf"))
        assert number or (tmp_path / "full" / "notes.txt").read_text() == "mine"
        (tmp_path / "full" / "export.json").write_text(content)


@pytest.mark.parametrize("kind", KINDS)
def test_starting_over_deletes_what_it_wrote_and_nothing_else(one: Dataset, export_to: Export, kind: str) -> None:
    folder, _ = export_to(one, kind)
    (folder / "notes.txt").write_text("mine")
    (folder / "data").mkdir(exist_ok=True)
    (folder / "data" / "mine.parquet").write_text("mine")
    other = next(name for name in KINDS if name != kind)
    with pytest.raises(RefusedError, match=f"holds an export of kind {kind}"):
        record.remove(LocalStore(folder), read_kind(other))
    record.remove(LocalStore(folder), read_kind(kind))
    left = sorted(str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file())
    assert left == ["data/mine.parquet", "notes.txt"]


def test_a_part_that_is_gone_is_told(one: Dataset, export_to: Export) -> None:
    folder, _ = export_to(one, "hf")
    (folder / "parts/00000.json").write_text("{}")
    with pytest.raises(DatasetError, match=r"parts/00000.json: cannot be read.*--fresh"):
        list(record.parts(LocalStore(folder), 1))


def test_forget_names_the_places_that_still_hold_the_person(one: Dataset, tmp_path: Path) -> None:
    store, kind = LocalStore(Path(one.uri)), read_kind("clips", ["subject=s1"])
    for place in ("a", "b"):
        record.note(one, store, LocalStore(tmp_path / place), kind)
        record.note(one, store, LocalStore(tmp_path / place), kind)
    assert {note["place"] for note in record.notes(store)} == {f"{tmp_path}/a", f"{tmp_path}/b"}
    assert not any(b"s1" in path.read_bytes() for path in (store.root / "exports").iterdir()), "a note names nobody"
    assert verify(open_dataset(one.uri))["foreign"] == []
    report = forget(store, "s1")
    assert report is not None
    told = [line for line in report.outside if "mien export clips" in line]
    assert len(told) == 2
    assert any(f"mien export clips {one.uri} -o {tmp_path}/a --fresh" in line for line in told)
    assert verify(open_dataset(one.uri))["problems"] == []


def test_a_dataset_that_cannot_be_written_is_exported_all_the_same(
    one: Dataset, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (Path(one.uri) / "exports").write_text("a file in the place of the folder")
    with caplog.at_level("INFO", "mien"):
        record.note(one, LocalStore(Path(one.uri)), LocalStore(tmp_path / "out"), read_kind("hf"))
    assert "`mien forget` will not name it" in caplog.text
