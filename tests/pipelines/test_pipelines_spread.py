"""Work over actors on a real Ray: in the order of the tasks, and what it raises reaches the caller as ours."""

import importlib
import os
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any

import numpy as np
import pytest

from mien.errors import CheckpointError, MienError, PreflightError
from mien.pipelines.cluster import ClusterConfig
from mien.pipelines.pools import PoolConfig
from mien.pipelines.spread import SpreadConfig, SpreadWorkersConfig, over_ray


def config(**pool: Any) -> SpreadConfig:
    workers = SpreadWorkersConfig(analyze=PoolConfig(**{"num_cpus": 0.5, "max_workers": 2, **pool}))
    return SpreadConfig(compute="ray", workers=workers, cluster=ClusterConfig(address="local"))


def did(config: SpreadConfig, *given: Any) -> list[Any]:
    with ExitStack() as held:
        return [*over_ray(config, held, *given)]


def zeros() -> Callable[[int], np.ndarray]:
    return np.zeros


def test_arrays_are_the_callers_own(local_ray: None) -> None:
    """Views of Ray's memory are read-only, and keep it full."""
    (found,) = did(config(), zeros, [], [1_000_000])
    found[0] = 1
    assert found.sum() == 1


def shouting(suffix: str, bad: str) -> Callable[[str], tuple[str, int]]:
    """A word, and who did it."""

    def work(word: str) -> tuple[str, int]:
        if word == bad:
            raise CheckpointError(f"{word}: is bad; take another\nand more")
        if word == "deadly":
            os._exit(1)
        return f"{word}{suffix}".upper(), os.getpid()

    return work


def threads(is_loaded: bool) -> Callable[[Any], int]:
    """With how many threads torch works, which is loaded with the work or by it."""
    if is_loaded:
        importlib.import_module("torch")

    def work(_: Any) -> int:
        import torch

        return torch.get_num_threads()

    return work


@pytest.fixture(autouse=True)
def _by_value() -> Any:
    """What is defined here travels by value, for no worker can import a test."""
    import sys

    import ray.cloudpickle

    ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])
    yield
    ray.cloudpickle.unregister_pickle_by_value(sys.modules[__name__])


def test_results_come_in_order_from_other_processes(local_ray: None) -> None:
    words = [f"w{number}" for number in range(40)]
    found = did(config(), shouting, ["!", ""], iter(words))
    assert [word for word, _ in found] == [f"{word}!".upper() for word in words]
    assert os.getpid() not in {process for _, process in found}


@pytest.mark.parametrize(("num_cpus", "num_threads"), [(0.5, 1), (2, 2)])
def test_a_worker_has_a_thread_for_each_of_its_cpus(local_ray: None, num_cpus: float, num_threads: int) -> None:
    assert did(config(num_cpus=num_cpus, max_workers=1), threads, [num_cpus == 2], [0]) == [num_threads]


def test_errors_are_ours_and_say_of_what(local_ray: None) -> None:
    with pytest.raises(CheckpointError, match=r"^w3: is bad; take another$"):
        did(config(), shouting, ["!", "w3"], [f"w{number}" for number in range(9)])
    with pytest.raises(MienError, match=r"^deadly: ended its worker 3 times .*workers\.analyze\.memory_gb"):
        did(config(), shouting, ["!", ""], ["w0", "deadly"])
    with pytest.raises(PreflightError, match=r"workers\.analyze: each worker needs 999 CPU"):
        did(config(num_cpus=999), shouting, ["!", ""], ["w0"])


def test_work_ends_with_what_holds_it_though_results_are_left(local_ray: None) -> None:
    with ExitStack() as held:
        found = over_ray(config(), held, shouting, ["!", ""], [f"w{number}" for number in range(40)])
        assert next(found)[0] == "W0!"
    assert next(found, None) is None


def test_no_ray_is_asked_for_without_a_task() -> None:
    nowhere = config().model_copy(update={"cluster": ClusterConfig(address="127.0.0.1:1")})
    assert did(nowhere, shouting, ["!", ""], []) == []


def test_a_cluster_is_used_where_one_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RAY_ADDRESS", raising=False)

    def is_over_ray(**values: Any) -> bool:
        return SpreadConfig.parse(values, "test").is_over_ray

    named = {"cluster": {"address": "10.0.0.1:6379"}}
    assert not is_over_ray()
    assert not is_over_ray(cluster={"num_cpus": 8})
    assert is_over_ray(**named)
    assert is_over_ray(compute="ray")
    monkeypatch.setenv("RAY_ADDRESS", "10.0.0.1:6379")
    assert is_over_ray()
    assert not is_over_ray(cluster={"address": "local"})
    assert not is_over_ray(compute="here", **named)
