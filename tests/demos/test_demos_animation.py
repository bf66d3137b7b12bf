from collections.abc import Iterator
from pathlib import Path

import cv2
import mediapipe
import numpy as np
import pytest
from mediapipe.tasks.python import BaseOptions
from mediapipe.tasks.python.vision import FaceLandmarker, FaceLandmarkerOptions

from mien.demos.animation import NECK, Actor, Camera, Expression, Pose, expression, mouth, pose
from mien.demos.portrait import FACE_BOX, Image, subjects

WHOLE = Camera(0, 0, 512, 512, 1.0)
TIMES_S = np.arange(0, 40, 0.02)


@pytest.fixture(scope="module", params=[0, 1], ids=["a", "b"])
def actor(request: pytest.FixtureRequest) -> Actor:
    return Actor(subjects()[request.param], WHOLE)


@pytest.fixture(scope="module")
def landmarker(assets_dir: Path) -> Iterator[FaceLandmarker]:
    options = FaceLandmarkerOptions(
        base_options=BaseOptions(model_asset_path=str(assets_dir / "face_landmarker.task")),
        output_face_blendshapes=True,
    )
    with FaceLandmarker.create_from_options(options) as made:
        yield made


def blendshapes(landmarker: FaceLandmarker, picture: Image) -> dict[str, float]:
    image = mediapipe.Image(image_format=mediapipe.ImageFormat.SRGB, data=np.ascontiguousarray(picture))
    [faces] = landmarker.detect(image).face_blendshapes
    return {shape.category_name: shape.score for shape in faces}


@pytest.mark.parametrize("phase", [0.0, 1.7])
def test_every_movement_stays_in_its_range_and_happens(phase: float) -> None:
    moods = np.array([expression(t, phase) for t in TIMES_S])
    heads = np.array([pose(t, phase) for t in TIMES_S])
    assert moods[:, :3].min() >= 0
    assert np.abs(moods).max() <= 1
    assert (np.ptp(moods, axis=0) > 0.8).all()
    assert (np.abs(heads) <= [9, 5, np.deg2rad(6.5), 1.04, 5, 2.5]).all()
    assert (np.ptp(heads, axis=0) > [8, 5, np.deg2rad(6), 0.05, 5, 3]).all()


@pytest.mark.parametrize("phase", [0.0, 1.7])
def test_movements_are_smooth(phase: float) -> None:
    heads = np.array([pose(t, phase) for t in TIMES_S])
    assert np.abs(np.diff(heads[:, :2], axis=0)).max() < 0.02 * 30  # px in 20 ms
    assert np.abs(np.diff([mouth(np.array(t), phase) for t in TIMES_S])).max() < 0.3


def test_there_is_a_blink_in_every_four_seconds() -> None:
    shut = np.array([expression(t, 0.0).blink > 0.9 for t in TIMES_S])
    assert shut.reshape(-1, 200).any(axis=1).all()
    assert shut.mean() < 0.1


def test_two_people_do_not_move_alike() -> None:
    a, b = (np.array([pose(t, phase).x_px for t in TIMES_S]) for phase in (0.0, 1.7))
    assert np.corrcoef(a, b)[0, 1] < 0.5


def test_a_frame_depends_on_its_time_alone(actor: Actor) -> None:
    first = actor.frame(0.4)
    actor.frame(2.0)
    np.testing.assert_array_equal(actor.frame(0.4), first)
    assert (first.shape, first.dtype) == ((512, 512, 3), np.uint8)


def test_the_still_pose_is_the_picture_of_the_subject(actor: Actor) -> None:
    still = actor.draw(Pose(), Expression())
    still = still[:, ::-1] if actor.subject.is_mirrored else still
    expected = cv2.resize(actor.subject.picture(), (512, 512), interpolation=cv2.INTER_AREA)
    assert np.abs(still.astype(int) - expected).mean() < 1.5


@pytest.mark.parametrize(
    "head", [Pose(x_px=9, y_px=-4), Pose(angle_rad=0.11), Pose(scale=1.04), Pose(-6, 3, -0.08, 0.97)], ids=str
)
def test_the_head_and_its_box_move_by_one_affine_map(actor: Actor, head: Pose) -> None:
    """The reference is OpenCV's own rotation about a point."""
    degrees = -np.rad2deg(head.angle_rad)  # OpenCV turns the other way, y being down
    matrix = cv2.getRotationMatrix2D(NECK, degrees, head.scale) + np.array([[0, 0, head.x_px], [0, 0, head.y_px]])
    still, moved = (actor.draw(now, Expression()) for now in (Pose(), head))
    if actor.subject.is_mirrored:
        still, moved = still[:, ::-1], moved[:, ::-1]
    expected = cv2.warpAffine(still, matrix, (512, 512), flags=cv2.INTER_LINEAR)
    face = (slice(90, 170), slice(185, 265))
    wrong = np.abs(moved[face].astype(int) - expected[face]).mean()
    assert wrong < 4
    assert wrong < 0.5 * np.abs(moved[face].astype(int) - still[face]).mean()
    x0, y0, x1, y1 = actor.box(head)
    centre = matrix @ [(FACE_BOX[0] + FACE_BOX[2]) / 2, (FACE_BOX[1] + FACE_BOX[3]) / 2, 1]
    x = (x0 + x1) / 2
    x = 512 - x if actor.subject.is_mirrored else x
    assert (x, (y0 + y1) / 2) == pytest.approx(tuple(centre))
    assert (x1 - x0, y1 - y0) == pytest.approx([95 * head.scale] * 2)


def test_camera_and_mirror_place_the_box() -> None:
    a, b = subjects()
    camera = Camera(100, 20, 300, 200, 1.5)
    x0, y0, x1, y1 = Actor(a, camera).box(Pose())
    assert (x0, y0, x1, y1) == pytest.approx((77 * 1.5, 62 * 1.5, 172 * 1.5, 157 * 1.5))
    assert Actor(b, camera).box(Pose()) == pytest.approx((300 - x1, y0, 300 - x0, y1))


def test_the_background_stands_still(actor: Actor) -> None:
    """Both edges, so that two pictures can be joined there."""
    still, moved = (actor.draw(now, Expression()) for now in (Pose(), Pose(9, 5, 0.1, 1.04, 5, 2)))
    far = [slice(0, 85), slice(352, 512)]
    far = [slice(512 - part.stop, 512 - part.start) for part in far] if actor.subject.is_mirrored else far
    for part in far:
        assert np.abs(still[:, part].astype(int) - moved[:, part]).max() <= 1


@pytest.mark.parametrize(
    ("face", "shape", "least"),
    [
        (Expression(blink=1), "eyeBlinkLeft", 0.15),
        (Expression(blink=1), "eyeBlinkRight", 0.15),
        (Expression(mouth=1), "jawOpen", 0.05),
        (Expression(mouth=1), "mouthLowerDownLeft", 0.2),
        (Expression(brow=1), "browOuterUpLeft", 0.2),
    ],
)
def test_a_face_model_sees_the_expression(
    actor: Actor, landmarker: FaceLandmarker, face: Expression, shape: str, least: float
) -> None:
    close = Actor(actor.subject, Camera(130, 20, 400, 400, 2.0))
    still, moved = (blendshapes(landmarker, close.draw(Pose(), now))[shape] for now in (Expression(), face))
    assert moved - still > least
