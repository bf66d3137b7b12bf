import logging
import os

import pytest
import ray

from mien.errors import PreflightError
from mien.pipelines.cluster import UNSAFE_SWITCHES, WORKER_ENVIRONMENT, ClusterConfig, session


def test_workers_send_nothing_and_make_no_pools(local_ray: None) -> None:
    @ray.remote(num_cpus=0)
    def environment() -> dict[str, str]:
        return dict(os.environ)

    found = ray.get(environment.remote())
    assert {key: found.get(key) for key in WORKER_ENVIRONMENT} == WORKER_ENVIRONMENT
    assert WORKER_ENVIRONMENT["RAY_USAGE_STATS_ENABLED"] == "0"


def test_no_variable_lets_a_file_run_code_in_a_worker(local_ray: None) -> None:
    @ray.remote(num_cpus=0)
    def switches() -> tuple[dict[str, str], bool]:
        from ray.data._internal.tensor_extensions import arrow

        return dict(os.environ), arrow._AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA

    environment, unpickles = ray.get(switches.remote())
    for name in (
        "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA",
        "RAY_DATA_AUTOLOAD_PYEXTENSIONTYPE",
        "RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR",
        "RAY_DATA_WEBDATASET_ALLOW_UNSAFE_DESERIALIZATION",
    ):
        assert environment[name] == "0"
    assert not unpickles


@pytest.mark.parametrize("name", UNSAFE_SWITCHES)
def test_a_run_does_not_start_where_a_file_may_run_code(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(name, "1")
    with pytest.raises(PreflightError, match=f"{name}: lets .* run code"), session(ClusterConfig(address="local")):
        pass


def test_a_session_within_a_session_leaves_the_outer_one_running(local_ray: None) -> None:
    with session(ClusterConfig(address="local")):
        pass
    assert ray.is_initialized()


def test_ray_data_is_silent_on_the_terminal(local_ray: None) -> None:
    handlers = [handler for handler in logging.getLogger("ray.data").handlers if "Ray" in type(handler).__name__]
    assert [handler.level for handler in handlers] == [logging.CRITICAL], "what the tests listen with is not Ray's"
    assert not ray.data.DataContext.get_current().enable_progress_bars


def test_a_cluster_that_is_not_there_is_one_clear_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ray, "is_initialized", lambda: False)
    monkeypatch.setattr(ray, "init", lambda **_: (_ for _ in ()).throw(ConnectionError("nobody at 10.0.0.1:6379")))
    with (
        pytest.raises(PreflightError, match=r"Ray does not start .*10.0.0.1.*doctor"),
        session(ClusterConfig(address="10.0.0.1:6379")),
    ):
        pass
