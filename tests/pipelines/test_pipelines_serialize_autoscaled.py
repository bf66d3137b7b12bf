"""A job on a cluster that Ray's own autoscaler grows and shrinks; its nodes are processes of this machine.

Only the machines are simulated: the demand is what the job asks for, and the autoscaler is the one of a real cluster.
"""

import os
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
import pytest
import ray
import yaml
from ray._raylet import GcsClient
from ray.autoscaler.v2.sdk import get_cluster_resource_state

import mien.datasets
from command_line import start_job
from long_videos import lengthen
from mien.datasets.verify import verify

pytestmark = [pytest.mark.slow, pytest.mark.cluster]

MAX_NODES, NUM_COPIES = 3, 150
PATIENCE_S = 600.0
POLL_S = 1.0
IDLE_MIN = 0.15
DEAD = 2
"""State of a node that was given back."""
HEAD_TYPE, HEAD_ID = "ray.head.default", "f" * 51 + "00000"
"""What the provider takes for the head, by name and id: any other it starts and ends over and over."""

SETTINGS = ("fps=5", "crop.size_px=64", "min_shard_mb=0", "workers.clips_per_task=1")


def autoscaler_config(address: str) -> dict[str, Any]:
    """Up to three nodes of one CPU; without the updaters that would log in on a machine."""
    without = ("head_start_ray_commands", "worker_start_ray_commands", "setup_commands", "head_setup_commands")
    without += ("worker_setup_commands", "initialization_commands", "cluster_synced_files", "rsync_exclude")
    module = "ray.autoscaler._private.fake_multi_node.node_provider.FakeMultiNodeProvider"
    provider = {"type": "external", "module": module, "gcs_address": address, "disable_node_updaters": True}
    provider |= {"disable_launch_config_check": True, "worker_liveness_check": False, "foreground_node_launch": True}
    provider |= {"launch_multiple": True, "head_node_id": HEAD_ID}
    resources = {"CPU": 1, "object_store_memory": 150_000_000}
    return {
        "cluster_name": "mien-test",
        "max_workers": MAX_NODES,
        "idle_timeout_minutes": IDLE_MIN,
        "upscaling_speed": 10.0,
        "provider": provider,
        "auth": {"ssh_user": "nobody"},
        "available_node_types": {
            HEAD_TYPE: {"resources": {"CPU": 0}, "node_config": {}, "max_workers": 0},
            "worker": {"resources": resources, "node_config": {}, "min_workers": 0, "max_workers": MAX_NODES},
        },
        "head_node_type": HEAD_TYPE,
        "file_mounts": {},
        "file_mounts_sync_continuously": False,
        "rsync_filter": [],
        **{key: [] for key in without},
    }


def free_port() -> int:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return int(listener.getsockname()[1])


@pytest.fixture
def address(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """The head of a cluster without workers, ended with all that it started."""
    monkeypatch.setenv("RAY_AUTH_MODE", "disabled")  # as it is in this process, which asks the head
    found = f"{ray.util.get_node_ip_address()}:{free_port()}"
    config = tmp_path / "autoscaler.yaml"
    config.write_text(yaml.safe_dump(autoscaler_config(found)))
    words = [f"--port={found.rpartition(':')[2]}", "--num-cpus=0", "--include-dashboard=false", "--disable-usage-stats"]
    folder = tempfile.mkdtemp(prefix="mien-ray-")  # a socket's path is short
    words += [f"--autoscaling-config={config}", "--object-store-memory=200000000", f"--temp-dir={folder}"]
    second = {"RAY_enable_autoscaler_v2": "1", "AUTOSCALER_UPDATE_INTERVAL_S": "1"}  # what `ray up` and KubeRay run
    ids = {"RAY_FAKE_CLUSTER": "1", "RAY_CLOUD_INSTANCE_ID": HEAD_ID, "RAY_OVERRIDE_NODE_ID_FOR_TESTING": HEAD_ID}
    head = subprocess.Popen(
        [str(Path(sys.executable).parent / "ray"), "start", "--head", "--block", *words],
        env={**os.environ, **ids, **second},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        _await(found, head)
        yield found
    finally:
        with suppress(psutil.NoSuchProcess):
            for process in reversed([psutil.Process(head.pid), *psutil.Process(head.pid).children(recursive=True)]):
                with suppress(psutil.NoSuchProcess):
                    process.kill()
        head.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _await(address: str, head: "subprocess.Popen[bytes]") -> None:
    """The head takes some seconds until it serves."""
    end = time.monotonic() + PATIENCE_S
    while True:
        with suppress(ray.exceptions.RaySystemError, ray.exceptions.RpcError):
            get_cluster_resource_state(GcsClient(address=address))
            return
        assert head.poll() is None, "the head did not start"
        assert time.monotonic() < end


@pytest.fixture
def source(faces_dir: Path, tmp_path: Path) -> Path:
    """Many short videos, and two that keep two workers busy when all others are done."""
    folder = tmp_path / "videos"
    folder.mkdir()
    for number in range(NUM_COPIES):
        for name in ("d18", "d19"):
            (folder / f"{name}-{number}.mp4").write_bytes((faces_dir / f"{name}.mp4").read_bytes())
    for number in range(2):
        lengthen(faces_dir / "d18.mp4", folder / f"z-long-{number}.mp4")
    return folder


class Watched:
    """A job and the cluster it runs on."""

    def __init__(self, job: "subprocess.Popen[str]", address: str, output: Path) -> None:
        self.job, self._output = job, output
        self._gcs = GcsClient(address=address)
        self.num_nodes, self.num_requested, self.num_committed = 0, 0, 0

    def look(self) -> None:
        """Nodes that have a CPU, CPUs that the job asks for, and commit records, now."""
        state = get_cluster_resource_state(self._gcs)  # what `ray status` and the autoscaler read
        alive = [node for node in state.node_states if node.status != DEAD]
        self.num_nodes = sum(1 for node in alive if node.total_resources.get("CPU", 0))
        wanted = [asked for constraint in state.cluster_resource_constraints for asked in constraint.resource_requests]
        self.num_requested = sum(asked.count * asked.request.resources_bundle.get("CPU", 0) for asked in wanted)
        self.num_committed = len(list(self._output.glob("commits/*.json")))

    def until(self, what: Callable[[], bool]) -> None:
        """Look until it is so, while the job runs."""
        end = time.monotonic() + PATIENCE_S
        self.look()
        while not what():
            assert time.monotonic() < end, f"{vars(self)}"
            with suppress(subprocess.TimeoutExpired):
                self.job.wait(POLL_S)
                raise AssertionError(f"the job ended too early: {self.job.communicate()[1][-2000:]}")
            self.look()


def test_the_autoscaler_sees_the_demand_adds_nodes_that_are_used_and_frees_idle_ones_at_the_tail(
    address: str, source: Path, tmp_path: Path, assets_dir: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    output = tmp_path / "out"
    words = (f"source={source}", f"output={output}", *SETTINGS)
    with start_job(*words, RAY_ADDRESS=address, MIEN_ASSETS=str(assets_dir)) as job:
        seen = Watched(job, address, output)
        try:
            assert seen.num_nodes == 0
            seen.until(lambda: seen.num_requested > 0)
            seen.until(lambda: seen.num_nodes > 0)
            seen.until(lambda: seen.num_committed > 0)
            seen.until(lambda: seen.num_nodes == MAX_NODES)
            seen.until(lambda: seen.num_committed >= 2 * NUM_COPIES)
            most = seen.num_nodes
            seen.until(lambda: seen.num_nodes < most)
            assert job.wait(PATIENCE_S) == 0, job.communicate()[1][-2000:]
        finally:
            job.kill()
    result = verify(mien.datasets.open(output))
    assert (result["problems"], result["foreign"]) == ([], [])
    with capsys.disabled():
        print(f"\nautoscaled: 0 to {MAX_NODES} nodes and back to {seen.num_nodes} while the last clips were cut")
