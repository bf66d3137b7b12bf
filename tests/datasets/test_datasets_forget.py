"""Matrix row 39: one subject is erased from Parquet and HDF5; every byte is searched, the others are compared."""

import json
from pathlib import Path

import pytest

import mien.datasets
from buckets import BUCKET, failing
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.forget import forget
from mien.datasets.formats import FormatConfig
from mien.datasets.hdf5 import Hdf5Config
from mien.datasets.local_shards import shards_root
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.errors import ConfigError
from mien.storage.commit import commit, read_commits
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.local import LocalStore
from people import ADAEZE, BERTILLE, CSONGOR, PICTURES, assert_clean, clip_of, make_people, rows, traces
from sample_datasets import PROVENANCE, write_shard


@pytest.fixture(params=["parquet", "hdf5"])
def kind(request: pytest.FixtureRequest) -> FormatConfig:
    """Each shard format in turn; chunks are small, so that little has to be searched."""
    formats: dict[str, FormatConfig] = {"parquet": ParquetConfig(), "hdf5": Hdf5Config(chunk_mb=0.01)}
    return formats[request.param]


def contents(store: LocalStore) -> dict[str, bytes]:
    return {entry.name: store.read(entry.name) for entry in store.list()}


@pytest.mark.parametrize(("person", "raw"), [(ADAEZE, False), (BERTILLE, False), (BERTILLE, True)])
def test_no_byte_of_the_subject_is_left_and_the_others_are_as_if_it_had_never_been(
    store: LocalStore, kind: FormatConfig, tmp_path: Path, person: str, raw: bool
) -> None:
    make_people(store, kind, raw=raw)
    leftover = store.scratch() / "draft"
    leftover.write_bytes(clip_of(person, 0).clip_id.encode())
    (store.root / "data" / f".{'0' * 32}.tmp").write_bytes(person.encode())
    kinds = {trace.what.partition(" ")[0] for trace in traces(store.root, person, raw=raw)}
    assert kinds >= {"name", "id", "text", "label", "crop", "thumb", "feature", "landmarks"}, (
        "the search finds what is there"
    )
    others = {name for name in (ADAEZE, BERTILLE, CSONGOR) if name != person}
    untouched = contents(store)

    report = forget(store, person)

    assert report is not None
    assert traces(store.root, person, raw=raw) == set()
    assert all(traces(store.root, other, raw=raw) for other in others)
    assert_clean(store)
    never = make_people(LocalStore(tmp_path / "never"), kind, without=person, raw=raw)
    dataset = mien.datasets.open(store.root)
    assert rows(dataset) == rows(never)
    assert dataset.failures == never.failures
    assert all(store.read(name) == (tmp_path / "never" / name).read_bytes() for name in (*PICTURES, "README.md"))
    assert next(index.read_plan(store)) == next(index.read_plan(LocalStore(tmp_path / "never")))
    if person == BERTILLE:
        kept = [f"data/others{kind.suffix}", "commits/others.json", "config.yaml"]
        assert {name: store.read(name) for name in kept} == {name: untouched[name] for name in kept}


def test_the_audit_record_says_how_much_and_not_who(store: LocalStore, kind: FormatConfig) -> None:
    make_people(store, kind)
    report = forget(store, BERTILLE, "consent withdrawn")
    assert report is not None
    record = json.loads(store.read(report.audit))
    assert record["removed"] == report.removed._asdict()
    assert record["bytes_rewritten"] == sum(
        entry.size_bytes for entry in store.list("data/") if entry.name != f"data/others{kind.suffix}"
    )
    assert (record["reason"], record["version"], record["previous"]) == ("consent withdrawn", mien.__version__, "")
    assert report.audit in {file["name"] for file in json.loads(store.read("mien.json"))["files"]}
    second = forget(store, CSONGOR)
    assert second is not None
    assert json.loads(store.read(second.audit))["previous"] != ""
    assert_clean(store)


def test_a_reason_that_names_the_subject_changes_nothing(store: LocalStore) -> None:
    make_people(store, ParquetConfig())
    before = contents(store)
    with pytest.raises(ConfigError, match="--reason names the subject"):
        forget(store, BERTILLE, "mail from bertille, 3 May")
    assert contents(store) == before


def test_a_second_call_has_nothing_to_do(store: LocalStore) -> None:
    make_people(store, ParquetConfig())
    forget(store, BERTILLE)
    before = contents(store)
    assert forget(store, BERTILLE) is None
    assert contents(store) == before


def test_everybody_can_be_forgotten(store: LocalStore, kind: FormatConfig) -> None:
    make_people(store, kind)
    for person in (BERTILLE, ADAEZE, CSONGOR):
        forget(store, person)
        assert_clean(store)
    assert [traces(store.root, person) for person in (ADAEZE, BERTILLE, CSONGOR)] == [set(), set(), set()]
    assert (len(mien.datasets.open(store.root)), list(store.list("data/"))) == (0, [])
    assert sum(part.num_rows for part in index.read_plan(store)) == 0


def test_what_was_said_about_the_data_on_a_later_run_stays(store: LocalStore) -> None:
    make_people(store, ParquetConfig())
    publish(store, CardConfig(title="Renamed", consent="signed forms"), PreviewConfig(max_clips=1), PROVENANCE)
    forget(store, BERTILLE)
    card = store.read("README.md").decode()
    assert "# Renamed" in card
    assert "signed forms" in card


def test_a_row_that_the_index_does_not_name_goes_too_and_the_winner_stays(store: LocalStore) -> None:
    """Two attempts made the same clips; the first by name counts, before and after."""
    make_people(store, ParquetConfig())
    write_shard(store, ParquetConfig(), [clip_of(ADAEZE, 0), clip_of(BERTILLE, 0)], "zombie")
    winners = set(mien.datasets.open(store.root).index.column("file").to_pylist())
    assert "data/zombie.parquet" not in winners
    forget(store, BERTILLE)
    assert traces(store.root, BERTILLE) == set()
    files = {record["shard"][:5]: record["files"] for record in read_commits(store) if record["files"]}
    assert files.keys() == {"mixed", "zombi", "other"}
    (file,) = files["zombi"]
    named = set(mien.datasets.open(store.root).index.column("file").to_pylist())
    assert named == {files["mixed"][0]["name"], "data/others.parquet"}
    assert file["name"] in {entry.name for entry in store.list("data/")}


def test_a_writer_that_was_held_up_comes_too_late(store: LocalStore) -> None:
    make_people(store, ParquetConfig())
    forget(store, BERTILLE)
    after = contents(store)
    for shard in ("mixed", "alone", "lost", "gone"):
        assert not commit(store, shard, "late", {"files": [], "samples": [], "failures": []})
    assert contents(store) == after


def test_decoded_shards_of_a_dead_training_go_too(
    store: LocalStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "machine"))
    make_people(store, ParquetConfig())
    mine, other = shards_root(store.uri) / "run", shards_root(str(tmp_path / "other")) / "run"
    for folder in (mine, other):
        folder.mkdir(parents=True)
        (folder / "crop.npy").write_bytes(b"a face")
    report = forget(store, BERTILLE)
    assert report is not None
    assert not mine.exists()
    assert (other / "crop.npy").exists()
    assert any(f"delete {mine.parent} there" in line for line in report.outside)


def test_a_name_in_the_config_is_told(store: LocalStore) -> None:
    make_people(store, ParquetConfig())
    store.replace("config.yaml", store.read("config.yaml").replace(b"/videos", b"/videos/bertille/take_*.mp4"))
    publish(store, CardConfig(consent="Bertille agreed"), PreviewConfig(), PROVENANCE)
    report = forget(store, BERTILLE)
    assert report is not None
    assert any("source, card.consent" in line for line in report.outside)
    other = forget(store, CSONGOR)
    assert other is not None
    assert not any("card.consent" in line for line in other.outside)


def test_in_a_bucket_it_is_the_same_also_when_a_reply_is_lost(emulator: Emulator, tmp_path: Path) -> None:
    store = GcsStore(f"gs://{BUCKET}/forgotten")
    make_people(store, ParquetConfig())
    with failing(emulator, "POST .*upload", "lost_ack"):  # the journal stands, and nobody said so
        report = forget(store, BERTILLE)
    assert report is not None
    assert any("a bucket keeps removed objects" in line for line in report.outside)
    for entry in store.list():
        path = tmp_path / entry.name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(store.read(entry.name))
    assert traces(tmp_path, BERTILLE) == set()
    assert traces(tmp_path, ADAEZE) != set()
    assert_clean(store)
