"""Tries each thing that must work on this machine, and prints the repair of what does not."""

import importlib.metadata
import platform
import tempfile
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Literal, NamedTuple

import numpy as np

import mien
from mien import assets
from mien.errors import MienError

if TYPE_CHECKING:
    from mien.datasets.shard import ShardFormat

State = Literal["ok", "warn", "error"]


class Check(NamedTuple):
    """What one trial showed."""

    name: str
    state: State
    found: str
    repair: str = ""


def examine() -> list[Check]:
    """Run every trial; one that fails does not keep the others from running."""
    trials: list[tuple[str, Callable[[], Check], str]] = [
        ("python", _python, "use Python 3.11 to 3.13"),
        (
            "cv2",
            _cv2,
            "pip uninstall -y opencv-python opencv-contrib-python opencv-contrib-python-headless "
            "opencv-python-headless && pip install opencv-python-headless",
        ),
        ("video", _video, "pip install --force-reinstall av"),
        ("audio", _audio, "pip install --force-reinstall av"),
        ("detector", _detector, "mien assets pull face_detector"),
        ("landmarker", _landmarker, "mien assets pull face_landmarker"),
        ("hdf5", _hdf5, "pip install --force-reinstall h5py"),
        ("parquet", _parquet, "pip install --force-reinstall pyarrow"),
        ("torch", _torch, "pip install 'torch>=2.11,<2.14'"),
        (
            "ray",
            _ray,
            "pip install --force-reinstall 'ray[data,default]>=2.60,<2.61'; look at /tmp/ray/session_latest/logs",
        ),
        ("network", _network, "set MIEN_OFFLINE=1 to forbid even that"),
    ]
    return [_try(*trial) for trial in trials]


def _try(name: str, trial: Callable[[], Check], repair: str) -> Check:
    try:
        check = trial()
    except MienError as error:
        return Check(name, "error", " ".join(str(error).split()), repair)
    except Exception as error:  # noqa: BLE001  whatever a broken installation raises is the finding
        return Check(name, "error", f"{type(error).__name__}: {error}"[:300], repair)
    return check if check.repair or check.state == "ok" else check._replace(repair=repair)


def _python() -> Check:
    version, system = platform.python_version(), f"{platform.system()} {platform.machine()}"
    return Check("python", "ok", f"Python {version} on {system}, mien {mien.__version__}")


def _cv2() -> Check:
    """Two wheels that carry cv2 overwrite each other's files, and the last one wins without a word."""
    import cv2

    found = sorted(
        f"{name} {distribution.version}"
        for distribution in importlib.metadata.distributions()
        if (name := str(distribution.metadata["Name"] or "").lower()).startswith("opencv")
    )
    state: State = "ok" if len(found) == 1 and hasattr(cv2, "warpAffine") else "error"
    return Check("cv2", state, f"{len(found)} provider(s): {', '.join(found) or 'none'}")


def _video() -> Check:
    from mien.video.decode import Span, decode_clip
    from mien.video.encode import encode

    frames = [np.full((64, 96, 3), level, np.uint8) for level in (40, 120, 200)]
    with tempfile.TemporaryDirectory(prefix="mien-doctor-") as folder:
        path = Path(folder) / "trial.mp4"
        encode(path, iter(frames), Fraction(25))
        means = [float(frame.rgb.mean()) for frame in decode_clip(str(path), Span(0.0, 1.0))]
    if len(means) != len(frames) or max(abs(m - f.mean()) for m, f in zip(means, frames, strict=True)) > 4:
        return Check("video", "error", f"3 frames of brightness 40, 120, 200 came back as {means}")
    return Check("video", "ok", f"encoded and decoded 3 frames of H.264, PyAV {importlib.metadata.version('av')}")


def _audio() -> Check:
    from mien.video.audio import AudioClip, write_audio

    with tempfile.TemporaryDirectory(prefix="mien-doctor-") as folder:
        path = Path(folder) / "trial.flac"
        write_audio(AudioClip(np.zeros((1, 1600), np.float32), 16_000, 0.0), path)
        return Check("audio", "ok", f"wrote 0.1 s of FLAC in {path.stat().st_size} bytes")


def _detector() -> Check:
    from mien.faces.detect import BlazeFace, DetectorConfig

    with BlazeFace(assets.read("face_detector"), DetectorConfig()) as detector:
        faces = detector.detect(np.zeros((128, 128, 3), np.uint8))
    return Check("detector", "ok", f"made, found {len(faces)} faces in a black frame; {_mediapipe()}")


def _landmarker() -> Check:
    from mien.faces.landmarks import Landmarker, LandmarksConfig

    if next(status for status in assets.status() if status.name == "face_landmarker").state == "absent":
        return Check("landmarker", "warn", "face_landmarker.task is absent; needed for landmarks=true")
    with Landmarker(assets.read("face_landmarker"), LandmarksConfig()) as landmarker:
        landmarker.detect(np.zeros((128, 128, 3), np.uint8))
    return Check("landmarker", "ok", "made and run on a black crop")


def _mediapipe() -> str:
    return f"mediapipe {importlib.metadata.version('mediapipe')}"


def _hdf5() -> Check:
    from mien.datasets.hdf5 import Hdf5Config

    return _shard("hdf5", Hdf5Config(), "h5py")


def _parquet() -> Check:
    from mien.datasets.parquet import ParquetConfig

    return _shard("parquet", ParquetConfig(), "pyarrow")


def _shard(name: str, kind: "ShardFormat", library: str) -> Check:
    from mien.datasets.formats import open_shard
    from mien.datasets.frames import to_table

    pts = np.arange(5)
    with tempfile.TemporaryDirectory(prefix="mien-doctor-") as folder:
        path = Path(folder) / f"trial{kind.suffix}"
        writer = kind.writer(path, {})
        writer.add(to_table({"pts": pts, "crop": [b"%d" % number for number in pts]}))
        writer.close()
        with open_shard(path) as shard:
            if not np.array_equal(shard.read("pts", 0, 5), pts):
                return Check(name, "error", "what was written reads back differently")
    return Check(name, "ok", f"wrote and read a shard, {library} {importlib.metadata.version(library)}")


def _torch() -> Check:
    import torch

    device = torch.cuda.get_device_name() if torch.cuda.is_available() else "CPU only"
    product = float((torch.ones(8, 8) @ torch.ones(8, 8)).sum())
    return Check("torch", "ok" if product == 512 else "error", f"torch {torch.__version__}, {device}")


def _ray() -> Check:
    from mien.pipelines.cluster import prove

    return Check("ray", "ok", f"started, ran one task and ended; Ray {prove()}, usage statistics off")


def _network() -> Check:
    """Says what would leave the machine; there is nothing to try."""
    will = "nothing leaves the machine while a job runs: usage statistics of Ray and the model hub are off"
    version = importlib.metadata.version("mediapipe")
    if version != "0.10.31":
        return Check(
            "network", "error", f"mediapipe {version} may upload usage metrics", "pip install mediapipe==0.10.31"
        )
    asked = "`mien assets pull` and a hub name in features.model fetch model files"
    return Check("network", "ok", f"{will}; only {asked}; wandb is not used")
