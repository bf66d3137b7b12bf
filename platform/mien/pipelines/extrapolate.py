"""From clips that were tried to all clips of a plan, on any cluster."""

import math
import os
from collections.abc import Callable, Mapping, Sequence
from typing import Any, NamedTuple

from pydantic import Field

from mien.config import Config
from mien.datasets.effort import Busy
from mien.pipelines import stages
from mien.pipelines.trial import Tried


class ClusterShapeConfig(Config):
    """The machines that an estimate is for. A core of theirs counts as much as a core here."""

    name: str = ""
    """What the estimate calls them."""

    num_nodes: int = Field(1, ge=1)
    """Machines."""

    num_cpus: int | None = Field(None, ge=1)
    """CPUs of each machine; as many as this one has by default."""

    num_gpus: int | None = Field(None, ge=0)
    """GPUs of each machine; as many as this one has by default."""


class Range(NamedTuple):
    """A quantity as all tried clips together tell it, and as the lowest and the highest single one does."""

    value: float
    low: float
    high: float

    def said(self, say: Callable[[float], str] = "{:.3g}".format) -> str:
        """In words; the ends only where they differ."""
        low, high = say(self.low), say(self.high)
        return say(self.value) + (f" ({low} to {high})" if low != high else "")


class Shape(NamedTuple):
    """A cluster with nothing left open."""

    name: str
    num_nodes: int
    num_cpus: int
    num_gpus: int

    @classmethod
    def of(cls, config: ClusterShapeConfig, num_gpus_here: int) -> "Shape":
        """What a config leaves open is as on this machine."""
        is_here = (config.num_nodes, config.num_cpus, config.num_gpus) == (1, None, None)
        num_gpus = num_gpus_here if config.num_gpus is None else config.num_gpus
        name = config.name or ("this machine" if is_here else "a cluster")
        return cls(name, config.num_nodes, config.num_cpus or os.cpu_count() or 1, num_gpus)

    def __str__(self) -> str:
        """Name and size."""
        return f"{self.name} ({self.num_nodes} x {self.num_cpus} CPUs, {self.num_gpus} GPUs)"


def together(tried: Sequence[Tried]) -> Tried:
    """Several clips as if they were one."""
    busy = {stage: sum((each.busy[stage] for each in tried), Busy()) for stage in tried[0].busy}
    write = sum((each.write for each in tried), Busy())
    numbers = {
        name: sum(getattr(each, name) for each in tried) for name in Tried._fields if name not in {"busy", "write"}
    }
    return Tried(**numbers, busy=busy, write=write)


def ranges(found: Sequence[Mapping[str, float]]) -> dict[str, Range]:
    """From what all clips tell together, which comes first, and what each tells alone."""
    whole, *single = found
    return {
        name: Range(value, min(each[name] for each in single), max(each[name] for each in single))
        for name, value in whole.items()
    }


def rates_of(part: Tried) -> dict[str, float]:
    """What a second of video, a frame and a byte took, by names that end in the unit."""
    rates = {
        "frames_per_video_s": part.num_frames / part.video_s,
        "cut_core_s_per_video_s": part.busy[stages.CUT].core_s / part.video_s,
        "write_core_s_per_gb": part.write.core_s / part.written_bytes * 1e9,
        "bytes_per_frame": (part.frame_bytes + part.thumb_bytes) / part.num_frames,
    }
    features = part.busy.get(stages.FEATURES)
    if features is None:
        return rates
    if features.gpu_s:
        return rates | {"features_gpu_s_per_frame": features.gpu_s / part.num_frames}
    return rates | {"features_core_s_per_frame": features.core_s / part.num_frames}


class Scale:
    """Scales clips up to the plan, on a cluster."""

    def __init__(self, config: Any, shape: Shape, num_clips: int, video_s: float) -> None:
        """Of a plan, its number of clips and the seconds of video in them are known."""
        self._config, self._shape, self._num_clips, self.video_s = config, shape, num_clips, video_s

    def totals(self, part: Tried, num_parts: int) -> dict[str, float]:
        """What the plan takes at the rates of some clips."""
        factor = self.video_s / part.video_s
        num_bytes = self._num_bytes(part, num_parts)
        busy = sum(part.busy.values(), Busy()) * factor + part.write * (num_bytes / part.written_bytes)
        totals = {
            "num_frames": part.num_frames * factor,
            "wall_h": max(self._bounds(part).values()) / 3600,
            "core_h": busy.core_s / 3600,
            "output_bytes": num_bytes,
        }
        return totals | ({"gpu_h": busy.gpu_s / 3600} if busy.gpu_s else {})

    def _num_bytes(self, part: Tried, num_parts: int) -> float:
        """Frames by their number, pictures of the whole frame by clip, and what a shard has besides by shard."""
        frame_bytes = part.frame_bytes * self.video_s / part.video_s
        content_bytes = frame_bytes + part.thumb_bytes / num_parts * self._num_clips
        num_shards: float = content_bytes / max(1.0, self._config.min_shard_mb * 1e6)
        return content_bytes + part.shard_bytes / num_parts * max(1.0, min(num_shards, self._num_clips))

    def limit(self, part: Tried) -> str:
        """What decides how long it takes."""
        bounds = self._bounds(part)
        return max(bounds, key=bounds.__getitem__)

    def _bounds(self, part: Tried) -> dict[str, float]:
        """Seconds. Stages overlap: at best a run takes as long as the longest, or as the work of all over all cores."""
        factor = self.video_s / part.video_s
        core_s = sum(busy.core_s for busy in part.busy.values()) * factor
        bounds = {"all cores": core_s / (self._shape.num_nodes * self._shape.num_cpus)}
        return bounds | {
            stage: busy.wall_s * factor / self._num_workers(stage, busy) for stage, busy in part.busy.items()
        }

    def _num_workers(self, stage: str, busy: Busy) -> float:
        """As many workers of a stage as there is room and work for."""
        pool, nodes = getattr(self._config.workers, stage), self._shape.num_nodes
        room: list[float] = [self._num_clips, pool.max_workers or math.inf]
        if busy.gpu_s:
            room.append(nodes * self._shape.num_gpus / pool.num_gpus)
        if pool.num_cpus:
            room.append(nodes * self._shape.num_cpus / pool.num_cpus)
        return max(1.0, min(room))
