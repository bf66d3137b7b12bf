"""The JSON of a corpus: who is in which video, and what is said there, for all its videos in one file.

Three forms are read, told apart by their content:

    {subject: {"files": [name, …], "dark_files": [name, …], "label": {"age": …, "gender": …, "skin-type": …}}}
    [{"video_path": name, "subject_id": …, "age": …, "is_dark": …, "transcription_timestamp": "[0.000] …", …}, …]
    {"videos": [entries as above, …]}       what `mien clips search` writes
"""

import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, NamedTuple

from mien.clips.rows import length_of, local_copy, name_of
from mien.errors import ConfigError
from mien.log import printable

OWN = {"video_path", "subject_id", "transcription", "transcription_timestamp", "duration_ms", "keywords"}
"""Keys of an entry that are not labels."""


class Entry(NamedTuple):
    """What a corpus says of one video."""

    name: str
    subject: str
    labels: dict[str, Any]
    """age, gender, skin_type, is_dark and whatever else there is."""
    duration_s: float | None = None
    marked_text: str | None = None
    """What is said, with `[seconds.millis]` markers."""


def read_json(place: str) -> Any:
    """The content of a JSON file; it is read whole.

    Raises:
        ConfigError: It is not there, or is no JSON.
    """
    try:
        return json.loads(local_copy(place).read_text(encoding="utf-8-sig"))
    except (ValueError, OSError, RecursionError) as error:
        raise ConfigError(f"{printable(place)}: is no JSON: {printable(str(error)):.200}") from None


def entries(place: str) -> Iterator[Entry]:
    """Every video of a corpus, in the order of its file.

    Raises:
        ConfigError: It cannot be read, or has another form; the message says which are known.
    """
    try:
        yield from _entries(read_json(place))
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        reason = f"{type(error).__name__}: {error}" if isinstance(error, KeyError) else str(error)
        raise ConfigError(
            f"{printable(place)}: is no corpus: {printable(reason):.200}; give a list of entries with video_path, or "
            '{subject: {"files": […]}}'
        ) from None


def _entries(values: Any) -> Iterable[Entry]:
    if isinstance(values, Mapping) and isinstance(values.get("videos"), list):
        values = values["videos"]
    if isinstance(values, list):
        return (_of_video(each) for each in values)
    if isinstance(values, Mapping):
        return (each for subject, about in values.items() for each in _of_subject(str(subject), about))
    raise ValueError(f"it holds a {type(values).__name__}")


def _of_video(values: Mapping[str, Any]) -> Entry:
    text, duration_ms = values.get("transcription_timestamp"), values.get("duration_ms")
    return Entry(
        str(values["video_path"]),
        name_of(values.get("subject_id")),
        labels_of({key: value for key, value in values.items() if key not in OWN}),
        length_of(float(duration_ms) / 1000) if duration_ms else None,
        None if text is None else str(text),
    )


def _of_subject(subject: str, about: Mapping[str, Any]) -> Iterator[Entry]:
    dark = [str(name) for name in about.get("dark_files") or ()]
    labels = labels_of(about.get("label") or {})
    for name in dict.fromkeys([*map(str, about["files"]), *dark]):
        yield Entry(name, subject, labels | {"is_dark": name in set(dark)})


def labels_of(values: Mapping[str, Any]) -> dict[str, Any]:
    """Labels by names in one spelling: `skin-type` is skin_type."""
    return {str(key).replace("-", "_"): value for key, value in values.items()}
