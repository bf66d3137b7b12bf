"""Small runs of the training loop without Ray: a dataset of tokens, a narrow model, and a team of processes."""

import json
import multiprocessing
import shutil
import tempfile
from collections.abc import Callable, Mapping
from datetime import timedelta
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.distributed as dist
import yaml

from mien import schema
from mien.clips.clip import Clip, Source
from mien.config import assign
from mien.datasets import index, subjects
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG, Dataset, open_dataset
from mien.datasets.frames import Values, to_table
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.models import checkpoint
from mien.storage.commit import commit, digest
from mien.storage.local import LocalStore
from mien.storage.uri import Store, open_store
from mien.training.job import Job, TrainConfig
from mien.training.log import RunLog
from mien.training.loop import Loop
from mien.training.notice import NoNotices, Notices
from mien.training.record import Record
from mien.training.setup import Setup, set_up
from mien.training.world import World
from sample_datasets import PROVENANCE, SIZE_PX, make_columns, sample_row

NUM_PATCHES, DIM, NUM_SUBJECTS = 4, 8, 5
CLIPS_OF_SHARD = 4
_SIZES = {"embed_dim": DIM, "num_heads": 2, "ff_dim": 12, "dropout": 0.2, "num_patches": NUM_PATCHES}
_PICTURE = {"image_size_px": 16, "channels": (6, 6, 6, 4, 4, 4)}
_LAYERS = {"num_cross_attention_layers": 1, "num_self_attention_layers": 1}
JOINT = {
    "kind": "joint",
    "expression": _SIZES | {"num_layers": 1, "max_subjects": NUM_SUBJECTS + 1},
    "reconstruction": _SIZES | _PICTURE | _LAYERS,
}
SMALL = {
    "objective": JOINT,
    "data": {"length": 6, "split": {"by": "subject", "held_out": 0.2}},
    "batch": {"size": 8},
    "num_steps": 6,
    "optimizer": {"learning_rate": 1e-3},
    "augment": {"drop_frames": 0.2},
    "log": {"every_steps": 1, "tensorboard": False, "figures": False},
    "validation": {"every_steps": 3, "max_windows": 6},
    "checkpoints": {"every_steps": 2, "keep": 100},
}
"""A step takes milliseconds; dropout and augmentation are on."""

Changes = Mapping[str, Any]
"""Dotted keys of `TrainConfig` and their values."""


def clip_of(number: int, num_frames: int) -> Clip:
    """One planned clip; every subject has as many as the others, in one video each."""
    who = number % NUM_SUBJECTS
    start_s = number // NUM_SUBJECTS * 10.0
    source = Source(f"/videos/{who}.mp4", 1000 + who, 7, subject=f"subject {who}")
    return Clip(source, start_s, start_s + num_frames / 25, "chosen")


def token_columns(clip: Clip, num_frames: int, seed: int) -> dict[str, Values]:
    """Random frames with patch tokens and blendshapes, both NaN where there is no face."""
    rng = np.random.default_rng(seed)
    columns = make_columns(clip.clip_id, num_frames, seed, raw=True)
    has_face = np.arange(num_frames) % 5 != 3
    tokens = rng.standard_normal((num_frames, NUM_PATCHES, DIM)).astype(np.float32)
    scores = rng.random((num_frames, schema.NUM_BLENDSHAPES), np.float32)
    return columns | {
        "face": has_face.astype(np.uint8),
        "time_s": clip.start_s + np.arange(num_frames) / 25,
        "feature": np.where(has_face[:, None, None], tokens, np.nan).astype(np.float32),
        "blendshapes": np.where(has_face[:, None], scores, np.nan).astype(np.float32),
    }


def make_tokens(
    place: Path, change: Callable[[int, dict[str, Values]], dict[str, Values]] = lambda _, columns: columns
) -> Dataset:
    """A finished dataset of 20 clips of 5 to 19 frames in 5 shards; `change` may alter the columns of each."""
    store, kind = LocalStore(place), ParquetConfig()
    frames_of = [5 + 7 * number % 15 for number in range(20)]
    clips = [clip_of(number, num_frames) for number, num_frames in enumerate(frames_of)]
    config = {"crop": {"size_px": SIZE_PX}, "fps": None, "source": "/videos"}
    store.put_new(CONFIG, yaml.safe_dump(config).encode())
    index.write_plan(store, (clip.to_row() for clip in clips))
    for first in range(0, len(clips), CLIPS_OF_SHARD):
        shard, samples = f"s{first}", []
        draft = store.scratch() / f"{shard}{kind.suffix}"
        writer, name = kind.writer(draft, {"version": "test"}), f"data/{shard}{kind.suffix}"
        for number in range(first, first + CLIPS_OF_SHARD):
            frames = to_table(change(number, token_columns(clips[number], frames_of[number], number)))
            samples.append(sample_row(clips[number], frames, name, writer.add(frames)))
        writer.close(samples)
        store.publish(draft, name)
        files = [{"name": name, **digest(draft)._asdict()}]
        assert commit(store, shard, shard, {"files": files, "samples": samples, "failures": []})
    return publish(store, CardConfig(title="Tokens"), PreviewConfig(max_clips=1), PROVENANCE)


def config_of(dataset: str | Path, output: str | Path, changes: Changes | None = None) -> TrainConfig:
    """The small config with some keys changed."""
    values: dict[str, Any] = json.loads(json.dumps(SMALL)) | {"dataset": str(dataset), "output": str(output)}
    for key, value in (changes or {}).items():
        assign(values, key, value)
    return TrainConfig.parse(values, "test")


def job_of(dataset: str | Path, output: str | Path, changes: Changes | None = None) -> Job:
    """What the driver would tell the workers."""
    config = config_of(dataset, output, changes)
    opened = open_dataset(config.dataset)
    table = subjects.read(opened.store)
    opened.close()
    positions = np.random.default_rng(0).standard_normal((NUM_PATCHES, DIM)).astype(np.float32)
    assert config.num_steps is not None
    return Job(config, config.num_steps, table, positions, None, {"subjects": table.dump()})


def begun(job: Job, world: World | None = None, notices: Notices | None = None) -> tuple[Setup, Loop, Record]:
    """A worker before its first step."""
    world = world or World()
    setup = set_up(job, world)
    log = RunLog(setup.store, job.config.log, setup.state.step, []) if world.is_first else None
    record = Record(setup, world, log)
    return setup, Loop(setup, world, notices or NoNotices(), record), record


def train(job: Job, world: World | None = None, notices: Notices | None = None) -> Setup:
    """One worker, from where the run is to its end."""
    setup, loop, _ = begun(job, world, notices)
    loop.run()
    return setup


def trained(world: World, job: Job) -> int:
    """The same for a team."""
    return train(job, world).state.step


def saved(place: str | Path | Store, step: int | None = None) -> dict[str, torch.Tensor]:
    """Every tensor of a checkpoint, by part and name; of the newest one by default."""
    store = open_store(str(place)) if isinstance(place, str | Path) else place
    found = checkpoint.newest(store) if step is None else checkpoint.read(store, f"step_{step:09d}")
    assert found is not None
    return {f"{part}/{name}": tensor for part in found.parts for name, tensor in found.tensors(part).items()}


def difference(one: Mapping[str, torch.Tensor], other: Mapping[str, torch.Tensor], *parts: str) -> float:
    """Largest difference between two checkpoints; of some parts, or of all."""
    assert one.keys() == other.keys()
    compared = [name for name in one if not parts or name.startswith(parts)]
    assert compared
    return max((one[name].double() - other[name].double()).abs().max().item() for name in compared)


def stopped_after(step: int, run: Path, copy: Path) -> Path:
    """A copy of a run as it was when its machine was lost after some step."""
    shutil.copytree(run, copy)
    store = LocalStore(copy)
    for name in checkpoint.names(store):
        if checkpoint.read(store, name).step > step:
            checkpoint.remove(store, name)
    return copy


class Team:
    """Processes that wait for something to do together; each start of one costs seconds, so there is one team."""

    def __init__(self, num: int, folder: Path) -> None:
        self._folder, self._number = folder, 0
        context = multiprocessing.get_context("forkserver")  # libraries are loaded once
        context.set_forkserver_preload([__name__])
        pairs = [context.Pipe() for _ in range(num)]
        self._ends = [ours for ours, _ in pairs]
        self._members = [
            context.Process(target=_serve, args=(rank, theirs, folder), daemon=True)
            for rank, (_, theirs) in enumerate(pairs)
        ]
        for member in self._members:
            member.start()

    def __call__(self, size: int, function: Callable[..., Any], *arguments: Any) -> list[Any]:
        """Let some of them call `function(world, *arguments)`; what each returned, or the error that it raised."""
        self._number += 1
        for end in self._ends[:size]:
            end.send((self._folder / f"{self._number}", size, function, arguments))
        return [end.recv() for end in self._ends[:size]]

    def close(self) -> None:
        """Let all go."""
        for end, member in zip(self._ends, self._members, strict=True):
            member.kill()  # they hold nothing, and their libraries take seconds to say goodbye
            member.join()
            end.close()


def _serve(rank: int, end: Connection, folder: Path) -> None:
    torch.set_num_threads(1)
    tempfile.tempdir = str(folder)
    while True:
        meeting, size, function, arguments = end.recv()
        dist.init_process_group(
            "gloo", init_method=f"file://{meeting}", rank=rank, world_size=size, timeout=timedelta(seconds=60)
        )
        try:
            result = function(World(rank, size), *arguments)
        except Exception as error:  # noqa: BLE001  whoever asked for it looks at it
            result = error
        finally:
            dist.destroy_process_group()
        end.send(result)
