"""Numbers of an evaluation are those of its report, each with its interval, and what there is not says why."""

import json
from pathlib import Path
from typing import Any

import pytest

from embedded_scenes import embedded
from mien.analysis.report_blocks import Figure, Missing, Note, Section, Table
from mien.analysis.report_evaluation import section
from mien.errors import DatasetError
from mien.evaluation.probes import ProbeResult
from mien.evaluation.report import EvaluationConfig, Report, evaluate
from mien.storage.local import LocalStore
from mien.training.evaluation_files import write

NAMES = [f"b{number}" for number in range(6)]
FACTS: dict[str, Any] = {
    "checkpoint": "/runs/a/checkpoints/step_000000600.json",
    "step": 600,
    "weights": "ema",
    "objective": "joint",
    "dataset": "/datasets/b",
    "split": {"by": "source_end", "held_out": 0.2, "seed": 0},
    "backbone": {"model": "facebook/dinov2-small", "size_px": 112},
    "patch_tokens": "stored",
    "notes": ["RANDOM weights of the backbone"],
}


@pytest.fixture(scope="module")
def report() -> Report:
    config = EvaluationConfig.parse({"bootstrap": {"num": 100}}, "test")
    return evaluate(embedded(num_clips=8, num_frames=12), NAMES, config)


@pytest.fixture(scope="module")
def store(report: Report, tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    found = LocalStore(tmp_path_factory.mktemp("evaluation"))
    write(found, report, FACTS)
    return found


@pytest.fixture(scope="module")
def found(store: LocalStore) -> Section:
    return section(store, "Evaluation of a", "data/1")


def table(found: Section, title: str) -> Table:
    (one,) = [block for block in found.blocks if isinstance(block, Table) and block.title == title]
    return one


def test_headlines_have_the_intervals_of_the_report(found: Section, report: Report) -> None:
    assert isinstance(report.probe, ProbeResult)
    headlines = found.headlines
    assert headlines["expression R²"] == report.probe.tokens.mean
    assert headlines["subject accuracy"] == report.leakage.tokens
    assert str(headlines["images"]) == "NotMeasurable(reason='no image was reconstructed')"


def test_every_measure_has_its_table_or_its_reason(found: Section, report: Report) -> None:
    leakage = dict(table(found, "Identity in the token (balanced accuracy of a linear probe to the subject)").rows)
    assert leakage["tokens"] == report.leakage.tokens
    assert leakage["chance"] == 0.25
    missing = {block.title: block.reason for block in found.blocks if isinstance(block, Missing)}
    assert missing == {
        "Reconstruction": "no image was reconstructed",
        "Swap of expression and identity": "no image was swapped",
    }


def test_every_blendshape_has_its_row_on_one_scale(found: Section, report: Report) -> None:
    assert isinstance(report.probe, ProbeResult)
    rows = table(found, "R² of each blendshape")
    assert rows.has_marks
    assert [row[0] for row in rows.rows] == [NAMES[column] for column in report.probe.varied]
    assert [row[1] for row in rows.rows] == [*report.probe.tokens.per_blendshape]
    assert [row[3] for row in rows.rows] == [*report.probe.shuffled.per_blendshape]


def test_claims_are_judged_and_the_figures_say_it_in_words(found: Section) -> None:
    whole, claims = [block for block in found.blocks if isinstance(block, Figure)]
    assert "expression R²" in whole.alt
    verdicts = [row[2] for row in claims.numbers[0].rows]
    said = {name: verdicts.count(name) for name in ("holds", "does not hold", "not distinguishable")}
    assert claims.alt == (
        f"{len(verdicts)} claims: {said['holds']} hold, {said['does not hold']} do not, "
        f"{said['not distinguishable']} cannot be told."
    )


def test_notes_are_warnings_and_the_document_goes_along(found: Section) -> None:
    assert Note("RANDOM weights of the backbone", is_warning=True) in found.blocks
    assert found.raw["data/1/evaluation.json"]["step"] == 600


def test_a_figure_that_is_gone_is_said_and_a_damaged_document_is_refused(store: LocalStore, tmp_path: Path) -> None:
    other = LocalStore(tmp_path)
    other.replace("evaluation.json", store.read("evaluation.json"))
    missing = [one.title for one in section(other, "e", "d").blocks if isinstance(one, Missing)]
    assert missing[0] == "The figure of all measures"
    other.replace("evaluation.json", b"{")
    with pytest.raises(DatasetError, match="is no JSON object"):
        section(other, "e", "d")


def test_measures_of_other_models_are_tables_too(tmp_path: Path) -> None:
    document = {"objective": "ddpm", "step": 3, "generation": {"fd": {"value": 12.5, "low": 11.0, "high": 14.0}}}
    document["inception"] = {"scores": {"frechet": {"value": 30.5, "low": 29.0, "high": 32.0}}}
    LocalStore(tmp_path).replace("evaluation.json", json.dumps(document).encode())
    found = section(LocalStore(tmp_path), "e", "d")
    assert str(table(found, "Made images against true ones").rows[0][1]) == "12.500 (11.000 to 14.000)"
    assert str(table(found, "Made images against true ones: FID and KID").rows[0][1]) == "30.500 (29.000 to 32.000)"
    assert found.headlines == {}
