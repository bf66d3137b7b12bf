"""`mien analyze` as a person types and mistypes it; what it draws is tested where it is drawn."""

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

from buckets import BUCKET
from command_line import assert_refused
from evaluated_runs import save
from feature_pairs import NETWORK, denoiser
from mien.storage.emulator import Emulator
from mien.storage.local import LocalStore
from mien.training.log import LogConfig, RunLog
from training_runs import make_tokens

SMALL = tuple(f"{figure}.{key}" for figure in ("candlestick", "movement") for key in ("size_in=[4,3]", "dpi=40"))


def synthetic(place: object) -> tuple[object, ...]:
    return "analyze", "expressions", "source.kind=synthetic", "source.num_frames=8", f"output={place}", *SMALL


def test_expressions_say_how_they_vary_and_where_the_pictures_are(run: Any, tmp_path: Path) -> None:
    ended = run(*synthetic(tmp_path / "out"))
    assert ended.code == 0, ended.err
    assert "constant: False" in ended.out
    assert "constant: True" in ended.out
    candles = tmp_path / "out" / "synthetic_expression_candles_variation.png"
    assert candles.read_bytes()[:4] == b"\x89PNG"
    assert f"next     see {candles}" in ended.err
    again = run(*synthetic(tmp_path / "out"), "--json")
    assert json.loads(again.out) == {"path": str(tmp_path / "out")} | json.loads(
        (tmp_path / "out" / "analysis.json").read_text()
    )
    assert_refused(run(*synthetic(tmp_path / "out"), "source.seed=4"), 5, "these keys differ: source.seed", "--fresh")
    assert run(*synthetic(tmp_path / "out"), "source.seed=4", "--fresh").code == 0


def test_a_warp_is_drawn_into_a_bucket(run: Any, tmp_path: Path, emulator: Emulator) -> None:
    np.save(tmp_path / "field.npy", np.random.default_rng(0).normal(size=(8, 8, 2)))
    place = f"gs://{BUCKET}/warp"
    words = ("source.kind=file", f"source.file={tmp_path}/field.npy", f"output={place}", "figure.dpi=40")
    ended = run("analyze", "warp", *words, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["figures"] == ["warp_field_frame0.png"]
    assert f"next     see {place}/warp_field_frame0.png" in ended.err


def test_features_of_two_runs(run: Any, tmp_path: Path) -> None:
    make_tokens(tmp_path / "dataset").close()
    for seed, name in ((1, "base"), (2, "other")):
        model = denoiser(seed)
        save(tmp_path / name, model, {"objective": model.config.dump()}, 1)
    small = denoiser(1, NETWORK.model_copy(update={"num_blocks": 2}))
    save(tmp_path / "deep", small, {"objective": small.config.dump()}, 1)
    words = ("analyze", "features", f"baseline={tmp_path}/base", "num_samples=1", "noisy=false", "layers=[in_conv]")
    words = (*words, "data.kind=crops", f"data.dataset={tmp_path}/dataset", f"output={tmp_path}/out")
    assert_refused(run(*words, f"curriculum={tmp_path}/deep"), 1, "different architectures: num_blocks is 1 and 2")
    assert_refused(run(*words, f"curriculum={tmp_path}/none"), 1, "none: holds no checkpoint")
    assert not (tmp_path / "out").exists()
    ended = run(*words, f"curriculum={tmp_path}/other", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["num_pictures"] == 2
    assert f"next     see {tmp_path}/out/README.md" in ended.err


def test_a_report_of_places_in_any_order(run: Any, tmp_path: Path) -> None:
    assert run(*synthetic(tmp_path / "figures")).code == 0
    make_tokens(tmp_path / "dataset").close()
    places = (f"{tmp_path}/figures", f"{tmp_path}/dataset")
    small = ("clips.num_clips=1", "clips.max_frames=4", "clips.num_points=0")
    ended = run("analyze", "report", *places, "-o", f"{tmp_path}/out", *small, "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["sources"] == {"figures": "figures", "dataset": "dataset"}
    assert f"next     see {tmp_path}/out/report.html" in ended.err
    page = (tmp_path / "out" / "report.html").read_text(encoding="utf-8")
    assert "synthetic expression candles variation" in page
    assert "Pictures of faces are left out" in page
    again = ("analyze", "report", *places, "-o", f"{tmp_path}/out")
    assert_refused(run(*again, *small, "include_faces=true"), 5, "these keys differ: include_faces", "--fresh")
    assert_refused(run("analyze", "report", f"{tmp_path}/none", "-o", f"{tmp_path}/other"), 2, "is empty or absent")
    assert_refused(run("analyze", "report", *places), 2, "output: is required")


def test_a_dataset_and_what_a_run_logged_of_it(run: Any, tmp_path: Path) -> None:
    make_tokens(tmp_path / "dataset").close()
    log = RunLog(LocalStore(tmp_path / "run"), LogConfig(), 0, [])
    log.write(1, "train", {"loss": 2.5})
    log.close()
    of_data = ("analyze", "data", f"dataset={tmp_path}/dataset", f"output={tmp_path}/data", "overview.dpi=40")
    ended = run(*of_data, "figures=[overview]", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["overview"]["num_clips"] == 20
    assert f"next     see {tmp_path}/data/overview.png" in ended.err
    assert_refused(run(*of_data, "figures=[similarity]"), 5, "these keys differ: figures", "--fresh")
    ended = run("analyze", "training", f"runs={{$mine$: {tmp_path}/run}}", f"output={tmp_path}/curves", "figure.dpi=40")
    assert ended.code == 0, ended.err
    assert ended.out == "$mine$: step 1, loss 2.5\n"
    assert f"next     see {tmp_path}/curves/losses.png" in ended.err


def test_bad_input_is_one_line_with_its_exit_code(run: Any, tmp_path: Path) -> None:
    dataset = make_tokens(tmp_path / "dataset")
    np.save(tmp_path / "flat.npy", np.zeros((5, 1, 8)))
    out = f"output={tmp_path}/out"
    expressions = ("analyze", "expressions", out)
    of_dataset = (*expressions, "source.kind=dataset", f"source.dataset={tmp_path}/dataset")
    wanted = dataset.clip_ids[3]
    assert_refused(run(*expressions), 2, "source: is required; give source.kind=dataset")
    assert_refused(run(*expressions, "source.kind=videos"), 2, "source.kind", "'dataset', 'checkpoint', 'file'")
    assert_refused(run(*of_dataset, f"source.clips=[{wanted[:-1]}]"), 2, f"the nearest are {wanted}")
    assert_refused(run(*of_dataset, "source.colum=x"), 2, "source.colum: no such key; did you mean source.column?")
    flat = ("source.kind=file", f"source.file={tmp_path}/flat.npy")
    assert_refused(run(*expressions, *flat), 1, "[5, 1, 8] is one frame of each item, not a sequence")
    assert_refused(run("analyze", "warp", out, *flat), 1, "[5, 1, 8] is no displacement field")
    no_run = ("source.kind=checkpoint", f"source.checkpoint={tmp_path}/none")
    assert_refused(run(*expressions, *no_run), 1, "none: holds no checkpoint")
    assert_refused(run("analyze", "features", out), 2, "baseline: is required")
    assert_refused(run("analyze", "data", out), 2, "dataset: is required")
    assert_refused(run("analyze", "data", out, f"dataset={tmp_path}/none"), 1, "none: is not a dataset of mien")
    assert_refused(run("analyze", "training", out), 2, "runs: is required; give runs=RUN")
    assert_refused(run("analyze", "training", out, "runs=[a,a]"), 2, "runs: a place stands twice")
    assert_refused(run("analyze", "training", out, f"runs={tmp_path}/none"), 1, "none: has no numbers in log/")
    assert_refused(run("analyze", "evaluation", out), 2, "evaluations: is required")
    assert_refused(run("analyze", "evaluation", out, f"evaluations={tmp_path}/dataset"), 1, "evaluation.json: is not")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "path",
    ["data/centred", "expressions/synthetic", "features/shared", "report/plain", "training/raw", "warp/landmarks"],
)
def test_its_configs_can_be_seen(run: Any, repository: Path, path: str) -> None:
    ended = run("config", "show", repository / f"configs/analyze/{path}.yaml", "output=here")
    assert ended.code == 0, ended.err
    assert yaml.safe_load(ended.out)["output"] == "here"
