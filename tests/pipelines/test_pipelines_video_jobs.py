"""Each job on one video, without Ray."""

import io
import json
import wave
from pathlib import Path

import av
import numpy as np
import pytest

import flash_and_click
from mien.config import Config
from mien.errors import ConfigError, MediaError, NoAudioTrack
from mien.pipelines.video_jobs import JOBS, AudioJob, ConvertJob, FramesJob, InfoJob, ThumbnailJob
from mien.video.audio import extract_audio
from mien.video.decode import Span
from mien.video.limits import LimitsConfig

EVENTS_S = (0.52, 1.24, 2.6)


@pytest.fixture
def video(tmp_path: Path) -> Path:
    return flash_and_click.write(tmp_path / "a.mov", range(0, 4000, 40), EVENTS_S, num_channels=2)


def clicks(path: Path, start_s: float) -> np.ndarray:
    """Times of the clicks of a sound file that begins at a time of the video."""
    clip = extract_audio(path, limits=LimitsConfig(containers=("wav", "flac", "mp3")))
    return flash_and_click.clicks(clip.samples, clip.rate_hz, start_s)


def test_info_is_what_the_container_says(video: Path, tmp_path: Path) -> None:
    info = InfoJob().make(video, Path())
    assert (info["codec"], info["num_frames"], info["duration_s"]) == ("h264", 100, 4.0)
    assert info["audio"]["num_channels"] == 2
    other = flash_and_click.write(tmp_path / "a.mkv", range(0, 4000, 40), [], codecs=("mpeg4", ""))
    assert InfoJob().make(other, Path())["num_frames"] is None
    assert InfoJob(count_frames=True).make(other, Path())["num_frames"] == 100


def test_frames_come_with_a_list_of_their_times(video: Path, tmp_path: Path) -> None:
    said = FramesJob.parse({"rate_fps": 2}, "test").make(video, tmp_path / "out")
    assert said == {"num_frames": 8}
    listed = json.loads((tmp_path / "out" / "frames.json").read_text())
    assert (listed["source"], listed["rate_fps"], listed["quality"]) == (str(video), 2.0, 95)
    assert [frame["time_s"] for frame in listed["frames"]] == pytest.approx(np.arange(8) / 2, abs=0.021)
    assert {path.name for path in (tmp_path / "out").iterdir()} == {
        "frames.json",
        *(frame["file"] for frame in listed["frames"]),
    }


@pytest.mark.parametrize("kind", ["wav", "flac", "mp3"])
def test_sound_begins_and_ends_where_it_is_asked_to(video: Path, tmp_path: Path, kind: str) -> None:
    said = AudioJob.parse({"format": kind, "start_s": 1.0, "end_s": 3.0}, "test").make(video, tmp_path / f"a.{kind}")
    assert said == {"duration_s": 2.0, "rate_hz": 44100, "num_channels": 2}
    np.testing.assert_allclose(clicks(tmp_path / f"a.{kind}", 1.0), [1.24, 2.6], atol=0.002 if kind == "mp3" else 0.001)


def test_sound_of_all_of_it_has_every_sample(video: Path, tmp_path: Path) -> None:
    said = AudioJob(rate_hz=16000, channels="mono").make(video, tmp_path / "a.wav")
    with wave.open(str(tmp_path / "a.wav")) as file:
        assert (file.getnchannels(), file.getframerate()) == (1, 16000)
        assert file.getnframes() == round(said["duration_s"] * 16000)
    np.testing.assert_allclose(clicks(tmp_path / "a.wav", 0.0), EVENTS_S, atol=0.001)


def test_an_end_beyond_the_end_is_the_end(video: Path, tmp_path: Path) -> None:
    assert AudioJob(end_s=99).make(video, tmp_path / "a.wav")["duration_s"] == pytest.approx(4, abs=0.03)


def test_a_span_beyond_the_end_is_told(video: Path, tmp_path: Path) -> None:
    with pytest.raises(MediaError, match=r"has no sound from 9\.00 s to inf s; choose a span within 0\.00 to 4\.0\d s"):
        AudioJob(start_s=9).make(video, tmp_path / "a.wav")
    with pytest.raises(ConfigError, match="end_s must come after start_s"):
        AudioJob.parse({"start_s": 2, "end_s": 1}, "test")
    assert not (tmp_path / "a.wav").exists()


def test_a_rate_that_mp3_does_not_have_becomes_one_that_it_has(tmp_path: Path) -> None:
    source = flash_and_click.write(
        tmp_path / "a.mkv", range(0, 2000, 40), EVENTS_S, rate_hz=96000, codecs=("mpeg4", "flac")
    )
    assert AudioJob(format="mp3").make(source, tmp_path / "a.mp3")["rate_hz"] == 48000
    np.testing.assert_allclose(clicks(tmp_path / "a.mp3", 0.0), EVENTS_S[:2], atol=0.002)


def test_no_sound_and_too_many_channels_are_told(tmp_path: Path) -> None:
    silent = flash_and_click.write(tmp_path / "silent.mp4", range(0, 2000, 40), [], codecs=("libx264", ""))
    with pytest.raises(NoAudioTrack, match=r"silent\.mp4: has no audio track"):
        AudioJob().make(silent, tmp_path / "a.wav")
    many = tmp_path / "many.mkv"
    with av.open(str(many), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=44100, layout="5.1")
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 6 * 44100), np.int16), "s16", "5.1")
        frame.sample_rate = 44100
        container.mux([*stream.encode(frame), *stream.encode(None)])
    with pytest.raises(MediaError, match="mp3 does not hold its 6 channels; use format=flac or channels=mono"):
        AudioJob(format="mp3").make(many, tmp_path / "a.mp3")
    assert AudioJob(format="flac").make(many, tmp_path / "a.flac")["num_channels"] == 6
    assert AudioJob(format="mp3", channels="mono").make(many, tmp_path / "b.mp3")["num_channels"] == 1


def test_a_thumbnail_and_an_mp4_say_what_they_are(video: Path, tmp_path: Path) -> None:
    assert ThumbnailJob(width_px=48).make(video, tmp_path / "a.jpg") == {"width_px": 48, "height_px": 48, "time_s": 2.0}
    done = ConvertJob().make(video, tmp_path / "a.mp4")
    assert done == {"video": "copied", "audio": "copied", "num_frames": 100}
    assert extract_audio(tmp_path / "a.mp4", Span(0, 4)).samples.shape == (2, 4 * 44100)


@pytest.mark.parametrize("verb", JOBS)
def test_a_file_object_does_as_well_and_is_left_open(video: Path, tmp_path: Path, verb: str) -> None:
    job = JOBS[verb]()
    file = io.BytesIO(video.read_bytes())
    target = Path(job.target("a") or "none").name
    assert job.make(file, tmp_path / f"file-{target}") == job.make(video, tmp_path / f"path-{target}")
    assert not file.closed


def test_every_setting_is_explained() -> None:
    for job in JOBS.values():
        assert issubclass(job, Config)
        assert [name for name, field in job.model_fields.items() if not field.description] == []
