"""A storage that fails in every way that it can, under the whole job: the dataset is the one of a calm day."""

import json
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

import mien.datasets
from buckets import BUCKET
from command_line import Ended, run_here
from hostile_videos import write_good
from mien.datasets.verify import verify
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore

NUM_VIDEOS = 12
FAULTS = {
    "status:503": 3,
    "status:429": 2,
    "status:500": 2,
    "status:401": 1,
    "reset": 3,
    "lost_ack": 3,
    "truncate": 2,
    "flip": 3,
    "stall:1": 2,
}
"""Fault -> how many requests of each kind meet it."""
REQUESTS = {
    "video": r"GET .*videos%2F.*alt=media",
    "plan": r"GET .*plan%2F.*alt=media|GET .*plan/",
    "upload": r"(POST|PUT) .*upload.*(data|commits)",
    "record": r"GET .*commits.*alt=media",
    "list": r"GET /storage/v1/b/[^/]*/o\?",
}
"""What a request is about -> how it looks."""
CHECKED = {"video", "plan", "record"}
"""Replies that have a sum, or are read twice; a list has none."""
SETTINGS = ("crop.size_px=64", "min_shard_mb=0", "workers.clips_per_task=1")


@pytest.fixture(scope="module")
def source(emulator: Emulator, faces_dir: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    path = tmp_path_factory.mktemp("good") / "good.mp4"
    write_good(path, faces_dir)
    store = GcsStore(f"gs://{BUCKET}/stormy/videos")
    for number in range(NUM_VIDEOS):
        store.replace(f"{number:02d}.mp4", path.read_bytes())
    return store.uri


def rules() -> list[dict[str, Any]]:
    """Each kind of request meets each fault, with calm ones in between: a line does not fail without end."""
    return [
        {"match": match, "fault": fault, "times": 1, "skip": 2 * (number + len(FAULTS) * time)}
        for kind, match in REQUESTS.items()
        for number, (fault, times) in enumerate(FAULTS.items())
        for time in range(times)
        if fault != "flip" or kind in CHECKED
    ]


def checksums(place: str) -> dict[str, dict[str, str]]:
    """Video -> SHA-256 of each column but the ids, which follow from the place."""
    rows = mien.datasets.open(place).index.to_pylist()
    return {
        row["source_uri"]: {key: sum_ for key, sum_ in json.loads(row["checksums"]).items() if key != "clip_id"}
        for row in rows
    }


def run(capfd: pytest.CaptureFixture[str], source: str, output: str) -> Ended:
    return run_here(capfd, "serialize", f"source={source}", f"output={output}", *SETTINGS)


@pytest.fixture
def _models(assets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))


@pytest.mark.slow
@pytest.mark.usefixtures("_models", "local_ray")
def test_every_fault_in_every_kind_of_request_is_survived(
    emulator: Emulator, source: str, capfd: pytest.CaptureFixture[str]
) -> None:
    calm, stormy = (f"gs://{BUCKET}/stormy/{name}" for name in ("calm", "out"))
    assert run(capfd, source, calm).code == 0
    emulator.faults(rules())
    try:
        ended = run(capfd, source, stormy)
        fired = Counter(fault["fault"] for fault in emulator.fired())
    finally:
        emulator.faults([])
    assert ended.code == 0, ended.err
    assert fired.keys() == FAULTS.keys()
    assert verify(mien.datasets.open(stormy))["problems"] == []
    assert checksums(stormy) == checksums(calm)
    times = Counter(
        sample["clip_id"]
        for entry in GcsStore(stormy).list("commits/")
        for sample in json.loads(GcsStore(stormy).read(entry.name))["samples"]
    )
    assert times == dict.fromkeys(mien.datasets.open(stormy).clip_ids, 1)
    print(f"faults: {sum(fired.values())}: {dict(fired)}")
