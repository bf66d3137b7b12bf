import json
import sys
from fractions import Fraction
from pathlib import Path
from typing import Any, NamedTuple

import av
import mediapipe
import numpy as np
import pytest
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import FaceDetector, FaceDetectorOptions

from mien.demos.animation import mouth
from mien.demos.portrait import subjects
from mien.demos.sample_videos import AUDIO_RATE, render, scenes, truth_of, voice
from mien.errors import PreflightError

NAMES = ["subject_a", "subject_b", "both"]
SECONDS = 2.0
SIZE_PX = (640, 480)


class Video(NamedTuple):
    path: Path
    frames: np.ndarray
    """uint8 [N, H, W, 3]."""
    truth: dict[str, Any]


def decoded(path: Path) -> np.ndarray:
    with av.open(str(path)) as container:
        return np.stack([frame.to_ndarray(format="rgb24") for frame in container.decode(video=0)])


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Video]:
    paths = render(tmp_path_factory.mktemp("samples") / "new" / "folder", seconds=SECONDS, size_px=SIZE_PX)
    truths = [json.loads(truth_of(path).read_text(encoding="utf-8")) for path in paths]
    return {path.stem: Video(path, decoded(path), truth) for path, truth in zip(paths, truths, strict=True)}


def iou(a: list[float], b: list[float]) -> float:
    """Intersection over union of two boxes, by counting pixels."""
    x, y = np.arange(SIZE_PX[0])[None], np.arange(SIZE_PX[1])[:, None]
    in_a, in_b = ((x0 <= x) & (x < x1) & (y0 <= y) & (y < y1) for x0, y0, x1, y1 in (a, b))
    return float((in_a & in_b).sum() / (in_a | in_b).sum())


def test_three_videos_each_with_its_truth(videos: dict[str, Video]) -> None:
    assert list(videos) == NAMES
    for name, video in videos.items():
        assert video.path.name == f"{name}.mp4"
        assert video.frames.shape == (50, 480, 640, 3)
        assert (video.truth["video"], video.truth["fps"]) == (video.path.name, "25")
        assert [frame["time_s"] for frame in video.truth["frames"]] == pytest.approx(np.arange(50) / 25)
    folder = videos["both"].path.parent
    assert sorted(path.name for path in folder.glob("[!.]*")) == sorted(f"{name}.mp4" for name in NAMES)
    assert sorted(path.name for path in folder.glob(".*")) == [".truth"]


def test_one_video_has_sound_and_all_say_that_they_are_synthetic(videos: dict[str, Video]) -> None:
    for name, video in videos.items():
        with av.open(str(video.path)) as container:
            assert len(container.streams.video) == 1
            assert container.streams.video[0].average_rate == 25
            assert len(container.streams.audio) == (name == "subject_a")
            assert "Synthetic" in container.metadata["comment"]


def test_sound_is_as_long_as_the_picture_and_audible(videos: dict[str, Video]) -> None:
    with av.open(str(videos["subject_a"].path)) as container:
        blocks = [frame.to_ndarray() for frame in container.decode(audio=0)]
    samples = np.concatenate(blocks, axis=1)
    assert samples.shape[1] / AUDIO_RATE == pytest.approx(SECONDS, abs=0.05)
    assert 0.2 < np.abs(samples).max() <= 1


def test_who_is_to_be_seen(videos: dict[str, Video]) -> None:
    def names(video: Video) -> list[list[str]]:
        return [[face["subject"] for face in frame["faces"]] for frame in video.truth["frames"]]

    assert names(videos["subject_a"]) == [["a"]] * 50
    assert names(videos["both"]) == [["a", "b"]] * 50
    assert all(seen in (["b"], []) for seen in names(videos["subject_b"]))
    hidden = [i for i, seen in enumerate(names(videos["subject_b"])) if not seen]
    assert hidden == list(range(hidden[0], hidden[-1] + 1))
    assert 0.5 <= len(hidden) / 25 <= 1.0


@pytest.mark.parametrize("name", NAMES)
def test_a_face_detector_finds_the_faces_where_the_truth_says(
    videos: dict[str, Video], assets_dir: Path, name: str
) -> None:
    model = BaseOptions(model_asset_path=str(assets_dir / "face_detection_short_range.tflite"))
    with FaceDetector.create_from_options(FaceDetectorOptions(base_options=model)) as detector:
        for i in range(0, 50, 3):
            frame = np.ascontiguousarray(videos[name].frames[i])
            image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=frame)
            found = [detection.bounding_box for detection in detector.detect(image).detections]
            boxes = [[b.origin_x, b.origin_y, b.origin_x + b.width, b.origin_y + b.height] for b in found]
            faces = videos[name].truth["frames"][i]["faces"]
            clear = [face["box"] for face in faces if face["visible"] == 1]
            assert len(clear) <= len(boxes) <= len(faces), f"frame {i}"
            for box in clear:
                assert max(iou(box, other) for other in boxes) >= 0.7, f"frame {i}"


@pytest.mark.parametrize("name", NAMES)
def test_the_face_changes_within_its_box(videos: dict[str, Video], name: str) -> None:
    frames, truth = videos[name].frames, videos[name].truth["frames"]
    x0, y0, x1, y1 = (round(edge) for edge in truth[-1]["faces"][0]["box"])
    faces = frames[-10:, y0:y1, x0:x1].astype(int)
    assert np.abs(faces[1:] - faces[:-1]).mean(axis=(1, 2, 3)).min() > 0.3
    assert np.abs(faces[9] - faces[0]).mean() > 2


def test_the_label_is_in_the_corner_of_every_picture() -> None:
    for scene in scenes((320, 240)):
        bare = np.hstack([actor.frame(1.5) for actor in scene.actors])
        rows, columns = np.nonzero(np.abs(scene.frame(1.5).astype(int) - bare).max(axis=2))
        assert rows.size > 50
        assert rows.min() > 220
        assert columns.max() < 80


def test_the_same_arguments_give_the_same_frames(tmp_path: Path) -> None:
    once, twice = (render(tmp_path / name, seconds=1, fps=Fraction(10), size_px=(160, 120)) for name in ("x", "y"))
    for left, right in zip(once, twice, strict=True):
        np.testing.assert_array_equal(decoded(left), decoded(right))
        assert truth_of(left).read_text() == truth_of(right).read_text()


@pytest.mark.parametrize("size_px", [(600, 480), (1280, 720), (640, 320)])
def test_every_size_shows_the_faces_whole(size_px: tuple[int, int]) -> None:
    for scene in scenes(size_px):
        for time_s in np.arange(0, 2, 0.2):
            for face in scene.faces(time_s):
                x0, y0, x1, y1 = face.box
                assert 0 < x0 < x1 < size_px[0]
                assert 0 < y0 < y1 < size_px[1]


def test_two_pictures_join_without_a_seam() -> None:
    [scene] = [scene for scene in scenes(SIZE_PX) if scene.name == "both"]
    wall = scene.frame(0.7)[:240].astype(int)
    at_seam = np.abs(wall[:, 320] - wall[:, 319]).mean()
    beside = np.abs(wall[:, 310] - wall[:, 309]).mean()
    assert at_seam < beside + 1


def test_the_voice_follows_the_mouth_and_has_its_pitch() -> None:
    speaker = subjects()[0]
    [samples] = voice(speaker, 4.0)
    assert samples.dtype == np.float32
    assert len(samples) == 4 * AUDIO_RATE
    loudness = np.sqrt((samples.reshape(-1, 1920) ** 2).mean(axis=1))  # 40 ms each
    opening = mouth((np.arange(len(loudness)) + 0.5) * 0.04, speaker.phase)
    assert np.corrcoef(loudness, opening)[0, 1] > 0.9
    loud = samples[np.argmax(loudness) * 1920 :][:4096]
    spectrum = np.abs(np.fft.rfft(loud * np.hanning(4096)))
    lag = np.fft.irfft(np.log(spectrum + 1e-3))[150:400]  # cepstrum, for 120-320 Hz
    assert AUDIO_RATE / (150 + np.argmax(lag)) == pytest.approx(speaker.voice_hz, rel=0.1)


def test_an_open_mouth_sounds_brighter() -> None:
    speaker = subjects()[0]
    blocks = voice(speaker, 4.0).reshape(-1, 1920)
    opening = mouth((np.arange(len(blocks)) + 0.5) * 0.04, speaker.phase)
    power = np.abs(np.fft.rfft(blocks * np.hanning(1920))) ** 2  # 25 Hz per bin

    def bright(chosen: np.ndarray) -> float:
        """Share of the power at 200-900 Hz that lies above 600 Hz."""
        return float((power[chosen, 24:36].sum(axis=1) / power[chosen, 8:36].sum(axis=1)).mean())

    assert bright(opening > 0.8) > 2 * bright((opening > 0.05) & (opening < 0.3))


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        ({"seconds": 0.5}, r"seconds=0\.5"),
        ({"fps": Fraction(0)}, "positive rate"),
        ({"size_px": (321, 240)}, r"\(321, 240\)"),
        ({"size_px": (320, 241)}, "even"),
        ({"size_px": (64, 48)}, "height >= 64"),
        ({"size_px": (640, 640)}, r"1\.25 to 2 times"),
        ({"size_px": (640, 240)}, r"1\.25 to 2 times"),
    ],
)
def test_arguments_that_cannot_be_are_refused(tmp_path: Path, arguments: dict[str, Any], reason: str) -> None:
    with pytest.raises(ValueError, match=reason):
        render(tmp_path / "none", **arguments)
    assert not (tmp_path / "none").exists()


def test_without_scikit_image_nothing_is_written(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "skimage", None)
    with pytest.raises(PreflightError, match="scikit-image"):
        render(tmp_path / "none")
    assert not (tmp_path / "none").exists()
