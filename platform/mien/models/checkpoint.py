"""Checkpoints of a run: tensors in safetensors, facts in JSON, committed by a record that is written once and last.

    checkpoints/step_000000600.json            the record: step, config, subjects, metrics, files with their sums
    checkpoints/step_000000600.3f9c…/          model, ema and optimizer, each one safetensors file
    latest.json  best.json                     names of records, for people and scripts

What has a record is whole. Files without one are of a writer that died or came second, and are removed when a run
starts. No pickle is written, and none is read.
"""

import contextlib
import json
import re
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from mien.errors import AlreadyExists, CheckpointError, NoSpace, StorageError, Unavailable
from mien.log import logger
from mien.storage.commit import digest, new_write_id
from mien.storage.uri import Store, open_store

FOLDER = "checkpoints/"
LATEST, BEST = "latest.json", "best.json"
MODEL, EMA, OPTIMIZER = "model", "ema", "optimizer"

_FORMAT, _VERSION = "mien-checkpoint", 1
_RECORD = re.compile(rf"{FOLDER}(step_\d{{9}})\.json")
_FILE = re.compile(rf"{FOLDER}(step_\d{{9}})\.[0-9a-f]{{12}}/")
_SUMS = ("size_bytes", "crc32c", "sha256")
_MAX_SHOWN = 5

Tensors = Mapping[str, torch.Tensor]


class Checkpoint(NamedTuple):
    """A committed checkpoint; its tensors are read when asked for."""

    store: Store
    name: str
    facts: dict[str, Any]

    @property
    def step(self) -> int:
        """Optimiser steps that it has behind it."""
        return int(self.facts["step"])

    @property
    def uri(self) -> str:
        """Where its record is."""
        return f"{self.store.uri}/{FOLDER}{self.name}.json"

    @property
    def parts(self) -> list[str]:
        """Which of model, ema and optimizer it has."""
        return list(self.facts["files"])

    def tensors(self, part: str) -> dict[str, torch.Tensor]:
        """One part, on the CPU.

        Raises:
            CheckpointError: It has no such part, or the file is absent, truncated or altered.
            Unavailable: The bucket does not answer, which says nothing of the checkpoint.
            NoSpace: This machine has no room for the file.
        """
        if part not in self.facts["files"]:
            raise CheckpointError(f"{self.uri}: has no part {part!r}; it has {', '.join(self.parts)}")
        file = self.facts["files"][part]
        place = f"{self.store.uri}/{file['name']}"
        try:
            path = self.store.fetch(file["name"])
            if digest(path)._asdict() != {key: file[key] for key in _SUMS}:
                raise CheckpointError(f"{place}: is damaged (it is not what was written); take an earlier checkpoint")
            return dict(load_file(path))
        except SafetensorError as error:
            raise CheckpointError(f"{place}: is no safetensors file: {error}; take an earlier checkpoint") from None
        except (NoSpace, Unavailable):
            raise
        except StorageError as error:
            raise CheckpointError(f"{place}: cannot be read: {error}; take an earlier checkpoint") from None

    def weights(self) -> dict[str, torch.Tensor]:
        """What sampling, evaluation and figures use: the averaged weights where there are any."""
        return self.tensors(MODEL) | (self.tensors(EMA) if EMA in self.parts else {})


def write(store: Store, step: int, parts: Mapping[str, Tensors], facts: Mapping[str, Any]) -> Checkpoint:
    """Commit a checkpoint; of two writers of one step the first counts, unless what it left is damaged.

    Args:
        store: The run's output.
        step: Optimiser steps behind it.
        parts: Tensors of model, optimizer and, perhaps, ema.
        facts: Plain values that go into the record.

    Raises:
        StorageError: The store refused; earlier checkpoints stand.
    """
    name = f"step_{step:09d}"
    folder = f"{FOLDER}{name}.{new_write_id()[:12]}/"
    try:
        files = {part: _publish(store, f"{folder}{part}.safetensors", tensors) for part, tensors in parts.items()}
    except StorageError:
        with contextlib.suppress(StorageError):  # no record will name them, and a full disk needs the room
            _delete(store, folder)
        raise
    record = {"format": _FORMAT, "version": _VERSION, **facts, "step": step, "files": files}
    data = json.dumps(record, indent=1).encode()
    try:
        store.put_new(f"{FOLDER}{name}.json", data)
    except AlreadyExists:  # of another writer, of this one whose reply was lost, or of one whose files are damaged
        standing = _whole(store, name)
        if standing is not None and standing.facts["files"] != files:
            _delete(store, folder)
            return standing
        if standing is None:
            store.replace(f"{FOLDER}{name}.json", data)
    point(store, LATEST, name)
    return Checkpoint(store, name, record)


def _publish(store: Store, name: str, tensors: Tensors) -> dict[str, Any]:
    scratch = store.scratch()
    try:
        path = scratch / Path(name).name
        save_file({key: tensor.contiguous() for key, tensor in tensors.items()}, path)
        sums = digest(path)._asdict()
        store.publish(path, name)
        return {"name": name, **sums}
    except SafetensorError as error:  # its only class, for a full disk too
        raise StorageError(f"{store.uri}/{name}: cannot be written: {error}; the same command resumes") from None
    finally:
        shutil.rmtree(scratch, ignore_errors=True)


def point(store: Store, pointer: str, name: str, **facts: Any) -> None:
    """Let `latest.json` or `best.json` name a checkpoint."""
    store.replace(pointer, json.dumps({"checkpoint": name, **facts}, indent=1).encode())


def pointed(store: Store, pointer: str) -> dict[str, Any]:
    """What a pointer says; empty where there is none, or it is damaged: it is but a convenience."""
    try:
        return dict(json.loads(store.read(pointer)))
    except (StorageError, ValueError, TypeError):
        return {}


def names(store: Store) -> list[str]:
    """Committed checkpoints, oldest first."""
    found = (_RECORD.fullmatch(entry.name) for entry in store.list(FOLDER))
    return sorted(match[1] for match in found if match)


def read(store: Store, name: str) -> Checkpoint:
    """A checkpoint by its name.

    Raises:
        CheckpointError: Its record is absent, damaged or of another version.
    """
    place = f"{store.uri}/{FOLDER}{name}.json"
    try:
        facts = json.loads(store.read(f"{FOLDER}{name}.json"))
    except Unavailable:
        raise
    except StorageError as error:
        raise CheckpointError(f"{place}: cannot be read: {error}") from None
    except ValueError:
        raise CheckpointError(f"{place}: is no record of a checkpoint (it is not JSON)") from None
    if not isinstance(facts, dict) or facts.get("format") != _FORMAT:
        raise CheckpointError(f"{place}: is no checkpoint of mien")
    if facts.get("version") != _VERSION:
        raise CheckpointError(f"{place}: has version {facts.get('version')!r:.20}, this mien reads {_VERSION}")
    if not isinstance(facts.get("step"), int) or not _are_files(facts.get("files")):
        raise CheckpointError(f"{place}: is damaged: it says no step, or not which files; take an earlier checkpoint")
    return Checkpoint(store, name, facts)


def _are_files(files: Any) -> bool:
    return isinstance(files, dict) and all(
        isinstance(file, dict) and isinstance(file.get("name"), str) and {*_SUMS} <= file.keys()
        for file in files.values()
    )


def newest(store: Store) -> Checkpoint | None:
    """The newest checkpoint whose files are all as they were written; None where there is none at all.

    Raises:
        CheckpointError: There are some, and none is whole.
    """
    there = names(store)
    for name in reversed(there):
        if (found := _whole(store, name)) is not None:
            return found
    if there:
        raise CheckpointError(f"{store.uri}: its {len(there)} checkpoints are all damaged; start over with --fresh")
    return None


def _whole(store: Store, name: str) -> Checkpoint | None:
    """A checkpoint whose files are all as they were written; None, and a warning, if it is not one."""
    try:
        found = read(store, name)
        for part in found.parts:
            found.tensors(part)
    except CheckpointError as error:
        logger.warning("%s", error)
        return None
    return found


def find(place: str) -> Checkpoint:
    """The checkpoint that a person means: a run (its newest), or one of its records by name.

    Raises:
        CheckpointError: There is none; a file that may run code when it is read is never opened.
    """
    root, separator, name = place.rstrip("/").rpartition(f"/{FOLDER}")
    if separator:
        return read(open_store(root), name.removesuffix(".json"))
    store = open_store(place)
    if not names(store):
        raise CheckpointError(f"{place}: holds no checkpoint; give the output of `mien train`, or RUN/{FOLDER}step_…")
    return read(store, names(store)[-1])


def copy(found: Checkpoint, store: Store) -> Checkpoint:
    """Commit the same in another store.

    Raises:
        CheckpointError: It cannot be read.
        StorageError: It cannot be written.
    """
    facts = {key: value for key, value in found.facts.items() if key not in {"format", "version", "step", "files"}}
    return write(store, found.step, {part: found.tensors(part) for part in found.parts}, facts)


def remove(store: Store, name: str) -> None:
    """Delete a checkpoint, its record first."""
    store.delete(f"{FOLDER}{name}.json")
    _delete(store, f"{FOLDER}{name}.")


def clear_orphans(store: Store) -> None:
    """Delete files that no record names; only right while nobody writes. Files of a damaged record stay."""
    kept = {name: _files_of(store, name) for name in names(store)}
    for entry in list(store.list(FOLDER)):
        if match := _FILE.match(entry.name):
            named = kept.get(match[1], frozenset())
            if named is not None and entry.name not in named:
                store.delete(entry.name)


def _files_of(store: Store, name: str) -> frozenset[str] | None:
    """Files that a record names; None where it cannot be read."""
    try:
        return frozenset(file["name"] for file in read(store, name).facts["files"].values())
    except CheckpointError:
        return None


def _delete(store: Store, prefix: str) -> None:
    for entry in list(store.list(prefix)):
        store.delete(entry.name)


def load_into(module: nn.Module, tensors: Tensors, place: str) -> None:
    """Give a module its tensors.

    Raises:
        CheckpointError: They are those of another architecture; keys and shapes that differ are named.
    """
    own = module.state_dict()
    wrong = [
        f"{key} is {list(tensors[key].shape)}, not {list(own[key].shape)}"
        for key in own
        if key in tensors and tensors[key].shape != own[key].shape
    ]
    missing = [f"{key} is missing" for key in own if key not in tensors]
    unknown = [f"{key} is unknown" for key in tensors if key not in own]
    differing = [*wrong, *missing, *unknown]
    if differing:
        shown = "; ".join(differing[:_MAX_SHOWN]) + ("; …" if len(differing) > _MAX_SHOWN else "")
        raise CheckpointError(f"{place}: is of another architecture, {len(differing)} tensors differ: {shown}")
    module.load_state_dict(dict(tensors))
