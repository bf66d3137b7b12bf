"""The first two minutes: three rendered videos, a dataset of them, and a picture of it."""

from pathlib import Path
from typing import Any

from mien import assets, log
from mien.datasets.dataset import open_dataset
from mien.datasets.inspect import summarize
from mien.demos.sample_videos import render
from mien.pipelines.serialize import SerializeConfig, serialize

_CONFIG: dict[str, Any] = {
    "faces": {"policy": "all"},
    "crop": {"size_px": 224},
    "sources": {"subject_pattern": "subject_([a-z]+)"},
    "card": {
        "title": "Quickstart",
        "licence": "cc0-1.0",
        "consent": "Public-domain portrait (NASA), animated in code; nobody was recorded.",
        "redistributable": True,
    },
}


def run(folder: Path) -> dict[str, Any]:
    """Render, plan, serialize, inspect; the same command resumes.

    Returns:
        The dataset's summary with `contact_sheet`, the picture to look at, and `next`, the command to type.
    """
    assets.pull(["face_detector"])
    videos, output = folder / "videos", folder / "dataset"
    if not (videos / "both.mp4").exists():  # the last one; each appears whole or not at all
        log.logger.info("render   three videos in %s", videos)
        render(videos)
    report = serialize(SerializeConfig.parse({**_CONFIG, "source": str(videos), "output": str(output)}, "quickstart"))
    summary = summarize(open_dataset(output))
    shown = {key: summary[key] for key in ("num_clips", "num_samples", "num_frames", "face_share", "subjects")}
    return {**shown, "dataset": report.path, "contact_sheet": report.contact_sheet, "next": f"mien inspect {output}"}
