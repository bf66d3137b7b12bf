"""Many videos through a real Ray: each has its row, none stops the others, and the same command resumes."""

import json
import resource
from pathlib import Path

import av
import pytest

import flash_and_click
from buckets import BUCKET
from command_line import run_process
from mien.errors import ConfigError, PreflightError, RefusedError, TooManyFailures
from mien.pipelines.each_video import Report, Work, run
from mien.pipelines.video_items import Item, Selection
from mien.pipelines.video_jobs import AudioJob, FramesJob
from mien.storage import lease
from mien.storage.emulator import Emulator
from mien.storage.uri import open_store


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two good videos, one without sound, one that is none, one that is cut off, and a file of another kind."""
    folder = tmp_path_factory.mktemp("videos")
    for name, sound in (("a.mp4", "aac"), ("b.mov", "pcm_s16le"), ("silent.mp4", "")):
        flash_and_click.write(folder / name, range(0, 2000, 40), [0.52, 1.24], codecs=("libx264", sound))
    (folder / "none.mp4").write_bytes(b"no video at all " * 100)
    whole = flash_and_click.write(folder / "cut.mkv", range(0, 2000, 40), [0.52], codecs=("mpeg4", "flac")).read_bytes()
    (folder / "cut.mkv").write_bytes(whole[: len(whole) // 2])
    (folder / "notes.txt").write_text("notes")
    return folder


def rows(report: Report) -> dict[str, dict[str, object]]:
    return {Path(row["source"]).name: row for row in report.rows()}


def files(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): path.stat().st_mtime_ns for path in folder.rglob("*") if path.is_file()}


def test_what_fails_is_listed_and_the_others_are_made(local_ray: None, videos: Path, tmp_path: Path) -> None:
    report = run("audio", [str(videos)], ["format=flac"], str(tmp_path / "out"))
    found = rows(report)
    assert list(found) == ["a.mp4", "b.mov", "cut.mkv", "none.mp4", "silent.mp4"], "in the order of the listing"
    assert {name: row["status"] for name, row in found.items()} == {
        "a.mp4": "done",
        "b.mov": "done",
        "cut.mkv": "failed",
        "none.mp4": "failed",
        "silent.mp4": "failed",
    }
    assert found["silent.mp4"]["error_type"] == "NoAudioTrack"
    assert "not a video" in str(found["none.mp4"]["error"])
    assert found["a.mp4"]["output"] == f"{tmp_path}/out/a.flac"
    assert sorted(files(tmp_path / "out")) == ["a.flac", "b.flac"], "no draft, no lease, nothing half"
    assert report.summary() == {"output": f"{tmp_path}/out", "num_done": 2, "num_kept": 0, "num_failed": 3}
    with pytest.raises(TooManyFailures, match="3 of 5 videos failed"):
        report.check()


def test_the_same_command_keeps_what_is_there_and_makes_what_is_not(
    local_ray: None, videos: Path, tmp_path: Path
) -> None:
    places = [str(videos / "a.mp4"), str(videos / "b.mov")]
    run("frames", places, ["rate_fps=2"], str(tmp_path / "out")).check()
    before = files(tmp_path / "out")
    assert len(before) == 2 * 5
    (tmp_path / "out" / "b" / "frames.json").unlink()
    again = rows(run("frames", places, ["rate_fps=2"], str(tmp_path / "out")))
    assert (again["a.mp4"]["status"], again["b.mov"]["status"]) == ("kept", "done")
    after = files(tmp_path / "out")
    assert after.keys() == before.keys()
    assert {name for name in after if after[name] != before[name]} == {name for name in after if name.startswith("b/")}
    fewer = rows(run("frames", places, ["rate_fps=1"], str(tmp_path / "out"), overwrite=True))
    assert {row["status"] for row in fewer.values()} == {"done"}
    assert len(files(tmp_path / "out")) == 2 * 3, "no frame of the earlier rate stays"


def test_a_bucket_is_read_and_written_alike(local_ray: None, emulator: Emulator, videos: Path, tmp_path: Path) -> None:
    root = f"gs://{BUCKET}/{tmp_path.name}"
    source, out = open_store(f"{root}/in"), open_store(f"{root}/out")
    for name in ("a.mp4", "deep/b.mov"):
        source.replace(name, (videos / Path(name).name).read_bytes())
    for verb in ("frames", "thumbnail", "audio", "convert"):
        report = run(verb, [f"{root}/in"], [], f"{root}/out/{verb}")
        report.check()
        assert rows(report)["b.mov"]["source"] == f"{root}/in/deep/b.mov"
    names = [entry.name for entry in out.list()]
    assert {"audio/a.wav", "audio/deep/b.wav", "convert/deep/b.mp4", "thumbnail/a.jpg", "frames/a/frames.json"} < {
        *names
    }
    run("audio", [str(videos / "a.mp4")], [], str(tmp_path / "local"))
    assert out.read("audio/a.wav") == (tmp_path / "local" / "a.wav").read_bytes()
    listed = json.loads(out.read("frames/a/frames.json"))
    assert listed["source"] == f"{root}/in/a.mp4"
    assert {f"frames/a/{frame['file']}" for frame in listed["frames"]} < {*names}
    assert rows(run("info", [f"{root}/in/a.mp4"], []))["a.mp4"]["num_frames"] == 50
    assert run("audio", [f"{root}/in"], [], f"{root}/out/audio").summary()["num_kept"] == 2


@pytest.mark.slow
def test_a_worker_that_is_ended_costs_its_video_alone(local_ray: None, videos: Path, tmp_path: Path) -> None:
    long = tmp_path / "in" / "long.mp4"
    long.parent.mkdir()
    flash_and_click.write(long, range(0, 800_000, 40), [], codecs=("mpeg4", ""))
    (long.parent / "short.mp4").write_bytes((videos / "a.mp4").read_bytes())
    settings = ["timeout_s=2", "rate_fps=25", "format=png"]
    report = run("frames", [str(long.parent)], settings, str(tmp_path / "out"))
    found = rows(report)
    assert found["short.mp4"]["status"] == "done"
    assert "ended its worker 3 times" in str(found["long.mp4"]["error"])
    assert {Path(name).parts[0] for name in files(tmp_path / "out")} == {"short"}


def one(job: object, video: Path, output: Path, overwrite: bool = False) -> dict[str, object]:
    """The row of one video, without Ray."""
    (item,) = Selection([str(video)], job, str(output), overwrite=overwrite)  # type: ignore[arg-type]
    assert isinstance(item, Item)
    return Work(job, str(output), overwrite)(item)  # type: ignore[arg-type]


def test_a_full_disk_leaves_nothing_half(videos: Path, tmp_path: Path) -> None:
    jobs = [AudioJob(), FramesJob.parse({"rate_fps": 25, "format": "png"}, "test")]
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400, limits[1]))
    try:
        found = [one(job, videos / "a.mp4", tmp_path / "out") for job in jobs]
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert [(row["status"], row["error_type"]) for row in found] == [("failed", "StorageError")] * 2
    assert str(found[0]["error"]).startswith(f"{tmp_path}/out/a.wav: cannot be written (File too large)")
    assert str(found[1]["error"]) == f"{tmp_path}/out/a/frames.json: File too large"
    assert files(tmp_path / "out") == {}
    assert [one(job, videos / "a.mp4", tmp_path / "out")["status"] for job in jobs] == ["done", "done"]


def test_a_place_that_cannot_be_written_is_told(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "out").write_bytes(b"a file")
    row = one(AudioJob(), videos / "a.mp4", tmp_path / "out")
    assert row["error_type"] == "StorageError"
    assert "a part of the path is not a folder" in str(row["error"])


def test_a_video_that_changed_since_it_was_listed_is_told(videos: Path, tmp_path: Path) -> None:
    video = tmp_path / "a.mp4"
    video.write_bytes((videos / "a.mp4").read_bytes())
    job = AudioJob()
    (item,) = Selection([str(video)], job, str(tmp_path / "out"))
    video.write_bytes((videos / "b.mov").read_bytes())
    assert isinstance(item, Item)
    assert "has changed since" in str(Work(job, str(tmp_path / "out"), False)(item)["error"])


def test_memory_that_is_not_there_fails_the_video_alone(videos: Path, tmp_path: Path) -> None:
    large = tmp_path / "large.mkv"
    with av.open(str(large), "w") as container:
        stream = container.add_stream("mpeg4", rate=25, width=3840, height=2160)
        container.mux([*stream.encode(av.VideoFrame(3840, 2160, "yuv420p")), *stream.encode(None)])
    words = ("video", "frames", str(large), "-o", str(tmp_path / "out"), "memory_gb=0.001")
    ended = run_process(*words)  # a process that has run for a while has memory to spare
    assert (ended.code, files(tmp_path / "out")) == (3, {})
    assert "large.mkv: " in ended.err
    assert "more memory than" in ended.err


def test_a_second_command_on_the_output_is_refused(videos: Path, tmp_path: Path) -> None:
    store = open_store(str(tmp_path / "out"))
    with lease.held(store), pytest.raises(RefusedError, match="at work"):
        run("audio", [str(videos / "a.mp4")], [], str(tmp_path / "out"))


@pytest.mark.parametrize(
    ("settings", "message"), [(["quality=0"], "quality"), (["rate=3"], "rate: no such key; did you mean rate_fps")]
)
def test_a_setting_that_does_not_fit_is_refused(videos: Path, settings: list[str], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        run("frames", [str(videos)], settings, "out")


def test_places_without_videos_and_outputs_that_are_missing_are_told(videos: Path, tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(PreflightError, match=r"empty: holds no video"):
        run("info", [str(tmp_path / "empty")], [])
    with pytest.raises(ConfigError, match="output: is required"):
        run("audio", [str(videos)], [])
