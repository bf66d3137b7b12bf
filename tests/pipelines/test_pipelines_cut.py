import math
from pathlib import Path
from typing import Any

import av
import numpy as np
import pytest

from mien import assets, schema
from mien.clips.clip import Clip, Source
from mien.datasets.frames import crop_pixels, values_of
from mien.errors import ConfigError, FaceError, LimitExceeded, MediaError
from mien.faces.detect import BlazeFace, DetectorConfig, Face, FakeDetector
from mien.faces.landmarks import Landmarker, LandmarksConfig
from mien.pipelines.cut import CutConfig, Cutter, Thumbs, in_time
from mien.video.decode import Frame
from mien.video.limits import LimitsConfig


def clip_of(path: Path, start_s: float = 0.0, end_s: float = math.inf) -> dict[str, Any]:
    stat = path.stat()
    return Clip(Source(str(path), stat.st_size, stat.st_mtime_ns), start_s, end_s).to_row()


def face(x: float, y: float, side: float) -> Face:
    return Face((x, y, x + side, y + side), 0.9)


def cutter(script: list[list[Face]], **values: Any) -> Cutter:
    return Cutter(CutConfig.parse(values, "test"), LimitsConfig(), FakeDetector(script), None)


@pytest.fixture(scope="module")
def real(assets_dir: Path) -> Cutter:
    """Real models; small crops, so that the test is quick."""
    detector = BlazeFace((assets_dir / "face_detection_short_range.tflite").read_bytes(), DetectorConfig())
    landmarker = Landmarker((assets_dir / "face_landmarker.task").read_bytes(), LandmarksConfig())
    return Cutter(
        CutConfig.parse({"landmarks": True, "crop": {"size_px": 256}}, "t"), LimitsConfig(), detector, landmarker
    )


def container_pts(path: Path) -> list[int]:
    with av.open(str(path)) as container:
        return [frame.pts for frame in container.decode(video=0)]


def test_a_real_clip_has_every_frame_with_crop_mesh_and_exact_time(real: Cutter, faces_dir: Path) -> None:
    info, frames = real(clip_of(faces_dir / "d0.mp4"))
    assert values_of(frames, "pts").tolist() == container_pts(faces_dir / "d0.mp4")
    np.testing.assert_allclose(values_of(frames, "time_s"), values_of(frames, "pts") * float(info.time_base))
    assert (values_of(frames, "face") == schema.FACE_DETECTED).mean() >= 0.99
    assert crop_pixels(values_of(frames, "crop"), 256).shape == (78, 256, 256, 3)
    landmarks = values_of(frames, "landmarks")
    assert np.isfinite(landmarks).all()
    assert ((landmarks[:, :, :2] >= 0) & (landmarks[:, :, :2] < 256)).mean() > 0.99
    assert sum(bool(thumb) for thumb in values_of(frames, "thumb")) in range(8, 16)


def test_a_span_and_a_rate_take_those_frames(real: Cutter, faces_dir: Path) -> None:
    real._config = real._config.model_copy(update={"fps": 5.0})
    _, frames = real(clip_of(faces_dir / "d18.mp4", 1.0, 3.0))
    np.testing.assert_allclose(values_of(frames, "time_s"), 1 + np.arange(10) / 5, atol=0.5 / 30 + 1e-9)
    real._config = real._config.model_copy(update={"fps": None})


def test_frames_without_the_face_stay_as_rows_without_crop(faces_dir: Path) -> None:
    script = [[face(100, 100, 80)]] * 40 + [[]] * 38
    _, frames = cutter(script, faces={"detector": {"search_every_s": 1000}})(clip_of(faces_dir / "d0.mp4"))
    status, crops = values_of(frames, "face"), values_of(frames, "crop")
    assert frames.num_rows == 78
    assert status[:40].tolist() == [schema.FACE_DETECTED] * 40
    assert status[-20:].tolist() == [schema.FACE_NONE] * 20
    assert [bool(crop) for crop in crops] == [bool(value) for value in status]
    assert np.isnan(values_of(frames, "crop_box")[-1]).all()


def test_all_gives_a_run_of_rows_per_track_and_largest_only_one(faces_dir: Path) -> None:
    script = [[face(50, 50, 200), face(300, 300, 150)]] * 78
    _, every = cutter(script, faces={"policy": "all"})(clip_of(faces_dir / "d0.mp4"))
    assert values_of(every, "track").tolist() == [0] * 78 + [1] * 78
    _, one = cutter(script, faces={"policy": "largest"})(clip_of(faces_dir / "d0.mp4"))
    assert one.num_rows == 78
    np.testing.assert_allclose(values_of(one, "box")[5], [50, 50, 250, 250])
    assert (values_of(one, "num_faces") == 2).all()


def test_single_refuses_a_second_face_and_says_when(faces_dir: Path) -> None:
    script = [[face(50, 50, 200)]] * 20 + [[face(50, 50, 200), face(300, 300, 150)]] * 58
    with pytest.raises(FaceError, match=r"d0\.mp4.*2 faces at 0\.80 s"):
        cutter(script, faces={"policy": "single"})(clip_of(faces_dir / "d0.mp4"))


def test_no_face_names_the_video_and_leaves_a_picture(faces_dir: Path) -> None:
    cut = cutter([[]] * 78)
    with pytest.raises(FaceError, match=r"d0\.mp4: no face in any of 78 frames"):
        cut(clip_of(faces_dir / "d0.mp4"))
    assert cut.thumbs.middle()[:2] == b"\xff\xd8"


def test_raw_crops_are_the_pixels_that_jpeg_approximates(faces_dir: Path) -> None:
    script, clip = [[face(150, 150, 200)]] * 78, clip_of(faces_dir / "d0.mp4")
    _, raw = cutter(script, crop={"size_px": 96, "encoding": "raw"})(clip)
    _, jpeg = cutter(script, crop={"size_px": 96, "jpeg_quality": 98})(clip)
    a, b = values_of(raw, "crop").astype(int), crop_pixels(values_of(jpeg, "crop"), 96).astype(int)
    assert a.shape == (78, 96, 96, 3)
    assert np.abs(a - b).mean() < 2


def test_a_source_that_changed_since_it_was_planned_is_refused(faces_dir: Path, tmp_path: Path) -> None:
    path = tmp_path / "a.mp4"
    path.write_bytes((faces_dir / "d0.mp4").read_bytes())
    clip = clip_of(path)
    path.write_bytes(b"other")
    with pytest.raises(MediaError, match=r"a\.mp4: has changed"):
        cutter([])(clip)
    path.unlink()
    with pytest.raises(MediaError, match=r"a\.mp4: does not exist; bring it back and use --retry-failed"):
        cutter([])(clip)


def test_a_span_without_frames_is_refused(faces_dir: Path) -> None:
    with pytest.raises(MediaError, match=r"d0\.mp4.*no frame"):
        cutter([])(clip_of(faces_dir / "d0.mp4", 100.0, 101.0))


@pytest.mark.parametrize("num_frames", [0, 1, 7, 8, 9, 100, 1000])
def test_thumbs_are_evenly_spread_whatever_the_length(num_frames: int) -> None:
    thumbs, rgb = Thumbs(4), np.zeros((8, 8, 3), np.uint8)
    for row in range(num_frames):
        thumbs.offer(row, Frame(row, float(row), rgb))
    rows = [row for row, jpeg in enumerate(thumbs.column(num_frames)) if jpeg]
    assert len(rows) in range(min(4, num_frames), 9)
    assert len(set(np.diff(rows).tolist())) <= 1
    assert bool(thumbs.middle()) == bool(num_frames)


def test_landmarks_may_be_a_switch_or_settings() -> None:
    assert CutConfig.parse({"landmarks": True}, "t").landmarks == LandmarksConfig()
    assert CutConfig.parse({"landmarks": False}, "t").landmarks is None
    with pytest.raises(ConfigError, match="landmarks"):
        CutConfig.parse({"landmarks": "yes please"}, "t")


def test_the_assets_are_the_pinned_ones(assets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))
    assert {status.state for status in assets.verify()} == {"ok"}


def test_a_clip_that_takes_too_long_is_given_up_between_two_frames() -> None:
    frames = [Frame(number, number / 10, np.zeros((1, 1, 3), np.uint8)) for number in range(5)]
    times = iter([100.0, 101.0, 110.0, 110.1])  # when it starts, and when each frame is there
    given = list[Frame]()
    with pytest.raises(LimitExceeded) as raised:
        for frame in in_time(frames, "a.mp4", 10, lambda: next(times)):
            given.append(frame)
    assert given == frames[:2]
    message = str(raised.value)
    for part in ("a.mp4: ", "workers.clip_timeout_s=10 ", "0.2 s", "--retry-failed"):
        assert part in message


def test_a_clip_in_time_keeps_all_its_frames() -> None:
    frames = [Frame(number, number / 10, np.zeros((1, 1, 3), np.uint8)) for number in range(3)]
    assert list(in_time(frames, "a.mp4", 0, lambda: 5.0)) == frames


def test_a_cutter_holds_its_clips_to_the_time(faces_dir: Path) -> None:
    hasty = Cutter(CutConfig(), LimitsConfig(), FakeDetector([[face(50, 50, 200)]] * 78), None, timeout_s=1e-9)
    with pytest.raises(LimitExceeded, match=r"d0\.mp4: took over workers\.clip_timeout_s=1e-09"):
        hasty(clip_of(faces_dir / "d0.mp4"))
