"""Checkpoints: committed once, damaged ones known as such, pickles never opened; in a folder and in a bucket."""

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import nn

from buckets import BUCKET, failing
from mien.errors import CheckpointError, StorageError
from mien.models import checkpoint
from mien.storage.commit import digest
from mien.storage.emulator import Emulator
from mien.storage.local import LocalStore
from mien.storage.uri import Store, open_store
from pickle_bomb import WRAPPINGS

PARTS = {"model": {"a.weight": torch.arange(6.0).view(2, 3), "count": torch.tensor(3)}, "optimizer": {}}
FACTS = {"config": {"seed": 1}, "metrics": {"loss": 0.5}}


@pytest.fixture(params=["folder", "bucket"])
def store(request: pytest.FixtureRequest, tmp_path: Path) -> Store:
    """A place for a run, of both kinds."""
    if request.param == "folder":
        return LocalStore(tmp_path / "run")
    request.getfixturevalue("emulator")
    name = hashlib.sha256(request.node.nodeid.encode()).hexdigest()[:12]
    return open_store(f"gs://{BUCKET}/{name}")


@pytest.fixture
def local(tmp_path: Path) -> LocalStore:
    """A folder whose files can be damaged."""
    return LocalStore(tmp_path / "run")


def parts(value: float) -> dict[str, dict[str, torch.Tensor]]:
    return {"model": {"w": torch.full((3,), value)}, "optimizer": {"w/step": torch.tensor(value)}}


def files(store: Store) -> set[str]:
    return {entry.name for entry in store.list("checkpoints/") if entry.name.count("/") == 2}


def file_of(store: LocalStore, step: int, part: str = "model") -> Path:
    return store.fetch(checkpoint.read(store, f"step_{step:09d}").facts["files"][part]["name"])


def test_what_is_written_is_read(store: Store) -> None:
    written = checkpoint.write(store, 600, PARTS, FACTS)
    found = checkpoint.read(store, "step_000000600")
    assert (found.step, found.parts, found.facts["metrics"]) == (600, ["model", "optimizer"], {"loss": 0.5})
    assert found.facts == written.facts
    tensors = found.tensors("model")
    assert tensors.keys() == PARTS["model"].keys()
    assert all(torch.equal(tensors[name], value) for name, value in PARTS["model"].items())
    assert tensors["count"].dtype == torch.int64
    assert checkpoint.pointed(store, checkpoint.LATEST) == {"checkpoint": "step_000000600"}
    assert found.uri == f"{store.uri}/checkpoints/step_000000600.json"


def test_names_are_in_the_order_of_the_steps_and_of_records_alone(store: Store) -> None:
    for step in (1000, 9, 200):
        checkpoint.write(store, step, parts(step), {})
    store.put_new("checkpoints/notes.json", b"{}")
    assert checkpoint.names(store) == ["step_000000009", "step_000000200", "step_000001000"]
    assert checkpoint.newest(store).step == 1000  # type: ignore[union-attr]
    assert checkpoint.find(store.uri).step == 1000
    assert checkpoint.find(f"{store.uri}/checkpoints/step_000000200.json").step == 200
    assert checkpoint.find(f"{store.uri}/checkpoints/step_000000009").step == 9


def test_of_two_writers_of_a_step_the_first_counts_and_the_files_of_the_second_go(store: Store) -> None:
    first = checkpoint.write(store, 1, parts(1), {"who": "first"})
    second = checkpoint.write(store, 1, parts(2), {"who": "second"})
    assert second.facts == first.facts
    assert second.tensors("model")["w"].eq(1).all()
    assert files(store) == {file["name"] for file in first.facts["files"].values()}


def test_a_lost_reply_to_the_record_is_no_second_writer(emulator: Emulator) -> None:
    store = open_store(f"gs://{BUCKET}/lost-reply")
    with failing(emulator, "POST /upload", "lost_ack", skip=2):  # after the two files comes the record
        written = checkpoint.write(store, 1, parts(1), {})
    assert checkpoint.newest(store) is not None
    assert files(store) == {file["name"] for file in written.facts["files"].values()}
    assert checkpoint.pointed(store, checkpoint.LATEST) == {"checkpoint": "step_000000001"}


def test_a_bucket_that_does_not_answer_says_nothing_of_a_checkpoint(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"gs://{BUCKET}/silent")
    checkpoint.write(store, 1, parts(1), {})
    monkeypatch.setenv("MIEN_RETRY_S", "0.5")
    with failing(emulator, "GET .*silent.*model", "status:503", times=1000), pytest.raises(StorageError):
        checkpoint.newest(open_store(store.uri))
    assert checkpoint.newest(store) is not None


def test_averages_are_preferred_where_there_are_any(local: LocalStore) -> None:
    model, ema = {"w": torch.zeros(2), "buffer": torch.ones(1)}, {"w": torch.full((2,), 5.0)}
    weights = checkpoint.write(local, 1, {"model": model, "optimizer": {}, "ema": ema}, {}).weights()
    assert weights["w"].eq(5).all()
    assert weights["buffer"].eq(1).all()
    assert checkpoint.write(local, 2, {"model": model, "optimizer": {}}, {}).weights()["w"].eq(0).all()


def test_pieces_of_a_larger_tensor_are_written_as_they_are(local: LocalStore) -> None:
    whole = torch.arange(12.0).view(3, 4)
    found = checkpoint.write(local, 1, {"model": {"t": whole.T, "row": whole[1]}}, {}).tensors("model")
    assert torch.equal(found["t"], whole.T)
    assert torch.equal(found["row"], whole[1])


def truncate(path: Path) -> None:
    path.write_bytes(path.read_bytes()[:-1])


def alter(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize("damage", [truncate, alter, Path.unlink], ids=["truncated", "one bit", "absent"])
def test_a_damaged_checkpoint_falls_back_to_the_one_before(
    local: LocalStore, damage: Callable[[Path], None], caplog: pytest.LogCaptureFixture
) -> None:
    for step in (1, 2, 3):
        checkpoint.write(local, step, parts(step), {})
    damage(file_of(local, 3))
    damage(file_of(local, 2, "optimizer"))
    found = checkpoint.newest(local)
    assert found is not None
    assert found.step == 1
    assert [record.levelname for record in caplog.records] == ["WARNING", "WARNING"]
    assert f"{file_of(local, 1).parent.parent}/step_000000003" in caplog.text
    with pytest.raises(
        CheckpointError, match=r"step_000000003.*(is damaged|cannot be read).*take an earlier checkpoint"
    ):
        checkpoint.read(local, "step_000000003").tensors("model")
    damage(file_of(local, 1))
    with pytest.raises(CheckpointError, match="its 3 checkpoints are all damaged; start over with --fresh"):
        checkpoint.newest(local)


def test_a_damaged_checkpoint_is_written_anew_when_its_step_comes_again(local: LocalStore) -> None:
    checkpoint.write(local, 1, parts(1), {})
    checkpoint.write(local, 2, parts(2), {})
    alter(file_of(local, 2))
    checkpoint.write(local, 2, parts(2), {"again": True})
    found = checkpoint.newest(local)
    assert found is not None
    assert (found.step, found.facts["again"]) == (2, True)
    checkpoint.clear_orphans(local)
    assert files(local) == {f["name"] for step in (1, 2) for f in _named(local, step)}


def _named(store: Store, step: int) -> list[dict[str, Any]]:
    return [*checkpoint.read(store, f"step_{step:09d}").facts["files"].values()]


def test_files_that_no_record_names_go_and_nothing_else(store: Store) -> None:
    for step in (1, 2, 3):
        checkpoint.write(store, step, parts(step), {})
    kept = files(store)
    store.replace("checkpoints/step_000000003.json", b"no JSON")
    orphans = ["step_000000002.0123456789ab/model.safetensors", "step_000000009.0123456789ab/ema.safetensors"]
    for name in orphans:
        store.put_new(f"checkpoints/{name}", b"left by a killed writer")
    strange = {"checkpoints/mine/notes.txt", "checkpoints/step_x.1/y"}
    for name in strange:
        store.put_new(name, b"of a person")
    checkpoint.clear_orphans(store)
    assert files(store) == kept | strange, "files of the damaged record stay too"
    assert len(checkpoint.names(store)) == 3


def test_a_copy_holds_the_same_and_files_of_its_own(store: Store, tmp_path: Path) -> None:
    checkpoint.write(store, 3, parts(1.0), {"metrics": {"error": 0.5}})
    found, other = checkpoint.read(store, "step_000000003"), LocalStore(tmp_path / "other")
    copied = checkpoint.copy(found, other)
    assert (copied.step, copied.facts["metrics"]) == (3, {"error": 0.5})
    for part in found.parts:
        assert all(torch.equal(value, found.tensors(part)[name]) for name, value in copied.tensors(part).items())
    checkpoint.remove(store, found.name)
    assert checkpoint.newest(other) == copied


def test_a_checkpoint_is_removed_with_its_files_and_no_other(store: Store) -> None:
    for step in (1, 10, 100):
        checkpoint.write(store, step, parts(step), {})
    checkpoint.remove(store, "step_000000010")
    assert checkpoint.names(store) == ["step_000000001", "step_000000100"]
    assert files(store) == {f["name"] for step in (1, 100) for f in _named(store, step)}


@pytest.mark.parametrize("wrapping", WRAPPINGS)
def test_a_pickle_that_poses_as_a_checkpoint_is_never_opened(local: LocalStore, tmp_path: Path, wrapping: str) -> None:
    mark = tmp_path / "mark"
    checkpoint.write(local, 1, parts(1), {})
    path = file_of(local, 1)
    path.write_bytes(WRAPPINGS[wrapping](mark))
    record = json.loads(local.read("checkpoints/step_000000001.json"))
    record["files"]["model"] |= digest(path)._asdict()  # the sums are right: a stranger can count
    local.replace("checkpoints/step_000000001.json", json.dumps(record).encode())
    with pytest.raises(CheckpointError, match="is no safetensors file"):
        checkpoint.find(local.uri).tensors("model")
    (tmp_path / "weights.pt").write_bytes(WRAPPINGS[wrapping](mark))
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        checkpoint.find(str(tmp_path / "weights.pt"))
    assert not mark.exists()


@pytest.mark.parametrize(
    ("record", "message"),
    [
        (b"\xff\xfe", "it is not JSON"),
        (b"[1]", "is no checkpoint of mien"),
        (b'{"format": "other"}', "is no checkpoint of mien"),
        (b'{"format": "mien-checkpoint", "version": 99}', "has version 99, this mien reads 1"),
        (b'{"format": "mien-checkpoint", "version": 1}', "it says no step"),
        (b'{"format": "mien-checkpoint", "version": 1, "step": 1, "files": {"model": {}}}', "or not which files"),
        (b'{"format": "mien-checkpoint", "version": 1, "step": 1, "files": ["model"]}', "or not which files"),
    ],
)
def test_a_record_that_is_none_is_refused(local: LocalStore, record: bytes, message: str) -> None:
    local.put_new("checkpoints/step_000000001.json", record)
    with pytest.raises(CheckpointError, match=message):
        checkpoint.read(local, "step_000000001")
    with pytest.raises(CheckpointError, match="all damaged"):
        checkpoint.newest(local)


def test_a_record_leads_to_no_file_outside(local: LocalStore, tmp_path: Path) -> None:
    checkpoint.write(local, 1, parts(1), {})
    file_of(local, 1).rename(tmp_path / "outside.safetensors")
    record = json.loads(local.read("checkpoints/step_000000001.json"))
    record["files"]["model"]["name"] = "../outside.safetensors"
    local.replace("checkpoints/step_000000001.json", json.dumps(record).encode())
    with pytest.raises(CheckpointError, match="is no name below"):
        checkpoint.find(local.uri).tensors("model")


def test_there_may_be_none(local: LocalStore) -> None:
    assert checkpoint.newest(local) is None
    assert checkpoint.pointed(local, checkpoint.BEST) == {}
    with pytest.raises(CheckpointError, match="holds no checkpoint; give the output of `mien train`"):
        checkpoint.find(local.uri)
    with pytest.raises(CheckpointError, match=r"step_000000007\.json: cannot be read"):
        checkpoint.find(f"{local.uri}/checkpoints/step_000000007")
    local.replace(checkpoint.BEST, b"damaged")
    assert checkpoint.pointed(local, checkpoint.BEST) == {}
    with pytest.raises(CheckpointError, match="has no part 'ema'; it has model, optimizer"):
        checkpoint.write(local, 1, parts(1), {}).tensors("ema")


def test_a_full_disk_leaves_the_checkpoints_before(small_disk: Callable[[str], Path]) -> None:
    store = LocalStore(small_disk("size=1m") / "run")
    checkpoint.write(store, 1, parts(1), {})
    there = files(store)
    for num_values in (400_000, 150_000):  # the first part is too large; both together are
        large = {"model": {"w": torch.zeros(num_values)}, "optimizer": {"w/exp_avg": torch.zeros(num_values)}}
        with pytest.raises(StorageError, match=r"(?i)no space left"):
            checkpoint.write(store, 2, large, {})
        assert (files(store), checkpoint.names(store)) == (there, ["step_000000001"])
    assert checkpoint.newest(store) is not None
    assert checkpoint.write(store, 2, parts(2), {}).step == 2


def test_another_architecture_is_told_by_keys_and_shapes() -> None:
    state = nn.Linear(3, 2).state_dict()
    with pytest.raises(CheckpointError, match=r"x: is of another architecture, 3 tensors differ: ") as caught:
        checkpoint.load_into(nn.Linear(4, 2), {"weight": state["weight"], "scale": torch.ones(1)}, "x")
    for said in ("weight is [2, 3], not [2, 4]", "bias is missing", "scale is unknown"):
        assert said in str(caught.value)
    with pytest.raises(CheckpointError, match=r"; …$"):
        checkpoint.load_into(nn.Sequential(*(nn.Linear(1, 1) for _ in range(9))), {}, "x")
    module = nn.Linear(3, 2)
    checkpoint.load_into(module, state, "x")
    assert torch.equal(module.weight, state["weight"])
