"""Three sample videos, made in code: what `mien quickstart` runs on, with the place of every face known."""

import json
from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path
from typing import NamedTuple

import cv2
import numpy as np
import numpy.typing as npt

from mien.demos.animation import Actor, Camera, mouth
from mien.demos.portrait import Box, Image, Subject, subjects
from mien.video.audio import AudioClip
from mien.video.encode import encode

AUDIO_RATE = 48_000
LABEL = "synthetic"
COMMENT = "Synthetic video made by mien from a public-domain portrait (NASA, scikit-image). No such person said this."

_SEAM_PX = 351
"""Column of the portrait at which two pictures, the right one mirrored, join without a seam."""

_HIDDEN_S, _SLIDE_S = 0.5, 0.3


class Face(NamedTuple):
    """Where the generator put a face in one frame."""

    subject: str
    box: Box
    """x0, y0, x1, y1 in px of the frame."""
    visible: float
    """Share of the box, 0-1, that nothing hides."""


@dataclass(frozen=True)
class Scene:
    """One video to be."""

    name: str
    actors: tuple[Actor, ...]
    """From left to right; each fills its part of the width."""
    hidden_at_s: float | None = None
    """When a sheet of paper hides everything for half a second; never if None."""
    speaker: Subject | None = None

    def frame(self, time_s: float) -> Image:
        """The labelled picture at a time, uint8 [height_px, width_px, 3]."""
        picture = np.hstack([actor.frame(time_s) for actor in self.actors])
        top = self._sheet_top_px(time_s, len(picture))
        if top < len(picture):
            _draw_sheet(picture, top)
        _draw_label(picture)
        return picture

    def faces(self, time_s: float) -> list[Face]:
        """The faces of which something can be seen at a time, from left to right."""
        faces, left_px = [], 0
        for actor in self.actors:
            x0, y0, x1, y1 = actor.face_box(time_s)
            top = self._sheet_top_px(time_s, actor.camera.height_px)
            visible = min(max((top - y0) / (y1 - y0), 0.0), 1.0)
            box = (round(x0 + left_px, 2), round(y0, 2), round(x1 + left_px, 2), round(y1, 2))
            if visible:
                faces.append(Face(actor.subject.name, box, round(visible, 3)))
            left_px += actor.camera.width_px
        return faces

    def _sheet_top_px(self, time_s: float, height_px: int) -> int:
        """Row down to which the picture is free: the sheet comes from below, waits and goes."""
        if self.hidden_at_s is None:
            return height_px
        away = (abs(time_s - self.hidden_at_s) - _HIDDEN_S / 2) / _SLIDE_S
        away = min(max(away, 0.0), 1.0)
        return round(height_px * (0.02 + 0.98 * away * away * (3 - 2 * away)))


def render(
    folder: Path, *, seconds: float = 4.0, fps: Fraction = Fraction(25), size_px: tuple[int, int] = (640, 480)
) -> list[Path]:
    """Write subject_a.mp4 (with a voice), subject_b.mp4 (hidden for half a second) and both.mp4; return their paths.

    The faces of every frame stand in `truth_of(video)`. The same arguments give the same frames.

    Args:
        folder: Made if it is absent; files of these names are replaced.
        seconds: Length of each video, at least 1.
        fps: Frames per second.
        size_px: Width and height, even numbers, between 5:4 and 2:1.

    Raises:
        ValueError: A length, rate or size that cannot be.
        PreflightError: scikit-image, which carries the portrait, is not installed.
    """
    if seconds < 1 or fps <= 0:
        raise ValueError(f"seconds={seconds}, fps={fps}: needs at least one second and a positive rate")
    width_px, height_px = size_px
    if width_px % 2 or height_px % 2 or height_px < 64 or not 1.25 <= width_px / height_px <= 2:
        raise ValueError(f"size_px={size_px}: needs even numbers, height >= 64, width 1.25 to 2 times that")
    stage = scenes(size_px)
    folder.mkdir(parents=True, exist_ok=True)
    return [_write(scene, folder, seconds, fps) for scene in stage]


def truth_of(video: Path) -> Path:
    """JSON with `frames`, each `time_s` and `faces` (see `Face`); hidden, so that a scan for videos passes it over."""
    return video.parent / ".truth" / f"{video.stem}.json"


def scenes(size_px: tuple[int, int]) -> list[Scene]:
    """The three scenes for frames of width and height in px."""
    width_px, height_px = size_px
    a, b = subjects()
    far, near = max(height_px / 384, width_px / 2 / _SEAM_PX), max(height_px / 340, width_px / 464)
    half = Camera(_SEAM_PX - width_px / 2 / far, 0, width_px // 2, height_px, far)
    alone = Camera(232 - width_px / 2 / near, 0, width_px, height_px, near)
    return [
        Scene("subject_a", (Actor(a, alone),), speaker=a),
        Scene("subject_b", (Actor(b, alone),), hidden_at_s=_HIDDEN_S / 2),
        Scene("both", (Actor(a, half), Actor(b, half))),
    ]


def voice(speaker: Subject, seconds: float) -> npt.NDArray[np.float32]:
    """A hummed vowel that opens with the speaker's mouth, float32 [1, samples] at `AUDIO_RATE`."""
    time_s = np.arange(round(seconds * AUDIO_RATE), dtype=np.float64) / AUDIO_RATE
    is_open = mouth(time_s, speaker.phase)
    pitch_hz = speaker.voice_hz * (1 + 0.06 * np.sin(2.2 * time_s) + 0.01 * np.sin(31 * time_s))
    turn = 2 * np.pi * np.cumsum(pitch_hz) / AUDIO_RATE
    formants_hz = (300 + 450 * is_open, 1200.0, 2500.0)  # from a closed vowel to /a/
    sound = np.zeros_like(time_s)
    for harmonic in range(1, 16):
        loudness = sum(1 / (1 + ((harmonic * pitch_hz - formant) / 120) ** 2) for formant in formants_hz)
        sound += loudness * np.sin(harmonic * turn)
    sound *= is_open / np.abs(sound * is_open).max()
    samples: npt.NDArray[np.float32] = (0.5 * sound[None]).astype(np.float32)
    return samples


def _write(scene: Scene, folder: Path, seconds: float, fps: Fraction) -> Path:
    """The truth and then the video: no video stands there without its truth."""
    times_s = [float(i / fps) for i in range(round(seconds * fps))]
    path = folder / f"{scene.name}.mp4"
    frames = [{"time_s": round(t, 6), "faces": [face._asdict() for face in scene.faces(t)]} for t in times_s]
    truth = {"video": path.name, "fps": str(fps), "frames": frames}
    truth_of(path).parent.mkdir(exist_ok=True)
    truth_of(path).write_text(json.dumps(truth, indent=1) + "\n", encoding="utf-8")
    sound = AudioClip(voice(scene.speaker, seconds), AUDIO_RATE) if scene.speaker else None
    encode(path, map(scene.frame, times_s), fps, audio=sound, metadata={"comment": COMMENT})
    return path


def _draw_sheet(picture: Image, top: int) -> None:
    """A sheet of paper from row `top` down, with a soft shadow."""
    height, width = picture.shape[:2]
    left, right, num_shadows = width // 2 - height * 4 // 10, width // 2 + height * 4 // 10, max(height // 60, 1)
    for i in range(num_shadows):
        edge = picture[max(top - i, 0) :, left - i : right + i]
        edge -= edge // (3 * num_shadows)
    picture[top:, left:right] = (240, 238, 230)
    _write_text(picture, "face hidden", (width // 2, top + height // 3), height / 300, (90, 90, 100))


def _draw_label(picture: Image) -> None:
    height, width = picture.shape[:2]
    for shift, colour in ((1, (0, 0, 0)), (0, (255, 255, 255))):
        _write_text(picture, LABEL, (width * 9 // 100 + shift, height * 39 // 40 + shift), height / 800, colour)


def _write_text(picture: Image, text: str, at: tuple[int, int], size: float, colour: tuple[int, int, int]) -> None:
    """Text whose base line has its middle at the place `at`, x and y in px."""
    thickness = max(round(2 * size), 1)
    (width, _), _ = cv2.getTextSize(text, cv2.FONT_HERSHEY_SIMPLEX, size, thickness)
    left = (at[0] - width // 2, at[1])
    cv2.putText(picture, text, left, cv2.FONT_HERSHEY_SIMPLEX, size, colour, thickness, cv2.LINE_AA)
