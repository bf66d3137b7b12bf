import math
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest

from mien.errors import FaceError
from mien.faces.crop import CropConfig, crop, crop_box
from mien.faces.detect import BlazeFace, Box, DetectorConfig, Face, FakeDetector, Window, centre, side, windows
from mien.faces.follow import FacesConfig, Followed, TrackSummary, choose, follow
from mien.faces.landmarks import Landmarker, LandmarksConfig
from mien.faces.track import TrackConfig
from mien.schema import FACE_DETECTED, FACE_INTERPOLATED
from mien.video.decode import Frame, Span, decode_clip

FPS = 25
NEAR, FAR = Face((40, 40, 120, 120), 0.9), Face((150, 20, 162, 32), 0.9)
ALL = FacesConfig(policy="all")
SINGLE = FacesConfig(policy="single")


def blank(num_frames: int, width: int = 200, height: int = 160) -> Iterator[Frame]:
    image = np.zeros((height, width, 3), np.uint8)
    for index in range(num_frames):
        yield Frame(index, index / FPS, image)


def summary_of(script: list[list[Face]], config: FacesConfig = ALL, min_share: float = 0.0) -> TrackSummary:
    summary = TrackSummary()
    for followed in follow(blank(len(script)), FakeDetector(script, min_share), config):
        summary.add(followed)
    return summary


def test_every_frame_comes_out_once_and_in_order() -> None:
    script = [[NEAR] * (index % 7 != 3) + [FAR] * (20 < index < 40) for index in range(90)]
    followed = list(follow(blank(90), FakeDetector(script), ALL))
    assert [each.frame.pts for each in followed] == list(range(90))
    assert [each.num_faces for each in followed] == [len(faces) for faces in script]
    expected = [FACE_DETECTED if index % 7 != 3 else FACE_INTERPOLATED for index in range(90)]
    assert [each.faces[0].status for each in followed] == expected
    assert [[face.track for face in each.faces] for each in followed] == [
        [0, 1] if 20 < i < 40 else [0] for i in range(90)
    ]


@pytest.mark.parametrize(
    ("script", "max_waiting"),
    [
        ([[NEAR]] * 200, math.ceil(0.2 * FPS) + math.ceil(0.125 * FPS) + 2),  # a new face is confirmed, then steady
        ([[NEAR] if index % 12 == 0 else [] for index in range(200)], math.ceil((0.7 + 0.125) * FPS) + 2),
        ([[]] * 200, math.ceil(0.125 * FPS) + 2),
    ],
)
def test_few_frames_wait(script: list[list[Face]], max_waiting: int) -> None:
    num_in = 0

    def counted() -> Iterator[Frame]:
        nonlocal num_in
        for frame in blank(len(script)):
            num_in += 1
            yield frame

    waiting = [num_in - num_out for num_out, _ in enumerate(follow(counted(), FakeDetector(script), ALL))]
    assert max(waiting) <= max_waiting
    assert len(waiting) == 200


def test_the_buffer_is_bounded_in_bytes_and_then_leaves_gaps_open() -> None:
    script = [[NEAR]] * 20 + [[]] * 10 + [[NEAR]] * 20
    num_in = 0

    def counted() -> Iterator[Frame]:
        nonlocal num_in
        for frame in blank(len(script)):
            num_in += 1
            yield frame

    config = FacesConfig(policy="all", max_buffer_bytes=8 * 200 * 160 * 3)
    followed = []
    for each in follow(counted(), FakeDetector(script), config):
        followed.append(each)
        assert num_in - each.frame.pts <= 9
    assert len(followed) == 50
    assert followed[20].faces == []
    assert [face.track for face in followed[40].faces] == [0]


def test_single_accepts_one_face_in_every_frame() -> None:
    assert choose(SINGLE, summary_of([[NEAR]] * 30, SINGLE)) == [0]


@pytest.mark.parametrize(("faces", "count"), [([], "0 faces"), ([NEAR, FAR], "2 faces")])
def test_single_refuses_at_the_first_other_frame(faces: list[Face], count: str) -> None:
    script = [[NEAR]] * 20 + [faces] + [[NEAR]] * 20
    with pytest.raises(FaceError, match=f"{count} at 0.80 s; the policy `single`"):
        summary_of(script, SINGLE)


def test_single_sees_a_second_face_that_only_windows_show() -> None:
    with pytest.raises(FaceError, match="2 faces at 0"):
        summary_of([[NEAR, FAR]] * 5, SINGLE, min_share=0.1)


def test_single_refuses_a_cut_to_another_face() -> None:
    elsewhere = Face((130, 70, 190, 130), 0.9)
    with pytest.raises(FaceError, match="the same face in only 20 of 35 frames"):
        choose(SINGLE, summary_of([[NEAR]] * 20 + [[elsewhere]] * 15, SINGLE))


def test_largest_weighs_area_by_time() -> None:
    brief_and_large, long_and_small = Face((0, 0, 40, 40), 0.9), Face((100, 100, 130, 130), 0.9)
    script = [[brief_and_large] * (index < 10) + [long_and_small] for index in range(40)]
    assert choose(FacesConfig(), summary_of(script)) == [1]
    assert choose(FacesConfig(), summary_of(script[:15])) == [0]
    assert choose(ALL, summary_of(script)) == [0, 1]


def test_no_face_and_too_small_a_face_say_so() -> None:
    with pytest.raises(FaceError, match="no face in any of 12 frames"):
        choose(FacesConfig(), summary_of([[]] * 12))
    with pytest.raises(FaceError, match="no face in any of 0 frames"):
        choose(FacesConfig(), TrackSummary())
    summary = summary_of([[NEAR, FAR]] * 12)
    assert choose(FacesConfig(policy="all", min_side_px=50), summary) == [0]
    with pytest.raises(FaceError, match="80 px wide, less than min_side_px=100"):
        choose(FacesConfig(min_side_px=100), summary)


def test_a_far_face_is_searched_once_and_then_remembered() -> None:
    fake = FakeDetector([[FAR]] * 100, min_share=0.1)
    followed = list(follow(blank(100), fake, FacesConfig()))
    assert all(each.faces[0].box == FAR.box for each in followed)
    num_search = 9  # squares of 100 px on 200 x 160
    assert fake.num_windows <= num_search + 1 + 100


def test_with_a_near_face_the_frame_is_searched_now_and_then_and_never_for_the_largest() -> None:
    per_search = sum(len(list(windows(200, 160, side_px))) for side_px in (100, 50))
    for config, num_searches in ((FacesConfig(), 0), (ALL, 2), (SINGLE, 2)):
        fake = FakeDetector([[NEAR]] * (6 * FPS))
        list(follow(blank(6 * FPS), fake, config))
        assert fake.num_windows == num_searches * per_search


def test_without_any_face_the_frame_is_searched_at_most_every_search_every_s() -> None:
    fake = FakeDetector([], min_share=0.1)
    assert all(each.faces == [] for each in follow(blank(3 * FPS), fake, FacesConfig()))
    per_search = fake.num_windows / 3
    again = FakeDetector([], min_share=0.1)
    list(follow(blank(1), again, FacesConfig()))
    assert per_search == again.num_windows > 9


def test_a_lost_far_face_is_found_again_after_the_gap() -> None:
    script = [[FAR]] * 30 + [[]] * 40 + [[FAR]] * 60
    followed = list(follow(blank(130), FakeDetector(script, min_share=0.1), FacesConfig()))
    found = [bool(each.faces) for each in followed]
    assert found[:30] == [True] * 30
    assert not any(found[30:70])
    assert found[70 + FPS :] == [True] * (60 - FPS)


def test_a_window_hit_inside_a_known_face_is_not_a_second_face() -> None:
    class Halves(FakeDetector):
        def _seen(self, window: Window) -> list[Face]:
            is_whole = window == (0, 0, 200, 160)
            return super()._seen(window) if is_whole else [Face((42, 42, 80, 90), 0.95)]

    followed = list(follow(blank(20), Halves([[NEAR]] * 20), ALL))
    assert all(each.num_faces == 1 and each.faces[0].box == NEAR.box for each in followed)


# --- real videos ---


class Video(NamedTuple):
    followed: list[Followed]
    """Without pixels."""
    num_crops: int
    num_meshes: int
    num_cut_meshes: int
    """Meshes that leave their crop."""


@pytest.fixture(scope="module")
def blazeface(assets_dir: Path) -> Iterator[BlazeFace]:
    with BlazeFace((assets_dir / "face_detection_short_range.tflite").read_bytes(), DetectorConfig()) as detector:
        yield detector


@pytest.fixture(scope="module")
def videos(faces_dir: Path, assets_dir: Path, blazeface: BlazeFace) -> dict[str, Video]:
    with Landmarker((assets_dir / "face_landmarker.task").read_bytes(), LandmarksConfig()) as landmarker:
        return {path.stem: measured(path, blazeface, landmarker) for path in sorted(faces_dir.glob("*.mp4"))}


def measured(path: Path, blazeface: BlazeFace, landmarker: Landmarker) -> Video:
    """Follow its first six seconds and look for the mesh in every 15th crop, as crops are made by default."""
    followed, num_crops, num_meshes, num_cut = [], 0, 0, 0
    config = CropConfig()
    for each in follow(decode_clip(path, Span(0.0, 6.0)), blazeface, FacesConfig()):
        followed.append(each._replace(frame=each.frame._replace(rgb=each.frame.rgb[:0])))
        if each.frame.pts and len(followed) % 15 == 0 and each.faces:
            square = crop_box(each.faces[0].smooth_box, config.padding_factor)
            mesh = landmarker.detect(crop(each.frame.rgb, square, config.size_px)[0])
            num_crops += 1
            if mesh is not None:
                num_meshes += 1
                num_cut += bool((mesh.landmarks[:, :2] < 0).any() or (mesh.landmarks[:, :2] > config.size_px).any())
    return Video(followed, num_crops, num_meshes, num_cut)


NAMES = ["d0", "d3", "d9", "d18", "d19", "s13", "s20", "s32"]


@pytest.mark.parametrize("name", NAMES)
def test_the_face_is_found_in_every_frame_as_one_track(videos: dict[str, Video], name: str) -> None:
    followed = videos[name].followed
    detected = [each for each in followed if each.faces and each.faces[0].status == FACE_DETECTED]
    assert len(detected) >= (0.97 if name == "s13" else 0.99) * len(followed)
    assert {face.track for each in followed for face in each.faces} == {0}
    assert all(each.num_faces == len(each.faces) == 1 for each in detected)


@pytest.mark.parametrize("name", NAMES)
def test_the_crop_holds_the_true_and_whole_face(videos: dict[str, Video], name: str) -> None:
    video = videos[name]
    assert video.num_crops >= 5
    assert video.num_meshes >= 0.95 * video.num_crops
    assert video.num_cut_meshes <= 0.05 * video.num_crops


@pytest.mark.parametrize("name", NAMES)
def test_the_smoothed_box_jitters_far_less_than_the_detections(videos: dict[str, Video], name: str) -> None:
    def jitter(boxes: list[Box]) -> np.ndarray:
        values = np.array([[*centre(box), side(box)] for box in boxes])
        return np.sqrt((np.diff(values, 2, axis=0) ** 2).mean(axis=0))

    faces = [each.faces[0] for each in videos[name].followed]
    raw, smooth = jitter([face.box for face in faces if face.box]), jitter([face.smooth_box for face in faces])
    assert (smooth < raw / 3).all()
    offset = np.array([np.subtract(centre(face.smooth_box), centre(face.box)) for face in faces if face.box])
    assert np.abs(offset).max() < 0.15 * np.median([side(face.smooth_box) for face in faces])


def test_a_clip_gives_the_same_numbers_first_and_later_in_a_process(
    videos: dict[str, Video], faces_dir: Path, assets_dir: Path
) -> None:
    with BlazeFace((assets_dir / "face_detection_short_range.tflite").read_bytes(), DetectorConfig()) as fresh:
        again = list(follow(decode_clip(faces_dir / "s13.mp4", Span(0.0, math.inf)), fresh, FacesConfig()))
    assert repr([each.faces for each in again]) == repr([each.faces for each in videos["s13"].followed])


def test_a_far_face_beside_a_near_one_is_found_unless_only_the_largest_counts(
    faces_dir: Path, blazeface: BlazeFace
) -> None:
    def side_by_side() -> Iterator[Frame]:
        near = decode_clip(faces_dir / "d9.mp4", Span(0.0, 1.0))
        far = decode_clip(faces_dir / "s13.mp4", Span(0.0, 1.0))
        for left, right in zip(near, far, strict=False):
            canvas = np.full((1080, 1920, 3), 90, np.uint8)
            canvas[60:1020, :1024] = np.repeat(np.repeat(left.rgb, 2, axis=0), 2, axis=1)
            canvas[:, 1200:] = right.rgb
            yield right._replace(rgb=canvas)

    followed = list(follow(side_by_side(), blazeface, ALL))
    assert [[face.track for face in each.faces] for each in followed] == [[0, 1]] * len(followed)
    assert all(centre(each.faces[1].smooth_box)[0] > 1200 for each in followed)
    assert all(60 < side(each.faces[1].smooth_box) < 120 for each in followed)
    with pytest.raises(FaceError, match="2 faces"):
        list(follow(side_by_side(), blazeface, SINGLE))


def test_the_default_lag_is_short() -> None:
    config = TrackConfig()
    assert config.min_duration_s + config.max_gap_s + config.reach_s < 0.85
