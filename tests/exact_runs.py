"""Runs of the job in processes of their own, on videos that are all good, and what makes their result exact."""

import json
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psutil

import mien.datasets
from command_line import TIMEOUT_S, Ended
from hostile_videos import write_good
from mien.datasets.verify import verify
from mien.storage.commit import FOLDER
from mien.storage.uri import open_store

POLL_S = 0.05


def write_copies(folder: Path, faces_dir: Path, num_videos: int) -> Path:
    """Small good videos, all alike but for their names; returns the folder."""
    folder.mkdir(parents=True, exist_ok=True)
    write_good(folder / "0.mp4", faces_dir)
    for number in range(1, num_videos):
        (folder / f"{number}.mp4").write_bytes((folder / "0.mp4").read_bytes())
    return folder


def tree(process: subprocess.Popen[str]) -> list[psutil.Process]:
    """The process and all below it."""
    with suppress(psutil.NoSuchProcess):
        top = psutil.Process(process.pid)
        return [top, *top.children(recursive=True)]
    return []


@contextmanager
def ending(*processes: subprocess.Popen[str]) -> Iterator[None]:
    """No process is left behind, whatever the test finds."""
    try:
        yield
    finally:
        for process in processes:
            for member in tree(process):
                with suppress(psutil.Error):
                    member.kill()
            process.communicate()


def end_of(process: subprocess.Popen[str]) -> Ended:
    """How a run ends."""
    out, err = process.communicate(timeout=2 * TIMEOUT_S)
    return Ended(process.returncode, out, err)


def num_commits(output: str) -> int:
    """Commit records so far."""
    return sum(1 for _ in open_store(output).list(FOLDER))


def wait_until(is_so: Callable[[], bool], process: subprocess.Popen[str]) -> None:
    """Wait for something that a process does; it must not end before."""
    until = time.monotonic() + TIMEOUT_S
    while not is_so():
        assert time.monotonic() < until, "nothing happens"
        with suppress(subprocess.TimeoutExpired):
            process.wait(POLL_S)
            assert is_so(), process.communicate()[1][-2000:]


def assert_exact(output: str, num_clips: int) -> Counter[str]:
    """Every clip is made once, nothing is wrong, nothing foreign; returns how often each was committed."""
    dataset = mien.datasets.open(output)
    result = verify(dataset)
    assert (result["problems"], result["foreign"]) == ([], [])
    assert (len(dataset), len(set(dataset.clip_ids)), dataset.failure_file.num_rows) == (num_clips, num_clips, 0)
    store = open_store(output)
    records = [json.loads(store.read(entry.name)) for entry in store.list(FOLDER)]
    times = Counter(sample["clip_id"] for record in records for sample in record["samples"])
    assert times.keys() == set(dataset.clip_ids)
    dataset.close()
    return times


def assert_went_well(ended: Ended) -> None:
    """Exit code 0, and no complaint and no traceback on the way."""
    assert ended.code == 0, ended.err[-2000:]
    assert ended.complaints == []
    assert "Traceback" not in ended.err
