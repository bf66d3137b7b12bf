"""`mien ingest` through a real Ray: a list into a folder and a bucket, kills, failures, and what a second run does."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pyarrow.parquet as pq
import pytest

from buckets import BUCKET, failing
from command_line import ROOT, TIMEOUT_S, clean_environment
from file_server import FileServer, Rule
from mien.clips.clip import Source
from mien.clips.sources import SourcesConfig, find_videos
from mien.datasets import ingested
from mien.errors import ConfigError, PreflightError, RefusedError, TooManyFailures, Unavailable
from mien.pipelines.ingest import IngestConfig, check, dry_run, rights, run
from mien.storage import lease
from mien.storage.commit import digest
from mien.storage.emulator import Emulator
from mien.storage.rights import require_all
from mien.storage.uri import open_store

SECRET = "X-Goog-Signature=c0ffee"
DATA = os.urandom(200_000)
POLL_S = 0.05


def config(output: str, urls: list[str] | Path, **values: Any) -> IngestConfig:
    quick: dict[str, Any] = {"download": {"first_wait_s": 0, "max_tries": 2}, "min_free_gb": 0}
    listed = {"source": str(urls)} if isinstance(urls, Path) else {"datasets": [{"url": url} for url in urls]}
    return IngestConfig.parse({**quick, **listed, "output": output, **values}, "test")


@pytest.fixture(params=["folder", "bucket"])
def output(request: pytest.FixtureRequest, tmp_path: Path, emulator: Emulator) -> str:
    name = request.node.name.partition("[")[0]
    return str(tmp_path / "out") if request.param == "folder" else f"gs://{BUCKET}/{name}"


def names(output: str) -> list[str]:
    return [entry.name for entry in open_store(output).list() if not entry.name.startswith("ingest/")]


def test_real_videos_come_whole_over_a_bad_network_and_a_second_run_asks_for_nothing(
    web: FileServer, output: str, faces_dir: Path, local_ray: None, capfd: pytest.CaptureFixture[str]
) -> None:
    videos = sorted(faces_dir.glob("*.mp4"))
    rules = {
        "d0": [Rule(cut_after=1_000_000), Rule(status=503)],
        "d3": [Rule(status=429, headers={"Retry-After": "0"})],
    }
    urls = [web.put(path.name, path.read_bytes(), *rules.get(path.stem, ())) + f"?{SECRET}" for path in videos]
    report = run(config(output, urls))
    assert (report.num_items, report.num_done, report.num_failed) == (8, 8, 0)
    store = open_store(output)
    assert [digest(store.fetch(path.name)).sha256 for path in videos] == [digest(path).sha256 for path in videos]
    assert report.received_bytes == report.size_bytes == sum(path.stat().st_size for path in videos)
    rows = pq.read_table(store.fetch(ingested.TABLE)).to_pylist()
    assert [row["name"] for row in rows] == [path.name for path in videos]
    assert {row["name"]: row["resumed_bytes"] for row in rows}["d0.mp4"] == 1_000_000
    before, num_asked = [(e.name, e.generation) for e in store.list()], len(web.asked)
    assert run(config(output, urls)) == report
    assert run(config(output, [url.replace("c0ffee", "another") for url in urls])) == report
    assert len(web.asked) == num_asked
    assert [(e.name, e.generation) for e in store.list()] == before
    assert dry_run(config(output, urls)).num_left == 0
    for entry in [*store.list(), *store.list(ingested.RECORDS)]:
        if entry.name.startswith("ingest/"):
            assert b"c0ffee" not in store.read(entry.name), entry.name
    assert "c0ffee" not in capfd.readouterr().err
    found = list(find_videos(output, SourcesConfig()))
    assert [Path(each.uri).name for each in found if isinstance(each, Source)] == [path.name for path in videos]
    assert len(found) == len(videos) + 2, "of records and reports a planner sees the two reports"
    if not output.startswith("gs://"):
        assert not (Path(output) / ".scratch" / "ingest").exists()


def test_one_bad_item_stops_no_other_and_is_tried_again(
    web: FileServer, tmp_path: Path, local_ray: None, caplog: pytest.LogCaptureFixture
) -> None:
    output = str(tmp_path / "out")
    urls = [web.put(f"{number}.mp4", DATA) + f"?{SECRET}" for number in range(4)]
    web.rules["/1.mp4"].append(Rule(status=403))
    del web.files["/2.mp4"]
    report = run(config(output, urls))
    assert (report.num_done, report.num_failed) == (2, 2)
    assert [failure["number"] for failure in report.failures] == [2, 3]
    assert "(403)" in report.failures[0]["error"]
    assert "(404)" in report.failures[1]["error"]
    check(report, max_failed=0.5)
    with pytest.raises(
        TooManyFailures, match=r"2 of 4 items failed \(tolerated: max_failed=0\.25\); see .*report\.parquet"
    ):
        check(report, max_failed=0.25)
    num_asked = len(web.asked)
    assert run(config(output, urls)).num_failed == 1
    assert len(web.asked) == num_asked + 2, "only what failed was tried again"
    web.put("2.mp4", DATA)
    report = run(config(output, urls))
    assert (report.num_done, report.failures) == (4, [])


def wait_for_bytes(output: Path, num_bytes: int) -> None:
    """Until a download has so much on the disk; the server sends no more before it is told to."""
    until = time.monotonic() + TIMEOUT_S
    while not any(path.stat().st_size == num_bytes for path in output.glob(".scratch/ingest/*.part")):
        assert time.monotonic() < until
        threading.Event().wait(POLL_S)


def test_a_worker_that_is_killed_is_replaced_and_its_item_is_whole(
    web: FileServer, tmp_path: Path, local_ray: None
) -> None:
    url = web.put("a.mp4", DATA, Rule(hold_after=100_000))
    killed = list[int]()

    def kill() -> None:
        wait_for_bytes(tmp_path / "out", 100_000)
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):  # one that has ended meanwhile
                if process.name().startswith("ray::_work"):
                    process.send_signal(signal.SIGKILL)
                    killed.append(process.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    report = run(config(str(tmp_path / "out"), [url]))
    killer.join()
    assert killed
    assert (report.num_done, report.num_failed) == (1, 0)
    assert (tmp_path / "out" / "a.mp4").read_bytes() == DATA
    assert web.num_asked("a.mp4") == 2
    assert web.asked[1].headers["range"] == "bytes=100000-", "what had come was kept"


@pytest.mark.slow
def test_an_item_that_ends_its_worker_each_time_is_given_up_and_stops_no_other(
    web: FileServer, tmp_path: Path, local_ray: None
) -> None:
    url = web.put("a.mp4", DATA, *[Rule(hold_after=20_000)] * 9)
    output, killed, is_over = str(tmp_path / "out"), set[int](), threading.Event()

    def kill() -> None:
        while not is_over.wait(POLL_S):
            for process in psutil.Process().children(recursive=True):
                with suppress(psutil.Error):
                    if process.name().startswith("ray::_work") and process.pid not in killed:
                        process.send_signal(signal.SIGKILL)
                        killed.add(process.pid)

    killer = threading.Thread(target=kill)
    killer.start()
    report = run(config(output, [url]))
    is_over.set()
    killer.join()
    assert (report.num_done, report.num_failed, len(killed)) == (0, 1, 4)
    assert f"{url}: ended its worker 4 times; leave it out" in report.failures[0]["error"]
    web.release.set()
    report = run(config(output, [url, web.put("b.mp4", DATA)]))
    assert (report.num_done, report.num_failed) == (2, 0)
    assert (tmp_path / "out" / "a.mp4").read_bytes() == DATA


def test_a_run_that_is_killed_is_resumed_by_the_same_command(web: FileServer, tmp_path: Path, local_ray: None) -> None:
    output, listed = str(tmp_path / "out"), tmp_path / "list.txt"
    urls = [web.put(f"{number}.mp4", DATA + bytes([number])) for number in range(4)]
    listed.write_text("\n".join(urls))
    web.rules["/3.mp4"].append(Rule(hold_after=100_000))
    words = [f"source={listed}", f"output={output}", "workers.max_workers=1", "min_free_gb=0"]
    job = [
        sys.executable,
        str(ROOT / "jobs" / "ingest.py"),
        *words,
        "cluster.num_cpus=1",
        "cluster.object_store_gb=0.1",
    ]
    with subprocess.Popen(job, env=clean_environment(), stderr=subprocess.DEVNULL) as process:
        assert web.held.wait(TIMEOUT_S)
        wait_for_bytes(tmp_path / "out", 100_000)
        process.kill()
    assert names(output) == ["0.mp4", "1.mp4", "2.mp4"]
    assert not (tmp_path / "out" / ingested.REPORT).exists()
    until = time.monotonic() + TIMEOUT_S
    while any(_is_at_work_on(output, process) for process in psutil.process_iter()):
        assert time.monotonic() < until
        threading.Event().wait(POLL_S)
    web.release.set()
    report = run(config(output, listed))
    assert (report.num_done, report.num_failed) == (4, 0)
    assert [web.num_asked(f"{number}.mp4") for number in range(4)] == [1, 1, 1, 2]
    assert web.asked[-1].headers["range"] == "bytes=100000-"
    assert (tmp_path / "out" / "3.mp4").read_bytes() == DATA + bytes([3])
    assert [path.name for path in (tmp_path / "out").rglob("*.tmp")] == []


def _is_at_work_on(output: str, process: psutil.Process) -> bool:
    """Whether a process is a worker that has a file below the output open."""
    try:
        return "ray::_work" in process.name() and any(file.path.startswith(output) for file in process.open_files())
    except (psutil.Error, FileNotFoundError):
        return False


@pytest.mark.slow
def test_an_outage_of_the_bucket_ends_the_run_and_the_same_command_resumes(
    web: FileServer, emulator: Emulator, local_ray: None
) -> None:
    output, source = f"gs://{BUCKET}/ingest-outage", f"gs://{BUCKET}/outage-source"
    open_store(source).replace("a.mp4", DATA)
    urls = [f"{source}/a.mp4", web.put("b.mp4", DATA)]
    with (
        failing(emulator, r"GET .*outage-source.*alt=media", "status:503", 1000),
        pytest.raises(Unavailable, match=r"the service does not answer .*; run the same command, it resumes"),
    ):
        run(config(output, urls))
    assert run(config(output, urls)).num_done == 2


@pytest.mark.parametrize(
    ("values", "kind", "said"),
    [
        ({"output": ""}, ConfigError, "output: is required"),
        ({"datasets": []}, ConfigError, "give a list as source=LIST"),
        ({"datasets": [{"url": "https://h/a"}, {"url": "https://i/a"}]}, ConfigError, "line 2: 'a' is also the target"),
        ({"datasets": [{"url": f"ftp://h/a?{SECRET}"}]}, ConfigError, "datasets: line 1: url 'ftp://h/a'"),
        ({"output": "gs://no-such-bucket/x"}, PreflightError, "output=gs://no-such-bucket/x: list: .*does not exist"),
        (
            {"min_free_gb": 1e9},
            PreflightError,
            "GB free, 1e.09 GB are to stay free; free some space or set min_free_gb",
        ),
    ],
)
def test_what_cannot_be_is_told_before_anything_starts(
    emulator: Emulator, tmp_path: Path, values: dict[str, Any], kind: type[Exception], said: str
) -> None:
    given: dict[str, Any] = {"output": str(tmp_path / "out"), "datasets": [{"url": "https://127.0.0.1:1/a"}], **values}
    with pytest.raises(kind, match=said) as raised:
        run(IngestConfig.parse(given, "test"))
    assert "c0ffee" not in str(raised.value)
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []


def test_a_second_ingest_into_one_output_is_refused_while_one_is_at_work(web: FileServer, tmp_path: Path) -> None:
    values = config(str(tmp_path / "out"), [web.put("a.mp4", DATA)])
    with (
        lease.held(open_store(str(tmp_path / "out" / "ingest"))),
        pytest.raises(
            RefusedError, match=r"is at work there .*watch it with `mien ingest … --dry-run`, or use --take-over"
        ),
    ):
        run(values)
    assert web.asked == []


def test_rights_are_tried_one_by_one(emulator: Emulator) -> None:
    output = f"gs://{BUCKET}/rights-of-ingest"
    values = config(output, ["https://h/a"])
    require_all(rights(values), output)
    with failing(emulator, "DELETE .*", "status:403", 10):
        found = rights(values)
    assert [right.state for right in found] == ["ok", "ok", "ok", "ok", "missing"]
    with pytest.raises(PreflightError, match=f"output={output}: delete: .*permission denied"):
        require_all(found, output)


def test_the_driver_holds_a_window_and_the_report_is_plain_json(
    web: FileServer, tmp_path: Path, local_ray: None
) -> None:
    urls = [web.put(f"{number:02d}.mp4", b"x") for number in range(12)]
    report = run(config(str(tmp_path / "out"), urls, workers={"max_workers": 2, "num_cpus": 0.5}))
    assert json.loads((tmp_path / "out" / ingested.REPORT).read_text()) == report.to_json()
    assert len(names(str(tmp_path / "out"))) == 12
