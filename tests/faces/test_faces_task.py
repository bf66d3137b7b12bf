import os
import subprocess
import sys
from pathlib import Path

import pytest

from mien.faces.detect import BlazeFace, DetectorConfig
from mien.faces.task import MediaPipeTask

LEFT_OPEN = """
import sys
from pathlib import Path
import numpy as np
from mien.faces.detect import BlazeFace, DetectorConfig
from mien.faces.landmarks import Landmarker, LandmarksConfig
models = Path(sys.argv[1])
detector = BlazeFace((models / "face_detection_short_range.tflite").read_bytes(), DetectorConfig())
landmarker = Landmarker((models / "face_landmarker.task").read_bytes(), LandmarksConfig())
image = np.zeros((64, 64, 3), np.uint8)
print(detector.detect(image), landmarker.detect(image))
keep = [detector]
"""


class Silent:
    def close(self) -> None:
        pass


def test_a_process_that_leaves_its_tasks_open_ends_well_and_prints_nothing(assets_dir: Path) -> None:
    process = subprocess.run(
        [sys.executable, "-c", LEFT_OPEN, str(assets_dir)], capture_output=True, text=True, timeout=60, check=False
    )
    assert (process.returncode, process.stdout, process.stderr) == (0, "[] None\n", "")


def test_noise_is_dropped_and_everything_else_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    def create(_: object) -> Silent:
        os.write(2, b"INFO: Created TensorFlow Lite XNNPACK delegate for CPU.\nno space left on device\n")
        os.write(2, b"W0000 00:00:1.0  8967 inference_feedback_manager.cc:114] Feedback manager requires\n")
        return Silent()

    MediaPipeTask(b"", create).close()
    os.write(2, b"afterwards\n")
    assert capfd.readouterr().err == "no space left on device\nafterwards\n"


def test_what_is_printed_before_a_failure_is_passed_on(capfd: pytest.CaptureFixture[str]) -> None:
    def create(_: object) -> Silent:
        os.write(2, b"bad graph\n")
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        MediaPipeTask(b"", create)
    assert capfd.readouterr().err == "bad graph\n"


def test_a_closed_task_says_so(assets_dir: Path) -> None:
    import numpy as np

    detector = BlazeFace((assets_dir / "face_detection_short_range.tflite").read_bytes(), DetectorConfig())
    detector.close()
    detector.close()
    with pytest.raises(ValueError, match="BlazeFace is closed"):
        detector.detect(np.zeros((8, 8, 3), np.uint8))
