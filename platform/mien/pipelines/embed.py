"""Clips through a callable that keeps its networks loaded, in actors: what comes back is small and in no order."""

import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

import pyarrow as pa
import ray
import ray.data

from mien.log import logger
from mien.pipelines.cluster import ClusterConfig
from mien.pipelines.pools import PoolConfig, actor_pool, clips_per_task, require_room

Work = Callable[[Mapping[str, Any]], bytes]
"""From the task of a clip to what is known of it."""

_DONE = "done"
_SAY_EVERY_S = 10.0


def embed(
    make: Callable[..., Work],
    arguments: Sequence[Any],
    tasks: Sequence[Mapping[str, Any]],
    pool: PoolConfig,
    cluster: ClusterConfig,
) -> Iterator[bytes]:
    """Do the work for each task; a Ray must be connected.

    Args:
        make: Makes the work, once in each actor.
        arguments: What it is called with; each is sent to a machine once.
        tasks: Rows of plain values, all with the same keys.
        pool: Resources of the actors, `workers.embed` of the config.
        cluster: Where they run.

    Raises:
        PreflightError: An actor fits on no machine.
        RayError: What the work raised, or that its actors cannot start.
    """
    if not tasks:
        return
    require_room(cluster, "embed", pool)
    rows, size = pa.Table.from_pylist(list(tasks)), clips_per_task(len(tasks), 0.0)
    clips = ray.data.from_arrow([rows.slice(start, size) for start in range(0, len(tasks), size)])
    # 1:1 task → what is known of the clip, as one row. Actors, because loading networks costs seconds.
    clips = clips.map_batches(
        EmbedStage,
        fn_constructor_args=(make, [ray.put(argument) for argument in arguments]),
        batch_size=None,  # as many as a task has
        batch_format="pyarrow",
        **pool.demands,
        compute=actor_pool(cluster, pool),
    )
    said_at = time.monotonic()
    for number, row in enumerate(clips.iter_rows(), start=1):
        if time.monotonic() - said_at > _SAY_EVERY_S:
            logger.info("embed    %d of %d clips", number, len(tasks))
            said_at = time.monotonic()
        yield row[_DONE]


class EmbedStage:
    """The work as Ray calls it."""

    def __init__(self, make: Callable[..., Work], arguments: Sequence[Any]) -> None:
        """Make it from references to its arguments."""
        self._work = make(*ray.get(list(arguments)))

    def __call__(self, tasks: pa.Table) -> pa.Table:
        """One row for each task."""
        return pa.table({_DONE: pa.array([self._work(task) for task in tasks.to_pylist()], pa.large_binary())})
