"""`mien ingest` as a person types it: what is refused, what is told, what a script reads, and no link in any of it."""

import json
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from buckets import BUCKET, failing
from command_line import ROOT, TIMEOUT_S, assert_refused, clean_environment
from file_server import FileServer, Rule
from mien.storage import lease
from mien.storage.emulator import Emulator
from mien.storage.uri import open_store

SECRET = "Signature=c0ffee"
QUICK = ("min_free_gb=0", "download.first_wait_s=0", "download.max_tries=1")


@pytest.fixture
def listed(web: FileServer, tmp_path: Path) -> Path:
    """A list of two signed links, the second of which has ended."""
    web.put("good.mp4", b"film" * 1000)
    web.always["/gone.mp4"] = Rule(status=403)
    path = tmp_path / "list.txt"
    path.write_text(f"{web.url}/good.mp4?{SECRET}\n{web.url}/gone.mp4?{SECRET}\n")
    return path


def test_failures_beyond_what_is_tolerated_end_with_3_and_the_report_is_on_stdout(
    run: Any, listed: Path, tmp_path: Path, local_ray: None
) -> None:
    words = ("ingest", f"source={listed}", f"output={tmp_path / 'out'}", *QUICK)
    ended = run(*words, "--json")
    assert ended.code == 3
    report = json.loads(ended.out)
    assert (report["num_done"], report["num_failed"]) == (1, 1)
    assert "expired or forbidden link (403); get a new link" in report["failures"][0]["error"]
    assert "failed   gone.mp4: " in ended.err
    (complaint,) = ended.complaints
    assert "1 of 2 items failed (tolerated: max_failed=0)" in complaint
    assert f"output   {tmp_path / 'out'}" in ended.err
    again = run(*words, "max_failed=0.5")
    assert again.code == 0
    assert "resume   1 of 2 items are done" in again.err
    assert "num_failed      1" in again.out
    plan = run("ingest", f"source={listed}", f"output={tmp_path / 'out'}", "--dry-run")
    assert plan.code == 0
    assert "gone.mp4?..." in plan.out
    assert "num_left   1" in plan.out
    for text in (ended.out, ended.err, again.out, again.err, plan.out, plan.err):
        assert "c0ffee" not in text


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ((), ("output: is required", "output=PLACE")),
        (("output=out",), ("source: give a list as source=LIST",)),
        (("output=out", "source=absent.csv"), ("absent.csv: does not exist",)),
        (("output=out", "source=list.doc"), ("list.doc: is no list by its ending",)),
        (("output=out", "source=x.csv", "workers.max_wrokers=3"), ("did you mean workers.max_workers?",)),
        (("output=s3://x/y", "source=bad.txt"), ("s3://x/y", "is not supported")),
        (("output=out", "source=bad.txt"), ("bad.txt: line 1: url 'ftp://host/a'",)),
        (("output=out", f"datasets=[{{url: 'ftp://h/a?{SECRET}'}}]"), ("datasets: line 1: url 'ftp://h/a'",)),
        (("output=out", f"datasets=[{{ulr: 'https://h/a?{SECRET}', url: b}}]"), ("datasets.0.ulr: no such key",)),
    ],
)
def test_a_mistake_is_one_line_without_the_link(
    run: Any, words: tuple[str, ...], said: tuple[str, ...], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "bad.txt").write_text(f"ftp://host/a?{SECRET}\n")
    ended = run("ingest", *words)
    assert_refused(ended, 4 if "absent.csv" in " ".join(words) else 2, *said)
    assert "c0ffee" not in ended.err
    assert [path.name for path in tmp_path.iterdir()] == ["bad.txt"]


def test_a_config_that_is_no_yaml_does_not_show_its_links(run: Any, tmp_path: Path) -> None:
    path = tmp_path / "mine.yaml"
    path.write_text(f"datasets:\n  - url: https://host/{'a' * 60}?{SECRET}&x=[ : {{\n   bad\n")
    ended = run("ingest", path, f"output={tmp_path / 'out'}")
    assert ended.code == 2
    assert f"{path}: is not valid YAML" in ended.err
    assert "c0ffee" not in ended.err


def test_the_rights_on_a_bucket_are_one_table(run: Any, emulator: Emulator) -> None:
    output = f"gs://{BUCKET}/verb"
    ended = run("ingest", "--test", f"output={output}")
    assert ended.code == 0
    assert [line.split()[:2] for line in ended.out.splitlines()] == [
        ["name", "state"],
        *([name, "ok"] for name in ("auth", "list", "write", "read", "delete")),
    ]
    with failing(emulator, "POST .*upload", "status:403", 100):
        ended = run("ingest", "--test", f"output={output}", "--json")
    assert ended.code == 4
    states = {right["name"]: right["state"] for right in json.loads(ended.out)}
    assert states == {"auth": "ok", "list": "ok", "write": "missing", "read": "untried", "delete": "untried"}
    assert len(ended.complaints) == 1
    assert "grant the role storage.objectUser" in ended.complaints[0]


def test_a_bucket_without_a_right_is_told_before_anything_starts(
    run: Any, listed: Path, web: FileServer, emulator: Emulator
) -> None:
    with failing(emulator, "DELETE .*", "status:403", 100):
        ended = run("ingest", f"source={listed}", f"output=gs://{BUCKET}/verb-2")
    assert_refused(ended, 4, f"output=gs://{BUCKET}/verb-2: delete: ", "permission denied")
    assert "missing  delete" in ended.err
    assert web.asked == []


def test_an_output_at_which_a_run_is_at_work_is_refused(
    run: Any, listed: Path, web: FileServer, tmp_path: Path
) -> None:
    with lease.held(open_store(str(tmp_path / "out" / "ingest"))):
        ended = run("ingest", f"source={listed}", f"output={tmp_path / 'out'}", "min_free_gb=0")
    assert_refused(ended, 5, f"{tmp_path}/out/ingest: the run on", "is at work there", "--take-over")
    assert web.asked == []


def test_a_disk_that_runs_full_ends_the_run_and_the_same_command_resumes(
    run: Any, web: FileServer, tmp_path: Path, small_disk: Any, local_ray: None
) -> None:
    out, data = small_disk("size=400k") / "out", b"film" * 50_000
    chunked = {"Content-Length": "", "Transfer-Encoding": "chunked"}
    urls = [web.put(f"{number}.mp4", data, Rule(headers=chunked)) for number in range(3)]
    (tmp_path / "list.txt").write_text("\n".join(urls))
    words = ("ingest", f"source={tmp_path / 'list.txt'}", f"output={out}", *QUICK, "workers.max_workers=1")
    ended = run(*words)
    assert_refused(ended, 1, f"{out}/", "no space left on the disk", "run the same command, it resumes")
    films = list(out.glob("*.mp4"))
    assert len(films) == 1
    assert films[0].read_bytes() == data
    assert [path.name for path in out.rglob("*.tmp")] == []
    small_disk("size=8m")
    ended = run(*words)
    assert ended.code == 0, ended.err
    assert "resume   1 of 3 items are done" in ended.err
    assert {path.read_bytes() for path in out.glob("*.mp4")} == {data}


@pytest.mark.slow
def test_an_interrupt_ends_with_130_and_one_line(web: FileServer, tmp_path: Path) -> None:
    (tmp_path / "list.txt").write_text(web.put("a.mp4", b"x" * 1000, Rule(hold_after=500)))
    words = [f"source={tmp_path / 'list.txt'}", f"output={tmp_path / 'out'}", "min_free_gb=0"]
    command = [sys.executable, str(ROOT / "jobs" / "ingest.py"), *words, "cluster.num_cpus=1"]
    with subprocess.Popen(
        command, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    ) as process:
        assert web.held.wait(TIMEOUT_S)
        process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=TIMEOUT_S)
    assert process.returncode == 130, err
    assert out == ""
    assert err.splitlines()[-1] == "mien: interrupted; what is committed stays, the same command resumes"
    assert "Traceback" not in err
    assert list((tmp_path / "out").glob("*.mp4")) == []
