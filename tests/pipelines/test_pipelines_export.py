"""Exports over Ray: parts, resumption, buckets, bad input. What is in them: tests/datasets/export/."""

import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from buckets import BUCKET
from export_datasets import export_files, make_coloured, read_json
from mien.datasets import publish
from mien.datasets.dataset import Dataset
from mien.datasets.export import record
from mien.datasets.export.kind import Outbox
from mien.datasets.export.kinds import KINDS, read_kind
from mien.datasets.export.parts import Parts
from mien.datasets.forget import forget
from mien.errors import ConfigError, DatasetError, RefusedError, StorageError
from mien.pipelines.export import Job, export, write_part
from mien.pipelines.serialize import SerializeConfig, plan
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from mien.storage.local import LocalStore

SMALL = {"clips": ["size_px=null"]}


@pytest.fixture
def dataset(tmp_path: Path) -> Dataset:
    return make_coloured(LocalStore(tmp_path / "dataset"))


def test_parts_over_ray_are_the_same_as_one_alone_but_for_their_number(
    dataset: Dataset, tmp_path: Path, local_ray: None
) -> None:
    kind = read_kind("clips", ["size_px=null", "frames_per_part=1"])
    told = export(dataset.uri, str(tmp_path / "many"), kind)
    export(dataset.uri, str(tmp_path / "one"), read_kind("clips", ["size_px=null"]))
    assert (told["path"], told["num_samples"], told["num_frames"]) == (f"{tmp_path}/many", 3, 22)
    assert len(list((tmp_path / "many" / "parts").iterdir())) == 3
    many, one = export_files(tmp_path / "many"), export_files(tmp_path / "one")
    assert many.keys() == one.keys()
    videos = {name for name in one if name.endswith(".mp4")}
    assert {name: many[name] for name in videos} == {name: one[name] for name in videos}
    assert not (tmp_path / "many" / ".scratch").exists()


def test_the_same_command_does_only_what_is_left(dataset: Dataset, tmp_path: Path, local_ray: None) -> None:
    """The first of three parts is written, as by a run that was killed; its files are marked, and stay."""
    kind, out = read_kind("hf", ["frames_per_part=1"]), tmp_path / "out"
    store = LocalStore(out)
    record.claim(store, dataset, kind)
    job = Job(dataset.uri, record.identity(dataset, kind)["index_sha256"], store.uri, kind)
    write_part(job, next(iter(Parts(dataset, kind))))
    with pytest.raises(KeyError), Outbox(store) as outbox, outbox.file("data/train-00001-000.parquet") as path:
        path.write_bytes(b"half")
        raise KeyError
    first = out / "data" / "train-00000-000.parquet"
    born = first.stat().st_mtime_ns
    assert not read_json(out / "export.json")["finished"]
    told = export(dataset.uri, str(out), kind)
    assert told["finished"]
    assert first.stat().st_mtime_ns == born
    assert sorted(path.name for path in (out / "data").iterdir()) == [f"train-0000{i}-000.parquet" for i in range(3)]
    files = export_files(out)
    assert export(dataset.uri, str(out), kind)["made_at"] == told["made_at"], "finished already: nothing is done"
    assert export_files(out) == files


@pytest.mark.parametrize("kind", KINDS)
def test_a_bucket_holds_the_same_as_a_folder(dataset: Dataset, tmp_path: Path, emulator: Emulator, kind: str) -> None:
    options = SMALL.get(kind, [])
    place = f"gs://{BUCKET}/{tmp_path.name}"
    export(dataset.uri, str(tmp_path / "out"), read_kind(kind, options))
    told = export(dataset.uri, place, read_kind(kind, options))
    assert told["path"] == place
    store, wanted = GcsStore(place), export_files(tmp_path / "out")
    found = {entry.name: store.read(entry.name) for entry in store.list()}
    names = {name for name in found if name != "export.json" and not name.startswith("parts/")}
    assert names == wanted.keys()
    assert {len(found[name]) for name in names} == {(tmp_path / "out" / name).stat().st_size for name in wanted}


def test_after_somebody_was_forgotten_it_is_made_again(dataset: Dataset, tmp_path: Path) -> None:
    kind, out = read_kind("clips", ["size_px=null"]), tmp_path / "out"
    export(dataset.uri, str(out), kind)
    report = forget(LocalStore(Path(dataset.uri)), "s1")
    assert report is not None
    assert any(f"mien export clips {dataset.uri} -o {out} --fresh" in line for line in report.outside)
    with pytest.raises(RefusedError, match=r"as it was before.*--fresh"):
        export(dataset.uri, str(out), kind)
    told = export(dataset.uri, str(out), kind, fresh=True)
    assert told["num_samples"] == 2
    assert not any("s1" in name for name in export_files(out))
    assert not any(b"s1_" in path.read_bytes() for path in out.rglob("*.json"))


def test_bad_places_are_told_and_nothing_is_written(dataset: Dataset, tmp_path: Path) -> None:
    kind = read_kind("hf")
    with pytest.raises(DatasetError, match="is not a dataset of mien"):
        export(str(tmp_path / "absent"), str(tmp_path / "out"), kind)
    for inside in (dataset.uri, f"{dataset.uri}/out", str(tmp_path)):
        with pytest.raises(ConfigError, match="must not lie in one another"):
            export(dataset.uri, inside, kind)
    with pytest.raises(ConfigError, match="no sample has the subject 'nobody'"):
        export(dataset.uri, str(tmp_path / "out"), read_kind("hf", ["subject=nobody"]))
    (tmp_path / "file").write_text("mine")
    with pytest.raises((StorageError, RefusedError), match="file"):
        export(dataset.uri, str(tmp_path / "file"), kind)
    assert not (tmp_path / "out").exists()
    assert not (Path(dataset.uri) / "exports").exists()


def test_a_damaged_sample_ends_the_export_and_no_file_of_it_is_there(dataset: Dataset, tmp_path: Path) -> None:
    shard = Path(dataset.uri) / dataset.sample(2).row["file"]
    data = bytearray(shard.read_bytes())
    data[len(data) // 3] ^= 255
    shard.write_bytes(data)
    with pytest.raises(DatasetError):
        export(dataset.uri, str(tmp_path / "out"), read_kind("hf"))
    assert not read_json(tmp_path / "out" / "export.json")["finished"]
    assert not (tmp_path / "out" / "data").exists()


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Callable[[str], Path]]:
    """A file system in memory, mounted by `small_disk("size=1m")`; other options remount it."""
    disk = tmp_path / "disk"

    def mount(options: str) -> Path:
        verb = f"remount,{options}" if disk.exists() else options
        disk.mkdir(exist_ok=True)
        command = ["mount", "-t", "tmpfs", "-o", verb, "tmpfs", str(disk)]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        if done.returncode:
            pytest.skip(f"needs the right to mount a small disk: {done.stderr.strip()}")
        return disk

    yield mount
    if disk.is_mount():
        subprocess.run(["umount", "--lazy", str(disk)], check=True)


@pytest.mark.parametrize("kind", KINDS)
def test_a_full_disk_is_told_and_the_same_command_resumes(
    dataset: Dataset, small_disk: Callable[[str], Path], kind: str
) -> None:
    out = small_disk("size=24k") / "out"
    config = read_kind(kind, SMALL.get(kind, []))
    with pytest.raises(StorageError, match=r"(no space left|No space left).*") as caught:
        export(dataset.uri, str(out), config)
    assert str(out) in str(caught.value)
    assert "\n" not in str(caught.value)
    whole = [path for path in out.rglob("*") if path.is_file() and not path.name.endswith(".json")]
    small_disk("size=64m")
    sizes = {path: path.stat().st_size for path in whole}
    assert export(dataset.uri, str(out), config)["num_samples"] == 3
    assert all(path.stat().st_size == size for path, size in sizes.items()), "what was there was whole"
    assert [path for path in out.rglob("*") if path.name.endswith(".tmp")] == []


def test_what_stays_when_a_dataset_is_started_over_is_no_dataset(
    dataset: Dataset, tmp_path: Path, faces_dir: Path
) -> None:
    """Notes outlive `--fresh`: what was exported before still holds people. They do not bar the place."""
    store = LocalStore(Path(dataset.uri))
    record.note(dataset, store, LocalStore(tmp_path / "out"), read_kind("hf"))
    publish.remove(store)
    assert [note["place"] for note in record.notes(store)] == [f"{tmp_path}/out"]
    planned = plan(SerializeConfig(source=str(faces_dir / "d0.mp4"), output=dataset.uri), store)
    assert planned is not None
    assert planned[0].num_clips == 1
