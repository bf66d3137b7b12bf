"""The disk of the machine that works runs full, while source or output lie in a bucket: told by its name, resumable."""

import subprocess
import tempfile
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from buckets import BUCKET
from command_line import assert_refused, start_job
from exact_runs import POLL_S, assert_exact, assert_went_well, end_of, ending, num_commits, wait_until, write_copies
from mien.storage.emulator import Emulator
from mien.storage.uri import open_store

pytestmark = pytest.mark.slow

NUM_VIDEOS = 12
RAW = ("crop.size_px=128", "crop.encoding=raw", "min_shard_mb=0", "workers.clips_per_task=1", "min_free_gb=0")
SETTINGS = (*RAW, "cluster.num_cpus=1", "cluster.object_store_gb=0.2")

Start = Callable[..., subprocess.Popen[str]]
Mount = Callable[[str], Path]


@pytest.fixture
def source(tmp_path: Path, faces_dir: Path) -> Path:
    return write_copies(tmp_path / "videos", faces_dir, NUM_VIDEOS)


@pytest.fixture
def start(assets_dir: Path, emulator: Emulator) -> Iterator[Start]:
    """Start a run whose temporary files go to a folder; Ray's own go elsewhere, where sockets have short names."""
    with tempfile.TemporaryDirectory(prefix="ray-", ignore_cleanup_errors=True) as ray_dir:
        yield lambda temporary, *words: start_job(
            *words, *SETTINGS, MIEN_ASSETS=str(assets_dir), TMPDIR=str(temporary), RAY_TMPDIR=ray_dir
        )


def fill(disk: Path) -> None:
    """Leave no byte free."""
    with (disk / "filler").open("ab", buffering=0) as file:
        for size in (1 << 16, 1 << 12, 1):
            with suppress(OSError):
                while file.write(bytes(size)) == size:
                    pass


def test_scratch_that_runs_full_beside_a_bucket_is_told_by_its_name_and_resumed(
    source: Path, start: Start, small_disk: Mount
) -> None:
    disk, output = small_disk("size=8m"), f"gs://{BUCKET}/full-scratch"
    words = (f"source={source}", f"output={output}")
    process = start(disk, *words)
    with ending(process):
        wait_until(lambda: num_commits(output) > 0, process)
        while process.poll() is None:
            fill(disk)
            with suppress(subprocess.TimeoutExpired):
                process.wait(POLL_S)
        assert_refused(end_of(process), 1, f"{disk}: no space left on the disk", "run the same command, it resumes")
    num_made = num_commits(output)
    assert 0 < num_made < NUM_VIDEOS, "it ran full in the middle"
    (disk / "filler").unlink()
    again = start(disk, *words)
    with ending(again):
        ended = end_of(again)
    assert_went_well(ended)
    assert f"{num_made} of {NUM_VIDEOS} clips are done" in ended.err
    assert set(assert_exact(output, NUM_VIDEOS).values()) == {1}
    assert list(disk.iterdir()) == [], "nothing temporary is left"


def test_a_machine_without_room_for_copies_of_videos_is_told_and_no_clip_is_blamed(
    source: Path, start: Start, small_disk: Mount, tmp_path: Path
) -> None:
    videos, output = f"gs://{BUCKET}/full-videos", str(tmp_path / "out")
    for path in source.iterdir():
        open_store(videos).replace(path.name, path.read_bytes())
    disk = small_disk("size=8k")
    words = (f"source={videos}", f"output={output}", "fetch=whole")
    process = start(disk, *words)
    with ending(process):
        said = f"no space left for a copy in {disk} of this machine"
        assert_refused(end_of(process), 1, videos, said, "set fetch=ranges", "run the same command, it resumes")
    assert num_commits(output) == 0
    small_disk("size=8m")
    again = start(disk, *words)
    with ending(again):
        assert_went_well(end_of(again))
    assert set(assert_exact(output, NUM_VIDEOS).values()) == {1}
    assert list(disk.iterdir()) == []
