"""Image files against a plain decode of the same video."""

import resource

import cv2
import numpy as np
import pytest

from mien.errors import ConfigError, MediaError, StorageError
from mien.video.probe import probe
from mien.video.stills import FramesConfig, ThumbnailConfig, encode_image, fitted, write_frames, write_thumbnail


def parse(**values):
    return FramesConfig.parse(values, "test")


def read(path):
    return cv2.cvtColor(cv2.imdecode(np.frombuffer(path.read_bytes(), np.uint8), cv2.IMREAD_COLOR), cv2.COLOR_BGR2RGB)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if path.suffix in {".jpg", ".png"})


def test_a_rate_takes_the_frames_of_a_grid(make_video, bare_decode, tmp_path):
    video, folder = make_video(), tmp_path / "out"
    folder.mkdir()
    listed = write_frames(video, folder, parse(rate_fps=2, format="png"))
    assert names(folder) == [f"frame_{number:06d}.png" for number in range(6)]
    assert [entry["time_s"] for entry in listed] == pytest.approx(np.arange(6) / 2)
    expected = dict(bare_decode(video))
    for entry in listed:
        assert (read(folder / entry["file"]) == expected[entry["pts"]]).all()


def test_start_and_end_bound_the_rate(make_video, tmp_path):
    listed = write_frames(make_video(), tmp_path, parse(rate_fps=10, start_s=1.0, end_s=1.5))
    assert [entry["time_s"] for entry in listed] == pytest.approx([1.0, 1.1, 1.2, 1.3, 1.4])


def test_a_time_gives_what_is_shown_then(make_video, bare_decode, tmp_path):
    video = make_video()
    listed = write_frames(video, tmp_path, parse(at_s="2.51, 0.25,1,1.0166", format="png"))
    assert names(tmp_path) == ["frame_0.25s_1.png", "frame_1.0166s_3.png", "frame_1s_2.png", "frame_2.51s_0.png"]
    assert [entry["time_s"] for entry in listed] == pytest.approx([75 / 30, 7 / 30, 1.0, 30 / 30])
    expected = dict(bare_decode(video))
    assert all((read(tmp_path / entry["file"]) == expected[entry["pts"]]).all() for entry in listed)


def test_quality_is_that_of_the_jpeg(make_video, tmp_path):
    sizes = []
    for quality in (20, 95):
        (tmp_path / str(quality)).mkdir()
        write_frames(make_video(), tmp_path / str(quality), parse(quality=quality))
        sizes.append((tmp_path / str(quality) / "frame_000000.jpg").stat().st_size)
    assert sizes[0] * 2 < sizes[1]


@pytest.mark.parametrize("at_s", [3.0, 99.0, -0.1])
def test_a_time_without_a_picture_is_told(make_video, tmp_path, at_s):
    with pytest.raises(
        MediaError, match=rf"shows nothing at {at_s:.2f} s; choose a time from 0\.00 s to before 3\.00 s"
    ):
        write_frames(make_video(), tmp_path, parse(at_s=at_s))
    with pytest.raises(MediaError, match="shows nothing at"):
        write_thumbnail(make_video(), tmp_path / "a.jpg", ThumbnailConfig(at_s=at_s))
    assert names(tmp_path) == []


def test_a_span_beyond_the_end_is_told(make_video, tmp_path):
    with pytest.raises(MediaError, match=r"has no frame from 7\.00 to inf s; choose a span within 0\.00 to 3\.00 s"):
        write_frames(make_video(), tmp_path, parse(start_s=7))


@pytest.mark.parametrize(
    "values",
    [
        {"at_s": 1, "rate_fps": 2},
        {"start_s": 2, "end_s": 1},
        {"at_s": "soon"},
        {"at_s": [float("inf")]},
        {"quality": 0},
    ],
)
def test_settings_that_make_no_sense_are_refused(values):
    with pytest.raises(ConfigError):
        parse(**values)


@pytest.mark.parametrize(
    ("size", "expected"), [((640, 360), (320, 180)), ((360, 640), (135, 240)), ((96, 64), (96, 64))]
)
def test_a_thumbnail_fits_its_box_and_is_not_enlarged(make_video, tmp_path, size, expected):
    said = write_thumbnail(make_video(size=size, pts=range(0, 80, 8)), tmp_path / "a.jpg", ThumbnailConfig())
    assert (said["width_px"], said["height_px"]) == expected
    assert read(tmp_path / "a.jpg").shape == (expected[1], expected[0], 3)


def test_a_thumbnail_is_upright(make_video, tmp_path):
    said = write_thumbnail(make_video(size=(320, 160), rotation_deg=90), tmp_path / "a.jpg", ThumbnailConfig())
    assert (said["width_px"], said["height_px"]) == (120, 240)


def test_a_thumbnail_has_square_pixels(faces_dir, tmp_path):
    video = faces_dir / "d9.mp4"  # 512x480 px of 15:16
    assert write_thumbnail(video, tmp_path / "a.jpg", ThumbnailConfig())["width_px"] == 240
    assert read(tmp_path / "a.jpg").shape == (240, 240, 3)
    assert fitted(probe(video), (480, 512), (8192, 8192)) == (512, 512)


def test_a_thumbnail_is_the_middle_or_the_time_that_is_asked_for(make_video, bare_decode, tmp_path):
    video = make_video()
    said = write_thumbnail(video, tmp_path / "a.png", ThumbnailConfig(format="png"))
    assert said["time_s"] == 1.5
    assert (read(tmp_path / "a.png") == dict(bare_decode(video))[round(1.5 * 15360)]).all()
    assert write_thumbnail(video, tmp_path / "b.jpg", ThumbnailConfig(at_s=0.51))["time_s"] == 0.5


def test_a_full_disk_is_told(make_video, tmp_path):
    video = make_video(size=(640, 480))
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        with pytest.raises(StorageError, match=r"frame_000000\.png: "):
            write_frames(video, tmp_path, parse(format="png"))
        with pytest.raises(StorageError, match=r"a\.png: "):
            write_thumbnail(video, tmp_path / "a.png", ThumbnailConfig(format="png"))
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_colours_are_those_of_the_array():
    red = np.zeros((16, 16, 3), np.uint8)
    red[..., 0] = 200
    for kind in ("jpg", "png"):
        decoded = cv2.imdecode(np.frombuffer(encode_image(red, kind, 95), np.uint8), cv2.IMREAD_COLOR)
        assert decoded[..., 2].min() > 190
        assert decoded[..., :2].max() < 10
