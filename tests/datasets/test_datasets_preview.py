import io

import numpy as np
import pytest
from PIL import Image, ImageDraw

from mien import schema
from mien.datasets import index
from mien.datasets.dataset import Dataset, Sample
from mien.datasets.preview import PreviewConfig, _describe_sample, contact_sheet, failure_gallery
from sample_datasets import failure_row, make_clip

RED, GREEN = (220, 38, 38), (22, 163, 74)


def pixels(png: bytes) -> np.ndarray:
    return np.asarray(Image.open(io.BytesIO(png)).convert("RGB"))


def num_of(image: np.ndarray, colour: tuple[int, int, int]) -> int:
    return int((image == colour).all(axis=-1).sum())


def test_the_sheet_has_a_row_per_sample_and_edges_by_status(finished: Dataset) -> None:
    two = pixels(contact_sheet(finished, PreviewConfig(max_clips=2)))
    three = pixels(contact_sheet(finished, PreviewConfig(max_clips=3)))
    assert three.shape[0] - two.shape[0] == (three.shape[0] - 44) // 3
    assert num_of(three, GREEN) > 100
    assert num_of(three, RED) > 100


def test_crops_are_shown(finished: Dataset) -> None:
    sheet = pixels(contact_sheet(finished, PreviewConfig()))
    tiles = sheet[44:, 300:]
    assert len(np.unique(tiles.reshape(-1, 3), axis=0)) > 500  # random pixels, shrunk


def test_the_gallery_shows_each_failure_and_its_reason() -> None:
    rows = [{**failure_row(make_clip(n)), "thumb": b"", "attempts": n + 1} for n in range(3)]
    table = index.rows_to_table(rows, schema.FAILURES)
    shorter = pixels(failure_gallery(table.slice(0, 1), PreviewConfig()))
    gallery = pixels(failure_gallery(table, PreviewConfig()))
    assert gallery.shape[0] > shorter.shape[0]
    assert num_of(gallery, RED) > 300


@pytest.mark.parametrize("length", [0, 5, 500])
def test_any_length_of_reason_is_drawn(length: int) -> None:
    row = {**failure_row(make_clip(0), "word " * length + "unbroken" * length), "thumb": b"", "attempts": 1}
    image = pixels(failure_gallery(index.rows_to_table([row], schema.FAILURES), PreviewConfig()))
    assert num_of(image, RED) > 100


def test_nothing_to_show_is_said() -> None:
    empty = index.rows_to_table([], schema.FAILURES)
    assert pixels(failure_gallery(empty, PreviewConfig())).min() < 128


def test_the_sheet_tells_from_where_and_by_what_rule_a_clip_is(finished: Dataset) -> None:
    sample = finished.sample(0)
    inks = []
    for reason in ("whole", "keyword smile"):
        image = Image.new("RGB", (300, 240), "white")
        _describe_sample(ImageDraw.Draw(image), 6, Sample(finished, {**sample.row, "reason": reason, "start_s": 9.5}))
        inks.append(int((np.asarray(image)[100:] < 128).sum()))
    assert inks[1] > inks[0] > 0, "one more line above the id"
