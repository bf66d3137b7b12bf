"""Find faces in one frame: BlazeFace on the shrunk frame and on enlarged windows of it."""

from collections.abc import Iterable, Iterator
from typing import Annotated, Literal, NamedTuple, Protocol

import cv2
import numpy as np
from mediapipe.tasks.python import BaseOptions, vision
from pydantic import Field

from mien.config import Config
from mien.faces.task import MediaPipeTask, Rgb, require_rgb

Box = tuple[float, float, float, float]
"""x0, y0, x1, y1 in px; pixel i covers [i, i + 1)."""

Window = tuple[int, int, int, int]
"""x0, y0, x1, y1 in whole px, inside the frame."""


class DetectorConfig(Config):
    """How faces are found in one frame."""

    kind: Literal["blazeface"] = "blazeface"
    """BlazeFace short range: its input is 128 px, so a face below a tenth of what it is shown is missed."""
    min_confidence: float = Field(0.5, gt=0, lt=1)
    """Lowest score of a face."""
    small_share: float = Field(0.25, ge=0, le=1)
    """A face narrower than this share of the frame's long side is looked at again in a window around it."""
    window_faces: float = Field(3.0, gt=1)
    """Side of that window in face widths."""
    search_divisors: tuple[Annotated[int, Field(ge=2, le=16)], ...] = (2, 4)
    """Window sides of a search of the whole frame, as divisors of its long side, in this order; empty for none."""
    search_every_s: float = Field(1.0, gt=0)
    """Time between two searches while no face is known."""
    survey_every_s: float = Field(5.0, gt=0)
    """Time between two searches for further, smaller faces while one is known; not with the policy `largest`."""
    search_min_confidence: float = Field(0.75, gt=0, lt=1)
    """Lowest score of a face found by a search: enlarged cloth and hair reach 0.71, faces 0.9."""


class Face(NamedTuple):
    """One face in one image."""

    box: Box
    score: float


class Detector(Protocol):
    """What finds faces in a frame."""

    def detect(self, rgb: Rgb) -> list[Face]:
        """Faces of the whole frame, shrunk to what the detector sees."""

    def detect_in(self, rgb: Rgb, window: Window) -> list[Face]:
        """Faces of a part of the frame, enlarged to what the detector sees; boxes in px of the frame."""


class BlazeFace(MediaPipeTask):
    """BlazeFace short range through MediaPipe Tasks; the same image gives the same faces whatever came before."""

    _INPUT_PX = 128
    _FINE_PX = 512
    """MediaPipe rounds boxes to whole px of the image it is given: shown 512 px, they jitter half as much as at 128."""

    def __init__(self, model: bytes, config: DetectorConfig):
        super().__init__(model, lambda base: self._create(base, config))

    @staticmethod
    def _create(base: BaseOptions, config: DetectorConfig) -> vision.FaceDetector:
        options = vision.FaceDetectorOptions(
            base_options=base,
            running_mode=vision.RunningMode.IMAGE,
            min_detection_confidence=config.min_confidence,
        )
        return vision.FaceDetector.create_from_options(options)

    def detect(self, rgb: Rgb) -> list[Face]:
        """Faces of the whole frame, uint8 [H, W, 3]."""
        return self.detect_in(rgb, (0, 0, rgb.shape[1], rgb.shape[0]))

    def detect_in(self, rgb: Rgb, window: Window) -> list[Face]:
        """Faces of a window of the frame uint8 [H, W, 3]; boxes in px of the frame."""
        x0, y0, x1, y1 = window
        view = rgb[y0:y1, x0:x1]
        require_rgb(view)
        image, scale = self._resized(view)
        faces = []
        for found in self._detect(image).detections:
            box = found.bounding_box
            left, top = x0 + box.origin_x / scale, y0 + box.origin_y / scale
            right, bottom = left + box.width / scale, top + box.height / scale
            faces.append(Face((left, top, right, bottom), float(found.categories[0].score)))
        return faces

    def _resized(self, view: Rgb) -> tuple[Rgb, float]:
        """The view as about 512 px without detail finer than the network sees, and its scale.

        Shrinking by a whole factor is four times faster than to an exact size; less than a factor of px is cut off.
        """
        height, width = view.shape[:2]
        factor = max(1, max(height, width) // self._INPUT_PX)
        size = max(1, width // factor), max(1, height // factor)
        small = cv2.resize(view[: size[1] * factor, : size[0] * factor], size, interpolation=cv2.INTER_AREA)
        enlarge = max(1, round(self._FINE_PX / max(size)))
        image = cv2.resize(small, (size[0] * enlarge, size[1] * enlarge), interpolation=cv2.INTER_LINEAR)
        return np.asarray(image, np.uint8), enlarge / factor


class SharedDetector:
    """What a detector says of the last frame, kept: who follows faces in clips that overlap asks several times."""

    def __init__(self, detector: Detector):
        """Ask this one, each thing of a frame once."""
        self._detector = detector
        self._rgb: Rgb | None = None
        self._found: dict[Window | None, list[Face]] = {}

    def detect(self, rgb: Rgb) -> list[Face]:
        """Faces of the whole frame, uint8 [H, W, 3]."""
        return self._once(rgb, None)

    def detect_in(self, rgb: Rgb, window: Window) -> list[Face]:
        """Faces of a window of the frame uint8 [H, W, 3]; boxes in px of the frame."""
        return self._once(rgb, window)

    def _once(self, rgb: Rgb, window: Window | None) -> list[Face]:
        if rgb is not self._rgb:
            self._rgb, self._found = rgb, {}
        if window not in self._found:
            detector = self._detector
            self._found[window] = detector.detect(rgb) if window is None else detector.detect_in(rgb, window)
        return self._found[window]


class FakeDetector:
    """Detector for tests: the i-th `detect` sees the faces `script[i]`, whatever the pixels, and none after its end.

    A face narrower than `min_share` of the long side of what is looked at goes unseen, as with a real detector.
    """

    def __init__(self, script: Iterable[list[Face]], min_share: float = 0.0):
        self._script = iter(script)
        self._faces: list[Face] = []
        self._min_share = min_share
        self.num_windows = 0

    def detect(self, rgb: Rgb) -> list[Face]:
        """Faces of the next entry of the script."""
        self._faces = next(self._script, [])
        return self._seen((0, 0, rgb.shape[1], rgb.shape[0]))

    def detect_in(self, rgb: Rgb, window: Window) -> list[Face]:  # noqa: ARG002  the pixels play no part
        """Faces of the same entry whose centre lies in the window."""
        self.num_windows += 1
        return self._seen(window)

    def _seen(self, window: Window) -> list[Face]:
        x0, y0, x1, y1 = window
        min_side = self._min_share * max(x1 - x0, y1 - y0)
        centred = ((face, centre(face.box)) for face in self._faces)
        return [f for f, (x, y) in centred if x0 <= x < x1 and y0 <= y < y1 and side(f.box) >= min_side]


def centre(box: Box) -> tuple[float, float]:
    """Middle of a box: x, y in px."""
    return (box[0] + box[2]) / 2, (box[1] + box[3]) / 2


def side(box: Box) -> float:
    """Longer side of a box in px."""
    return max(box[2] - box[0], box[3] - box[1])


def area(box: Box) -> float:
    """Area of a box in px²; 0 for an empty one."""
    return max(0.0, box[2] - box[0]) * max(0.0, box[3] - box[1])


def shared(a: Box, b: Box) -> float:
    """Area in px² that two boxes share."""
    return area((max(a[0], b[0]), max(a[1], b[1]), min(a[2], b[2]), min(a[3], b[3])))


def iou(a: Box, b: Box) -> float:
    """Intersection over union of two boxes, 0 to 1."""
    both = shared(a, b)
    return both / (area(a) + area(b) - both) if both else 0.0


def overlaps(a: Box, b: Box) -> bool:
    """Whether two boxes share more than half of the smaller one.

    Not IoU: a window that cuts a face yields a box inside the true one.
    """
    return shared(a, b) > 0.5 * min(area(a), area(b))


def distinct(faces: Iterable[Face]) -> list[Face]:
    """Non-maximum suppression: of faces that overlap the first one."""
    kept: list[Face] = []
    for face in faces:
        if not any(overlaps(face.box, other.box) for other in kept):
            kept.append(face)
    return kept


def window_around(box: Box, num_faces: float, width_px: int, height_px: int) -> Window:
    """Square of `num_faces` box sides around a box, cut to the frame; at least 1 px."""
    (x, y), half = centre(box), num_faces * side(box) / 2
    x0, y0 = (int(min(max(low, 0), size - 1)) for low, size in ((x - half, width_px), (y - half, height_px)))
    x1, y1 = (int(min(max(high, 0), size)) for high, size in ((x + half, width_px), (y + half, height_px)))
    return x0, y0, max(x1, x0 + 1), max(y1, y0 + 1)


def windows(width_px: int, height_px: int, side_px: int) -> Iterator[Window]:
    """Squares that cover the frame and overlap by half, so that a face up to half a square is whole in one of them."""
    for y in _starts(height_px, side_px):
        for x in _starts(width_px, side_px):
            yield x, y, min(x + side_px, width_px), min(y + side_px, height_px)


def _starts(length: int, side_px: int) -> list[int]:
    room = max(0, length - side_px)
    steps = -(-2 * room // side_px)
    return [round(i * room / max(1, steps)) for i in range(steps + 1)]
