"""Which clips an evaluation looks at, on which side of the split they are, and whose faces they show."""

from collections import Counter
from typing import NamedTuple

import numpy as np

from mien.datasets.split import HELD_OUT, TRAIN, SplitConfig, split
from mien.datasets.subjects import UNKNOWN, Subjects
from mien.datasets.tables import TableFile
from mien.errors import ConfigError

NOBODY = -1
"""In place of a person."""


class ClipTask(NamedTuple):
    """One sample that is to be embedded; plain values, as they go through Ray."""

    sample: int
    """Row of the index; in the report the number of the clip."""
    person: int
    """Number of who is in it, among the people of the dataset."""
    row: int
    """Theirs in the model's table of subjects."""
    is_known: bool
    """The model was trained with this person, of whom there are training clips among those that are looked at."""
    is_held_out: bool
    target: int = NOBODY
    """Person whose face takes on this expression in the swap test."""
    target_row: int = UNKNOWN
    """Theirs in the table."""


class People(NamedTuple):
    """P persons of a dataset: its subjects, and one for each video in which nobody knows who it is."""

    of_sample: np.ndarray
    """Number of the person in each sample: int64 [samples]."""
    row: np.ndarray
    """In the model's table: int64 [P]; UNKNOWN for who has none."""
    has_row: np.ndarray
    """Bool [P]: the table names this person, or nobody does: then training used the row of the unknown, too."""


class Chosen(NamedTuple):
    """What is looked at."""

    seen: list[ClipTask]
    """Of the training side."""
    unseen: list[ClipTask]
    """Held out."""
    notes: list[str]
    """What a reader of the numbers should know about the choice."""


def choose(index: TableFile, rule: SplitConfig, table: Subjects, max_frames: int) -> Chosen:
    """Clips with a face on both sides of the split that a run was trained by.

    Args:
        index: Of the dataset.
        rule: The run's.
        table: The run's.
        max_frames: Of each side.
    """
    who, notes = people(index, table), list[str]()
    try:
        parts = split(index, rule)
    except ConfigError as error:
        parts = np.full(index.num_rows, TRAIN)
        notes.append(f"nothing is held out: {error}")
    frames, shown = (np.asarray(index.column(name).to_numpy()) for name in ("num_frames", "num_detected"))
    kept = dict[int, np.ndarray]()
    for part, name in ((TRAIN, "training"), (HELD_OUT, "held-out")):
        samples = np.flatnonzero((parts == part) & (shown > 0))
        kept[part] = samples[spread(frames[samples], who.of_sample[samples], max_frames)]
        if len(kept[part]) < len(samples):
            notes.append(f"{len(kept[part])} of {len(samples)} {name} clips were looked at (max_frames)")
    known = np.unique(who.of_sample[kept[TRAIN]])
    known = known[who.has_row[known]]
    seen, unseen = (
        [_task(who, int(sample), known, is_held_out=part == HELD_OUT) for sample in kept[part]]
        for part in (TRAIN, HELD_OUT)
    )
    return Chosen(seen, with_targets(unseen, known, who.row), notes)


def people(index: TableFile, table: Subjects) -> People:
    """Who is in each sample of an index, and by which row the model may know them."""
    subjects, sources = (index.column(name).to_pylist() for name in ("subject", "source_uri"))
    called = [subject or source for subject, source in zip(subjects, sources, strict=True)]
    _, first, of_sample = np.unique(np.array(called, dtype=object), return_index=True, return_inverse=True)
    names = [subjects[sample] or "" for sample in first]
    has_row = np.array([not name or name in table.rows for name in names], bool)
    return People(of_sample, np.array([table.row(name) for name in names], np.int64), has_row)


def spread(frames: np.ndarray, person: np.ndarray, max_frames: int) -> np.ndarray:
    """Places of clips that have at most so many frames together, at least one: [clips] twice to ascending [kept].

    Everybody's first clip comes before anybody's second, in the same order of people on both sides of a split, for a
    measure needs them on both. Then come clips in the order of van der Corput (1935), halfway between those before.
    """
    num_before, turns = Counter[int](), list[tuple[int, int]]()
    for one in person.tolist():
        turns.append((_bits_reversed(num_before[one]), one))
        num_before[one] += 1
    order = np.array(sorted(range(len(turns)), key=turns.__getitem__), np.int64)
    num_kept = int((np.cumsum(frames[order]) <= max_frames).sum())
    return np.sort(order[: max(1, num_kept)])


def with_targets(tasks: list[ClipTask], known: np.ndarray, rows: np.ndarray) -> list[ClipTask]:
    """Give each clip of a known person with a row of their own another such person, everybody in turn.

    Args:
        tasks: Held-out clips.
        known: Numbers of the people that the model knows.
        rows: Of all people, in the model's table: [P].
    """
    named = known[rows[known] != UNKNOWN]
    given = list[ClipTask]()
    for turn, task in enumerate(tasks):
        others = named[named != task.person]
        if len(others) and task.person in named:
            target = int(others[turn % len(others)])
            task = task._replace(target=target, target_row=int(rows[target]))
        given.append(task)
    return given


def _task(who: People, sample: int, known: np.ndarray, *, is_held_out: bool) -> ClipTask:
    person = int(who.of_sample[sample])
    return ClipTask(sample, person, int(who.row[person]), person in known, is_held_out)


def _bits_reversed(number: int) -> int:
    return int(f"{number:032b}"[::-1], 2)
