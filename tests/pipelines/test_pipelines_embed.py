"""Tasks over actors on a real Ray: each is done once, and what the work raises reaches the caller."""

from collections.abc import Mapping
from typing import Any

import pytest
import ray

from mien.errors import CheckpointError, PreflightError
from mien.pipelines.cluster import ClusterConfig, cause_of
from mien.pipelines.embed import Work, embed
from mien.pipelines.pools import PoolConfig

LOCAL, POOL = ClusterConfig(address="local"), PoolConfig(num_cpus=0, max_workers=1)
"""No share of the cores: actors of a job that failed live as long as its error is held, and later tests need both."""


def test_each_task_is_done_once_and_an_error_is_that_of_the_work(local_ray: None) -> None:
    def shouting(suffix: str, bad: int) -> Work:  # within, so that workers need not import this file
        def work(task: Mapping[str, Any]) -> bytes:
            if task["number"] == bad:
                raise CheckpointError(f"{task['word']}: is bad; take another\nand more")
            return f"{task['word']}{suffix}".upper().encode()

        return work

    tasks = [{"number": number, "word": f"w{number}"} for number in range(40)]
    done = list(embed(shouting, ("!", -1), tasks, POOL, LOCAL))
    assert sorted(done) == sorted(f"W{number}!".encode() for number in range(40))
    assert list(embed(shouting, ("!", -1), [], POOL, LOCAL)) == []
    with pytest.raises(ray.exceptions.RayError) as refused:
        list(embed(shouting, ("!", 3), tasks, POOL, LOCAL))
    assert str(cause_of(refused.value)) == "w3: is bad; take another"
    with pytest.raises(PreflightError, match=r"workers\.embed: each worker needs 999 CPU"):
        list(embed(shouting, ("!", -1), tasks, PoolConfig(num_cpus=999), LOCAL))
