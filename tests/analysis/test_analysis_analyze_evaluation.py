"""Evaluations become claims with verdicts; what is none leaves nothing behind."""

import json
from pathlib import Path
from typing import Any

import pytest

from mien.analysis.analyze_evaluation import EvaluationFiguresConfig, run
from mien.errors import ConfigError, DatasetError, RefusedError
from mien.storage.local import LocalStore

CLAIM = "better than from nothing (probe.tokens_minus_shuffled): "


def evaluated(run_place: Path, gain: float) -> str:
    """The document of a run whose probe gains so much; nothing else was measured."""
    missing = {"not_measurable": "not looked at"}
    probe = {"tokens_minus_shuffled": {"value": gain, "low": gain - 0.1, "high": gain + 0.1}}
    document = {
        "step": 600,
        "objective": "joint",
        "config": {"bootstrap": {"level": 0.95}},
        "probe": {"tokens": missing, "tokens_minus_baseline": missing, **probe},
        **dict.fromkeys(("leakage", "images", "smoothness", "swap"), missing),
    }
    LocalStore(run_place).replace("evaluation/evaluation.json", json.dumps(document).encode())
    return str(run_place)


def config_of(evaluations: Any, output: Path, **figure: Any) -> EvaluationFiguresConfig:
    values = {"evaluations": evaluations, "output": str(output), "figure": {"size_in": [5, 2], "dpi": 40, **figure}}
    return EvaluationFiguresConfig.parse(values, "test")


def test_models_are_judged_side_by_side(tmp_path: Path) -> None:
    good, poor = evaluated(tmp_path / "good", 0.5), evaluated(tmp_path / "poor", -0.5)
    report = run(config_of([f"{good}/evaluation", poor], tmp_path / "out"))
    assert report.document["figures"] == ["claims.png", "people.png"]
    of_good, of_poor = report.text.split("\n\n")
    assert of_good.splitlines()[0] == "good, step 600"
    assert f"{CLAIM}holds: 0.500 (0.400 to 0.600)" in of_good
    assert f"{CLAIM}does not hold: -0.500 (-0.600 to -0.400)" in of_poor
    told = {label: one["claims"] for label, one in report.document["models"].items()}
    verdicts = {label: [one["verdict"] for one in found if "verdict" in one] for label, found in told.items()}
    assert verdicts == {"good": ["yes"], "poor": ["no"]}
    run(config_of({"good": poor, "poor": good}, tmp_path / "swapped"))
    pictures = [(tmp_path / out / "claims.png").read_bytes() for out in ("out", "swapped")]
    assert pictures[0] != pictures[1]


def test_nothing_is_written_of_what_is_no_evaluation(tmp_path: Path) -> None:
    good, out = evaluated(tmp_path / "good", 0.5), tmp_path / "out"
    with pytest.raises(ConfigError, match="evaluations: is required; give evaluations=RUN"):
        run(EvaluationFiguresConfig(output=str(out)))
    with pytest.raises(DatasetError, match=r"none/evaluation.json: is not there; give the output of `mien evaluate`"):
        run(config_of([good, str(tmp_path / "none")], out))
    LocalStore(tmp_path / "ddpm").replace("evaluation.json", b'{"objective": "ddpm"}')
    with pytest.raises(DatasetError, match=r"is no evaluation of expression tokens \(objective ddpm\)"):
        run(config_of(str(tmp_path / "ddpm"), out))
    assert not out.exists()


def test_an_output_has_one_config(tmp_path: Path) -> None:
    good, out = evaluated(tmp_path / "good", 0.5), tmp_path / "out"
    run(config_of(good, out))
    evaluated(tmp_path / "good", 0.25)
    assert f"{CLAIM}holds: 0.250" in run(config_of(good, out)).text
    with pytest.raises(RefusedError, match=r"these keys differ: figure\.columns"):
        run(config_of(good, out, columns=1))
    run(config_of(good, out, columns=1), fresh=True)
