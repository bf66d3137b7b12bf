"""Fields between crops against movements that were planted, and against other implementations."""

from pathlib import Path
from typing import Literal

import cv2
import numpy as np
import pytest
from matplotlib.tri import LinearTriInterpolator, Triangulation

from mien.analysis.warp_between import FlowConfig, LandmarksWarpConfig, by_flow, by_landmarks
from mien.errors import DatasetError
from mien.faces.crop import crop
from mien.faces.landmarks import Landmarker, LandmarksConfig
from mien.video.decode import Span, decode_clip

Interpolation = Literal["piecewise_affine", "thin_plate"]
SIDE = 96
RNG = np.random.default_rng(11)
POINTS = RNG.uniform(20, 76, size=(60, 2))
MOVED = POINTS + RNG.normal(size=(60, 2))
THROUGH = LandmarksWarpConfig(interpolation="thin_plate", smoothing=0)


def texture() -> np.ndarray:
    """Smooth noise, uint8 [SIDE, SIDE, 3]."""
    grey = cv2.GaussianBlur(np.random.default_rng(5).normal(size=(SIDE, SIDE)), (0, 0), 2.5)
    return np.repeat(np.uint8(255 * (grey - grey.min()) / np.ptp(grey))[..., None], 3, axis=2)


def moved_by(image: np.ndarray, u: float, v: float) -> np.ndarray:
    """The content moves u px to the right and v px down."""
    matrix = np.array([[1, 0, u], [0, 1, v]], np.float64)
    return np.asarray(cv2.warpAffine(image, matrix, (SIDE, SIDE), borderMode=cv2.BORDER_REFLECT))


@pytest.mark.parametrize("method", ["dis", "farneback"])
@pytest.mark.parametrize("shift", [(3, 0), (0, -2), (-1.5, 2.5)])
def test_flow_finds_a_planted_shift(method: Literal["dis", "farneback"], shift: tuple[float, float]) -> None:
    field = by_flow(texture(), moved_by(texture(), *shift), FlowConfig(method=method))
    assert field.shape == (SIDE, SIDE, 2)
    assert np.median(field[16:-16, 16:-16], axis=(0, 1)) == pytest.approx(shift, abs=0.2)


@pytest.mark.parametrize("method", ["dis", "farneback"])
def test_flow_between_equal_crops_is_none_and_turns_when_they_are_exchanged(
    method: Literal["dis", "farneback"],
) -> None:
    first, second, config = texture(), moved_by(texture(), 2, 1), FlowConfig(method=method)
    assert np.abs(by_flow(first, first, config)).mean() < 0.01
    there, back = (np.median(by_flow(*pair, config), axis=(0, 1)) for pair in ((first, second), (second, first)))
    assert there == pytest.approx(-back, abs=0.2)


def test_crops_that_do_not_fit_are_refused() -> None:
    with pytest.raises(DatasetError, match=r"crops: have shapes \[96, 96, 3\] and \[96, 95, 3\]"):
        by_flow(texture(), texture()[:, :-1], FlowConfig())
    with pytest.raises(DatasetError, match="at least 16 px"):
        by_flow(texture()[:8, :8], texture()[:8, :8], FlowConfig())
    with pytest.raises(ValueError, match="uint8"):
        by_flow(texture() / 255.0, texture(), FlowConfig())  # type: ignore[arg-type]


@pytest.mark.parametrize("interpolation", ["piecewise_affine", "thin_plate"])
def test_landmarks_carry_their_own_pixels(interpolation: Interpolation) -> None:
    here = np.floor(POINTS) + 0.5  # middles of pixels
    here, first = np.unique(here, axis=0, return_index=True)
    there = here + MOVED[first] - POINTS[first]
    field = by_landmarks(here, there, (SIDE, SIDE), LandmarksWarpConfig(interpolation=interpolation, smoothing=0))
    x, y = np.int64(here).T
    assert field[y, x] == pytest.approx(there - here, abs=1e-6)


def test_within_the_face_the_field_is_piecewise_affine() -> None:
    """Triangles and barycentric coordinates of matplotlib, at pixels inside of all landmarks."""
    grid = [(x, y) for x in (40, 48, 56) for y in (40, 48, 56)]
    field = by_landmarks(POINTS, MOVED, (SIDE, SIDE), LandmarksWarpConfig())
    triangles = Triangulation(*POINTS.T)
    for number in (0, 1):
        other = LinearTriInterpolator(triangles, (MOVED - POINTS)[:, number])
        assert [field[y, x, number] for x, y in grid] == pytest.approx(
            [float(other(x + 0.5, y + 0.5)) for x, y in grid]
        )


def test_an_affine_movement_stays_affine_within_the_face() -> None:
    matrix, shift = np.array([[1.02, 0.03], [-0.02, 0.99]]), np.array([1.0, -2.0])
    field = by_landmarks(POINTS, POINTS @ matrix.T + shift, (SIDE, SIDE), LandmarksWarpConfig())
    p = np.array([50.5, 44.5])
    assert field[44, 50] == pytest.approx(matrix @ p + shift - p)


def test_the_thin_plate_is_the_solution_of_its_equations() -> None:
    """Bookstein (1989), with the points that hold the frame at rest; r² log r, in px."""
    frame = [(x, y) for x in np.linspace(-9.6, 105.6, 9) for y in np.linspace(-9.6, 105.6, 9)]
    frame = [(x, y) for x, y in frame if x in (-9.6, 105.6) or y in (-9.6, 105.6)]
    at = np.concatenate([POINTS, frame])
    values = np.concatenate([MOVED - POINTS, np.zeros((32, 2))])

    def kernel(a: np.ndarray, b: np.ndarray) -> np.ndarray:
        r = np.linalg.norm(a[:, None] - b[None], axis=-1)
        return r**2 * np.log(np.where(r > 0, r, 1))

    ones = np.column_stack([np.ones(len(at)), at])
    system = np.block([[kernel(at, at), ones], [ones.T, np.zeros((3, 3))]])
    weights = np.linalg.solve(system, np.concatenate([values, np.zeros((3, 2))]))
    pixels = np.array([[10.5, 20.5], [48.5, 48.5], [80.5, 5.5]])
    expected = np.column_stack([kernel(pixels, at), np.ones(3), pixels]) @ weights
    field = by_landmarks(POINTS, MOVED, (SIDE, SIDE), THROUGH)
    x, y = np.int64(pixels).T
    assert field[y, x] == pytest.approx(expected, abs=1e-6)


@pytest.mark.parametrize("interpolation", ["piecewise_affine", "thin_plate"])
def test_the_field_is_whole_where_landmarks_touch_or_leave_the_crop(interpolation: Interpolation) -> None:
    here = np.concatenate([POINTS, POINTS[:3], [[-30.0, 50.0], [120.0, 60.0]]])
    field = by_landmarks(here, here + 1, (SIDE, 2 * SIDE), LandmarksWarpConfig(interpolation=interpolation))
    assert field.shape == (SIDE, 2 * SIDE, 2)
    assert np.isfinite(field).all()
    assert field[48, 50] == pytest.approx([1, 1], abs=0.05)


def test_exchanged_crops_turn_the_field_around_and_other_landmarks_change_it() -> None:
    config = LandmarksWarpConfig()
    there, back = (
        by_landmarks(POINTS, POINTS + 2, (SIDE, SIDE), config),
        by_landmarks(POINTS + 2, POINTS, (96, 96), config),
    )
    assert there[48, 48] == pytest.approx(-back[48, 48])
    assert np.abs(by_landmarks(POINTS, MOVED[::-1], (SIDE, SIDE), config) - there).max() > 5


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        (POINTS, MOVED[:-1], "60 in one crop, 59 in the other"),
        (POINTS, MOVED * np.nan, "target landmarks: 120 of 120 numbers are not finite"),
        (POINTS.ravel(), MOVED, r"source landmarks: shape \[120\] is not \[N, 2\]"),
        (np.zeros((0, 2)), MOVED, "source landmarks: is empty"),
    ],
)
def test_landmarks_that_do_not_fit_are_refused(source: np.ndarray, target: np.ndarray, message: str) -> None:
    with pytest.raises(DatasetError, match=message):
        by_landmarks(source, target, (SIDE, SIDE), LandmarksWarpConfig())


def test_a_real_face_seen_through_each_field_is_nearer_to_the_other(assets_dir: Path, faces_dir: Path) -> None:
    frames = [frame.rgb for frame in decode_clip(faces_dir / "d0.mp4", Span(0.0, 0.9))]
    first, second = (crop(frame, (40.0, 80.0, 470.0, 510.0), 256)[0] for frame in (frames[0], frames[20]))
    with Landmarker((assets_dir / "face_landmarker.task").read_bytes(), LandmarksConfig()) as task:
        here, there = task.detect(first), task.detect(second)
    assert here is not None
    assert there is not None
    y, x = np.mgrid[0:256, 0:256].astype(np.float32)
    size = 256, 256

    def distance(field: np.ndarray) -> float:
        u, v = np.float32(field[..., 0]), np.float32(field[..., 1])
        seen = cv2.remap(second, x + u, y + v, cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE)
        return float(np.abs(first.astype(float) - seen).mean())

    apart = distance(np.zeros((256, 256, 2)))
    plate = by_landmarks(here.landmarks, there.landmarks, size, LandmarksWarpConfig(interpolation="thin_plate"))
    assert distance(by_flow(first, second, FlowConfig())) < 0.6 * apart
    assert distance(by_flow(first, second, FlowConfig(method="farneback"))) < 0.8 * apart
    assert distance(by_landmarks(here.landmarks, there.landmarks, size, LandmarksWarpConfig())) < 0.9 * apart
    assert distance(plate) < 0.9 * apart
    longest = np.linalg.norm((there.landmarks - here.landmarks)[:, :2], axis=1).max()
    assert np.linalg.norm(plate, axis=-1).max() < 1.2 * longest, "lips that touch do not make it overshoot"
