"""Who is in a video and what is known of them: a corpus or a table, joined to the sources by their places."""

from collections import Counter
from collections.abc import Iterator
from typing import Any

from pydantic import model_validator

from mien.clips import corpus
from mien.clips.by_source import BySource
from mien.clips.clip import Source, from_labels, to_labels
from mien.clips.naming import located
from mien.clips.rows import MAX_SHOWN, length_of, name_of, read_rows, refuse
from mien.config import Config
from mien.errors import ConfigError
from mien.log import logger, printable

_OWN = ("source", "subject", "duration_s")
_FALSE = {"", "0", "0.0", "false", "no", "none"}


class AnnotationsConfig(Config):
    """What is known of the sources, and which of them are left out for it."""

    path: str | None = None
    """JSON of a corpus, or a table (CSV, JSON lines, Parquet) with the column source: a place, or a name below that of
    the sources, `0.tar/a.mp4` in a tar. `subject` is who is in it, `duration_s` its length; the other columns become
    labels."""

    subject_id_min: int | None = None
    """Videos of subjects with a lower number are left out, and those without a number."""

    subject_id_max: int | None = None
    """The same for higher ones; both ends belong to the range."""

    skip_dark: bool = True
    """Leave out videos with the label is_dark."""

    @model_validator(mode="after")
    def _in_order(self) -> "AnnotationsConfig":
        lowest, highest = self.subject_id_min, self.subject_id_max
        if lowest is not None and highest is not None and lowest > highest:
            raise ValueError(f"subject_id_min={lowest} is above subject_id_max={highest}")
        return self


class Annotator:
    """Adds to each source what is known of it."""

    def __init__(self, config: AnnotationsConfig, root: str) -> None:
        """Read the annotations once; names in them are relative to the root.

        Raises:
            ConfigError: They cannot be read, or name a video twice; the lines are named.
        """
        self._config, self._root = config, root
        self.left_out = Counter[str]()
        """Sources that are not wanted, by why."""
        self._num_sources = self._num_known = 0
        self._rows: BySource | None = None
        if config.path is not None:
            self._rows = _read(config.path, root)

    def __call__(self, source: Source) -> Source | None:
        """The source with its subject, labels and length; None if it is not wanted."""
        self._num_sources += 1
        for subject, labels, duration_s in self._rows.of(source.uri) if self._rows else ():
            self._num_known += 1
            merged = to_labels(from_labels(source.labels) | labels)
            source = source._replace(subject=subject or source.subject, labels=merged)
            if source.duration_s is None and duration_s is not None:
                source = source._replace(duration_s=duration_s)
        reason = self._unwanted(source)
        if reason:
            self.left_out[reason] += 1
            return None
        return source

    def _unwanted(self, source: Source) -> str:
        """Why a source is left out; empty if it is not."""
        config = self._config
        if config.skip_dark and source.labels and _is_true(from_labels(source.labels).get("is_dark")):
            return "dark (annotations.skip_dark=false keeps them)"
        if config.subject_id_min is None and config.subject_id_max is None:
            return ""
        try:
            number = int(source.subject)
        except ValueError:
            return "without a subject that is a number (annotations.subject_id_min, subject_id_max)"
        is_low = config.subject_id_min is not None and number < config.subject_id_min
        is_high = config.subject_id_max is not None and number > config.subject_id_max
        return "of subjects out of annotations.subject_id_min to subject_id_max" if is_low or is_high else ""

    def finish(self) -> None:
        """Say how many sources were known.

        Raises:
            ConfigError: None was: the names do not fit.
        """
        if self._rows is None or not self._num_sources:
            return
        logger.info("labels   %d of %d videos have an annotation", self._num_known, self._num_sources)
        if not self._num_known:
            first = next(iter(self._rows.unused(1)), None)
            named = f"; the first is of {printable(first.uri)}" if first else ""
            raise ConfigError(
                f"{self._config.path}: none of its {len(self._rows)} rows is of a source{named}. Names are relative to "
                f"{printable(self._root)}"
            )


def _read(path: str, root: str) -> BySource:
    rows, problems, num_problems = BySource(), list[tuple[int, str]](), 0
    for line, name, value in _annotations(path):
        standing = rows.add(located(name, root), line, value) if name else 0
        if not name or standing:
            num_problems += 1
            problem = f"is of the source of line {standing}" if standing else "has no source"
            problems += [(line, problem)] * (len(problems) < MAX_SHOWN)
    refuse(path, problems, num_problems)
    return rows


def _annotations(path: str) -> Iterator[tuple[int, str, Any]]:
    """Line, name of the source, and its subject, labels and length."""
    if path.lower().endswith(".json"):
        for number, entry in enumerate(corpus.entries(path), 1):
            yield number, entry.name, (entry.subject, entry.labels, entry.duration_s)
        return
    for line, values in read_rows(path):
        try:
            duration_s = length_of(values.get("duration_s"))
        except (ValueError, TypeError):
            raise ConfigError(f"{path}: line {line}: duration_s={values['duration_s']!r} is no length") from None
        labels = {key: value for key, value in values.items() if key not in _OWN}
        yield line, name_of(values.get("source")), (name_of(values.get("subject")), labels, duration_s)


def _is_true(value: Any) -> bool:
    """A flag as people write it."""
    return str(value or "").strip().casefold() not in _FALSE
