"""A run of `mien train` as a section: what was run, on what, how far it came, and the pictures that it left."""

import re
from collections.abc import Collection, Iterator, Mapping
from typing import Any

import yaml

from mien.analysis.report_blocks import Block, Cell, Facts, Figure, Missing, Section, Table, Text
from mien.errors import CheckpointError, MienError
from mien.models import checkpoint
from mien.models.checkpoint import Checkpoint
from mien.storage.uri import Store

CONFIG, PICTURES = "config.yaml", "figures/"

_PICTURE = re.compile(rf"{PICTURES}(\w+)_step_(\d+)\.png")
_FACELESS = {
    "similarity": "how alike the tokens of each held-out clip are",
    "samples": "images that the model makes of noise; they show nobody",
}
"""Pictures of a run without a face of anybody, and what they show; of all others it is taken that they have one."""
_IN_CURVES = ("schedules", "similarity_evolution")
"""What the curves of the log show too."""


def is_run(names: Collection[str]) -> bool:
    """Whether files are those of a run."""
    return any(name.startswith((checkpoint.FOLDER, "log/")) for name in names)


def section(store: Store, title: str, folder: str) -> Section:
    """What is known of one run.

    Args:
        store: Output of `mien train`.
        title: Of the section.
        folder: Where its record will lie beside the page.
    """
    try:
        found = newest(store)
    except CheckpointError as error:
        return Section(title, (Missing("Checkpoint", str(error)), _config(store, {}), *_pictures(store)))
    raw = f"{folder}/checkpoint.json"
    config = _config(store, found.facts.get("config") or {})
    blocks = (Facts(_facts(found)), _metrics(found, raw), _checkpoints(store), config, *_pictures(store))
    return Section(title, blocks, raw={raw: found.facts})


def newest(store: Store) -> Checkpoint:
    """The last checkpoint of a run.

    Raises:
        CheckpointError: There is none, or its record is damaged.
    """
    names = checkpoint.names(store)
    if not names:
        raise CheckpointError(
            f"{store.uri}: has none yet; a run writes one every checkpoints.every_steps steps, and at its end"
        )
    return checkpoint.read(store, names[-1])


def _facts(found: Checkpoint) -> dict[str, Cell]:
    facts, unknown = found.facts, "not written down"
    config: Mapping[str, Any] = facts.get("config") or {}
    objective: Mapping[str, Any] = facts.get("objective") or {}
    versions = [f"{name} {facts[key]}" for name, key in (("mien", "mien"), ("torch", "torch")) if key in facts]
    tokens: Mapping[str, Any] = facts.get("tokens") or {}
    known: dict[str, Cell] = {
        "Objective": str(objective.get("kind", "")) or unknown,
        "Step": f"{found.step} of {facts['num_steps']}" if "num_steps" in facts else found.step,
        "Code": ", ".join(versions) or unknown,
        "Hardware": _hardware(facts.get("hardware")) or unknown,
        "Dataset": str(facts.get("dataset", "")) or unknown,
        "Seed": config.get("seed", unknown),
        "Precision": config.get("precision", unknown),
        "Place": found.store.uri,
        "Size of the checkpoint": f"{sum(file['size_bytes'] for file in facts['files'].values()) / 1e6:.1f} MB",
    }
    if tokens:
        weights = " with RANDOM weights" if tokens.get("weights") == "random" else ""
        known["Backbone"] = f"{tokens.get('model')} at {tokens.get('size_px')} px{weights}"
    return known


def _hardware(workers: Any) -> str:
    """`2 workers on NVIDIA H100`, as `training.hardware` tells it."""
    told = workers if isinstance(workers, Mapping) else {}
    return ", ".join(f"{num} worker{'s' * (num != 1)} on {device}" for device, num in told.items())


def _metrics(found: Checkpoint, raw: str) -> Block:
    metrics = found.facts.get("metrics")
    if not metrics:
        return Missing("Held-out clips", "nothing was validated before this checkpoint")
    rows = tuple((name.replace("_", " "), value) for name, value in metrics.items())
    return Table(f"Held-out clips at step {found.step}", ("Number", "Value"), rows, raw=raw)


def _checkpoints(store: Store) -> Block:
    best = checkpoint.pointed(store, checkpoint.BEST)
    rows = []
    for name in checkpoint.names(store):
        says = f"best {best.get('metric', '')}" if best.get("checkpoint") == name else ""
        rows.append((name, says))
    return Table("Checkpoints that are kept", ("Name", "Note"), tuple(rows))


def _config(store: Store, recorded: Mapping[str, Any]) -> Block:
    """As it lies beside the run, or else as the checkpoint remembers it."""
    title = "The resolved config"
    try:
        return Text(title, store.read(CONFIG).decode(errors="replace"))
    except MienError as error:
        if recorded:
            return Text(title, yaml.safe_dump(dict(recorded), sort_keys=False, allow_unicode=True))
        return Missing(title, str(error))


def _pictures(store: Store) -> Iterator[Block]:
    """The last picture of each kind."""
    last = dict[str, tuple[int, str]]()
    for entry in store.list(PICTURES):
        if found := _PICTURE.fullmatch(entry.name):
            last[found[1]] = max(last.get(found[1], (-1, "")), (int(found[2]), entry.name))
    for kind, (step, name) in ((kind, one) for kind, one in last.items() if kind not in _IN_CURVES):
        title = f"{kind.replace('_', ' ').capitalize()} at step {step}"
        words = _FACELESS.get(kind, "what the model makes of faces")
        try:
            yield Figure(title, store.read(name), f"{title}: {words}.", shows_faces=kind not in _FACELESS)
        except (MienError, ValueError) as error:
            yield Missing(title, str(error))
