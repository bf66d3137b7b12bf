"""The dataset card: README.md with what is inside, where it comes from and what may be done with it."""

import re
from collections import Counter
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import yaml

from mien import schema
from mien.config import Config
from mien.datasets.effort import Busy, Effort, bytes_in_words, in_words
from mien.datasets.inspect import MAX_VALUES, OTHERS, summarize
from mien.log import printable

if TYPE_CHECKING:
    from mien.datasets.dataset import Dataset


_MAX_VALUES_SHOWN = 12
"""Of a label; more are counted."""


class CardConfig(Config):
    """What only a person can say about the data; it is written into the card as it stands."""

    title: str = "Face clips"
    """Name of the dataset."""

    licence: str = "unknown"
    """Licence of the source videos."""

    consent: str = "not stated"
    """On what ground the people shown agreed, and to what."""

    redistributable: bool = False
    """Whether the dataset may be passed on."""


_TEMPLATE = """---
{header}---

# {title}

{num_clips} clips with {num_samples} face tracks from {num_sources} videos: {num_frames} frames, {hours:.2f} h,
a face in {face_share:.1f} % of them. {num_failed} clips could not be made (see `failures.parquet` and
`preview/failures.png`). `preview/contact_sheet.png` shows what is inside.

## Columns of a shard

{columns}

## Who and what is in it

{people}

## Failures

{failures}

## Use

```python
import mien.datasets

dataset = mien.datasets.open("PATH")
sample = dataset[dataset.clip_ids[0]]
sample.crops()                      # uint8 [num_frames, {size}, {size}, 3], RGB
dataset.windows(length=16)          # a torch Dataset
```

## People, consent, licence

- Licence of the sources: {licence}
- Consent: {consent}
- Redistributable: {redistributable}
- Face crops, landmarks and feature vectors are personal data. Keep them where the sources may be kept.

## Where it comes from

- Source: {source}
- Made by mien {version} (schema {schema}), config fingerprint `{fingerprint}`
{models}

## What it took

{effort}
{warning}"""


def write_card(dataset: "Dataset", card: CardConfig, provenance: Mapping[str, Any], effort: Effort) -> str:
    """The card's Markdown, made from the index, the failures and what the commit records tell of the work.

    Args:
        dataset: The dataset, committed and indexed.
        card: What a person says of it.
        provenance: version, fingerprint, source, and `models`: name -> facts of each model file.
        effort: All commit records.
    """
    summary = summarize(dataset)
    header: dict[str, Any] = {
        "license": "other" if card.licence == "unknown" else card.licence,
        "pretty_name": card.title,
    }
    header |= {"size_categories": [_size_category(summary["num_frames"])], "tags": ["face", "video", "mien"]}
    models = provenance["models"]
    return _TEMPLATE.format(
        header=yaml.safe_dump(header, sort_keys=False, allow_unicode=True),
        hours=summary["duration_s"] / 3600,
        face_share=100 * summary["face_share"],
        columns=_columns(summary["columns"]),
        people=_people(summary),
        failures=_failures(summary["failures"]),
        size=dataset.crop_size_px,
        models="\n".join(f"- Model `{name}`: {facts_in_words(facts)}" for name, facts in models.items()),
        effort=_effort(effort, summary["num_frames"]),
        warning=_warning(models),
        schema=schema.VERSION,
        source=in_code(provenance["source"]),
        **{key: provenance[key] for key in ("version", "fingerprint")},
        **{key: summary[key] for key in ("num_clips", "num_samples", "num_sources", "num_frames", "num_failed")},
        **card.model_dump(),
    )


def in_code(text: str) -> str:
    """A place or name as Markdown code: nothing in it is markup or HTML, and nothing drives a terminal."""
    runs = re.findall(r"`+", text)
    fence = "`" * (1 + max(map(len, runs), default=0))
    space = " " if runs else ""
    return f"{fence}{space}{printable(text)}{space}{fence}"


def _columns(columns: Mapping[str, str]) -> str:
    meaning = {column.name: column for column in schema.FRAMES}
    rows = [f"| `{name}` | {kind} | {meaning[name].unit} | {meaning[name].meaning} |" for name, kind in columns.items()]
    return "\n".join(["| column | type | unit | meaning |", "|---|---|---|---|", *rows])


def _people(summary: Mapping[str, Any]) -> str:
    """Subjects as a number, labels and keywords with what they say; numbers are of face tracks."""
    num_subjects = len(summary["subjects"])
    rows = [f"| subject | {num_subjects} different |"] * bool(num_subjects)
    rows += [f"| {_cell(label)} | {_values(counts)} |" for label, counts in summary["labels"].items()]
    rows += [f"| keyword | {_values(summary['keywords'])} |"] * bool(summary["keywords"])
    if not rows:
        return "No subject, label or keyword is known."
    return "\n".join(["| label | face tracks by value |", "|---|---|", *rows])


def _values(counts: Mapping[str, int]) -> str:
    """Values by how often they occur; many of them only as a number, and as a range where they are numbers."""
    if len(counts) <= _MAX_VALUES_SHOWN:
        return ", ".join(f"{_cell(value)}: {count}" for value, count in counts.items())
    if OTHERS in counts:
        return f"more than {MAX_VALUES} different"
    with suppress(ValueError):
        numbers = [float(value) for value in counts]
        return f"{len(counts)} different, {min(numbers):g} to {max(numbers):g}"
    return f"{len(counts)} different"


def _cell(text: str) -> str:
    """A stranger's text in a table: it neither ends the cell nor is markup."""
    return in_code(" ".join(text.split()).replace("|", "¦"))


def _failures(counts: Mapping[str, int]) -> str:
    if not counts:
        return "None."
    rows = [f"| {kind} | {count} |" for kind, count in Counter(counts).most_common()]
    return "\n".join(["| reason | clips |", "|---|---|", *rows])


def _effort(effort: Effort, num_frames: int) -> str:
    """Wall-clock and rate in a sentence, busy time by stage in a table."""
    untimed = f"{effort.num_untimed} of {effort.num_shards} shards were committed without a record of their time."
    if not effort.num_runs:
        return untimed
    first, last = effort.days
    text = (
        f"{in_words(effort.wall_s)} from start to last commit in {_count(effort.num_runs, 'run')}"
        f"{' (without the time between them)' * (effort.num_runs > 1)} on {_count(effort.num_hosts, 'machine')}, "
        f"{first if first == last else f'{first} to {last}'}: {num_frames / max(effort.wall_s, 1e-3):.3g} frames/s. "
        f"{bytes_in_words(effort.num_bytes)} in {_count(effort.num_shards, 'shard')}."
    )
    rows = [_busy_row(stage, busy) for stage, busy in effort.busy.items()]
    rows.append(_busy_row("all", sum(effort.busy.values(), Busy())))
    table = "\n".join(["| stage | workers busy | cores busy | GPUs busy |", "|---|---|---|---|", *rows])
    return "\n\n".join([text, *([untimed] if effort.num_untimed else []), table])


def _busy_row(stage: str, busy: Busy) -> str:
    gpus = in_words(busy.gpu_s) if busy.gpu_s else "–"
    return f"| {stage} | {in_words(busy.wall_s)} | {in_words(busy.core_s)} | {gpus} |"


def _count(number: int, thing: str) -> str:
    return f"{number} {thing}{'s' * (number != 1)}"


def facts_in_words(facts: Mapping[str, Any]) -> str:
    """What is known of a model: `sha256 …, licence …`."""
    return ", ".join(f"{key} {value}" for key, value in facts.items())


def _warning(models: Mapping[str, Mapping[str, Any]]) -> str:
    if any(facts.get("weights") == "random" for facts in models.values()):
        return "\n**The features come from a network with random weights. They mean nothing; this is a trial run.**\n"
    return ""


def _size_category(num_frames: int) -> str:
    bounds = [(1_000, "n<1K"), (10_000, "1K<n<10K"), (100_000, "10K<n<100K"), (1_000_000, "100K<n<1M")]
    return next((name for bound, name in bounds if num_frames < bound), "n>1M")
