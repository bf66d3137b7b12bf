"""A still portrait that moves: a person's pose and expression at a time, and the picture a camera sees of it.

Two warps, both read backwards (for each pixel of the result, where to read): the expression within the face, then the
head on its neck. Positions are px of the portrait; see `mien.demos.portrait`.
"""

import cmath
import math
from typing import NamedTuple

import cv2
import numpy as np

from mien.demos.portrait import FACE_BOX, SCALE, Box, Field, Image, Subject, bump, ellipse, remap, row, smoothstep

NECK = (225.0, 180.0)
"""The head turns and grows about this point."""

_FACE = (slice(68 * SCALE, 226 * SCALE), slice(160 * SCALE, 290 * SCALE))
"""Rows and columns of the picture that an expression can change."""

_MOUTH = (223.0, 149.2)
_MOUTH_PX = 9.0
"""How far the lower lip sinks when the mouth is wide open."""

_THROAT = row(52, 14, 18)
_COARSE_PX = 4


class Pose(NamedTuple):
    """Where the head is, relative to the still portrait."""

    x_px: float = 0.0
    y_px: float = 0.0
    angle_rad: float = 0.0
    scale: float = 1.0
    yaw_px: float = 0.0
    """How far the nose moves against the ears; a turn of the head as far as a flat picture can show one."""
    pitch_px: float = 0.0


class Expression(NamedTuple):
    """What the face does; 0 is the still portrait, 1 the full movement (gaze and smile also go to -1)."""

    mouth: float = 0.0
    blink: float = 0.0
    brow: float = 0.0
    smile: float = 0.0
    gaze: float = 0.0


class Camera(NamedTuple):
    """The part of the portrait that fills a frame."""

    x_px: float
    y_px: float
    width_px: int
    height_px: int
    zoom: float
    """Frame px per portrait px."""


def pose(time_s: float, phase: float) -> Pose:
    """A quiet sway of the head; smooth and without a random number, so that the same time gives the same pose."""
    t = time_s + 1.3 * phase
    x = 6 * math.sin(1.5 * t + phase) + 2 * math.sin(3.7 * t)
    y = 3 * math.sin(2.1 * t + 1) + 1.5 * math.sin(4.3 * t)
    angle = math.radians(4.5 * math.sin(1.3 * t + 0.6) + 1.5 * math.sin(2.9 * t))
    scale = 1 + 0.035 * math.sin(1.1 * t + 2 * phase)
    return Pose(x, y, angle, scale, yaw_px=5 * math.sin(1.7 * t + 0.4), pitch_px=2.5 * math.sin(2.3 * t + 2))


def expression(time_s: float, phase: float) -> Expression:
    """Speech, blinks, a raised brow, a smile that comes and goes, a wandering look."""
    t = time_s + phase
    blink = sum(math.exp(-(((t + shift) % 3.1 - 1.5) ** 2) / 0.006) for shift in (0.0, 1.3))
    brow = math.sin(1.9 * t + 0.5) ** 8
    gaze = math.tanh(4 * math.sin(1.4 * t + 1))
    return Expression(float(mouth(np.array(time_s), phase)), min(blink, 1), brow, math.sin(0.9 * t), gaze)


def mouth(time_s: np.ndarray, phase: float) -> np.ndarray:
    """How far the mouth is open at each time, 0-1: syllables in phrases; the voice follows it."""
    t = time_s + phase
    syllables = 0.5 - 0.5 * np.cos(2 * np.pi * (3.1 * t + 0.3 * np.sin(2.4 * t)))
    phrases = np.clip(0.5 + 2.5 * np.sin(2.8 * t - 0.5), 0, 1)
    return syllables * phrases * (0.75 + 0.25 * np.sin(5.3 * t))


class Actor:
    """One subject before one camera."""

    def __init__(self, subject: Subject, camera: Camera) -> None:
        self.subject = subject
        self.camera = camera
        self._picture = subject.picture()  # its face is overwritten by every frame
        self._view = _view(camera, is_mirrored=subject.is_mirrored)
        self._coarse = cv2.resize(self._view, None, fx=1 / _COARSE_PX, fy=1 / _COARSE_PX, interpolation=cv2.INTER_AREA)
        self._skull = _Skull(self._coarse)
        self._face = _Face(subject.grid[_FACE])

    def frame(self, time_s: float) -> Image:
        """What the camera sees at a time, uint8 [height_px, width_px, 3]."""
        return self.draw(pose(time_s, self.subject.phase), expression(time_s, self.subject.phase))

    def face_box(self, time_s: float) -> Box:
        """x0, y0, x1, y1 of the face at a time, in px of the frame."""
        return self.box(pose(time_s, self.subject.phase))

    def draw(self, head: Pose, face: Expression) -> Image:
        """What the camera sees of this pose and expression, uint8 [height_px, width_px, 3]."""
        self._picture[_FACE] = self._face.draw(self.subject.texture, face)
        size = (self.camera.width_px, self.camera.height_px)
        shift = cv2.resize(self._skull.shift(head), size, interpolation=cv2.INTER_LINEAR)
        return remap(self._picture, self._view + shift)

    def box(self, head: Pose) -> Box:
        """x0, y0, x1, y1 of the face in px of the frame; it moves, turns and grows with the head."""
        x0, y0, x1, y1 = FACE_BOX
        offset = complex((x0 + x1) / 2 - NECK[0], (y0 + y1) / 2 - NECK[1])
        centre = complex(*NECK) + offset * cmath.rect(head.scale, head.angle_rad) + complex(head.x_px, head.y_px)
        x, y = (centre.real - self.camera.x_px) * self.camera.zoom, (centre.imag - self.camera.y_px) * self.camera.zoom
        half = (x1 - x0) / 2 * head.scale * self.camera.zoom
        x = self.camera.width_px - x if self.subject.is_mirrored else x
        return (x - half, y - half, x + half, y + half)


class _Skull:
    """The head's movement as a shift of each place [h, w, 2]; it fades to nothing between head and frame."""

    def __init__(self, places: Field) -> None:
        x, y = np.moveaxis(places, -1, 0)
        self._near = ellipse(x, y, (225, 100), (102, 120), 0.5)[..., None]
        self._offset = (places - row(*NECK)).view(np.complex64)
        self._nose = bump(x, y, (223, 122), (30, 36))[..., None]
        self._chest = (smoothstep(y, 200, 260) * (1 - smoothstep(np.abs(x - 225), 60, 115)))[..., None]

    def shift(self, now: Pose) -> Field:
        """Where to read, minus where the pixel is."""
        undo = cmath.exp(-1j * now.angle_rad) / now.scale
        moved = (undo - 1) * self._offset - undo * complex(now.x_px, now.y_px)
        shift: Field = moved.astype(np.complex64).view(np.float32) * self._near
        shift -= row(now.yaw_px, now.pitch_px) * self._nose
        return shift - row(0, 60 * (now.scale - 1)) * self._chest


class _Face:
    """The expressions of one face; fields [h, w] of the region `_FACE`."""

    def __init__(self, grid: Field) -> None:
        self._grid = grid
        x, y = np.moveaxis(grid, -1, 0)
        self._brows = bump(x, y, (197, 87), (15, 6)) + bump(x, y, (254, 89), (15, 6))
        self._irises = bump(x, y, (203.5, 101), (5, 3.5)) + bump(x, y, (246, 103.5), (5, 3.5))
        self._lids = _lid(x, y, (204, 105.5)) + _lid(x, y, (246, 108))
        self._left, self._right = bump(x, y, (202, 139), (9, 8)), bump(x, y, (244.5, 140.5), (9, 8))
        aside = np.abs(x - _MOUTH[0])
        self._below_lip = y - _MOUTH[1] + 8 * np.minimum(aside / 20, 1) ** 2
        self._opening = np.clip(1 - (aside / 19) ** 2, 0, 1) ** 0.7
        self._jaw = 1 - smoothstep(aside, 15, 55)
        self._above_neck = 1 - smoothstep(y, 185, 222)

    def draw(self, texture: Image, now: Expression) -> Image:
        """The face with this expression, uint8 [h, w, 3]."""
        gap = _MOUTH_PX * now.mouth * self._opening
        sunk = np.clip(self._below_lip, 0, gap)
        rest = _MOUTH_PX * now.mouth * self._jaw - gap
        sunk += np.maximum(rest, 0) * smoothstep(self._below_lip - gap, 0, 16)
        smile = 2.5 * now.smile * (self._left + self._right)
        shift_x = 2.5 * now.smile * (self._left - self._right) - 2.2 * now.gaze * self._irises
        shift_y = 4 * now.brow * self._brows - now.blink * self._lids + 0.6 * smile - sunk * self._above_neck
        face = remap(texture, self._grid + np.stack([shift_x, shift_y], -1))
        return self._open_mouth(face, gap)

    def _open_mouth(self, face: Image, gap: Field) -> Image:
        """Darken what lies between teeth and lower lip."""
        inside = np.clip(self._below_lip, 0, 1) * np.clip(gap - self._below_lip, 0, 1)
        dark: Image = (face + (_THROAT - face) * inside[..., None]).astype(np.uint8)
        return dark


def _lid(x: Field, y: Field, rim: tuple[float, float]) -> Field:
    """How far the upper lid sinks: 8 px at the lower rim of the eye, where the eye is pressed into a dark line."""
    fall = smoothstep(y, rim[1] - 14, rim[1] - 1) * (1 - smoothstep(y, rim[1], rim[1] + 3))
    return 8 * fall * (1 - smoothstep(np.abs(x - rim[0]), 6, 16))


def _view(camera: Camera, *, is_mirrored: bool) -> Field:
    """Place in the portrait that each pixel of a frame shows [height_px, width_px, 2]."""
    columns = np.arange(camera.width_px, dtype=np.float32)
    columns = columns[::-1] if is_mirrored else columns
    x, y = np.meshgrid(columns, np.arange(camera.height_px, dtype=np.float32))
    return (np.stack([x, y], -1) + 0.5) / camera.zoom - 0.5 + row(camera.x_px, camera.y_px)
