"""A run that is killed around each of its writes, and what a reader sees ahead of each: the job as it is below Ray."""

import json
from collections import Counter
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

import mien.datasets
from buckets import BUCKET
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG
from mien.datasets.frames import serialize
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.datasets.verify import verify
from mien.errors import DatasetError, FaceError
from mien.pipelines.handout import drop_done, pending
from mien.pipelines.sink import Target, failure_of, write_clips
from mien.storage.emulator import Emulator
from mien.storage.uri import Store, open_store
from people import rows
from sample_datasets import PROVENANCE, SIZE_PX, make_clip, make_frames

WRITES = ("put_new", "replace", "replace_file", "publish", "delete", "clear_scratch")
NUM_CLIPS, FAILED = 5, 1
PREVIEW = PreviewConfig(max_clips=1, num_columns=1)

Before = Callable[[int], None]


class Killed(BaseException):
    """The end of the process, which nothing catches."""


class Mortal:
    """Any store; ahead of each write and delete `before` is called with its number, and after it `after`."""

    def __init__(self, store: Store, before: Before, after: Before) -> None:
        self._store, self._before, self._after = store, before, after
        self.num_writes = 0

    def __getattr__(self, name: str) -> Any:
        found = getattr(self._store, name)
        if name not in WRITES:
            return found

        def write(*arguments: Any) -> None:
            number, self.num_writes = self.num_writes, self.num_writes + 1
            self._before(number)
            try:
                found(*arguments)
            finally:  # also a name that is taken is an answer
                self._after(number)

        return write


def spare(number: int) -> None:
    """Nothing happens."""


def kill_at(number: int) -> Before:
    def kill(count: int) -> None:
        if count == number:
            raise Killed

    return kill


def crossing(row: dict[str, Any]) -> tuple[dict[str, Any], pa.Buffer, dict[str, Any]]:
    """What the stages would give the sink for a row of the plan."""
    number = int(row["source_uri"].partition("_")[2].partition(".")[0])
    if number == FAILED:
        return row, pa.py_buffer(b""), failure_of(row, "faces", FaceError("no face"))
    facts = {"width_px": 64, "height_px": 48, "rotation_deg": 0, "fps": 25.0, "is_vfr": False}
    return {**row, **facts, "time_base_num": 1, "time_base_den": 25}, serialize(frames(number)), {}


def frames(number: int) -> pa.Table:
    return make_frames(make_clip(number).clip_id, 4, seed=number)


def planned(uri: str) -> Store:
    """A dataset of which there is no more than a plan."""
    store = open_store(uri)
    store.put_new(CONFIG, f"crop: {{size_px: {SIZE_PX}}}\nfps: null\n".encode())
    index.write_plan(store, (make_clip(number).to_row() for number in range(NUM_CLIPS)))
    return store


def run(store: Any, run_id: str) -> None:
    """What is left of the plan in shards of two clips, a second attempt at the first of them, and the end."""
    left = pending(store, retry_failed=False)
    todo = [row for part in index.read_plan(store) for row in drop_done(part, left.skip).to_pylist()]
    target = Target(store.uri, run_id, ParquetConfig(), {})
    shards = [todo[start : start + 2] for start in range(0, len(todo), 2)]
    for shard in [*shards[:1], *shards]:  # Ray may start a task twice
        write_clips(target, map(crossing, shard), store=store)
    publish(store, CardConfig(), PREVIEW, PROVENANCE)
    store.clear_scratch()


def seen_by_a_reader(uri: str) -> Any:
    """Every value of the dataset, or how it is refused."""
    try:
        with closing(mien.datasets.open(uri)) as dataset:
            return rows(dataset), dataset.failures.to_pylist()
    except DatasetError as error:
        return "refused" if "is unfinished" in str(error) else str(error)


def state(store: Store) -> dict[str, Any]:
    """Everything but random names and times."""
    records = [json.loads(store.read(entry.name)) for entry in store.list("commits/")]
    return {
        "seen": seen_by_a_reader(store.uri),
        "clips": Counter(row["clip_id"] for record in records for row in record["samples"] + record["failures"]),
        "previews": [store.read(entry.name) for entry in store.list("preview/")],
    }


def finished_shards(store: Store) -> set[tuple[str, int]]:
    """Name and generation of every commit record and of the data that it names."""
    records = [json.loads(store.read(entry.name)) for entry in store.list("commits/")]
    named = {file["name"] for record in records for file in record["files"]}
    return {
        (entry.name, entry.generation)
        for entry in store.list()
        if entry.name in named or entry.name.startswith("commits/")
    }


@pytest.fixture
def place(request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator) -> Callable[[str], str]:
    """Where a dataset of a name lies."""
    return lambda name: {"local": str(tmp_path / name), "bucket": f"gs://{BUCKET}/killed/{name}"}[request.param]


@pytest.mark.parametrize("place", ["local", pytest.param("bucket", marks=pytest.mark.slow)], indirect=True)
def test_a_run_that_is_killed_around_any_write_is_finished_by_the_next_and_no_reader_sees_a_part(
    place: Callable[[str], str],
) -> None:
    whole, seen = planned(place("whole")), list[Any]()
    counted = Mortal(whole, lambda _: seen.append(seen_by_a_reader(whole.uri)), spare)
    run(counted, "first")
    undisturbed, num_writes = state(whole), counted.num_writes
    assert set(undisturbed["clips"].values()) == {1}
    assert len(undisturbed["clips"]) == NUM_CLIPS
    refused = seen.count("refused")
    assert 0 < refused < num_writes
    assert seen == ["refused"] * refused + [undisturbed["seen"]] * (num_writes - refused)
    for number in range(num_writes):
        for moment, hooks in {"before": (kill_at(number), spare), "after": (spare, kill_at(number))}.items():
            store = planned(place(f"{moment}-{number}"))
            with pytest.raises(Killed):
                run(Mortal(store, *hooks), "first")
            assert seen_by_a_reader(store.uri) in ("refused", undisturbed["seen"])
            before = finished_shards(store)
            run(store, "second")
            assert state(store) == undisturbed, (moment, number)
            assert before <= finished_shards(store), "a finished shard was touched"
            with closing(mien.datasets.open(store.uri)) as dataset:
                result = verify(dataset)
            assert (result["problems"], result["foreign"]) == ([], []), (moment, number)
    print(f"{2 * num_writes} kills, each finished by the next run")
