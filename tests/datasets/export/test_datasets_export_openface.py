"""CSV as OpenFace writes it, read back by pandas; the points against MediaPipe's own contours."""

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from mediapipe.tasks.python.vision import FaceLandmarksConnections

from export_datasets import NO_FACE, make_coloured
from mien.datasets.dataset import Dataset
from mien.datasets.export.openface import MESH_POINTS, column_names, to_frame
from mien.errors import ConfigError
from mien.storage.local import LocalStore
from sample_datasets import SIZE_PX

Export = Callable[..., tuple[Path, dict[str, Any]]]


def test_the_columns_stand_where_readers_by_position_look() -> None:
    """Ranges of the older tool that reads by position: 714 columns, and what stands where."""
    names = column_names()
    assert len(names) == len(set(names)) == 714
    assert names[:5] == ["frame", "face_id", "timestamp", "confidence", "success"]
    assert names[5:13] == [*(f"gaze_{e}_{a}" for e in "01" for a in "xyz"), "gaze_angle_x", "gaze_angle_y"]
    assert (names[13], names[124], names[125], names[292]) == (
        "eye_lmk_x_0",
        "eye_lmk_y_55",
        "eye_lmk_X_0",
        "eye_lmk_Z_55",
    )
    assert names[293:299] == ["pose_Tx", "pose_Ty", "pose_Tz", "pose_Rx", "pose_Ry", "pose_Rz"]
    assert (names[299], names[366], names[367], names[434]) == ("x_0", "x_67", "y_0", "y_67")
    assert (names[435], names[638], names[639], names[645], names[678]) == ("X_0", "Z_67", "p_scale", "p_0", "p_33")
    assert (names[679], names[695], names[696], names[712], names[713]) == (
        "AU01_r",
        "AU45_r",
        "AU01_c",
        "AU28_c",
        "AU45_c",
    )


def test_what_is_measured_is_there_and_the_rest_is_empty(coloured: Dataset, export_to: Export) -> None:
    folder, _ = export_to(coloured, "openface")
    paths = sorted(folder.glob("*.csv"))
    assert len(paths) == 3
    for sample, path in zip(coloured, paths, strict=True):
        table = pd.read_csv(path)
        assert table.columns.tolist() == column_names()
        assert table.frame.tolist() == list(range(1, len(sample) + 1))
        assert table.success.tolist() == [int(row != NO_FACE) for row in range(len(sample))]
        assert np.allclose(table.timestamp, sample["time_s"], atol=1e-6)
        assert np.allclose(table.confidence, sample["score"], atol=1e-4, equal_nan=True)
        filled = {f"{axis}_{point}" for point in MESH_POINTS for axis in "xy"}
        filled |= {"frame", "face_id", "timestamp", "confidence", "success"}
        assert set(table.columns[table.notna().any()]) == filled
        # the crop of 32 px shows 64 px of the frame from (10, 20) on
        wanted = np.asarray(sample["landmarks"])[:, 33, :2] * 64 / SIZE_PX + [10, 20]
        assert np.allclose(table[["x_36", "y_36"]], wanted, atol=2e-3, equal_nan=True)


def ends_and_middles(edges: Any) -> tuple[set[int], set[int]]:
    """Where chains of directed edges begin or end, and the vertices in their middles."""
    starts, ends = (Counter(getattr(edge, side) for edge in edges) for side in ("start", "end"))
    outer = {v for v in starts if starts[v] == 2 and not ends[v]} | {v for v in ends if ends[v] == 2 and not starts[v]}
    middles, follow = set[int](), {}
    for edge in edges:
        follow.setdefault(edge.start, []).append(edge.end)
    for begin in (v for v in outer if starts[v] == 2):
        for step in follow[begin]:
            chain = [begin, step]
            while chain[-1] in follow:
                chain.append(follow[chain[-1]][0])
            middles.add(chain[len(chain) // 2])
    return outer, middles


def test_the_points_are_ends_and_middles_of_the_contours_of_mediapipe() -> None:
    corners, middles = set[int](), set[int]()
    for name in ("LEFT_EYE", "RIGHT_EYE", "LIPS"):
        found = ends_and_middles(getattr(FaceLandmarksConnections, f"FACE_LANDMARKS_{name}"))
        corners |= found[0]
        middles |= found[1] if name == "LIPS" else set()
    assert {MESH_POINTS[point] for point in (36, 39, 42, 45, 48, 54, 60, 64)} == corners
    assert {MESH_POINTS[point] for point in (51, 57, 62, 66)} == middles


def test_they_are_in_the_order_of_the_68_points(faces_dir: Path, assets_dir: Path) -> None:
    """On a real face: 36 to 45 and 48, 60, 64, 54 go from left to right of the picture, the lips from top to bottom."""
    from mien.faces.landmarks import Landmarker, LandmarksConfig
    from mien.video.decode import Span, decode_clip

    landmarker = Landmarker((assets_dir / "face_landmarker.task").read_bytes(), LandmarksConfig())
    frame = next(decode_clip(faces_dir / "d0.mp4", Span(1.2, 1.4)))
    mesh = landmarker.detect(frame.rgb)
    assert mesh is not None
    place = {point: mesh.landmarks[vertex, :2] for point, vertex in MESH_POINTS.items()}
    assert sorted((36, 39, 42, 45), key=lambda p: place[p][0]) == [36, 39, 42, 45]
    assert sorted((48, 60, 64, 54), key=lambda p: place[p][0]) == [48, 60, 64, 54]
    assert sorted((51, 62, 66, 57), key=lambda p: place[p][1]) == [51, 62, 66, 57]
    assert place[36][1] < place[51][1]


def test_points_of_a_crop_go_back_into_the_frame() -> None:
    corners = np.array([[[0, 0], [32, 32], [16, 8]]])
    assert to_frame(corners, np.array([[-4.0, 6.0, 60.0, 70.0]]), 32).tolist() == [[[-4, 6], [60, 70], [28, 22]]]


def test_a_dataset_without_landmarks_is_refused_before_anything_is_written(tmp_path: Path, export_to: Export) -> None:
    dataset = make_coloured(LocalStore(tmp_path / "dataset"), without=["landmarks"])
    with pytest.raises(ConfigError, match=r"has no landmarks.*landmarks=true"):
        export_to(dataset, "openface")
    assert not (tmp_path / "openface-export").exists()
