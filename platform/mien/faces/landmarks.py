"""Measure the face in a crop: mesh, blendshapes and head pose by MediaPipe's face landmarker."""

from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from mediapipe.tasks.python import BaseOptions, vision
from pydantic import Field

from mien.config import Config
from mien.faces.task import MediaPipeTask, Rgb, require_rgb

BLENDSHAPE_NAMES = (
    "_neutral", "browDownLeft", "browDownRight", "browInnerUp", "browOuterUpLeft", "browOuterUpRight", "cheekPuff",
    "cheekSquintLeft", "cheekSquintRight", "eyeBlinkLeft", "eyeBlinkRight", "eyeLookDownLeft", "eyeLookDownRight",
    "eyeLookInLeft", "eyeLookInRight", "eyeLookOutLeft", "eyeLookOutRight", "eyeLookUpLeft", "eyeLookUpRight",
    "eyeSquintLeft", "eyeSquintRight", "eyeWideLeft", "eyeWideRight", "jawForward", "jawLeft", "jawOpen", "jawRight",
    "mouthClose", "mouthDimpleLeft", "mouthDimpleRight", "mouthFrownLeft", "mouthFrownRight", "mouthFunnel",
    "mouthLeft", "mouthLowerDownLeft", "mouthLowerDownRight", "mouthPressLeft", "mouthPressRight", "mouthPucker",
    "mouthRight", "mouthRollLower", "mouthRollUpper", "mouthShrugLower", "mouthShrugUpper", "mouthSmileLeft",
    "mouthSmileRight", "mouthStretchLeft", "mouthStretchRight", "mouthUpperUpLeft", "mouthUpperUpRight",
    "noseSneerLeft", "noseSneerRight",
)  # fmt: skip
"""Order of `Mesh.blendshapes`. Left and right are the subject's; ARKit's tongueOut is missing."""


class LandmarksConfig(Config):
    """When a face mesh counts as found."""

    min_detection_confidence: float = Field(0.5, gt=0, lt=1)
    """Lowest score of the face in the crop."""
    min_presence_confidence: float = Field(0.5, gt=0, lt=1)
    """Lowest score of the mesh being on a face."""


class Mesh(NamedTuple):
    """Face of one crop."""

    landmarks: npt.NDArray[np.float32]
    """[478, 3], px of the crop; z in the same scale, smaller is nearer."""
    blendshapes: npt.NDArray[np.float32]
    """[52], 0 to 1, in the order of `BLENDSHAPE_NAMES`."""
    head_pose: npt.NDArray[np.float32]
    """[4, 4], canonical face to camera in cm."""


class Landmarker(MediaPipeTask):
    """MediaPipe's face landmarker on single images.

    Not in its video mode, which smooths over what it saw before: a frame would measure differently in another clip.
    """

    def __init__(self, model: bytes, config: LandmarksConfig):
        super().__init__(model, lambda base: self._create(base, config))

    @staticmethod
    def _create(base: BaseOptions, config: LandmarksConfig) -> vision.FaceLandmarker:
        options = vision.FaceLandmarkerOptions(
            base_options=base,
            running_mode=vision.RunningMode.IMAGE,
            num_faces=1,
            min_face_detection_confidence=config.min_detection_confidence,
            min_face_presence_confidence=config.min_presence_confidence,
            output_face_blendshapes=True,
            output_facial_transformation_matrixes=True,
        )
        return vision.FaceLandmarker.create_from_options(options)

    def detect(self, crop_rgb: Rgb) -> Mesh | None:
        """Mesh of the face in a crop, uint8 [H, W, 3]; None where none is found."""
        require_rgb(crop_rgb)
        found = self._detect(crop_rgb)
        if not found.face_landmarks:
            return None
        height, width = crop_rgb.shape[:2]
        points = np.array([(point.x, point.y, point.z) for point in found.face_landmarks[0]], np.float32)
        return Mesh(
            landmarks=points * np.array([width, height, width], np.float32),
            blendshapes=np.array([shape.score for shape in found.face_blendshapes[0]], np.float32),
            head_pose=np.asarray(found.facial_transformation_matrixes[0], np.float32),
        )
