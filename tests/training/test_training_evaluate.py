"""From a checkpoint and a dataset to a report: what is refused, what is not measurable, and all of it over Ray."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from command_line import run_here
from evaluated_runs import BY_TIME, FACE_ID, PREDICTION, make_backbone, make_run
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG, Dataset, open_dataset
from mien.datasets.index import write_plan
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.errors import CheckpointError, ConfigError, DatasetError, PreflightError
from mien.evaluation.bootstrap import NotMeasurable
from mien.evaluation.image_scores import ImageResult, MeanImages
from mien.evaluation.report import EvaluationConfig, Report, plain
from mien.evaluation.swap import SwapResult
from mien.features.registry import Resolved
from mien.models import checkpoint
from mien.models.checkpoint import Checkpoint
from mien.storage.local import LocalStore
from mien.storage.uri import open_store
from mien.training import gather
from mien.training.embedding import Arrays, Embedder
from mien.training.evaluate import EvaluateConfig, Prepared, has_tokens, lacking, measure, prepare
from sample_datasets import PROVENANCE, make_clip, write_failure
from training_runs import make_tokens

QUICK = EvaluationConfig.model_validate(
    {"bootstrap": {"num": 100}, "leakage": {"num_shuffles": 2}, "smoothness": {"min_frames": 4}}
)


@pytest.fixture(scope="module")
def backbone(tmp_path_factory: pytest.TempPathFactory) -> Resolved:
    return make_backbone(tmp_path_factory.mktemp("backbone"))


@pytest.fixture(scope="module")
def found(tokens: Path, backbone: Resolved, tmp_path_factory: pytest.TempPathFactory) -> Checkpoint:
    return make_run(tmp_path_factory.mktemp("run") / "run", tokens, backbone)


def config_of(found: Checkpoint, dataset: Path, **changes: Any) -> EvaluateConfig:
    return EvaluateConfig(checkpoint=found.store.uri, dataset=str(dataset), evaluation=QUICK, **changes)


def embedded(prepared: Prepared) -> tuple[list[Arrays], list[Arrays]]:
    """In this process, one clip after the other."""
    means, wanted = MeanImages(), {task.person for task in prepared.chosen.unseen}
    first = Embedder(prepared.job)
    seen = [gather.counted(first(task), means, wanted) for task in prepared.chosen.seen]
    second = Embedder(prepared.job, means=means)
    return seen, [second(task) for task in prepared.chosen.unseen]


def report_of(found: Checkpoint, dataset: Path) -> Report:
    prepared = prepare(config_of(found, dataset))
    return measure(QUICK, prepared, *embedded(prepared))


def without(*names: str) -> Any:
    """Alters the clips of a dataset: they lack some columns."""
    return lambda _, columns: {name: values for name, values in columns.items() if name not in names}


def reasons(report: Report) -> dict[str, str]:
    fields = ("probe", "leakage", "images", "smoothness", "swap")
    results = {name: getattr(report, name) for name in fields}
    return {name: result.reason for name, result in results.items() if isinstance(result, NotMeasurable)}


def test_a_joint_model_is_measured_in_every_way(found: Checkpoint, tokens: Path) -> None:
    report = report_of(found, tokens)
    assert reasons(report) == {}
    assert (report.counts.num_training_clips, report.counts.num_held_out_clips, report.counts.num_subjects) == (
        15,
        5,
        5,
    )
    assert isinstance(report.images, ImageResult)
    assert isinstance(report.swap, SwapResult)
    shown = sum(int((open_dataset(tokens).sample(n)["face"] > 0).sum()) for n in range(15, 20))
    assert report.images.num_frames == report.swap.num_frames == shown
    # an untrained model's picture is far from noise, to which its mean is nearest
    assert report.images.psnr_db.subject_mean.value > report.images.psnr_db.reconstruction.value


def test_the_measure_of_a_run_split_by_subject_names_what_it_lacks(
    tmp_path: Path, tokens: Path, backbone: Resolved
) -> None:
    by_subject = make_run(tmp_path / "run", tokens, backbone, {"data.split": {"by": "subject", "held_out": 0.4}})
    report = report_of(by_subject, tokens)
    assert {*reasons(report)} == {"leakage", "images", "swap"}
    assert "none of them of a person with training clips" in reasons(report)["images"]
    assert reasons(report)["swap"] == reasons(report)["images"]
    assert any("without a training clip" in note for note in prepare(config_of(by_subject, tokens)).notes())


@pytest.mark.parametrize(
    ("changes", "missing"),
    [(PREDICTION, {"images", "swap"}), (FACE_ID, {"images", "swap", "probe", "smoothness"})],
)
def test_models_of_another_kind_are_measured_as_far_as_it_makes_sense(
    tmp_path: Path, tokens: Path, backbone: Resolved, changes: dict[str, Any], missing: set[str]
) -> None:
    report = report_of(make_run(tmp_path / "run", tokens, backbone, changes), tokens)
    assert {*reasons(report)} == missing
    assert reasons(report)["images"] == f"a model of kind {changes['objective']['kind']} makes no images"


def test_a_dataset_without_blendshapes_lacks_what_needs_them(
    tmp_path: Path, found: Checkpoint, backbone: Resolved
) -> None:
    make_tokens(tmp_path / "bare", without("blendshapes", "feature")).close()
    report = report_of(found, tmp_path / "bare")
    assert {*reasons(report)} == {"probe", "swap"}
    assert reasons(report)["swap"].startswith("blendshapes are missing")
    assert isinstance(report.smoothness.timing, NotMeasurable)  # type: ignore[union-attr]
    notes = prepare(config_of(found, tmp_path / "bare")).notes()
    assert any("trained on another dataset" in note for note in notes)


def test_one_subject_of_whom_nothing_is_held_out_is_no_crash(tmp_path: Path, tokens: Path, backbone: Resolved) -> None:
    run = make_run(tmp_path / "run", tokens, backbone, {"data.split": {"by": "subject", "held_out": 0.4}})
    prepared = prepare(config_of(run, tokens))
    one = prepared.chosen._replace(seen=[task for task in prepared.chosen.seen if task.person == 1], unseen=[])
    alone = prepared._replace(chosen=one)
    report = measure(QUICK, alone, *embedded(alone))
    assert {*reasons(report)} == {"probe", "leakage", "images", "smoothness", "swap"}
    assert reasons(report)["images"].startswith("held-out clips: 0")


def test_pictures_below_the_window_of_ssim_are_swapped_and_not_scored(
    tmp_path: Path, tokens: Path, backbone: Resolved
) -> None:
    small = make_run(tmp_path / "run", tokens, backbone, {"objective.reconstruction.image_size_px": 8})
    assert reasons(report_of(small, tokens)) == {"images": "images are smaller than the 11 px of SSIM's window"}


def test_a_model_that_knows_one_subject_by_name_cannot_be_swapped(found: Checkpoint, tokens: Path) -> None:
    prepared = prepare(config_of(found, tokens))
    alone = [task._replace(target=-1) for task in prepared.chosen.unseen]
    seen, unseen = embedded(prepared._replace(chosen=prepared.chosen._replace(unseen=alone)))
    report = measure(QUICK, prepared, seen, unseen)
    assert {*lacking(prepared.trained, alone, report)} == {"swap"}
    assert "beside another" in lacking(prepared.trained, alone, report)["swap"].reason


def test_stored_tokens_are_taken_when_the_same_network_made_them(tokens: Path, backbone: Resolved) -> None:
    dataset = open_dataset(tokens)

    def recorded(**changes: Any) -> Dataset:
        dataset.record = {"models": {"feature": {**backbone.provenance, **changes}}}
        return dataset

    assert not has_tokens(dataset, backbone)  # its card names no network
    assert has_tokens(recorded(), backbone)
    assert has_tokens(recorded(dtype="bfloat16"), backbone)
    assert not has_tokens(recorded(size_px=42), backbone)  # patches of another grid
    assert not has_tokens(recorded(output="mean"), backbone)


def altered(found: Checkpoint, place: Path, **facts: Any) -> str:
    """The same checkpoint with another record."""
    kept = {key: found.facts[key] for key in ("config", "objective", "subjects", "tokens")}
    return checkpoint.write(open_store(str(place)), 1, {"model": found.tensors("model")}, kept | facts).store.uri


@pytest.mark.parametrize(
    ("facts", "error", "words"),
    [
        ({"config": None}, CheckpointError, ["dataset: is required", "not left by `mien train`"]),
        ({"objective": PREDICTION["objective"]}, CheckpointError, ["another architecture"]),
        ({"tokens": None}, CheckpointError, ["does not tell which network"]),
        ({"tokens": {"kind": "dinov2", "model": "facebook/dinov2-small", "weights": "random", "size_px": 28}},
         PreflightError, ["were made by another facebook/dinov2-small", "output, seed, sha256 differ"]),
        ({"subjects": None}, DatasetError, ["is no table of subjects"]),
    ],
)  # fmt: skip
def test_a_checkpoint_that_does_not_say_what_it_is_is_refused(
    tmp_path: Path, found: Checkpoint, tokens: Path, facts: dict[str, Any], error: type[Exception], words: Sequence[str]
) -> None:
    place = altered(found, tmp_path / "run", **facts)
    with pytest.raises(error) as refused:
        prepare(EvaluateConfig(checkpoint=place, dataset=str(tokens)))
    assert [word for word in words if word not in str(refused.value)] == []


def test_places_that_hold_something_else_are_refused(tmp_path: Path, found: Checkpoint, tokens: Path) -> None:
    with pytest.raises(ConfigError, match="checkpoint: is required"):
        prepare(EvaluateConfig(dataset=str(tokens)))
    with pytest.raises(CheckpointError, match="holds no checkpoint"):
        prepare(EvaluateConfig(checkpoint=str(tokens), dataset=str(tokens)))
    with pytest.raises(DatasetError, match="is not a dataset"):
        prepare(config_of(found, tmp_path))


def test_a_dataset_without_a_face_is_refused(tmp_path: Path, found: Checkpoint) -> None:
    store, clip = LocalStore(tmp_path / "dark"), make_clip(0)
    store.put_new(CONFIG, b"crop: {size_px: 32}\nfps: null\n")
    write_plan(store, [clip.to_row()])
    write_failure(store, clip, "a1")
    publish(store, CardConfig(), PreviewConfig(), PROVENANCE)
    with pytest.raises(PreflightError, match="dark: shows no face in any clip"):
        prepare(config_of(found, tmp_path / "dark"))


def test_the_command_measures_over_ray_what_a_loop_measures(
    local_ray: None, capfd: pytest.CaptureFixture[str], found: Checkpoint, tokens: Path, tmp_path: Path
) -> None:
    words = ["evaluation.bootstrap.num=100", "evaluation.leakage.num_shuffles=2", "evaluation.smoothness.min_frames=4"]
    words += ["workers.embed.max_workers=1", "batch=7"]
    ended = run_here(capfd, "evaluate", found.store.uri, f"dataset={tokens}", *words, "--json")
    assert ended.code == 0, ended.err
    place = f"{found.store.uri}/evaluation"
    document = json.loads(ended.out)
    assert document.pop("path") == place
    assert document == json.loads((Path(place) / "evaluation.json").read_text())
    expected = plain(report_of(found, tokens))
    for name in ("counts", "leakage", "images", "smoothness", "probe", "swap"):
        assert alike(document[name], expected[name]), name
    assert document["patch_tokens"] == "computed"
    assert document["split"] == BY_TIME["data.split"] | {"seed": 0}
    assert "RANDOM weights" in document["notes"][0]
    assert f"output   {place}" in ended.err


def alike(one: Any, other: Any) -> bool:
    """Whether two plain values are equal, numbers up to rounding."""
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(alike(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(alike, one, other))
    return bool(np.isclose(one, other, rtol=1e-3, atol=1e-4)) if isinstance(one, float) else one == other
