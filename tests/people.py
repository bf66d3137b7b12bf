"""A dataset of three people, and a search for one of them in every byte below its root."""

import base64
import io
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import h5py
import numpy as np
import pyarrow.parquet as pq
import yaml
from PIL import Image

from mien.clips.clip import Clip, Match, Source, to_labels
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG, Dataset
from mien.datasets.formats import FormatConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.datasets.verify import verify
from mien.faces.crop import encode_jpeg
from mien.storage.commit import commit
from mien.storage.uri import Store
from sample_datasets import PROVENANCE, SIZE_PX, failure_row, make_columns, write_shard

ADAEZE, BERTILLE, CSONGOR = "Adaeze", "Bertille", "Csongor"
PREVIEW = PreviewConfig(max_clips=8, num_columns=2)
NUM_FRAMES = 4
PLACES = {"file", "row_start", "row_stop"}
PICTURES = ("preview/contact_sheet.png", "preview/failures.png")


def clip_of(person: str, take: int) -> Clip:
    """One planned clip; its size seeds its pixels."""
    number = [ADAEZE, BERTILLE, CSONGOR].index(person) * 10 + take
    source = Source(f"/videos/{person}/take_{take}.mp4", 1000 + number, 7, person, labels_of(person))
    return Clip(source, matches=(Match("smile", float(number)),), text=text_of(person, take))


def labels_of(person: str) -> str:
    """What annotations say of somebody, and of nobody else."""
    return to_labels({"age": len(person) * 7, "voice": f"voice {person[::-1]}"})


def text_of(person: str, take: int) -> str:
    """What somebody says, and nobody else."""
    return f"please smile, said take {take} of {person[::-1]}"


def face_of(person: str) -> bytes:
    """JPEG of the frame that a failure shows."""
    shade = [ADAEZE, BERTILLE, CSONGOR].index(person) * 80 + 20
    return encode_jpeg(np.full((24, 24, 3), shade, np.uint8), 80)


SHARDS = {
    "mixed": [(ADAEZE, 0), (BERTILLE, 0), (CSONGOR, 0)],
    "alone": [(BERTILLE, 1)],
    "others": [(CSONGOR, 1), (ADAEZE, 1)],
}
FAILED = {"lost": [(BERTILLE, 2), (CSONGOR, 2)], "gone": [(BERTILLE, 3)]}


def make_people(store: Store, kind: FormatConfig, *, without: str = "", raw: bool = False) -> Dataset:
    """Three people in five shards: together, alone, not at all, and failed; or the same as if one had never been."""
    every = [take for takes in (SHARDS | FAILED).values() for take in takes if take[0] != without]
    config = {"crop": {"size_px": SIZE_PX}, "fps": None, "source": "/videos", "format": kind.dump()}
    store.put_new(CONFIG, yaml.safe_dump(config).encode())
    index.write_plan(store, (clip_of(*take).to_row() for take in every))
    for shard, takes in SHARDS.items():
        clips = [clip_of(*take) for take in takes if take[0] != without]
        if clips:
            write_shard(store, kind, clips, shard, NUM_FRAMES, raw=raw)
    for shard, takes in FAILED.items():
        failures = [_failure(*take) for take in takes if take[0] != without]
        if failures:
            assert commit(store, shard, shard, {"files": [], "samples": [], "failures": failures})
    return publish(store, CardConfig(title="Three people"), PREVIEW, PROVENANCE)


def _failure(person: str, take: int) -> dict[str, Any]:
    clip = clip_of(person, take)
    thumb = base64.b64encode(face_of(person)).decode()
    return failure_row(clip, f"{clip.source.uri}: no face") | {"thumb": thumb}


def rows(dataset: Dataset) -> list[dict[str, Any]]:
    """The index but for where the rows lie, with their checksums; every value is read."""
    for sample in dataset:
        for column in sample.columns:
            _ = sample[column]
    return [{key: value for key, value in row.items() if key not in PLACES} for row in dataset.index.to_pylist()]


def assert_clean(store: Store) -> None:
    """Nothing is wrong, and nothing is there that should not be."""
    result = verify(Dataset(store))
    assert (result["problems"], result["foreign"]) == ([], [])


class Trace(NamedTuple):
    """Something of a person in a file."""

    file: str
    what: str


def traces(root: Path, person: str, *, raw: bool = False) -> set[Trace]:
    """Every trace of a person in the files below a folder, hidden ones included: as they are, and as they are read."""
    needles = dict(_needles(person, raw=raw))
    return {
        Trace(path.relative_to(root).as_posix(), what)
        for path in root.rglob("*")
        if path.is_file()
        for content in (path.read_bytes(), *_decoded(path))
        for what, needle in needles.items()
        if needle in content
    }


def _needles(person: str, *, raw: bool) -> Iterator[tuple[str, bytes]]:
    """What is looked for: the name, ids, pictures and vectors."""
    yield "name", person.encode()
    yield "failed picture", face_of(person)
    yield "failed picture in a record", base64.b64encode(face_of(person))
    yield "label", f"voice {person[::-1]}".encode()
    takes = [take for takes in (SHARDS | FAILED).values() for take in takes if take[0] == person]
    for clip in (clip_of(*take) for take in takes):
        yield f"id {clip.source.uri}", clip.clip_id.encode()
        yield f"text {clip.source.uri}", clip.text.encode()
        columns = make_columns(clip.clip_id, NUM_FRAMES, clip.source.size_bytes, raw=raw)
        for column in ("crop", "thumb", "feature", "landmarks"):
            for row, value in enumerate(columns[column]):
                content = value if isinstance(value, bytes) else np.ascontiguousarray(value).tobytes()
                if content:
                    yield f"{column} {row} of {clip.source.uri}", content


def _decoded(path: Path) -> Iterator[bytes]:
    """The contents of a file without the compression of its format."""
    if path.suffix == ".parquet":
        file = pq.ParquetFile(path)
        yield json.dumps({str(key): str(value) for key, value in (file.metadata.metadata or {}).items()}).encode()
        for column in file.read().columns:
            yield from (buffer.to_pybytes() for chunk in column.chunks for buffer in _buffers(chunk))
    elif path.suffix == ".h5":
        with h5py.File(path) as file:
            yield from (item[()].tobytes() for item in file.values())
    elif path.suffix == ".png":
        yield np.asarray(Image.open(io.BytesIO(path.read_bytes()))).tobytes()


def _buffers(chunk: Any) -> Iterator[Any]:
    storage = getattr(chunk, "storage", chunk)
    return (buffer for buffer in storage.buffers() if buffer is not None)
