from collections.abc import Iterator
from pathlib import Path

import mediapipe as mp
import numpy as np
import pytest

from mien.faces.crop import crop
from mien.faces.landmarks import BLENDSHAPE_NAMES, Landmarker, LandmarksConfig
from mien.schema import NUM_BLENDSHAPES, NUM_LANDMARKS
from mien.video.decode import Span, decode_clip

RIGHT_EYE, LEFT_EYE, NOSE_TIP, CHIN = 33, 263, 1, 152
"""Points of MediaPipe's canonical face; right and left are the subject's."""

FACE_OF_D0 = (40.0, 80.0, 470.0, 510.0)


@pytest.fixture(scope="module")
def landmarker(assets_dir: Path) -> Iterator[Landmarker]:
    with Landmarker((assets_dir / "face_landmarker.task").read_bytes(), LandmarksConfig()) as task:
        yield task


@pytest.fixture(scope="module")
def frames(faces_dir: Path) -> list[np.ndarray]:
    return [frame.rgb for frame in decode_clip(faces_dir / "d0.mp4", Span(0.0, 3.0))]


@pytest.fixture(scope="module")
def face(frames: list[np.ndarray]) -> np.ndarray:
    return crop(frames[0], FACE_OF_D0, 518)[0]


def test_the_names_are_those_of_the_task_in_its_order(landmarker: Landmarker, face: np.ndarray) -> None:
    found = landmarker._task.detect(mp.Image(image_format=mp.ImageFormat.SRGB, data=face))
    assert tuple(shape.category_name for shape in found.face_blendshapes[0]) == BLENDSHAPE_NAMES
    assert len(set(BLENDSHAPE_NAMES)) == NUM_BLENDSHAPES


def test_a_mesh_is_in_px_of_the_crop(landmarker: Landmarker, face: np.ndarray) -> None:
    mesh = landmarker.detect(face)
    assert mesh is not None
    assert mesh.landmarks.shape == (NUM_LANDMARKS, 3)
    assert mesh.blendshapes.shape == (NUM_BLENDSHAPES,)
    assert mesh.head_pose.shape == (4, 4)
    assert {array.dtype for array in mesh} == {np.dtype(np.float32)}
    assert 0 < mesh.landmarks[:, :2].min() < mesh.landmarks[:, :2].max() < 518
    right, left, nose, chin = mesh.landmarks[[RIGHT_EYE, LEFT_EYE, NOSE_TIP, CHIN]]
    assert right[0] < nose[0] < left[0]
    assert max(right[1], left[1]) < nose[1] < chin[1]
    assert nose[2] < min(right[2], left[2])
    assert ((mesh.blendshapes >= 0) & (mesh.blendshapes <= 1)).all()
    half = landmarker.detect(np.ascontiguousarray(crop(face, (0, 0, 518, 518), 259)[0]))
    assert half is not None
    assert np.abs(half.landmarks * 2 - mesh.landmarks)[:, :2].mean() < 2


def test_a_landmark_lies_on_the_same_place_in_a_wide_image(landmarker: Landmarker, face: np.ndarray) -> None:
    wide = np.pad(face, ((0, 0), (200, 100), (0, 0)), mode="edge")
    here, there = landmarker.detect(face), landmarker.detect(wide)
    assert here is not None
    assert there is not None
    assert np.abs(there.landmarks - here.landmarks - (200, 0, 0))[:, :2].mean() < 3


def test_the_head_pose_is_a_rotation_that_turns_the_other_way_in_a_mirror(
    landmarker: Landmarker, faces_dir: Path
) -> None:
    # s32 is a half profile.
    frame = next(iter(decode_clip(faces_dir / "s32.mp4", Span(0.0, 0.1)))).rgb
    turned = np.ascontiguousarray(frame[:, 280:1000])
    mesh, mirrored = landmarker.detect(turned), landmarker.detect(np.ascontiguousarray(turned[:, ::-1]))
    assert mesh is not None
    assert mirrored is not None
    rotation = mesh.head_pose[:3, :3].astype(float)
    scale = np.cbrt(np.linalg.det(rotation))
    np.testing.assert_allclose(rotation @ rotation.T, scale**2 * np.eye(3), atol=1e-3)
    np.testing.assert_array_equal(mesh.head_pose[3], (0, 0, 0, 1))
    assert mesh.head_pose[2, 3] < -5  # in front of the camera, which looks along -z
    yaw, mirrored_yaw = mesh.head_pose[0, 2], mirrored.head_pose[0, 2]
    assert abs(yaw) > 0.2
    assert mirrored_yaw == pytest.approx(-yaw, abs=0.1)


def test_an_open_mouth_opens_the_jaw(landmarker: Landmarker, faces_dir: Path) -> None:
    # d18 opens the mouth wide on the way; lips 13 and 14 are measured independently of the blendshape.
    gaps, jaws = [], []
    for frame in decode_clip(faces_dir / "d18.mp4", Span(0.0, 8.0), fps=4):
        mesh = landmarker.detect(frame.rgb)
        assert mesh is not None
        gaps.append(np.linalg.norm(mesh.landmarks[13] - mesh.landmarks[14]))
        jaws.append(mesh.blendshapes[BLENDSHAPE_NAMES.index("jawOpen")])
    assert np.corrcoef(gaps, jaws)[0, 1] > 0.8
    assert max(jaws) > 0.4 > 0.1 > min(jaws)


def test_a_crop_measures_the_same_whatever_came_before(
    landmarker: Landmarker, frames: list[np.ndarray], face: np.ndarray
) -> None:
    first = landmarker.detect(face)
    for other in (frames[40], frames[60], np.zeros_like(face)):
        landmarker.detect(other)
    again = landmarker.detect(face)
    assert first is not None
    assert again is not None
    for a, b in zip(first, again, strict=True):
        np.testing.assert_array_equal(a, b)


def test_no_face_is_none(landmarker: Landmarker) -> None:
    assert landmarker.detect(np.full((518, 518, 3), 90, np.uint8)) is None
    with pytest.raises(ValueError, match="must be RGB uint8"):
        landmarker.detect(np.zeros((518, 518), np.uint8))
