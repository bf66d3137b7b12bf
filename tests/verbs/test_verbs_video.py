"""`mien video` as a user types it."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from command_line import assert_refused, run_process
from mien.video.probe import probe


def test_info_of_one_video_is_lines_and_of_many_a_document(run: Any, local_ray: None, faces_dir: Path) -> None:
    ended = run("video", "info", faces_dir / "d9.mp4")
    assert ended.code == 0
    assert "fps                  30" in ended.out
    assert "audio                codec aac" in ended.out
    ended = run("video", "info", faces_dir / "d0.mp4", faces_dir / "d9.mp4", "--json")
    document = json.loads(ended.out)
    assert (document["num_done"], document["num_failed"]) == (2, 0)
    assert [video["num_frames"] for video in document["videos"]] == [78, 587]


def test_frames_and_thumbnails_of_real_videos_are_pictures_of_them(run: Any, faces_dir: Path, tmp_path: Path) -> None:
    assert run("video", "frames", faces_dir / "s13.mp4", "-o", tmp_path, "rate_fps=1", "end_s=3").code == 0
    assert sorted(path.name for path in (tmp_path / "s13").glob("*.jpg")) == [f"frame_{i:06d}.jpg" for i in range(3)]
    with Image.open(tmp_path / "s13" / "frame_000001.jpg") as picture:
        assert picture.size == (720, 1080)
        assert np.asarray(picture).std() > 20
    ended = run("video", "thumbnail", faces_dir / "s32.mp4", "-o", tmp_path)
    assert ended.code == 0
    assert ended.out.startswith(f"done  {faces_dir}/s32.mp4 -> {tmp_path}/s32.jpg")
    with Image.open(tmp_path / "s32.jpg") as picture:
        assert picture.size == (320, 180)


def test_what_is_there_is_kept_and_said_until_overwrite(run: Any, faces_dir: Path, tmp_path: Path) -> None:
    words = ("video", "audio", faces_dir / "d9.mp4", "-o", tmp_path, "format=mp3", "end_s=2")
    assert run(*words).code == 0
    made_at = (tmp_path / "d9.mp3").stat().st_mtime_ns
    ended = run(*words)
    assert ended.out.startswith("kept  ")
    assert "0 done, 1 kept, 0 failed (--overwrite makes again what was kept)" in ended.err
    assert (tmp_path / "d9.mp3").stat().st_mtime_ns == made_at
    assert run(*words, "--overwrite").out.startswith("done  ")
    assert (tmp_path / "d9.mp3").stat().st_mtime_ns > made_at


def test_a_failure_is_told_with_its_reason_and_exit_code_3(
    run: Any, local_ray: None, faces_dir: Path, tmp_path: Path
) -> None:
    words = (
        "video",
        "audio",
        faces_dir / "d0.mp4",
        faces_dir / "d18.mp4",
        tmp_path / "gone.mp4",
        "-o",
        tmp_path / "out",
    )
    ended = run(*words)
    assert ended.code == 3
    assert f"failed   {faces_dir}/d0.mp4: has no audio track" in ended.err
    assert f"failed   {tmp_path}/gone.mp4: does not exist" in ended.err
    assert ended.out.splitlines()[0].startswith(f"done  {faces_dir}/d18.mp4")
    assert ended.complaints[0].startswith("mien: 2 of 3 videos failed")
    document = json.loads(run(*words, "--json").out)
    assert [video["status"] for video in document["videos"]] == ["failed", "kept", "failed"]


def test_an_mp4_is_made_of_a_mov(run: Any, faces_dir: Path, tmp_path: Path) -> None:
    (tmp_path / "d9.mov").write_bytes((faces_dir / "d9.mp4").read_bytes())
    ended = run("video", "convert", tmp_path / "d9.mov", "-o", tmp_path)
    assert ended.code == 0
    assert "(video copied, audio copied, num_frames 587)" in ended.out
    assert probe(tmp_path / "d9.mp4").num_frames == 587


@pytest.mark.parametrize(
    ("words", "code", "parts"),
    [
        (("frames", "VIDEO"), 2, ("output: is required", "-o FOLDER")),
        (("frames", "VIDEO", "-o", "OUT", "rate_fps=fast"), 2, ("rate_fps",)),
        (("frames", "VIDEO", "-o", "OUT", "at_s=1", "rate_fps=2"), 2, ("at_s stands in place of",)),
        (("audio", "VIDEO", "-o", "OUT", "format=ogg"), 2, ("format",)),
        (("convert", "FOLDER", "-o", "FOLDER"), 2, ("could be replaced",)),
        (("info", "EMPTY"), 4, ("holds no video",)),
    ],
)
def test_a_mistake_is_one_line(
    run: Any, faces_dir: Path, tmp_path: Path, words: tuple[str, ...], code: int, parts: tuple[str, ...]
) -> None:
    (tmp_path / "empty").mkdir()
    places = {"VIDEO": faces_dir / "d0.mp4", "OUT": tmp_path / "out", "FOLDER": faces_dir, "EMPTY": tmp_path / "empty"}
    assert_refused(run("video", *(places.get(word, word) for word in words)), code, *parts)
    assert not (tmp_path / "out").exists()


def test_a_path_with_an_equals_sign_is_a_path(run: Any, faces_dir: Path, tmp_path: Path) -> None:
    video = tmp_path / "a=b.mp4"
    video.write_bytes((faces_dir / "d18.mp4").read_bytes())
    assert run("video", "info", video).code == 0


@pytest.mark.slow
def test_the_command_brings_its_own_ray(faces_dir: Path, tmp_path: Path) -> None:
    ended = run_process("video", "thumbnail", str(faces_dir), "-o", str(tmp_path / "out"), "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["num_done"] == 8
    assert len(list((tmp_path / "out").glob("*.jpg"))) == 8
