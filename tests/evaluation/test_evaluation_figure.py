"""The figure shows the numbers of its report."""

from pathlib import Path

import numpy as np
import pytest
from matplotlib.image import imread
from matplotlib.text import Text

from embedded_scenes import embedded, expression
from mien.evaluation.figure import draw
from mien.evaluation.image_scores import FrameScores
from mien.evaluation.leakage import LeakageResult
from mien.evaluation.probes import ProbeResult
from mien.evaluation.report import EvaluationConfig, Report, evaluate

NAMES = ("browDownLeft", "jawOpen", "mouthClose", "mouthPucker", "noseSneerLeft", "_neutral")


def report(num_clips: int = 20) -> Report:
    face = expression(num_clips, 40, 6)
    frames = embedded(num_clips, tokens=face + 0.1, blendshapes=face * [1, 1, 1, 1, 1, 0])
    clip = frames.clip[frames.is_held_out]
    scores = {name: np.full(len(clip), 10.0 + n) for n, name in enumerate(("overall_mean", "subject_mean"))}
    scores["reconstruction"] = np.full(len(clip), 25.0)
    return evaluate(frames, NAMES, EvaluationConfig(), FrameScores(clip, scores, scores))


def test_points_and_bars_stand_at_their_numbers() -> None:
    found = report()
    assert isinstance(found.probe, ProbeResult)
    assert isinstance(found.leakage, LeakageResult)
    probe, leakage, psnr, ssim = draw(found).axes
    shuffled, baseline, tokens = [container.lines[0].get_xdata() for container in probe.containers]
    assert np.allclose(np.sort(tokens), np.sort([one.value for one in found.probe.tokens.per_blendshape]))
    assert max(shuffled) < min(tokens)
    assert len(baseline) == 5
    labels = [label.get_text() for label in probe.get_yticklabels()]
    assert sorted(labels) == sorted(NAMES[:5])
    assert [bar.get_width() for bar in leakage.patches] == pytest.approx(
        [found.leakage.tokens.value, found.leakage.baseline.value, found.leakage.shuffled.value]
    )
    assert [bar.get_width() for bar in psnr.patches] == pytest.approx([25, 11, 10])
    assert "PSNR (dB)" in psnr.get_title()
    assert "SSIM" in ssim.get_xlabel()


def test_a_report_without_numbers_gives_its_reasons() -> None:
    figure = draw(report(num_clips=1))
    shown = " ".join(text.get_text().replace("\n", " ") for text in figure.findobj(Text))
    assert shown.count("not measurable:") == 4
    assert "training clips with blendshapes: 1" in shown


@pytest.mark.parametrize("num_clips", [1, 8])
def test_it_is_drawn_with_every_label_inside_and_apart(num_clips: int, tmp_path: Path) -> None:
    figure = draw(report(num_clips))
    figure.savefig(tmp_path / "figure.png")
    assert imread(tmp_path / "figure.png").shape[:2] == (900, 1440)
    titles = [axes.title.get_window_extent() for axes in figure.axes]
    boxes = [*titles, *(axes.xaxis.label.get_window_extent() for axes in figure.axes if axes.axison)]
    for box in boxes:
        assert box.x0 >= 0
        assert box.x1 <= 1440
        assert not any(box.overlaps(other) for other in boxes if other is not box)
