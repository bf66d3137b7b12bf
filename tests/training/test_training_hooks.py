"""What the controller of Ray Train is taught: with its own classes where they are plain, on a real cluster (slow)."""

import random
import socket
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from ray.exceptions import ActorDiedError
from ray.train.torch import TorchTrainer
from ray.train.v2._internal.exceptions import UserExceptionWithTraceback, WorkerHealthCheckFailedError
from ray.train.v2._internal.execution.scaling_policy import ResizeDecision
from ray.train.v2._internal.execution.worker_group.poll import WorkerGroupPollStatus, WorkerStatus

from mien.errors import DatasetError
from mien.training.hooks import Handover, Trainer, Watch
from training_backbones import make_whole
from training_runs import SMALL
from training_scenes import NODE, Training, cluster_of, drain


def group(*errors: BaseException) -> Any:
    """Workers, some of which failed."""
    told = {rank: WorkerStatus(False, UserExceptionWithTraceback(e, "trace")) for rank, e in enumerate(errors)}
    return SimpleNamespace(get_latest_poll_status=lambda: WorkerGroupPollStatus(told), get_workers=list)


def hooked(*errors: BaseException) -> Handover:
    hook = Handover()
    hook.after_worker_group_start(group(*errors))
    return hook


@pytest.mark.parametrize("error", [DatasetError("/data: is damaged"), TypeError("a defect"), ValueError("a shape")])
def test_what_fails_the_same_way_again_ends_the_run_by_its_own_error(error: Exception) -> None:
    with pytest.raises(type(error), match=str(error)):
        hooked(error).before_controller_execute_failure_decision(None)


@pytest.mark.parametrize(
    "error",
    [
        RuntimeError("[../gloo/transport/tcp/pair.cc:547] Connection closed by peer [127.0.0.1]:4711"),
        torch.distributed.DistNetworkError("the client socket has timed out"),
        ConnectionResetError("Connection reset by peer"),
    ],
)
def test_what_tells_of_a_dead_worker_is_tried_again(error: Exception) -> None:
    hooked(error).before_controller_execute_failure_decision(None)


def test_a_dead_process_has_no_error_of_its_own_and_is_tried_again() -> None:
    hook = Handover()
    dead = {0: WorkerStatus(False, WorkerHealthCheckFailedError("no answer", ActorDiedError()))}
    hook.after_worker_group_start(SimpleNamespace(get_latest_poll_status=lambda: WorkerGroupPollStatus(dead)))
    hook.before_controller_execute_failure_decision(None)


def test_of_several_errors_the_one_that_will_come_again_counts() -> None:
    lost = RuntimeError("Connection closed by peer")
    with pytest.raises(DatasetError):
        hooked(lost, DatasetError("/data: is damaged"), lost).before_controller_execute_failure_decision(None)


def test_no_more_workers_are_waited_for_than_machines_hold(local_ray: None) -> None:
    decision = ResizeDecision(num_workers=5, resources_per_worker={"CPU": 1.0})
    Handover().before_controller_execute_resize_decision(decision)
    assert decision.num_workers == 2


def test_a_run_that_is_well_is_asked_to_save_first_and_one_that_failed_is_not(local_ray: None) -> None:
    asked = list[str]()
    worker = SimpleNamespace(execute_async=lambda function, *_: asked.append(function.__name__))
    for errors in ({}, {0: RuntimeError("dead")}):
        hook = Handover()
        hook.after_worker_group_start(
            SimpleNamespace(
                get_latest_poll_status=lambda found=errors: SimpleNamespace(errors=found), get_workers=lambda: [worker]
            )
        )
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("ray.get", lambda found, **_: found)
            hook.before_controller_execute_resize_decision(ResizeDecision(1, {"CPU": 1.0}))
    assert asked == ["_ask", "_is_held"]


def test_no_worker_is_started_on_a_machine_that_does_not_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listening, socket.create_server(("127.0.0.1", 0)) as closed:
        ports = {"there": listening.getsockname()[1], "gone": closed.getsockname()[1]}
        closed.close()
        nodes = [
            {
                "NodeID": name,
                "Alive": True,
                "Resources": {"CPU": 2.0},
                "NodeManagerAddress": "127.0.0.1",
                "NodeManagerPort": port,
            }
            for name, port in ports.items()
        ]
        monkeypatch.setattr("ray.nodes", lambda: nodes)
        monkeypatch.setattr("ray._private.state.state.get_draining_nodes", dict)
        hook, decision = Handover(), ResizeDecision(num_workers=4, resources_per_worker={"CPU": 1.0})
        assert hook.on_controller_start_worker_group(scaling_config=None, num_workers=4) is None
        hook.before_controller_execute_resize_decision(decision)
    assert decision.num_workers == 2
    selector = hook.on_controller_start_worker_group(scaling_config=None, num_workers=2)
    assert selector == {"ray.io/node-id": "!in(gone)"}


def test_ray_is_spared_the_processes_that_nobody_needs() -> None:
    def names(kind: type[TorchTrainer]) -> set[str]:
        return {type(hook).__name__ for hook in kind(print)._create_default_callbacks()}

    assert names(TorchTrainer) - names(Trainer) == {"DatasetsCallback"}


def test_a_drained_machine_is_told_to_its_workers_and_the_watch_ends_with_them(local_ray: None) -> None:
    told = list[Any]()
    actor = SimpleNamespace(mark_preempt=SimpleNamespace(remote=told.append))
    place = SimpleNamespace(node_id="here")
    worker = SimpleNamespace(distributed_context=SimpleNamespace(world_rank=0), metadata=place, actor=actor)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("ray._private.state.state.get_draining_nodes", lambda: {"here": 4711, "elsewhere": 1})
        watch = Watch(0.01)
        watch.after_worker_group_start(SimpleNamespace(get_workers=lambda: [worker]))
        watcher = watch._watcher
        assert watcher is not None
        for _ in range(500):
            if told:
                break
            watcher._monitor_thread.join(0.02)
        watch.before_worker_group_shutdown(None)
        watcher._monitor_thread.join(5)
    assert told[0].preempted_node_to_ranks == {"here": [0]}
    assert told[0].deadline_ms == 4711
    assert not watcher._monitor_thread.is_alive()


@pytest.fixture(scope="module")
def words(tmp_path_factory: pytest.TempPathFactory) -> list[str]:
    """Config and dataset of a run whose steps take milliseconds."""
    import yaml

    folder = tmp_path_factory.mktemp("whole")
    make_whole(folder / "dataset", folder / "backbone").close()
    path = folder / "train.yaml"
    path.write_text(yaml.safe_dump(SMALL))
    return [str(path), f"dataset={folder / 'dataset'}"]


@pytest.mark.slow
@pytest.mark.cluster
def test_a_worker_that_is_killed_comes_back_at_the_last_checkpoint(words: list[str], tmp_path: Path) -> None:
    with cluster_of(2) as cluster, Training(cluster, tmp_path / "run", *words, "workers.num=2") as training:
        training.wait_for_step(25)
        killed_at = time.time()
        random.choice(training.workers()).kill()
        start, step = training.wait_for_restart(killed_at)
        assert start["workers"] == 2
        assert start["step"] % 10 == 0
        assert step["step"] == start["step"] + 1


@pytest.mark.slow
@pytest.mark.cluster
def test_a_run_shrinks_when_a_machine_dies_and_grows_without_a_lost_step(words: list[str], tmp_path: Path) -> None:
    with cluster_of(2) as cluster, Training(cluster, tmp_path / "run", *words, "workers.num=[1,2]") as training:
        training.wait_for_step(25)
        died_at = time.time()
        cluster.remove_node(list(cluster.worker_nodes)[1], allow_graceful=False)
        start, step = training.wait_for_restart(died_at)
        assert start["workers"] == 1
        training.wait_for_step(step["step"] + 15)
        came_at = time.time()
        cluster.add_node(**NODE)
        start, _ = training.wait_for_restart(came_at)
        assert start["workers"] == 2
        assert start["step"] == training.last_step_before(start["time"]), "steps were lost at a resize"


@pytest.mark.slow
@pytest.mark.cluster
def test_a_machine_that_is_drained_costs_at_most_one_step(words: list[str], tmp_path: Path) -> None:
    with cluster_of(2) as cluster, Training(cluster, tmp_path / "run", *words, "workers.num=[1,2]") as training:
        training.wait_for_step(25)
        told_at = time.time()
        node = list(cluster.worker_nodes)[1]
        drain(cluster, node, 15)
        training.wait(lambda _: time.time() > told_at + 16, "the deadline")
        cluster.remove_node(node, allow_graceful=False)
        start, _ = training.wait_for_restart(told_at)
        assert training.last_step_before(start["time"]) - start["step"] <= 1
        assert start["workers"] == 1
