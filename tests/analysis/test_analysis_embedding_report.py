"""Words and tables say the numbers that they are given, and strangers' names stay text."""

from dataclasses import replace

import numpy as np

from embedding_scenes import CLASSES, embeddings
from mien.analysis.embedding_report import classes, escaped, summary, sweep, table
from mien.analysis.embedding_sweep import SweepConfig, ways
from mien.analysis.embedding_sweep import sweep as swept
from mien.diffusion.bridge import BridgeConfig
from mien.evaluation.alignment import AlignmentConfig, Scene, System, compare
from mien.evaluation.alignment_verdict import VerdictConfig, judge
from mien.evaluation.bootstrap import BootstrapConfig
from mien.evaluation.classes import ClassesConfig, ClassReport, by_class

ROWS, TEXT, ANSWER = embeddings()
SCENE = Scene(TEXT, ANSWER, np.arange(len(ROWS)))
OFFSET = ROWS.mean(0) - TEXT.mean(0)
CONFIG = AlignmentConfig(num_directions=4)
FACTS = {"configuration": {"embeddings": "a\x1b.npz", "scale": 5.0}, "data": {"text": "[10, 32]"}, "notes": []}


def systems(share: float = 0.9) -> list[System]:
    return compare(ROWS, {"bridge": ROWS - share * OFFSET}, SCENE, CONFIG)


def told(share: float) -> str:
    before, after = systems(share)
    return summary(before, after, judge(before, after, VerdictConfig()), FACTS, 5.25)


def test_a_gain_a_loss_and_nothing_have_three_conclusions() -> None:
    better, worse, same = told(0.9), told(-2), told(0)
    assert "Diffusion bridge IMPROVES visual->text alignment" in better
    assert "suggests diffusion successfully reduces modality gap" in better
    assert "Diffusion bridge DECREASES visual->text alignment" in worse
    assert "Adjust its parameters, train more, or change the normalisation" in worse
    assert "Verdict: NOT DISTINGUISHABLE" in same
    assert len({better, worse, same}) == 3


def test_numbers_stand_in_the_report() -> None:
    before, after = systems()
    text = told(0.9)
    for one in (before, after):
        for name in ("intra_distance", "text_distance", "gap", "kernel_distance", "sliced_wasserstein", "norm"):
            assert str(getattr(one.measures, name)) in text
    assert "Text (Target): 5.2500" in text
    assert "scale: 5.0" in text
    assert "\x1b" not in text


def test_without_a_bridge_nothing_is_said_of_one() -> None:
    text = summary(systems()[0], None, None, FACTS, 1.0)
    assert "Diffusion was not applied" in text
    assert "After" not in text


def test_a_table_has_every_system_and_its_change() -> None:
    before, after = systems()
    judgement = judge(before, after, VerdictConfig())
    lines = [*table([before, replace(after, name="<img>|x")], {"<img>|x": judgement})]
    assert lines[2].startswith(f"| before |  | {before.measures.similarity} |")
    assert lines[3].startswith(f"| &lt;img&gt;&#124;x | {judgement.verdict} | {after.measures.similarity} |")
    assert after.minus_before is not None
    assert f"{after.percent} % | {after.minus_before.similarity}" in lines[-1]


def test_classes_that_got_worse_are_all_named() -> None:
    gain = np.linspace(3, -3, 10)[ANSWER][:, None]
    first, second = compare(ROWS, {"bridge": ROWS + gain * TEXT[ANSWER]}, SCENE, CONFIG)
    config = ClassesConfig(rare_below=20, unseen=(CLASSES[9],))
    report = by_class((first.rows, second.rows), SCENE, CLASSES.tolist(), config, BootstrapConfig(num=200))
    assert isinstance(report, ClassReport)
    text = "\n".join(classes(report, 2))
    assert f"Got worse ({len(report.worse)}):" in text
    assert "Best (2):" in text
    for one in report.worse:
        assert escaped(one.name) in text
    assert "src=9&gt; (15 rows, rare, unseen)" in text
    assert "| unseen | 1 | 15 |" in text


def test_ways_stand_with_the_best_in_bold() -> None:
    tried = [*ways(SweepConfig(start_steps=(100, 200)), BridgeConfig(), 1000)]
    points = swept(ROWS, SCENE, tried, lambda rows, way: rows - way.start_step / 250 * OFFSET, CONFIG, VerdictConfig())
    lines = [*sweep(points)]
    assert len(lines) == 4
    assert f"**{points[1].judgement.verdict}**" in lines[3]
    assert "**" not in lines[2]
    assert lines[3].startswith(f"| 200 | 5 | 5 | {points[1].judgement.percent} | {points[1].similarity} |")
