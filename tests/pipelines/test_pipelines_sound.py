"""A click must be heard when the flash is seen, wherever the clip was cut; and no sample may be lost or doubled."""

import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import flash_and_click
from mien.clips.clip import Clip, Source
from mien.datasets.frames import crop_pixels, values_of
from mien.datasets.sound import join
from mien.errors import ConfigError, MediaError, NoAudioTrack
from mien.faces.detect import Face, FakeDetector
from mien.pipelines.cut import CutConfig, Cutter
from mien.pipelines.sound import AudioConfig, end_of
from mien.video.decode import Span
from mien.video.limits import LimitsConfig
from mien.video.probe import probe

WHOLE = Span(0, math.inf)
STEADY = range(0, 4000, 40)  # 25 fps, ms
UNEVEN = np.cumsum(np.random.default_rng(0).choice([17, 33, 50, 84], 90)).tolist()
EVENTS_S = (0.52, 1.24, 1.96, 2.68, 3.4)


def cut(path: Path, span: Span = WHOLE, **values: Any) -> tuple[Any, Any]:
    """A clip cut with a face that is always there, and what is known of its sound."""
    stat = path.stat()
    clip = Clip(Source(str(path), stat.st_size, stat.st_mtime_ns), *span).to_row()
    values = {"audio": True, "crop": {"size_px": 32, "jpeg_quality": 95}, **values}
    detector = FakeDetector([[Face((8, 8, 88, 88), 0.9)]] * 1000)
    cutter = Cutter(CutConfig.parse(values, "test"), LimitsConfig(), detector, None)
    return cutter(clip).frames, cutter.sound


def heard(frames: Any, sound: Any) -> tuple[np.ndarray, np.ndarray]:
    """Samples of a clip, and the times of its clicks on the time line of the source."""
    samples = join(values_of(frames, "audio"), sound.num_channels)
    first_s = float(values_of(frames, "time_s")[0])
    return samples, flash_and_click.clicks(samples, sound.rate_hz, first_s)


def seen(frames: Any) -> np.ndarray:
    """Times of the frames that flash."""
    is_white = crop_pixels(values_of(frames, "crop"), 32).mean(axis=(1, 2, 3)) > 128
    return np.asarray(values_of(frames, "time_s"))[is_white]


@pytest.mark.parametrize(
    ("name", "codecs"),
    [("a.mp4", ("libx264", "aac")), ("a.mov", ("libx264", "pcm_s16le")), ("a.mkv", ("mpeg4", "flac"))],
)
@pytest.mark.parametrize("span", [Span(0, math.inf), Span(1.0, 3.0), Span(0.513, 2.871)])
def test_a_click_is_where_its_flash_is(tmp_path: Path, name: str, codecs: tuple[str, str], span: Span) -> None:
    path = flash_and_click.write(tmp_path / name, STEADY, EVENTS_S, codecs=codecs)
    frames, sound = cut(path, span)
    samples, clicks = heard(frames, sound)
    first_s, end_s = float(values_of(frames, "time_s")[0]), min(span.end_s, 4.0)
    expected = [event for event in EVENTS_S if first_s <= event < end_s]
    np.testing.assert_allclose(clicks, expected, atol=0.001)
    np.testing.assert_allclose(seen(frames), clicks, atol=0.02, err_msg="half a frame")
    assert samples.shape == (1, round((end_s - first_s) * 44100))


@pytest.mark.parametrize("span", [Span(0, math.inf), Span(1.1, 3.3)])
def test_uneven_frames_get_what_sounds_in_them(tmp_path: Path, span: Span) -> None:
    path = flash_and_click.write(
        tmp_path / "a.mkv", UNEVEN, [t / 1000 for t in UNEVEN[10::20]], codecs=("mpeg4", "flac")
    )
    frames, sound = cut(path, span)
    times_s = np.asarray(values_of(frames, "time_s"))
    samples, clicks = heard(frames, sound)
    np.testing.assert_allclose(seen(frames), clicks, atol=0.001)
    sizes = [len(run) // 2 for run in values_of(frames, "audio")]
    starts = np.cumsum([0, *sizes[:-1]]) / 44100
    np.testing.assert_allclose(starts, times_s - times_s[0], atol=0.5 / 44100 + 1e-9)
    end_s = min(span.end_s, probe(path).start_s + probe(path).duration_s)
    assert samples.shape[1] == sum(sizes) == round((end_s - times_s[0]) * 44100)


def test_few_frames_a_second_keep_all_the_sound(tmp_path: Path) -> None:
    path = flash_and_click.write(tmp_path / "a.mp4", STEADY, EVENTS_S)
    frames, sound = cut(path, Span(0.4, 3.6), fps=5, audio={"rate_hz": 16000})
    samples, clicks = heard(frames, sound)
    assert frames.num_rows == 16
    assert samples.shape[1] == round(3.2 * 16000)
    np.testing.assert_allclose(clicks, EVENTS_S, atol=0.001)
    assert {len(run) // 2 for run in values_of(frames, "audio")} == {3200}


@pytest.mark.parametrize(("heard_s", "events_s"), [((1.0, 4.0), EVENTS_S[1:]), ((0.0, 2.5), EVENTS_S[:3])])
def test_sound_that_begins_late_or_ends_early_is_silent_there(
    tmp_path: Path, heard_s: tuple[float, float], events_s: tuple[float, ...]
) -> None:
    path = flash_and_click.write(tmp_path / "a.mp4", STEADY, EVENTS_S, heard_s=heard_s)
    samples, clicks = heard(*cut(path, audio={"rate_hz": 16000}))
    assert samples.shape[1] == 4 * 16000
    np.testing.assert_allclose(clicks, events_s, atol=0.001)


def test_every_track_has_the_sound(tmp_path: Path) -> None:
    path = flash_and_click.write(tmp_path / "a.mp4", STEADY, EVENTS_S)
    stat = path.stat()
    both = [Face((4, 4, 44, 44), 0.9), Face((50, 50, 90, 90), 0.9)]
    config = CutConfig.parse({"audio": True, "faces": {"policy": "all"}, "crop": {"size_px": 32}}, "test")
    cutter = Cutter(config, LimitsConfig(), FakeDetector([both] * 100), None)
    frames = cutter(Clip(Source(str(path), stat.st_size, stat.st_mtime_ns)).to_row()).frames
    runs = values_of(frames, "audio")
    assert frames.num_rows == 200
    assert runs[:100] == runs[100:]


def test_mono_is_the_mean_and_as_is_keeps_the_channels(tmp_path: Path) -> None:
    path = flash_and_click.write(tmp_path / "a.mkv", STEADY, EVENTS_S, codecs=("mpeg4", "flac"), num_channels=2)
    _, both = cut(path)
    _, one = cut(path, audio={"channels": "mono"})
    assert (both.num_channels, one.num_channels) == (2, 1)
    left, right = join(both.runs, 2)
    assert np.abs(join(one.runs, 1)[0] - (left + right) / 2).max() <= 1 / 32767


def test_a_video_without_sound_is_made_unless_sound_is_required(tmp_path: Path) -> None:
    path = flash_and_click.write(tmp_path / "a.mp4", STEADY, EVENTS_S, codecs=("libx264", ""))
    frames, sound = cut(path)
    assert set(values_of(frames, "audio")) == {b""}
    assert (sound.rate_hz, sound.num_channels) == (0, 0)
    with pytest.raises(NoAudioTrack, match=r"a\.mp4: has no audio track"):
        cut(path, audio={"required": True})


def test_without_the_setting_there_is_no_column(tmp_path: Path) -> None:
    path = flash_and_click.write(tmp_path / "a.mp4", STEADY, EVENTS_S)
    for audio in (False, None):
        frames, sound = cut(path, audio=audio)
        assert "audio" not in frames.column_names
        assert sound is None


def test_damaged_sound_fails_the_clip(tmp_path: Path) -> None:
    path = flash_and_click.write(tmp_path / "a.mkv", STEADY, EVENTS_S, codecs=("mpeg4", "flac"))
    data = path.read_bytes()
    path.write_bytes(data[: len(data) * 2 // 3])
    with pytest.raises(MediaError, match=r"cut off|damaged|missing"):
        cut(path)


def test_the_last_frame_ends_with_the_span_or_the_pictures(tmp_path: Path) -> None:
    info = probe(flash_and_click.write(tmp_path / "a.mp4", STEADY, EVENTS_S))
    times_s = np.array([0.0, 1.0, 2.0])
    assert end_of(Span(0, math.inf), info, times_s) == 4.0
    assert end_of(Span(0, 2.5), info, times_s) == 2.5
    assert end_of(Span(0, 9), info, times_s) == 4.0
    assert end_of(Span(0, math.inf), info, np.array([3.0, 5.0])) == 7.0, "the header is wrong: the mean of the others"


def test_files_have_an_ending_and_the_dataset_has_none() -> None:
    assert AudioConfig().suffix == ""
    assert AudioConfig(store="files").suffix == ".flac"
    assert AudioConfig(store="files", file_format="wav").suffix == ".wav"
    with pytest.raises(ConfigError, match=r"audio\.rate_hz"):
        CutConfig.parse({"audio": {"rate_hz": 0}}, "test")
