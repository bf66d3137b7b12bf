"""`mien train` on a local Ray: a run, its resume, and what is refused before a worker starts."""

import json
import signal
import time
from pathlib import Path
from typing import Any

import pytest
import yaml

from buckets import BUCKET
from command_line import assert_refused, run_here, run_process, start_job
from mien.datasets.dataset import Dataset
from mien.errors import ConfigError, PreflightError, RefusedError, TrainingError
from mien.models import checkpoint
from mien.storage.local import LocalStore
from mien.storage.uri import open_store
from mien.training import log
from mien.training.job import TrainConfig
from mien.training.notice import NoNotices
from mien.training.train import TrainReport, claim, dry_run, run, told
from mien.training.worker import work
from mien.training.world import World
from training_backbones import make_whole
from training_runs import SMALL, config_of, difference, saved


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A dataset whose tokens come from a tiny backbone."""
    folder = tmp_path_factory.mktemp("whole")
    return make_whole(folder / "dataset", folder / "backbone")


def changed(whole: Dataset, output: Path, **changes: Any) -> TrainConfig:
    return config_of(whole.uri, output, {key.replace("__", "."): value for key, value in changes.items()})


def here(config: TrainConfig, *, fresh: bool = False) -> TrainReport:
    """The same command with its worker in this process, which takes a tenth of the time that Ray does."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("mien.training.train._train", lambda job, weights, _: work(job, World(), NoNotices(), weights))
        return run(config, fresh=fresh)


def test_two_workers_of_ray_go_on_in_a_bucket_and_learn_what_one_process_learns(
    whole: Dataset, tmp_path: Path, local_ray: None
) -> None:
    place = f"gs://{BUCKET}/trained"
    here(config_of(whole.uri, place, {"precision": "float64", "num_steps": 4}))
    one = here(changed(whole, tmp_path / "one", precision="float64"))
    two = run(config_of(whole.uri, place, {"precision": "float64", "workers.num": 2, "workers.num_cpus": 0.5}))
    assert one.num_steps == two.num_steps == 6
    assert two.latest == f"{place}/checkpoints/step_000000006.json"
    assert difference(saved(one.path), saved(place)) <= 1e-11
    assert one.metrics.keys() == two.metrics.keys()
    assert {"loss", "reconstruction", "effective_rank", "similarity_mean"} <= two.metrics.keys()
    lines = [*log.read(open_store(place))]
    assert [line["step"] for line in lines if line["kind"] == "train"] == [1, 2, 3, 4, 5, 6]
    assert [(line["step"], line["workers"]) for line in lines if line["kind"] == "event"] == [(0, 1), (4, 2)]


@pytest.mark.slow
def test_the_same_command_resumes_and_a_finished_run_trains_no_more(
    whole: Dataset, tmp_path: Path, local_ray: None
) -> None:
    straight = run(changed(whole, tmp_path / "straight"))
    run(changed(whole, tmp_path / "cut", num_steps=4))
    resumed = run(changed(whole, tmp_path / "cut"))
    again = run(changed(whole, tmp_path / "cut"))
    assert resumed.num_steps == again.num_steps == 6
    lines = [line for line in log.read(LocalStore(tmp_path / "cut")) if line["kind"] == "train"]
    assert [line["step"] for line in lines] == [1, 2, 3, 4, 5, 6]
    starts = [line["step"] for line in log.read(LocalStore(tmp_path / "cut")) if line["kind"] == "event"]
    assert starts == [0, 4]
    assert difference(saved(straight.path), saved(resumed.path)) == 0


def test_a_gradient_that_is_no_number_ends_the_run_once(whole: Dataset, tmp_path: Path, local_ray: None) -> None:
    config = changed(whole, tmp_path / "run", optimizer__learning_rate=1e30, num_steps=20)
    with pytest.raises(TrainingError, match=r"the gradient is (nan|inf)"):
        run(config)
    found = json.loads(next((tmp_path / "run").glob("nonfinite_step_*.json")).read_text())
    assert len(found["clips"]) == SMALL["batch"]["size"]  # type: ignore[index]
    starts = [line for line in log.read(LocalStore(tmp_path / "run")) if line["kind"] == "event"]
    assert len(starts) == 1, "a run that fails the same way every time is not tried again"


@pytest.mark.slow
def test_ctrl_c_ends_with_130_and_one_line_and_the_same_command_goes_on(whole: Dataset, tmp_path: Path) -> None:
    config = changed(whole, tmp_path / "run", num_steps=100_000, checkpoints__every_steps=20)
    (tmp_path / "train.yaml").write_text(config.to_yaml())
    words = (str(tmp_path / "train.yaml"), "cluster.address=local", "cluster.num_cpus=2")
    job = start_job(*words, script="train")
    try:
        while job.poll() is None and not checkpoint.names(LocalStore(tmp_path / "run")):
            time.sleep(0.1)
        job.send_signal(signal.SIGINT)
        _, err = job.communicate(timeout=60)
    finally:
        job.kill()
    assert job.returncode == 130, err
    assert [line for line in err.splitlines() if line.startswith("mien: ")] == [
        "mien: interrupted; what is committed stays, the same command resumes"
    ]
    done = checkpoint.read(LocalStore(tmp_path / "run"), checkpoint.names(LocalStore(tmp_path / "run"))[-1]).step
    ended = run_process("train", *words, f"num_steps={done + 5}", "--json")
    assert ended.code == 0, ended.err
    assert json.loads(ended.out)["num_steps"] == done + 5


def test_fresh_begins_anew(whole: Dataset, tmp_path: Path) -> None:
    here(changed(whole, tmp_path / "run", num_steps=2))
    (tmp_path / "run" / "mine.txt").write_text("of a person")
    here(changed(whole, tmp_path / "run", seed=1, num_steps=2), fresh=True)
    assert checkpoint.names(LocalStore(tmp_path / "run")) == ["step_000000002"]
    assert (tmp_path / "run" / "mine.txt").exists()


def test_more_workers_than_a_local_ray_holds_are_refused_at_once(
    whole: Dataset, tmp_path: Path, local_ray: None
) -> None:
    with pytest.raises(PreflightError, match="3 with 1 CPU each, but the cluster has 2"):
        run(changed(whole, tmp_path / "run", workers__num=3))


def test_an_output_of_another_config_is_refused_by_its_keys(tmp_path: Path) -> None:
    store = LocalStore(tmp_path / "run")
    config = config_of("/data", tmp_path / "run")
    claim(config, store)
    claim(config_of("/data", tmp_path / "run", {"num_steps": 99, "workers.num": 2, "log.every_steps": 5}), store)
    with pytest.raises(RefusedError, match=r"these keys differ: optimizer.weight_decay, seed"):
        claim(config_of("/data", tmp_path / "run", {"seed": 5, "optimizer.weight_decay": 0.5}), store)


def test_a_config_that_does_not_fit_the_dataset_claims_nothing(whole: Dataset, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="max_subjects=4: the subjects fill 6 rows"):
        run(changed(whole, tmp_path / "run", objective__expression__max_subjects=4))
    assert not list((tmp_path / "run").glob("config*"))
    assert here(changed(whole, tmp_path / "run", num_steps=1)).num_steps == 1


def test_an_output_that_holds_something_else_is_refused(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    store.put_new("config.yaml", b"source: /videos\n")
    with pytest.raises(RefusedError, match="holds no run of mien train"):
        claim(config_of("/data", tmp_path), store)


def test_a_run_needs_an_output() -> None:
    with pytest.raises(ConfigError, match="output: is required"):
        run(config_of("/data", ""))


def test_a_dry_run_says_what_would_be_done_and_writes_nothing(whole: Dataset, tmp_path: Path) -> None:
    found = dry_run(changed(whole, tmp_path / "run"))
    assert found == {
        "dataset": whole.uri,
        "steps": 6,
        "subjects": 5,
        "parameters": found["parameters"],
        "patches": 4,
        "token_dim": 8,
        "workers": [1, 1],
    }
    assert found["parameters"] > 1000
    assert not (tmp_path / "run").exists()


def test_the_command_says_one_line_for_a_dataset_without_tokens(
    capfd: pytest.CaptureFixture[str], tokens: Path, tmp_path: Path
) -> None:
    path = tmp_path / "train.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    ended = run_here(capfd, "train", str(path), f"dataset={tokens}", f"output={tmp_path / 'run'}")
    assert_refused(ended, 4, str(tokens), "not patch tokens", "features.output=patch")


def test_a_line_for_a_person_tells_what_is_left() -> None:
    line = {"step": 40, "loss": 0.5, "learning_rate": 1e-4, "clips_per_s": 12.0, "data_wait_share": 0.01, "step_s": 2.0}
    assert told(line, 100) == "step 40 of 100  loss 0.5  lr 0.0001  12 clips/s  waited 1.0 %  00:02:00 left"
