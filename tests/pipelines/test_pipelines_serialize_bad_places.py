"""Sources that are not there, outputs that cannot be written: told before anything is started, and nothing is left."""

import contextlib
import errno
import os
import shutil
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

import mien.datasets
from command_line import Ended, assert_refused, run_here
from hostile_videos import write_good
from mien import assets
from mien.clips.clip import Clip
from mien.clips.sources import SourcesConfig, find_videos
from mien.datasets.formats import open_shard
from mien.datasets.hdf5 import Hdf5Config
from mien.datasets.parquet import ParquetConfig
from mien.datasets.verify import verify
from mien.errors import MediaError
from mien.faces.detect import BlazeFace
from mien.pipelines.cut import Cutter
from mien.pipelines.serialize import SerializeConfig
from mien.storage.local import LocalStore
from sample_datasets import make_finished, make_frames

NOBODY = 65534
SETTINGS = ("crop.size_px=64", "crop.encoding=raw", "min_shard_mb=0")
NUM_VIDEOS = 4

Serialize = Callable[..., Ended]


@pytest.fixture
def serialize(assets_dir: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]) -> Serialize:
    """`mien serialize source=... output=...` in this process."""
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))

    def run(source: Path | str, output: Path | str, *words: str) -> Ended:
        return run_here(capfd, "serialize", f"source={source}", f"output={output}", *SETTINGS, *words)

    return run


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory, faces_dir: Path) -> Path:
    folder = tmp_path_factory.mktemp("good")
    write_good(folder / "0.mp4", faces_dir)
    for number in range(1, NUM_VIDEOS):
        (folder / f"{number}.mp4").write_bytes((folder / "0.mp4").read_bytes())
    return folder


@pytest.fixture
def public_dir() -> Iterator[Path]:
    """A folder below which rights alone decide, whoever runs the tests."""
    with tempfile.TemporaryDirectory() as name:
        Path(name).chmod(0o755)
        yield Path(name)


@contextlib.contextmanager
def without_privileges() -> Iterator[None]:
    """Root may read and write everything, so it steps down for the length of a block."""
    if os.geteuid():
        yield
        return
    os.seteuid(NOBODY)
    try:
        yield
    finally:
        os.seteuid(0)


def test_a_missing_folder_is_told_and_no_output_is_made(serialize: Serialize, tmp_path: Path) -> None:
    ended = serialize(tmp_path / "vidoes", tmp_path / "out")
    assert_refused(ended, 4, f"{tmp_path}/vidoes: does not exist", "give a folder of videos")
    assert not (tmp_path / "out").exists()


def test_a_folder_without_videos_is_told_and_no_output_is_made(serialize: Serialize, tmp_path: Path) -> None:
    (tmp_path / "notes").mkdir()
    (tmp_path / "notes" / "shopping.txt").write_text("bread")
    ended = serialize(tmp_path / "notes", tmp_path / "out")
    assert_refused(ended, 4, f"{tmp_path}/notes: holds no video", ".mp4", "sources.suffixes")
    assert not (tmp_path / "out").exists()


def test_a_mistyped_source_does_not_delete_a_dataset_that_was_to_be_made_afresh(
    serialize: Serialize, tmp_path: Path
) -> None:
    standing = tmp_path / "out" / "data" / "shard.parquet"
    standing.parent.mkdir(parents=True)
    standing.touch()
    (tmp_path / "out" / "config.yaml").write_text(SerializeConfig(source="x", output="y").to_yaml())
    assert serialize(tmp_path / "vidoes", tmp_path / "out", "--fresh").code == 4
    assert standing.exists()


def test_a_model_that_is_absent_is_told_with_the_command_that_gets_it(
    serialize: Serialize, videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(tmp_path / "none"))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path / "empty"))
    assert_refused(serialize(videos, tmp_path / "out"), 4, "face_detector", "mien assets pull")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("words", [(), ("--fresh",)], ids=["at first", "afresh"])
def test_files_of_somebody_else_are_neither_joined_nor_deleted(
    serialize: Serialize, videos: Path, tmp_path: Path, words: tuple[str, ...]
) -> None:
    project = tmp_path / "project"
    for name in ("README.md", "data/mine.parquet", "config.yaml"):
        (project / name).parent.mkdir(parents=True, exist_ok=True)
        (project / name).write_text("mine: 1")
    ended = serialize(videos, project, *words)
    assert_refused(ended, 5, f"{project}: holds files but no dataset", "choose a new or empty folder")
    left = [path.relative_to(project).as_posix() for path in project.rglob("*") if path.is_file()]
    assert sorted(left) == ["README.md", "config.yaml", "data/mine.parquet"]


@pytest.mark.parametrize("below", [".", "data", "data/videos"])
def test_sources_below_the_output_are_refused_since_files_there_are_replaced(
    serialize: Serialize, tmp_path: Path, below: str
) -> None:
    source = tmp_path / below
    source.mkdir(parents=True, exist_ok=True)
    (source / "a.mp4").touch()
    assert_refused(serialize(source, tmp_path), 2, "output: the source", "choose another folder")
    assert (source / "a.mp4").exists()
    assert not (tmp_path / "config.yaml").exists()


def test_a_worker_that_fits_on_no_machine_is_told_instead_of_waited_for(
    serialize: Serialize, videos: Path, tmp_path: Path, local_ray: None
) -> None:
    ended = serialize(videos, tmp_path / "out", "workers.cut.num_cpus=64")
    assert_refused(ended, 4, "workers.cut: each worker needs 64 CPU", "ask for less")


def test_an_output_that_is_a_file_is_told(serialize: Serialize, videos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_text("mine")
    assert_refused(serialize(videos, tmp_path / "out"), 4, f"output={tmp_path}/out: ", "is not a folder")
    assert (tmp_path / "out").read_text() == "mine"


def test_a_path_that_leads_in_circles_is_one_clear_line(serialize: Serialize, tmp_path: Path) -> None:
    (tmp_path / "circle").symlink_to(tmp_path / "circle")
    ended = serialize(tmp_path / "circle", tmp_path / "out")
    assert ended.code in {2, 4}  # Python 3.13 sees no file where 3.11 sees no path
    assert_refused(ended, ended.code, str(tmp_path / "circle"))


def test_a_source_without_read_permission_is_told(serialize: Serialize, public_dir: Path, tmp_path: Path) -> None:
    locked = public_dir / "locked"
    locked.mkdir(mode=0o000)
    with without_privileges():
        ended = serialize(locked, public_dir / "out")
    assert_refused(ended, 4, f"source: {locked}: permission denied", "check the owner and rights")


def test_an_output_without_write_permission_is_told(serialize: Serialize, videos: Path, public_dir: Path) -> None:
    source, locked = public_dir / "videos", public_dir / "locked"
    source.mkdir(mode=0o755)
    (source / "a.mp4").write_bytes((videos / "0.mp4").read_bytes())
    locked.mkdir(mode=0o555)
    with without_privileges():
        ended = serialize(source, locked / "out")
    assert_refused(ended, 4, f"output={locked}/out: permission denied", "check the owner and rights")
    assert list(locked.iterdir()) == []


def test_a_video_without_read_permission_fails_alone(
    videos: Path, public_dir: Path, assets_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    locked = public_dir / "locked.mp4"
    locked.write_bytes((videos / "0.mp4").read_bytes())
    locked.chmod(0o000)
    config = SerializeConfig()
    with BlazeFace(assets.read("face_detector"), config.faces.detector) as detector, without_privileges():
        (source,) = find_videos(str(locked), SourcesConfig())
        cutter = Cutter(config, config.limits, detector, None)
        with pytest.raises(MediaError, match=f"^{locked}: may not be read; check its access rights$"):
            cutter(Clip(source).to_row())


def test_a_read_only_disk_is_told_and_a_dataset_on_it_can_be_read(
    serialize: Serialize, small_disk: Callable[[str], Path], videos: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    out = small_disk("size=32m") / "out"
    make_finished(LocalStore(out), ParquetConfig())
    shutil.rmtree(out / ".scratch")
    small_disk("ro")
    assert_refused(serialize(videos, out), 4, f"output={out}: the file system is read-only", "choose another output")
    assert_refused(serialize(videos, out.parent / "new"), 4, "read-only", "choose another output")
    assert run_here(capfd, "verify", str(out)).code == 0


def test_too_little_free_space_is_told_before_the_first_clip(
    serialize: Serialize, small_disk: Callable[[str], Path], videos: Path
) -> None:
    out = small_disk("size=1m") / "out"
    assert_refused(
        serialize(videos, out), 4, f"output={out}: only 0.00 GB free in {out}, 0.1 GB are asked for", "min_free_gb"
    )
    assert [path for path in out.rglob("*") if path.is_file()] == []


def test_a_disk_that_runs_full_ends_the_run_and_the_same_command_resumes(
    serialize: Serialize, small_disk: Callable[[str], Path], videos: Path, local_ray: None
) -> None:
    out = small_disk("size=900k") / "out"
    ended = serialize(videos, out, "min_free_gb=0")
    assert_refused(ended, 1, f"{out}", "no space left on the disk", "run the same command, it resumes")
    assert_nothing_half_written(out)
    assert not (out / "mien.json").exists()
    made = set((out / "commits").glob("*.json"))
    assert 0 < len(made) < NUM_VIDEOS, "it ran full in the middle"
    small_disk("size=32m")
    ended = serialize(videos, out, "min_free_gb=0")
    assert ended.code == 0, ended.err
    assert f"{len(made)} of {NUM_VIDEOS} clips are done" in ended.err
    assert made < set((out / "commits").glob("*.json"))
    dataset = mien.datasets.open(out)
    assert verify(dataset)["problems"] == []
    assert len(dataset) == len(list((out / "data").iterdir())) == NUM_VIDEOS


@pytest.mark.parametrize("kind", [ParquetConfig(row_group_mb=0.1), Hdf5Config(chunk_mb=0.01)])
def test_either_format_takes_a_full_disk_for_an_ordinary_error(
    small_disk: Callable[[str], Path], kind: ParquetConfig | Hdf5Config
) -> None:
    writer = kind.writer(small_disk("size=900k") / f"shard{kind.suffix}", {})
    frames = make_frames("f" * 32, 500, raw=True)
    with pytest.raises(OSError, match="No space left on device") as raised:
        writer.add(frames)
    assert raised.value.errno == errno.ENOSPC


def assert_nothing_half_written(out: Path) -> None:
    """A shard may lie there whole without a record, if the disk was full when its record was put: no reader sees it."""
    for shard in (out / "data").glob("*"):
        open_shard(shard).__exit__(None, None, None)
    assert [path.name for path in out.rglob("*") if path.name.endswith(".tmp")] == []
    assert list((out / ".scratch").iterdir()) == []
