"""Parquet with an Image feature, read back by pyarrow and pandas."""

import io
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
import yaml
from PIL import Image

from export_datasets import NO_FACE, pictures
from mien.datasets.dataset import Dataset

Export = Callable[..., tuple[Path, dict[str, Any]]]


def test_a_row_is_a_frame_with_its_picture(coloured: Dataset, export_to: Export) -> None:
    folder, record = export_to(coloured, "hf")
    (path,) = (folder / "data").iterdir()
    frame = pd.read_parquet(path)
    assert len(frame) == record["num_frames"] == sum(map(len, coloured))
    of_second = frame[frame.clip_id == coloured.clip_ids[1]].reset_index()
    assert of_second.image[NO_FACE] is None
    assert of_second.face.tolist() == [1, 2, 0, 1, 1, 1, 1, 1, 1]
    assert of_second.frame.tolist() == list(range(9))
    assert of_second.subject.unique().tolist() == ["s1"]
    for row in (0, 5):
        shown = np.array(Image.open(io.BytesIO(of_second.image[row]["bytes"])))
        assert np.abs(shown.astype(int) - pictures(9, 1)[row]).mean() < 3
    landmarks = np.stack([np.stack(rows) for rows in of_second.landmarks])
    assert np.array_equal(landmarks, coloured.sample(1)["landmarks"], equal_nan=True)
    assert np.array_equal(np.stack(of_second.box), coloured.sample(1)["box"], equal_nan=True)


def test_the_file_and_the_card_say_what_the_columns_are(one: Dataset, export_to: Export) -> None:
    folder, _ = export_to(one, "hf")
    (path,) = (folder / "data").iterdir()
    schema = pq.read_schema(path)
    features = json.loads(schema.metadata[b"huggingface"])["info"]["features"]
    assert features.keys() == set(schema.names)
    assert features["image"] == {"_type": "Image"}
    assert features["landmarks"] == {"shape": [478, 3], "dtype": "float32", "_type": "Array2D"}
    assert str(schema.field("image").type) == "struct<bytes: binary, path: string>"
    _, head, body = (folder / "README.md").read_text().split("---\n", 2)
    header = yaml.safe_load(head)
    assert header["license"] == "CC-BY-4.0"
    assert header["configs"][0]["data_files"] == [{"split": "train", "path": "data/train-*.parquet"}]
    told = {entry["name"]: entry for entry in header["dataset_info"]["features"]}
    assert list(told) == schema.names
    assert told["landmarks"]["dtype"] == {"array2_d": {"shape": [478, 3], "dtype": "float32"}}
    assert "Consent: signed on paper" in body


def test_files_are_closed_when_they_are_large(one: Dataset, export_to: Export) -> None:
    folder, _ = export_to(one, "hf", "shard_mb=0.01")
    names = sorted(path.name for path in (folder / "data").iterdir())
    assert names == [f"train-00000-{number:03d}.parquet" for number in range(3)]
    assert pq.ParquetDataset(folder / "data").read().num_rows == sum(map(len, one))
