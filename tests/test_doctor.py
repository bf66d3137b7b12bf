from pathlib import Path

import pytest

from mien import doctor
from mien.doctor import Check, examine
from mien.errors import AssetError


@pytest.fixture(autouse=True)
def _models(assets_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(assets_dir))


def by_name() -> dict[str, Check]:
    return {check.name: check for check in examine()}


def test_everything_works_here_and_was_really_tried(local_ray: None) -> None:
    checks = by_name()
    assert {name: check.state for name, check in checks.items()} == dict.fromkeys(checks, "ok")
    assert {"python", "cv2", "video", "audio", "detector", "landmarker", "hdf5", "parquet", "torch", "ray"} < set(
        checks
    )
    assert "1 provider(s): opencv-python-headless" in checks["cv2"].found
    assert "3 frames of H.264" in checks["video"].found
    assert "nothing leaves the machine" in checks["network"].found


def test_an_absent_model_is_an_error_with_its_repair(
    local_ray: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("MIEN_ASSETS", str(tmp_path))
    monkeypatch.setenv("MIEN_CACHE", str(tmp_path))
    checks = by_name()
    assert (checks["detector"].state, checks["detector"].repair) == ("error", "mien assets pull face_detector")
    assert checks["landmarker"].state == "warn"
    assert checks["video"].state == "ok"


def test_a_trial_that_breaks_is_a_finding_and_not_a_crash() -> None:
    def breaks() -> Check:
        raise ImportError("libGL.so.1: cannot open shared object file")

    check = doctor._try("cv2", breaks, "pip install opencv-python-headless")
    assert (check.state, check.repair) == ("error", "pip install opencv-python-headless")
    assert "libGL.so.1" in check.found


def test_an_error_of_ours_keeps_its_words() -> None:
    def breaks() -> Check:
        raise AssetError("x.tflite is absent")

    assert doctor._try("detector", breaks, "pull it").found == "x.tflite is absent"


def test_a_second_provider_of_cv2_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    class Distribution:
        version = "4.11"

        def __init__(self, name: str) -> None:
            self.metadata = {"Name": name}

    both = [Distribution("opencv-python-headless"), Distribution("opencv-contrib-python"), Distribution("numpy")]
    monkeypatch.setattr(doctor.importlib.metadata, "distributions", lambda: both)
    check = doctor._cv2()
    assert check.state == "error"
    assert check.found.startswith("2 provider(s): opencv-contrib-python 4.11, opencv-python-headless")
