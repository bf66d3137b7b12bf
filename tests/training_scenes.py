"""A run of `mien train` on a simulated cluster, seen through its log: what recovery tests and benchmarks share."""

import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
from ray.cluster_utils import Cluster

from command_line import start_job

NODE = {"num_cpus": 1, "object_store_memory": 100_000_000}
TITLE = "ray::RayTrainWorker"
TIMEOUT_S = 180.0
POLL_S = 0.05

SETTINGS = (
    *("log.every_steps=1", "log.flush_s=0.05", "log.tensorboard=false", "log.figures=false"),
    *("validation.every_steps=1000000", "checkpoints.every_steps=10", "num_steps=1000000"),
)
"""Every step is logged at once, and the run goes on until somebody ends it."""


@contextmanager
def cluster_of(num_nodes: int) -> Iterator[Cluster]:
    """A head without CPUs, where the driver and Ray Train's controller are, and nodes of one CPU."""
    made = Cluster(initialize_head=True, head_node_args={**NODE, "num_cpus": 0, "include_dashboard": False})
    try:
        for _ in range(num_nodes):
            made.add_node(**NODE)
        yield made
    finally:
        made.shutdown()


class Training:
    """One run in a process of its own."""

    def __init__(self, cluster: Cluster, output: Path, *words: str) -> None:
        self.output, self.cluster = output, cluster
        settings = [*SETTINGS, f"output={output}", f"cluster.address={cluster.address}"]
        self.job = start_job(*words, *settings, script="train", MIEN_OFFLINE="1", RAY_ADDRESS=cluster.address)

    def __enter__(self) -> "Training":
        return self

    def __exit__(self, *_: object) -> None:
        self.job.kill()
        self.job.communicate()

    def lines(self) -> list[dict[str, Any]]:
        """What is logged so far, one after the other."""
        found = []
        for path in sorted((self.output / "log").glob("*.jsonl")):
            with suppress(FileNotFoundError):
                found += [json.loads(line) for line in path.read_text().splitlines()]
        return found

    def wait(self, is_there: Callable[[list[dict[str, Any]]], Any], what: str) -> Any:
        """What a condition on the log gives, as soon as it gives anything."""
        deadline = time.monotonic() + TIMEOUT_S
        while time.monotonic() < deadline:
            found = is_there(self.lines())
            if found:
                return found
            if self.job.poll() is not None:
                raise AssertionError(f"the run ended while waiting for {what}: {self.job.communicate()[1][-3000:]}")
            time.sleep(POLL_S)
        self.job.kill()
        raise AssertionError(f"no {what} within {TIMEOUT_S:g} s: {self.job.communicate()[1][-3000:]}")

    def wait_for_step(self, step: int) -> dict[str, Any]:
        """The line of a step, or of a later one."""
        return self.wait(
            lambda lines: next((x for x in lines if x["kind"] == "train" and x["step"] >= step), None), "step"
        )

    def wait_for_restart(self, after_s: float) -> tuple[dict[str, Any], dict[str, Any]]:
        """The first start after a moment, and the first step after it."""

        def found(lines: list[dict[str, Any]]) -> tuple[dict[str, Any], dict[str, Any]] | None:
            starts = [n for n, line in enumerate(lines) if line["kind"] == "event" and line["time"] > after_s]
            steps = [line for line in lines[starts[0] :] if line["kind"] == "train"] if starts else []
            return (lines[starts[0]], steps[0]) if steps else None

        return self.wait(found, "restart")  # type: ignore[no-any-return]

    def last_step(self) -> int:
        """The last step that is logged."""
        return max(line["step"] for line in self.lines() if line["kind"] == "train")

    def last_step_before(self, moment_s: float) -> int:
        """The last step that was logged before a moment."""
        return max(x["step"] for x in self.lines() if x["kind"] == "train" and x["time"] < moment_s)

    def workers(self) -> list[psutil.Process]:
        """Processes that train."""
        found = []
        for process in psutil.Process().children(recursive=True):
            with suppress(psutil.Error):
                if " ".join(process.cmdline()).startswith(TITLE):
                    found.append(process)
        return found


def drain(cluster: Cluster, node: Any, seconds: float) -> None:
    """Tell Ray that a machine is taken away after some time, as a preemption notice does."""
    subprocess.run(
        [
            *(
                str(Path(sys.executable).parent / "ray"),
                "drain-node",
                "--address",
                cluster.address,
                "--node-id",
                node.node_id,
            ),
            *("--reason", "DRAIN_NODE_REASON_PREEMPTION", "--reason-message", "taken away"),
            *("--deadline-remaining-seconds", str(int(seconds))),
        ],
        check=True,
        capture_output=True,
        text=True,
    )
