"""Which row of an embedding table stands for which subject: a table that is kept with the dataset and only grows.

A row is given once. A subject that leaves the dataset takes its row along: no other subject ever gets it, so that a
model that was trained before still means the same persons by the same rows. Row 0 stands for whoever is unknown.
"""

import json
from collections.abc import Iterable, Mapping
from typing import Any, NamedTuple, Self

import pyarrow.compute as pc

from mien.datasets.tables import TableFile
from mien.errors import ConfigError, DatasetError
from mien.storage.uri import Store

NAME = "subjects.json"
UNKNOWN = 0


class Subjects(NamedTuple):
    """Rows by subject."""

    rows: dict[str, int]
    next_row: int = 1

    def row(self, subject: str) -> int:
        """Its row; that of the unknown where it has none."""
        return self.rows.get(subject, UNKNOWN)

    def extended(self, subjects: Iterable[str]) -> Self:
        """The table with a row for each of these, new ones in the order of their names."""
        new = sorted({*subjects} - self.rows.keys() - {""})
        rows = self.rows | {subject: self.next_row + number for number, subject in enumerate(new)}
        return self._replace(rows=rows, next_row=self.next_row + len(new))

    def only(self, subjects: Iterable[str]) -> Self:
        """The table without all others; their rows stay taken."""
        kept = {*subjects}
        return self._replace(rows={subject: row for subject, row in self.rows.items() if subject in kept})

    def require_room(self, max_subjects: int) -> None:
        """Hold the table against the size of a model's.

        Raises:
            ConfigError: The model has fewer rows.
        """
        if self.next_row > max_subjects:
            raise ConfigError(
                f"max_subjects={max_subjects}: the subjects fill {self.next_row} rows, the one of the unknown "
                f"included; set it to at least {self.next_row}"
            )

    def dump(self) -> dict[str, Any]:
        """Plain values, valid input of `parse`."""
        return {"next_row": self.next_row, "rows": self.rows}

    @classmethod
    def parse(cls, values: Any, place: str) -> Self:
        """What `dump` gave.

        Raises:
            DatasetError: It is something else, or two subjects share a row.
        """
        rows = values.get("rows") if isinstance(values, Mapping) else None
        if not isinstance(rows, dict) or not all(isinstance(row, int) and row > UNKNOWN for row in rows.values()):
            raise DatasetError(f"{place}: is no table of subjects; delete it, then run serialize again")
        next_row = values.get("next_row")
        if (
            not isinstance(next_row, int)
            or len({*rows.values()}) < len(rows)
            or max(rows.values(), default=0) >= next_row
        ):
            raise DatasetError(f"{place}: two subjects share a row, or the next one is taken; restore the file")
        return cls(rows, next_row)


def read(store: Store) -> Subjects:
    """The table of a dataset; an empty one where it was made before there were any.

    Raises:
        DatasetError: It is damaged.
    """
    if not any(entry.name == NAME for entry in store.list(NAME)):
        return Subjects({})
    place = f"{store.uri}/{NAME}"
    try:
        values = json.loads(store.read(NAME))
    except ValueError as error:
        raise DatasetError(f"{place}: is damaged: {error}; restore the file") from None
    return Subjects.parse(values, place)


def names(index: TableFile) -> list[str]:
    """Every subject that the index names, once."""
    return [name for name in pc.unique(index.column("subject")).to_pylist() if name]


def update(store: Store, index: TableFile) -> None:
    """Write the table of a dataset whose index is new: who came gets a row, who left is no longer named."""
    present = names(index)
    table = read(store).extended(present).only(present)
    store.replace(NAME, json.dumps(table.dump(), indent=1).encode())
