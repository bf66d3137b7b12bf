"""The Ray cluster a job runs on: a local one that ends with the job, or one that is already there."""

import contextlib
import logging
import os
from collections.abc import Iterator
from typing import Any

import ray
import ray.data
from pydantic import Field
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from mien.config import Config
from mien.errors import MienError, PreflightError
from mien.log import is_debug
from mien.pipelines.demand import DemandCallback
from mien.pipelines.idle_pools import IdlePoolsCallback
from mien.pipelines.watchdog import last_words

UNSAFE_SWITCHES = (
    "RAY_DATA_ARROW_EXTENSION_SERIALIZATION_CLOUDPICKLE",
    "RAY_DATA_AUTOLOAD_CLOUDPICKLE_TENSOR_METADATA",
    "RAY_DATA_AUTOLOAD_PICKLE_OBJECT_SCALAR",
    "RAY_DATA_AUTOLOAD_PYEXTENSIONTYPE",
    "RAY_DATA_WEBDATASET_ALLOW_UNSAFE_DESERIALIZATION",
)
"""Variables by which a file may run code in whoever reads it: off in every worker, refused in the driver."""

WORKER_ENVIRONMENT = {
    "GLOG_minloglevel": "2",
    "HF_HUB_DISABLE_TELEMETRY": "1",
    "HF_HUB_OFFLINE": "1",  # the driver resolved every model; a worker that asks the hub is a defect
    "OMP_NUM_THREADS": "1",  # one thread per CPU that Ray gave; an actor with more says so itself
    "RAY_USAGE_STATS_ENABLED": "0",
    "TF_CPP_MIN_LOG_LEVEL": "2",
    "TOKENIZERS_PARALLELISM": "false",
    **dict.fromkeys(UNSAFE_SWITCHES, "0"),
}
"""Environment of every worker process that mien starts: nothing is sent anywhere, no library makes its own pool."""


GCS_ERRORS = ("Retry policy exhausted", "UNAVAILABLE", "429", "503", "Connection reset", "does not answer")
"""Messages of a bucket that Ray Data tries again; by itself it knows those of AWS alone."""

_BLOCKS_AHEAD = 64
"""Blocks that a task may have ready before the driver asks. The driver asks ten times a second, and with Ray's two the
plan is handed out at eleven clips a second, however large the cluster. Blocks of the plan are small; a task that cuts
makes few."""


class ClusterConfig(Config):
    """Where Ray runs."""

    address: str = "auto"
    """`local` starts a Ray for this job alone; `auto` joins the cluster of RAY_ADDRESS, or starts a local one."""

    num_cpus: int | None = Field(None, ge=1)
    """CPUs of a local Ray; all of the machine by default."""

    object_store_gb: float = Field(1.0, gt=0.08, allow_inf_nan=False)
    """Shared memory of a local Ray."""


@contextlib.contextmanager
def session(config: ClusterConfig) -> Iterator[None]:
    """Connect for the length of a job; a Ray that was already connected in this process is used and left running.

    Raises:
        PreflightError: Ray does not start, or there is no cluster at the address, or a variable makes it unsafe.
    """
    _refuse_unsafe()
    if ray.is_initialized():
        yield
        return
    os.environ.update(WORKER_ENVIRONMENT)
    with last_words():
        _start(config)
        try:
            yield
        finally:
            ray.shutdown()


def _start(config: ClusterConfig) -> None:
    try:
        with _quiet():
            _connect(config)
    except Exception as error:  # Ray raises a bare one where a node does not come up in time
        raise PreflightError(f"Ray does not start ({' '.join(str(error).split())[:300]}); run `mien doctor`") from error
    _set_up_ray_data()


def _refuse_unsafe() -> None:
    """Ray reads these when it is imported, so that setting them now would be too late."""
    for name in UNSAFE_SWITCHES:
        if os.environ.get(name, "0").lower() not in {"", "0", "false"}:
            raise PreflightError(f"{name}: lets a Parquet or tar file run code in whoever reads it; unset it")


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Ray's C++ core writes to stderr by itself; unless `MIEN_DEBUG` asks, only what ends the process is shown."""
    if is_debug():
        yield
        return
    os.environ.setdefault("RAY_BACKEND_LOG_LEVEL", "fatal")
    os.environ.setdefault("RAY_IGNORE_UNHANDLED_ERRORS", "1")  # of calls that nobody waits for, told as traces
    kept, null = os.dup(2), os.open(os.devnull, os.O_WRONLY)
    os.dup2(null, 2)  # the core announces its log level there
    try:
        yield
    finally:
        os.dup2(kept, 2)
        os.close(kept)
        os.close(null)


def _set_up_ray_data() -> None:
    """Ray's bars, notes and traces stay off the terminal, which shows ours; its log files keep everything."""
    context = ray.data.DataContext.get_current()
    context.enable_progress_bars = False
    context.raise_original_map_exception = True  # else `cause_of` finds one of Ray's, without what ours said
    context._max_num_blocks_in_streaming_gen_buffer = _BLOCKS_AHEAD
    callbacks = [*context.custom_execution_callback_classes, DemandCallback, IdlePoolsCallback]
    context.custom_execution_callback_classes = [*dict.fromkeys(callbacks)]
    context.retried_io_errors = [*dict.fromkeys([*context.retried_io_errors, *GCS_ERRORS])]
    for handler in logging.getLogger("ray.data").handlers:
        if isinstance(handler, logging.StreamHandler) and type(handler).__module__.startswith("ray."):
            handler.setLevel(logging.ERROR if is_debug() else logging.CRITICAL)


def beside_driver() -> dict[str, Any]:
    """Options of an actor that counts for a whole run: on another machine it would keep it busy, or go with it."""
    node_id = ray.get_runtime_context().get_node_id()
    return {"num_cpus": 0, "scheduling_strategy": NodeAffinitySchedulingStrategy(node_id, soft=True)}


def is_local(config: ClusterConfig) -> bool:
    """Whether the job brings its own Ray, which has this machine and no other."""
    return _address(config) == "local"


def _address(config: ClusterConfig) -> str:
    return os.environ.get("RAY_ADDRESS", "local") if config.address == "auto" else config.address


def _connect(config: ClusterConfig) -> None:
    quiet = {"logging_level": logging.ERROR, "log_to_driver": False}
    if not is_local(config):
        ray.init(address=_address(config), runtime_env={"env_vars": WORKER_ENVIRONMENT}, **quiet)
        return
    ray.init(
        address="local",
        num_cpus=config.num_cpus or max(2, os.cpu_count() or 1),  # one for actors, one for what feeds them
        object_store_memory=int(config.object_store_gb * 1e9),
        include_dashboard=False,
        **quiet,
    )


def cause_of(error: BaseException) -> MienError:
    """The error of ours that a worker raised, or one that says what Ray said: one line, without Ray's advice."""
    root = error
    cause: BaseException | None = error
    while cause is not None:
        if isinstance(cause, MienError) and not isinstance(cause, ray.exceptions.RayError):  # Ray's copy is a trace
            return type(cause)(str(cause).partition("\n")[0])
        root, cause = cause, getattr(cause, "cause", None) or cause.__cause__
    reason = f"{type(root).__name__}: {str(root).strip()}".partition("\n")[0]
    return MienError(f"a worker failed: {reason}; the same command resumes (MIEN_DEBUG=1 shows the trace)")


def _add(left: int, right: int) -> int:
    return left + right


def prove() -> str:
    """Start a Ray with one CPU, run one task on it and end it; returns its version. For `mien doctor`."""
    with session(ClusterConfig(address="local", num_cpus=1, object_store_gb=0.1)):
        if ray.get(ray.remote(_add).remote(1, 1)) != 2:
            raise PreflightError("Ray ran a task and gave a wrong answer")
    return str(ray.__version__)
