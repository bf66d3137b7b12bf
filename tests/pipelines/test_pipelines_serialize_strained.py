"""The whole job on a machine that is short of everything: answers that stall, messages that are lost, little memory."""

import json
import re
import tempfile
import time
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest

import mien.datasets
from buckets import BUCKET, failing
from command_line import Ended, start_job
from exact_runs import assert_exact, assert_went_well, end_of, ending, num_commits, wait_until, write_copies
from mien.errors import Unavailable
from mien.storage.emulator import Emulator
from mien.storage.uri import open_store

pytestmark = pytest.mark.slow

NUM_VIDEOS, NUM_LONGER = 12, 80
NUM_STALLS = 5
STALL_S = 40
"""Longer than the silence on a connection that counts as a failure."""
SMALL = ("crop.size_px=64", "cluster.num_cpus=2", "cluster.object_store_gb=0.2")
ONE_BY_ONE = ("min_shard_mb=0", "workers.clips_per_task=1")

CHAOS = {"*": {"num_failures": -1, "req_failure_prob": 3, "resp_failure_prob": 3}}
"""Of a hundred messages between Ray's processes three are lost on the way there, and three replies on the way back."""

MAX_ATTEMPTS = 5
SMALLEST_STORE_GB = 0.081
STEP_BYTES = 100_000_000
ROOM_BYTES, MAX_BALLOON_BYTES, FREE_BYTES = 2_500_000_000, 4_000_000_000, 3_000_000_000
"""From what is used at the start to where workers are killed; of the balloon that leads there; what stays free."""


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory, faces_dir: Path) -> Path:
    return write_copies(tmp_path_factory.mktemp("videos"), faces_dir, NUM_VIDEOS)


@pytest.fixture
def ray_dir() -> Iterator[Path]:
    """Where a Ray of its own keeps logs and spilled objects; the names of its sockets must be short."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as name:
        yield Path(name)


@pytest.fixture
def told(capsys: pytest.CaptureFixture[Any]) -> Any:
    """Prints figures past the capture."""

    def tell(line: str) -> None:
        with capsys.disabled():
            print(f"\n{line}")

    return tell


def run(*words: str, **environment: str) -> tuple[Ended, float]:
    """A run to its end, and how long it took."""
    started = time.monotonic()
    process = start_job(*words, **environment)
    with ending(process):
        return end_of(process), time.monotonic() - started


def test_answers_that_stall_are_asked_for_again_and_the_job_goes_on(
    emulator: Emulator, source: Path, assets_dir: Path, told: Any
) -> None:
    videos, output = f"gs://{BUCKET}/stalled-videos", f"gs://{BUCKET}/stalled"
    for path in source.iterdir():
        open_store(videos).replace(path.name, path.read_bytes())
    rules = [rf"GET .*stalled-videos%2F{number}\.mp4.*alt=media" for number in range(1, 1 + NUM_STALLS)]
    stalls = [{"match": rule, "fault": f"stall:{STALL_S}"} for rule in rules]
    emulator.faults([*stalls, {"match": "POST /upload.*ifGenerationMatch=0", "fault": f"stall:{STALL_S}", "skip": 6}])
    words = (f"source={videos}", f"output={output}", *SMALL, *ONE_BY_ONE)
    ended, seconds = run(*words, MIEN_ASSETS=str(assets_dir), MIEN_RETRY_S="60")
    fired = emulator.fired()
    emulator.faults([])
    assert_went_well(ended)
    assert len(fired) == NUM_STALLS + 1
    assert set(assert_exact(output, NUM_VIDEOS).values()) == {1}
    told(f"{len(fired)} stalls of {STALL_S} s: {NUM_VIDEOS} of {NUM_VIDEOS} clips in {seconds:.0f} s")


def test_an_answer_that_stalls_beyond_the_budget_names_the_object(
    emulator: Emulator, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = open_store(f"gs://{BUCKET}/stalled-alone")
    store.replace("x", b"1")
    monkeypatch.setenv("MIEN_RETRY_S", "1")
    with (
        failing(emulator, "GET .*alt=media", f"stall:{STALL_S}"),
        pytest.raises(
            Unavailable, match=rf"{store.uri}/x: the service does not answer \(.*[Tt]ime.*it resumes"
        ) as raised,
    ):
        store.read("x")
    assert "\n" not in str(raised.value)


def test_messages_that_are_lost_within_ray_lose_no_clip(
    source: Path, tmp_path: Path, assets_dir: Path, told: Any
) -> None:
    words, chaos = (f"source={source}", *SMALL, *ONE_BY_ONE), json.dumps(CHAOS)
    ended, calm_s = run(*words, f"output={tmp_path / 'calm'}", MIEN_ASSETS=str(assets_dir))
    assert_went_well(ended)
    places = {"MIEN_ASSETS": str(assets_dir), "RAY_testing_rpc_failure": chaos}
    for attempt in range(1, MAX_ATTEMPTS + 1):
        ended, chaos_s = run(*words, f"output={tmp_path / 'chaos'}", **places)
        told(f"RPC chaos 3 %/3 %, attempt {attempt}: {ended.code}, {chaos_s:.0f} s ({chaos_s / calm_s:.2f} of calm)")
        if ended.code == 0:
            break
        assert "Traceback" not in ended.err  # a node of Ray may well not outlive its own start
        assert len(ended.complaints) == 1, ended.err
        assert "it resumes" in ended.complaints[0] or "Ray does not start" in ended.complaints[0]
    assert_went_well(ended)
    assert_exact(str(tmp_path / "chaos"), NUM_VIDEOS)


def test_raw_crops_of_several_times_the_object_store_go_through_it(
    source: Path, tmp_path: Path, assets_dir: Path, ray_dir: Path, told: Any
) -> None:
    output, spilled = tmp_path / "out", 0
    words = (f"source={source}", f"output={output}", "crop.encoding=raw", "workers.clips_per_task=1")
    tight = (f"cluster.object_store_gb={SMALLEST_STORE_GB}", "cluster.num_cpus=2")
    process = start_job(*words, *tight, MIEN_ASSETS=str(assets_dir), RAY_TMPDIR=str(ray_dir))
    with ending(process):
        while process.poll() is None:
            spilled = max(spilled, spilled_bytes(ray_dir))
            with suppress(Exception):
                process.wait(0.2)
        assert_went_well(end_of(process))
    assert_exact(str(output), NUM_VIDEOS)
    dataset = mien.datasets.open(output)
    num_bytes = sum(sample.crops().nbytes for sample in dataset)
    assert num_bytes > 2 * SMALLEST_STORE_GB * 1e9
    told(
        f"{num_bytes / 1e6:.0f} MB of crops through a store of {1000 * SMALLEST_STORE_GB:.0f} MB: "
        f"at most {spilled / 1e6:.0f} MB spilled at once"
    )


def spilled_bytes(ray_dir: Path) -> int:
    """Bytes that lie in files of spilled objects."""
    total = 0
    for path in ray_dir.rglob("*spill*/*"):
        with suppress(OSError):
            total += path.stat().st_size
    return total


def test_workers_that_ray_kills_for_memory_cost_no_clip(
    faces_dir: Path, tmp_path: Path, assets_dir: Path, ray_dir: Path, told: Any
) -> None:
    source = write_copies(tmp_path / "videos", faces_dir, NUM_LONGER)
    memory, output = psutil.virtual_memory(), str(tmp_path / "out")
    if memory.available < ROOM_BYTES + MAX_BALLOON_BYTES + FREE_BYTES:
        pytest.skip(f"needs {(ROOM_BYTES + MAX_BALLOON_BYTES + FREE_BYTES) / 1e9:.0f} GB of free memory")
    threshold = (memory.total - memory.available + ROOM_BYTES) / memory.total
    monitor = {"RAY_memory_usage_threshold": f"{threshold:.4f}", "RAY_memory_monitor_refresh_ms": "100"}
    places = {"MIEN_ASSETS": str(assets_dir), "RAY_TMPDIR": str(ray_dir), "RAY_BACKEND_LOG_LEVEL": "info"}
    process = start_job(f"source={source}", f"output={output}", *SMALL, *ONE_BY_ONE, **monitor, **places)
    with ending(process):
        wait_until(lambda: num_commits(output) > 1, process)
        num_before, num_bytes = num_killed(ray_dir), 0
        balloon = list[bytearray]()

        def is_one_killed() -> bool:
            assert STEP_BYTES * len(balloon) < MAX_BALLOON_BYTES, "no worker was killed"
            if num_killed(ray_dir) == num_before:
                balloon.append(bytearray(b"x") * STEP_BYTES)
            return num_killed(ray_dir) > num_before

        wait_until(is_one_killed, process)
        num_bytes = STEP_BYTES * len(balloon)
        balloon.clear()
        ended = end_of(process)
    assert_went_well(ended)
    assert_exact(output, NUM_LONGER)
    told(f"{num_killed(ray_dir)} processes killed for memory, a balloon of {num_bytes / 1e9:.1f} GB: exact")


def num_killed(ray_dir: Path) -> int:
    """Processes that Ray's memory monitor has killed, by the log of the node."""
    logs = (path.read_text(errors="replace") for path in ray_dir.rglob("raylet.out"))
    return sum(int(number) for log in logs for number in re.findall(r"Killing (\d+) worker\(s\), kill details", log))
