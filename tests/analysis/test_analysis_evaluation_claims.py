"""Claims are judged by their intervals, with the numbers of the report; another model is another picture."""

import copy
import json
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from drawn import panel, require_inside, words
from embedded_scenes import embedded
from mien.analysis.evaluation_claims import (
    CLAIMS,
    Claim,
    EvaluationClaimsConfig,
    draw,
    draw_people,
    judged,
    numbers,
    people,
    pictures,
    read,
    sentences,
)
from mien.errors import DatasetError
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.image_scores import FrameScores
from mien.evaluation.report import EvaluationConfig, Report, evaluate
from mien.evaluation.swap import Swapped
from mien.storage.local import LocalStore
from mien.training.evaluation_files import write

SMALL = EvaluationClaimsConfig(size_in=(9, 3), dpi=50)
FACTS: dict[str, Any] = {
    "checkpoint": "/runs/a",
    "step": 600,
    "weights": "ema",
    "objective": "joint",
    "dataset": "/datasets/b",
    "split": {"by": "source_end"},
    "backbone": {"model": "facebook/dinov2-small", "size_px": 112},
    "patch_tokens": "stored",
    "notes": [],
}


def report(gain: float) -> Report:
    """A model whose tokens, images and swaps are good by the gain; below 0 it does harm."""
    rng = np.random.default_rng(3)
    plain = embedded(num_clips=16, num_frames=20)
    tokens = 0.3 * plain.tokens
    tokens[:, :6] += 10 * max(gain, 0) * plain.blendshapes
    scene = embedded(num_clips=16, num_frames=20, tokens=tokens)
    held = scene.where(scene.is_held_out)
    who, target = rng.normal(size=(4, 8)), (held.subject + 1) % 4
    identity = who[target if gain > 0 else held.subject] + 0.1 * rng.normal(size=(len(held), 8))
    made = max(gain, 0) * held.blendshapes + 0.1 * rng.normal(size=held.blendshapes.shape)
    swapped = Swapped(
        held.blendshapes, made, identity, who[held.subject], who[target], held.clip, scene.blendshapes.mean(0)
    )
    base = rng.normal(size=len(held))
    psnr = {"reconstruction": base + gain + 0.1 * rng.normal(size=len(held)), "subject_mean": base}
    scores = {**psnr, "overall_mean": base - 2}
    images = FrameScores(held.clip, scores, scores)  # type: ignore[arg-type]
    config = EvaluationConfig(bootstrap={"num": 100})  # type: ignore[arg-type]
    return evaluate(scene, [f"b{number}" for number in range(6)], config, images, swapped)


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """What `mien evaluate` writes of a good model."""
    store = LocalStore(tmp_path_factory.mktemp("good"))
    write(store, report(1.0), FACTS)
    return store


@pytest.fixture(scope="module")
def poor(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    """The same of a poor one."""
    store = LocalStore(tmp_path_factory.mktemp("poor"))
    write(store, report(-0.2), FACTS)
    return store


def verdicts(store: LocalStore) -> dict[str, str]:
    claims = numbers({"model": read(store)})["model"]["claims"]
    return {one["number"]: one["verdict"] for one in claims}


def test_a_good_model_bears_the_claims_out_and_a_poor_one_does_not(good: LocalStore, poor: LocalStore) -> None:
    for number in (
        "probe.tokens.mean",
        "images.psnr_db.reconstruction_minus_subject_mean",
        "swap.share_nearer_to_target",
    ):
        assert verdicts(good)[number] == "yes"
    assert verdicts(poor)["images.psnr_db.reconstruction_minus_subject_mean"] == "no"
    assert verdicts(poor)["swap.share_nearer_to_target"] == "no"
    assert verdicts(poor)["probe.tokens_minus_shuffled"] == "open"
    assert len(verdicts(good)) == sum(map(len, CLAIMS.values())) == 15


def test_numbers_are_those_of_the_report(good: LocalStore) -> None:
    told = numbers({"model": read(good)})["model"]
    assert json.dumps(told, allow_nan=False)
    found = {one["number"]: one for one in told["claims"]}
    result = report(1.0)
    swap, probe = result.swap, result.probe
    assert not isinstance(swap, NotMeasurable)
    assert not isinstance(probe, NotMeasurable)
    assert found["swap.expression_correlation"]["value"] == swap.expression_correlation.value
    assert found["probe.tokens.mean"]["low"] == probe.tokens.mean.low
    assert (told["step"], told["dataset"]) == (600, "/datasets/b")


@pytest.mark.parametrize(
    ("low", "high", "side", "verdict"),
    [
        (0.6, 0.7, "above", "yes"),
        (0.4, 0.7, "above", "open"),
        (0.1, 0.4, "above", "no"),
        (0.6, 0.7, "below", "no"),
        (0.1, 0.4, "below", "yes"),
        (None, None, "above", "open"),
    ],
)
def test_a_claim_is_judged_by_the_side_its_interval_lies_on(
    low: float | None, high: float | None, side: Any, verdict: str
) -> None:
    document = {"swap": {"share": {"value": 0.5, "low": low, "high": high}}}
    assert judged(document, Claim("swap", "share", "", 0.5, side))[1] == verdict


def test_what_was_not_measured_says_why(good: LocalStore) -> None:
    document = read(good)
    document["swap"] = {"not_measurable": "no image was swapped"}
    document["smoothness"]["timing"] = {"not_measurable": "no face moves"}
    figure = draw({"model": document}, SMALL)
    assert "not measurable: no image was swapped" in words(figure)
    told = [one for one in numbers({"model": document})["model"]["claims"] if "not_measurable" in one]
    assert [one["not_measurable"] for one in told] == ["no face moves", *["no image was swapped"] * 3]


def test_marks_stand_where_the_report_says(good: LocalStore) -> None:
    document = read(good)
    figure = draw({"model": document}, SMALL)
    container = figure.axes[2].containers[0]
    estimate = document["images"]["psnr_db"]["reconstruction_minus_subject_mean"]
    assert container.lines[0].get_xdata()[0] == estimate["value"]
    (low, _), (high, _) = container.lines[2][0].get_segments()[0]
    assert (low, high) == pytest.approx((estimate["low"], estimate["high"]))
    assert "Evaluation - model, step 600" in words(figure)
    require_inside(figure)


def test_another_model_is_another_picture_and_both_stand_side_by_side(good: LocalStore, poor: LocalStore) -> None:
    both = {"good": read(good), "$poor$": read(poor)}
    one, other = (draw({"model": document}, SMALL) for document in both.values())
    assert not np.array_equal(panel(one, 2), panel(other, 2))
    figure = draw(both, SMALL)
    marks = [container.lines[0] for container in figure.axes[2].containers]
    assert len({mark.get_color() for mark in marks}) == 2
    assert {mark.get_marker() for mark in marks} == {"o", "X"}
    assert "$poor$, step 600" in words(figure)


def test_people_are_those_of_the_leakage_probe(good: LocalStore) -> None:
    leakage = report(1.0).leakage
    assert not isinstance(leakage, NotMeasurable)
    found = people(read(good))
    assert [(person, share.value) for person, share in found] == [
        (person, share.value) for person, share in zip(leakage.subjects, leakage.of_subject, strict=True)
    ]
    figure = draw_people({"model": read(good)}, SMALL)
    heights = [bar.get_height() for bar in figure.axes[0].patches]
    assert heights == sorted((share.value for _, share in found), reverse=True)
    assert figure.axes[0].lines[-1].get_ydata()[0] == 0.25
    require_inside(figure)


def test_an_older_evaluation_tells_no_people(good: LocalStore) -> None:
    older = copy.deepcopy(read(good))
    del older["leakage"]["subjects"], older["leakage"]["of_subject"]
    assert "a version that did not tell people" in words(draw_people({"model": older}, SMALL))
    older["leakage"] = {"not_measurable": "one subject alone"}
    assert "one subject alone" in words(draw_people({"model": older}, SMALL))


def test_intervals_that_there_are_not_are_no_numbers(good: LocalStore) -> None:
    document = read(good)
    document["swap"]["share_nearer_to_target"] |= {"low": None, "high": None}
    found, verdict = judged(document, CLAIMS["Swap of expression and identity"][2])
    assert not isinstance(found, NotMeasurable)
    assert math.isnan(found.low)
    assert verdict == "open"
    assert json.dumps(numbers({"model": document}), allow_nan=False)


def test_both_pictures_have_their_numbers(good: LocalStore, poor: LocalStore) -> None:
    claims, of_people = pictures({"good": read(good), "poor": read(poor)}, SMALL)
    assert (claims.name, of_people.name) == ("claims", "people")
    assert set(json.loads(claims.json or b"")) == {"good", "poor"}
    assert len(json.loads(of_people.json or b"")["good"]) == 4


def test_a_line_for_each_claim_tells_its_verdict(good: LocalStore, poor: LocalStore) -> None:
    nearer = "nearer than the person's mean image (images.psnr_db.reconstruction_minus_subject_mean): "
    told = {store: next(one for one in sentences(read(store)) if one.startswith(nearer)) for store in (good, poor)}
    value = read(good)["images"]["psnr_db"]["reconstruction_minus_subject_mean"]["value"]
    assert told[good].startswith(f"{nearer}holds: {value:.3f} (")
    assert told[poor].startswith(f"{nearer}does not hold: ")
    document = read(good) | {"swap": {"not_measurable": "no image was swapped"}}
    assert sentences(document)[-1].endswith("share_nearer_to_target): not measurable: no image was swapped")


def test_the_evaluation_of_a_run_is_found_below_it(good: LocalStore, tmp_path: Path) -> None:
    run = LocalStore(tmp_path)
    run.replace("evaluation/evaluation.json", good.read("evaluation.json"))
    assert read(run) == read(good)
    run.replace("evaluation/evaluation.json", b"{")
    with pytest.raises(DatasetError, match=r"evaluation/evaluation\.json: is damaged"):
        read(run)


def test_what_is_no_such_evaluation_is_refused_by_name(good: LocalStore, tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    with pytest.raises(DatasetError, match=r"evaluation.json: is not there; give the output of `mien evaluate`"):
        read(store)
    for text, said in (
        (b"{", "is damaged"),
        (b"[]", "is no evaluation of expression tokens"),
        (json.dumps({"objective": "ddpm"}).encode(), r"objective ddpm\): it has no probe"),
    ):
        store.replace("evaluation.json", text)
        with pytest.raises(DatasetError, match=said):
            read(store)
    with pytest.raises(DatasetError, match="none is given"):
        draw({}, SMALL)
    with pytest.raises(DatasetError, match="mine: is no evaluation"):
        draw({"mine": {"objective": "bridge"}}, SMALL)
