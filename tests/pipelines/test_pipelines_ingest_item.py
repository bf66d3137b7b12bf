import hashlib
import io
import multiprocessing
import os
import tarfile
import zipfile
from pathlib import Path
from typing import Any

import pytest

from buckets import BUCKET, failing
from file_server import FileServer, Rule
from mien.datasets import ingested
from mien.datasets.ingested import Standing, write_record
from mien.datasets.links import Item
from mien.errors import NoSpace, Unavailable
from mien.pipelines.ingest_item import DONE, FAILED, KEPT, ItemConfig, Outcome, ingest
from mien.storage import partial
from mien.storage.emulator import Emulator
from mien.storage.sums import Sums
from mien.storage.uri import Store, open_store

DATA = os.urandom(300_000)
SHA256 = hashlib.sha256(DATA).hexdigest()
SECRET = "Signature=c0ffee"


def zipped(files: dict[str, bytes]) -> bytes:
    packed = io.BytesIO()
    with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return packed.getvalue()


@pytest.fixture(params=["folder", "bucket"])
def config(request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator) -> ItemConfig:
    """The work on items of a folder, and of a bucket; partial downloads go into the folder `parts`."""
    output = str(tmp_path / "out")
    if request.param == "bucket":
        output = f"gs://{BUCKET}/item-{hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]}"
    return settings(output, tmp_path)


def settings(output: str, tmp_path: Path, **values: Any) -> ItemConfig:
    quick = {"download": {"first_wait_s": 0, "max_tries": 3}, "min_free_gb": 0, "scratch": str(tmp_path / "parts")}
    return ItemConfig.parse({**quick, "output": output, **values}, "test")


def item(url: str, target: str = "a.mp4", sums: Sums = Sums(), *, unzip: bool = False) -> Item:  # noqa: B008
    return Item(1, target or "archive", url, target, unzip, sums)


def names(store: Store) -> list[str]:
    return [entry.name for entry in store.list() if not entry.name.startswith("ingest/")]


def parts(config: ItemConfig) -> list[str]:
    return sorted(path.name for path in config.folder.glob("*"))


def test_an_item_is_fetched_proved_published_and_recorded(web: FileServer, config: ItemConfig) -> None:
    wanted = item(web.put("a.mp4", DATA), "films/a.mp4", Sums(len(DATA), SHA256))
    told = list[str]()
    assert ingest(wanted, config, lambda state, *_: told.append(state)) == Outcome(DONE)
    store = open_store(config.output)
    assert names(store) == ["films/a.mp4"]
    assert store.read("films/a.mp4") == DATA
    assert list(dict.fromkeys(told)) == ["checking", "downloading", "publishing"]
    assert list(Standing(store).left([wanted])) == []
    assert parts(config) == [], "nothing is left on the local disk"


def test_what_is_there_and_proved_is_kept_without_a_request(web: FileServer, config: ItemConfig) -> None:
    wanted, store = item(web.put("a.mp4", DATA)), open_store(config.output)
    ingest(wanted, config)
    (record,) = (entry.name for entry in store.list(ingested.RECORDS))
    for name, has_sum in ((record, False), (record, True)):
        if has_sum:  # without a record, what the list promises proves it
            store.delete(name)
            wanted = wanted._replace(sums=Sums(sha256=SHA256))
        else:  # a copy has another generation, and the same content
            store.replace("a.mp4", DATA)
        assert list(Standing(store).left([wanted])) == [wanted]
        assert ingest(wanted, config) == Outcome(KEPT)
        assert list(Standing(store).left([wanted])) == []
    assert web.num_asked("a.mp4") == 1


def test_a_file_that_is_there_without_any_sum_is_fetched_and_compared(web: FileServer, config: ItemConfig) -> None:
    store = open_store(config.output)
    store.replace("a.mp4", DATA)
    assert ingest(item(web.put("a.mp4", DATA)), config) == Outcome(DONE)
    store.replace("b.mp4", b"mine")
    outcome = ingest(item(web.put("b.mp4", DATA), "b.mp4"), config)
    assert outcome.state == FAILED
    assert "b.mp4: is there already with other content; move it away, or give another path" in outcome.error
    outcome = ingest(item(web.put("c.mp4", DATA), "b.mp4", Sums(sha256=SHA256)), config)
    assert outcome.state == FAILED
    assert web.num_asked("c.mp4") == 0, "the promised sum tells before anything is fetched"
    assert store.read("b.mp4") == b"mine"


@pytest.mark.parametrize(
    ("sums", "said"),
    [
        (Sums(sha256="0" * 64), f"sha256 is {SHA256}, promised is {'0' * 64}"),
        (Sums(md5="0" * 32), "md5 is"),
        (Sums(crc32c="0" * 8), "crc32c is"),
        (Sums(size_bytes=7), "has 300000 bytes, promised are 7"),
    ],
)
def test_a_wrong_sum_publishes_nothing_and_the_bytes_are_dropped(
    web: FileServer, tmp_path: Path, sums: Sums, said: str
) -> None:
    config = settings(str(tmp_path / "out"), tmp_path)
    outcome = ingest(item(web.put("a.mp4", DATA), sums=sums), config)
    assert outcome.state == FAILED
    assert said in outcome.error
    assert names(open_store(config.output)) == []
    assert not any(name.endswith(".part") for name in parts(config))


def test_a_sum_that_the_server_states_is_held_too(web: FileServer, tmp_path: Path) -> None:
    config = settings(str(tmp_path / "out"), tmp_path)
    wrong = Rule(headers={"x-goog-hash": "crc32c=AAAAAA=="})
    outcome = ingest(item(web.put("a.mp4", DATA, wrong)), config)
    assert "crc32c is" in outcome.error
    assert ingest(item(f"{web.url}/a.mp4"), config) == Outcome(DONE)


def test_a_failure_is_recorded_with_its_class_and_without_what_opens_the_link(
    web: FileServer, config: ItemConfig
) -> None:
    wanted = item(web.put("a.mp4", DATA, Rule(status=403)) + f"?{SECRET}")
    outcome = ingest(wanted, config)
    assert "expired or forbidden link (403)" in outcome.error
    store = open_store(config.output)
    (entry,) = store.list(ingested.FAILED)
    text = store.read(entry.name).decode()
    assert '"error_type": "DownloadError"' in text
    assert "c0ffee" not in text + outcome.error
    assert ingest(wanted, config) == Outcome(DONE), "the next run tries it again"


def test_an_archive_becomes_its_files_and_is_finished_where_a_try_was_cut(web: FileServer, config: ItemConfig) -> None:
    files = {"1.mp4": DATA, "sub/2.mp4": b"two", ".DS_Store": b"x"}
    wanted, store = item(web.put("a.zip", zipped(files)), "part", unzip=True), open_store(config.output)
    store.replace("part/1.mp4", DATA)  # of a worker that was killed between two files
    assert ingest(wanted, config) == Outcome(DONE)
    assert names(store) == ["part/1.mp4", "part/sub/2.mp4"]
    assert store.read("part/sub/2.mp4") == b"two"
    assert list(Standing(store).left([wanted])) == []
    assert parts(config) == []


@pytest.mark.parametrize(
    ("files", "said"),
    [
        ({"good.mp4": b"1", "../evil": b"2"}, "member '../evil' has an empty or dotted part; refused"),
        ({"good.mp4": b"1", "zeros": bytes(40 << 20)}, "times its own size unpacked, as bombs do"),
        ({"good.mp4": b"1", "ingest/report.json": b"2"}, "would lie in ingest/, where the reports are"),
    ],
    ids=["slip", "bomb", "report"],
)
def test_of_an_archive_that_is_refused_nothing_is_published(
    web: FileServer, config: ItemConfig, files: dict[str, bytes], said: str
) -> None:
    outcome = ingest(item(web.put("a.zip", zipped(files)), "", unzip=True), config)
    assert outcome.state == FAILED
    assert said in outcome.error
    assert names(open_store(config.output)) == []
    assert not any(name.endswith(".member") for name in parts(config))


def test_an_archive_that_wants_too_much_memory_is_told_and_publishes_nothing(web: FileServer, tmp_path: Path) -> None:
    config = settings(str(tmp_path / "out"), tmp_path, archives={"max_memory_gb": 0.001})
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:bz2") as archive:  # to unpack it takes some megabytes
        archive.addfile(tarfile.TarInfo("a.mp4"))
    given = item(web.put("a.tar.bz2", packed.getvalue()), "", unzip=True), config
    with multiprocessing.get_context("spawn").Pool(1) as pool:  # freed memory that this process keeps is not refused
        outcome = pool.apply(ingest, given)
    assert outcome.state == FAILED
    assert "needs more memory than archives.max_memory_gb" in outcome.error
    assert names(open_store(config.output)) == []


def test_members_at_the_root_of_an_output_and_one_that_is_taken(web: FileServer, config: ItemConfig) -> None:
    store = open_store(config.output)
    store.replace("2.mp4", b"mine")
    outcome = ingest(item(web.put("a.zip", zipped({"1.mp4": b"1", "2.mp4": b"2"})), "", unzip=True), config)
    assert "2.mp4: is there already with other content" in outcome.error
    assert store.read("2.mp4") == b"mine"


def test_a_crash_after_publishing_costs_no_second_download(web: FileServer, tmp_path: Path) -> None:
    """The partial download is removed last; until then it shares its bytes with what is published."""
    config = settings(str(tmp_path / "out"), tmp_path, scratch=str(tmp_path))
    wanted = item(web.put("a.mp4", DATA))
    with partial.held(config.folder, wanted.key) as part, part.append() as file:
        file.write(DATA)
    open_store(config.output).publish(config.folder / f"{wanted.key}.part", "a.mp4")
    assert ingest(wanted, config) == Outcome(DONE)
    assert web.num_asked("a.mp4") == 0
    assert parts(config) == []


def test_two_tries_at_once_make_one_file_and_one_record(web: FileServer, config: ItemConfig) -> None:
    wanted, store = item(web.put("a.mp4", DATA)), open_store(config.output)
    with partial.held(config.folder, wanted.key):  # a try that is thought dead and is at work
        assert ingest(wanted, config) == Outcome(DONE)
        assert ingest(wanted, config) == Outcome(KEPT)
    assert names(store) == ["a.mp4"]
    assert len(list(store.list(ingested.RECORDS))) == 1


def test_a_full_disk_and_a_silent_bucket_are_no_fault_of_the_item(
    web: FileServer, tmp_path: Path, small_disk: Any, emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    disk = small_disk("size=100k")
    config = settings(str(tmp_path / "out"), tmp_path, scratch=str(disk))
    chunked = Rule(headers={"Content-Length": "", "Transfer-Encoding": "chunked"})
    with pytest.raises(NoSpace, match=f"^{disk}/.*no space left on the disk"):
        ingest(item(web.put("a.mp4", DATA, chunked)), config)
    small_disk("size=150k")
    outcome = ingest(item(f"{web.url}/a.mp4"), config)
    assert "GB more do not fit" in outcome.error, "where the size is known, others may still fit"
    monkeypatch.setenv("MIEN_RETRY_S", "0.2")
    config = settings(f"gs://{BUCKET}/silent", tmp_path)
    with failing(emulator, ".*silent.*", "status:503", 1000), pytest.raises(Unavailable):
        ingest(item(f"{web.url}/a.mp4"), config)
    small_disk("size=8m")
    config = settings(str(tmp_path / "out"), tmp_path, scratch=str(disk))
    assert ingest(item(f"{web.url}/a.mp4"), config) == Outcome(DONE), "the output may be another file system"


def test_a_record_is_written_after_the_file(config: ItemConfig) -> None:
    """So that a record never names what is not there."""
    store = open_store(config.output)
    wanted = item("https://host/a.mp4")
    store.replace("a.mp4", DATA)
    write_record(store, wanted, [ingested.File("a.mp4", 3, 1, SHA256, "")], {})
    assert list(Standing(store).left([wanted])) == [wanted]
