from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from mien.errors import AssetError
from mien.faces.detect import (
    BlazeFace,
    DetectorConfig,
    Face,
    FakeDetector,
    area,
    distinct,
    iou,
    overlaps,
    shared,
    side,
    window_around,
    windows,
)
from mien.video.decode import Span, decode_clip

BOX_A, BOX_B = (2.0, 3.0, 12.0, 9.0), (7.0, 1.0, 20.0, 8.0)


@pytest.fixture(scope="module")
def blazeface(assets_dir: Path) -> Iterator[BlazeFace]:
    with BlazeFace((assets_dir / "face_detection_short_range.tflite").read_bytes(), DetectorConfig()) as detector:
        yield detector


@pytest.fixture(scope="module")
def frame(faces_dir: Path) -> np.ndarray:
    return next(iter(decode_clip(faces_dir / "d0.mp4", Span(0.0, 0.1)))).rgb


def test_overlap_agrees_with_counting_pixels() -> None:
    masks = np.zeros((2, 12, 24), bool)
    for mask, (x0, y0, x1, y1) in zip(masks, (BOX_A, BOX_B), strict=True):
        mask[int(y0) : int(y1), int(x0) : int(x1)] = True
    both, either = (masks[0] & masks[1]).sum(), (masks[0] | masks[1]).sum()
    assert area(BOX_A) == masks[0].sum()
    assert shared(BOX_A, BOX_B) == both
    assert iou(BOX_A, BOX_B) == pytest.approx(both / either)
    assert iou(BOX_A, (50, 50, 60, 60)) == 0
    assert iou((5, 5, 5, 5), (5, 5, 5, 5)) == 0


def test_a_box_inside_another_overlaps_it_and_neighbours_do_not() -> None:
    assert overlaps((0, 0, 100, 100), (40, 40, 60, 60))
    assert not overlaps((0, 0, 100, 100), (90, 0, 190, 100))


def test_distinct_keeps_the_first_of_overlapping_faces() -> None:
    first, inside, other = Face((0, 0, 100, 100), 0.6), Face((10, 10, 60, 60), 0.9), Face((200, 0, 300, 100), 0.5)
    assert distinct([first, inside, other]) == [first, other]
    assert distinct([inside, first, other]) == [inside, other]


@pytest.mark.parametrize(
    ("width", "height", "side_px"), [(720, 1080, 540), (1280, 720, 320), (512, 512, 256), (100, 30, 37), (5, 5, 64)]
)
def test_windows_hold_every_face_up_to_half_their_side(width: int, height: int, side_px: int) -> None:
    tiles = list(windows(width, height, side_px))
    assert all(0 <= x0 < x1 <= width and 0 <= y0 < y1 <= height for x0, y0, x1, y1 in tiles)
    assert all(x1 - x0 <= side_px and y1 - y0 <= side_px for x0, y0, x1, y1 in tiles)
    face = side_px // 2
    for x in range(0, width - face + 1, 5):
        for y in range(0, height - face + 1, 5):
            assert any(x0 <= x and y0 <= y and x + face <= x1 and y + face <= y1 for x0, y0, x1, y1 in tiles)


def test_window_around_stays_in_the_frame() -> None:
    assert window_around((100, 100, 120, 110), 3, 640, 480) == (80, 75, 140, 135)
    assert window_around((-30, -30, 10, 10), 3, 640, 480) == (0, 0, 50, 50)
    assert window_around((900, 900, 910, 910), 3, 640, 480) == (639, 479, 640, 480)


def test_the_window_offset_is_added_exactly(blazeface: BlazeFace, frame: np.ndarray) -> None:
    canvas = np.full((700, 900, 3), 127, np.uint8)
    canvas[130 : 130 + 512, 301 : 301 + 512] = frame
    alone = blazeface.detect(frame)
    moved = blazeface.detect_in(canvas, (301, 130, 301 + 512, 130 + 512))
    assert len(alone) == len(moved) == 1
    np.testing.assert_allclose(np.subtract(moved[0].box, alone[0].box), (301, 130, 301, 130), atol=1e-6)
    assert moved[0].score == alone[0].score > 0.9


@pytest.mark.parametrize("step", [2, 3, 4])
def test_boxes_are_in_px_of_the_frame_at_any_resolution(blazeface: BlazeFace, frame: np.ndarray, step: int) -> None:
    large = np.repeat(np.repeat(frame, step, axis=0), step, axis=1)
    (small_face,), (large_face,) = blazeface.detect(frame), blazeface.detect(large)
    tolerance_px = 0.02 * side(large_face.box)
    np.testing.assert_allclose(large_face.box, np.multiply(small_face.box, step), atol=tolerance_px)


def test_a_frame_gives_the_same_faces_whatever_came_before(
    blazeface: BlazeFace, frame: np.ndarray, assets_dir: Path
) -> None:
    first = blazeface.detect(frame)
    for other in (frame[::2, ::-2], np.zeros_like(frame), frame[:200, :300]):
        blazeface.detect(np.ascontiguousarray(other))
    with BlazeFace((assets_dir / "face_detection_short_range.tflite").read_bytes(), DetectorConfig()) as fresh:
        assert fresh.detect(frame) == blazeface.detect(frame) == first


def test_what_is_not_an_rgb_image_is_refused(blazeface: BlazeFace, frame: np.ndarray) -> None:
    for image in (frame[..., 0], frame.astype(np.float32) / 255, frame[:0], frame[..., :1]):
        with pytest.raises(ValueError, match="must be RGB uint8"):
            blazeface.detect(image)


def test_a_wrong_model_file_is_named(assets_dir: Path) -> None:
    for model in (b"", b"<html>not found</html>"):
        with pytest.raises(AssetError, match="BlazeFace: not its model file"):
            BlazeFace(model, DetectorConfig())


def test_the_fake_sees_small_faces_only_in_small_windows() -> None:
    far = Face((50, 50, 60, 60), 0.9)
    fake = FakeDetector([[far], []], min_share=0.1)
    image = np.zeros((200, 200, 3), np.uint8)
    assert fake.detect(image) == []
    assert fake.detect_in(image, (0, 0, 100, 100)) == [far]
    assert fake.detect_in(image, (100, 100, 200, 200)) == []
    assert fake.num_windows == 2
    assert fake.detect(image) == fake.detect_in(image, (0, 0, 100, 100)) == []
    assert fake.detect(image) == []
