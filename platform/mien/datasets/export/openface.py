"""CSV with the 714 columns of OpenFace 2.2 FeatureExtraction, in order; what mien does not measure is empty.

Order and names are those of `RecorderCSV::Open` in OpenFace 2.2 for a sequence with everything switched on. Filled are:

- frame (1 first), face_id (the track), timestamp (s of the source)
- confidence: the detector's score, empty where the face was not detected in this frame
- success: 1 where the mesh was found in this frame
- x_i, y_i in px of the upright source frame for the 12 of 68 points that the mesh has, too: see `MESH_POINTS`

The rest is empty. Head pose: MediaPipe's is relative to an assumed camera before the crop, not to the camera of the
video. Action units: blendshapes are other quantities. Gaze, eye landmarks, 3D and shape parameters: not measured.
"""

import csv
import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

import numpy as np

from mien.datasets.dataset import Dataset, Sample
from mien.datasets.export.kind import ExportConfig, Outbox, Part, Total, samples, stem
from mien.datasets.export.readme import readme
from mien.datasets.export.record import CARD
from mien.errors import ConfigError

MESH_POINTS = {
    36: 33,
    39: 133,
    42: 362,
    45: 263,
    48: 61,
    54: 291,
    60: 78,
    64: 308,
    51: 0,
    57: 17,
    62: 13,
    66: 14,
}
"""Point of the 68 (iBUG 300-W) -> vertex of the mesh: corners of the eyes, corners of the outer and inner lips, and
the middles of their four contours. They are where the contours of `FaceLandmarksConnections` of MediaPipe begin, end
and have their middle. No other of the 68 is documented as a vertex: published tables for brows, nose and jaw disagree,
and points of the jaw move along the visible outline."""

_INTENSITIES = ("01", "02", "04", "05", "06", "07", "09", "10", "12", "14", "15", "17", "20", "23", "25", "26", "45")
_PRESENCES = (*_INTENSITIES[:-1], "28", "45")


def column_names() -> list[str]:
    """The 714 names, in order."""
    names = ["frame", "face_id", "timestamp", "confidence", "success"]
    names += [f"gaze_{eye}_{axis}" for eye in (0, 1) for axis in "xyz"] + ["gaze_angle_x", "gaze_angle_y"]
    names += [f"eye_lmk_{axis}_{i}" for axis in "xyXYZ" for i in range(56)]
    names += [f"pose_{kind}{axis}" for kind in "TR" for axis in "xyz"]
    names += [f"{axis}_{i}" for axis in "xyXYZ" for i in range(68)]
    names += ["p_scale", "p_rx", "p_ry", "p_rz", "p_tx", "p_ty", *(f"p_{i}" for i in range(34))]
    return names + [f"AU{unit}_r" for unit in _INTENSITIES] + [f"AU{unit}_c" for unit in _PRESENCES]


class OpenfaceConfig(ExportConfig):
    """One CSV per sample, as OpenFace writes it."""

    kind: Literal["openface"] = "openface"

    def check(self, dataset: Dataset) -> None:
        """Without landmarks nothing of OpenFace's measures is there.

        Raises:
            ConfigError: The dataset has none.
        """
        if len(dataset) and "landmarks" not in dataset.sample(0).columns:
            raise ConfigError(
                f"{dataset.uri}: has no landmarks, which a CSV of OpenFace is made of; make the dataset with "
                "landmarks=true, or choose another kind"
            )

    def write(self, dataset: Dataset, part: Part, outbox: Outbox) -> dict[str, Any]:
        """One file per sample."""
        for sample in samples(dataset, part):
            with outbox.file(f"{stem(sample.row)}.csv") as path, path.open("w", encoding="utf-8", newline="") as file:
                writer = csv.DictWriter(file, column_names(), lineterminator="\n")
                writer.writeheader()
                writer.writerows(_rows(sample, dataset.crop_size_px))
        return {}

    def finish(self, dataset: Dataset, total: Total, parts: Iterable[Mapping[str, Any]]) -> Iterator[tuple[str, bytes]]:
        """The README."""
        del parts
        what = (
            "One `.csv` per sample with the columns of OpenFace 2.2. **These are not measures of OpenFace.** Filled "
            "are frame, face_id, timestamp (s of the source), confidence (score of the detector), success (the mesh "
            f"was found) and x, y of the points {', '.join(map(str, sorted(MESH_POINTS)))} (corners of eyes and lips, "
            "middles of the lips), px of the source frame, from MediaPipe's mesh. All else is empty: gaze, eye "
            "landmarks, head pose, 3D points, shape parameters, action units and the other points are not measured."
        )
        yield CARD, readme(dataset, total, what)

    def owns(self, name: str) -> bool:
        """Files at the root, by their ending."""
        return re.fullmatch(r"[^/]+_faces_[^/]+\.csv", name) is not None


def _rows(sample: Sample, size_px: int) -> Iterator[dict[str, Any]]:
    time_s, score, points = (np.asarray(sample[name]) for name in ("time_s", "score", "landmarks"))
    in_frame = to_frame(points[..., :2], np.asarray(sample["crop_box"]), size_px)
    for row in range(len(sample)):
        is_found = bool(np.isfinite(in_frame[row]).all())
        values = {
            "frame": row + 1,
            "face_id": sample.track,
            "timestamp": f"{time_s[row]:.6f}",
            "success": int(is_found),
        }
        if np.isfinite(score[row]):
            values["confidence"] = f"{score[row]:.4f}"
        if is_found:
            for point, vertex in MESH_POINTS.items():
                x, y = in_frame[row, vertex]
                values |= {f"x_{point}": f"{x:.3f}", f"y_{point}": f"{y:.3f}"}
        yield values


def to_frame(points: np.ndarray, crop_box: np.ndarray, size_px: int) -> np.ndarray:
    """Points in px of the crop [N, P, 2] in px of the source frame, given what the crop shows of it [N, 4]."""
    corner, side = crop_box[:, None, :2], (crop_box[:, 2:] - crop_box[:, :2])[:, None]
    return np.asarray(corner + points * side / size_px, np.float64)
