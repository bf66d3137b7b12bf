"""The sides follow from names alone."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from buckets import BUCKET
from mien.datasets.image_split import ImageSplitConfig, divide
from mien.datasets.split import HELD_OUT, LEFT_OUT, TRAIN
from mien.errors import ConfigError
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore

NAMES = [f"s{number % 5}/{number:03}.jpg" for number in range(50)]


def listed(path: Path, text: str) -> ImageSplitConfig:
    path.joinpath("list.txt").write_text(text)
    return ImageSplitConfig(by="list", partition_file=str(path / "list.txt"))


def test_the_share_of_images_with_the_lowest_sums_is_held_out() -> None:
    parts = divide(NAMES, ImageSplitConfig(held_out=0.2, seed=3))
    lowest = sorted(NAMES, key=lambda name: hashlib.sha256(f"3:{name}".encode()).hexdigest())[:10]
    assert parts.dtype == np.uint8
    assert [name for name, part in zip(NAMES, parts, strict=True) if part == HELD_OUT] == sorted(
        lowest, key=NAMES.index
    )


def test_the_side_of_an_image_depends_on_name_and_seed_alone() -> None:
    config = ImageSplitConfig(held_out=0.2)
    parts = dict(zip(NAMES, divide(NAMES, config), strict=True))
    back = NAMES[::-1]
    assert dict(zip(back, divide(back, config), strict=True)) == parts
    assert divide(NAMES, ImageSplitConfig(held_out=0.2, seed=1)).tolist() != [*parts.values()]


def test_a_folder_is_on_one_side() -> None:
    names = [*NAMES, "s0/deep/1.jpg", "shard-0.tar/s0/x.jpg", "shard-1.tar/s0/y.jpg"]
    parts = divide(names, ImageSplitConfig(by="folder", held_out=0.2))
    sides: list[set[int]] = []
    for who in range(5):
        sides.append({int(part) for name, part in zip(names, parts, strict=True) if f"s{who}/" in f"/{name}"})
    assert sorted(map(sorted, sides)) == [[TRAIN]] * 4 + [[HELD_OUT]]


@pytest.mark.parametrize("name", ["a.jpg", "shard.tar/a.jpg", "table.parquet/7"])
def test_an_image_in_no_folder_is_told(name: str) -> None:
    with pytest.raises(ConfigError, match=f"split.by=folder: {name} lies in no folder below the place; move it"):
        divide([*NAMES, name], ImageSplitConfig(by="folder"))


def test_one_image_or_one_folder_has_no_two_sides() -> None:
    with pytest.raises(ConfigError, match=r"split\.by=name.*: no sample of 1 is held out; there must be two at least"):
        divide(["a.jpg"], ImageSplitConfig())
    with pytest.raises(ConfigError, match=r"split\.by=folder.*: no sample of 2 is held out"):
        divide(["a/1.jpg", "a/2.jpg"], ImageSplitConfig(by="folder"))


def test_a_list_says_the_side_by_path_or_by_last_part(tmp_path: Path) -> None:
    config = listed(tmp_path, "1.jpg 0\nimg/2.jpg 1\n\n3.jpg  2\n with space.jpg 0\r\n")
    parts = divide(["img/1.jpg", "img/2.jpg", "img/3.jpg", "img/with space.jpg"], config)
    assert parts.tolist() == [TRAIN, LEFT_OUT, HELD_OUT, TRAIN]
    exact = listed(tmp_path, "1.jpg 0\nimg/1.jpg 2\n")
    assert divide(["1.jpg", "img/1.jpg"], exact).tolist() == [TRAIN, HELD_OUT]


def test_a_list_may_lie_in_a_bucket(emulator: Emulator) -> None:
    GcsStore(f"gs://{BUCKET}/lists").replace("list.txt", b"1.jpg 0\n2.jpg 2\n")
    config = ImageSplitConfig(by="list", partition_file=f"gs://{BUCKET}/lists/list.txt")
    assert divide(["1.jpg", "2.jpg"], config).tolist() == [TRAIN, HELD_OUT]


@pytest.mark.parametrize(
    ("text", "why"),
    [
        ("1.jpg 0\n9.jpg 2\n", r"list\.txt: line 2: 9\.jpg is not among the images"),
        ("1.jpg 0\n1.jpg 2\n", r"list\.txt: line 2: 1\.jpg stands there twice"),
        ("same.jpg 0\n", r"line 1: same\.jpg is the name of several images"),
        ("1.jpg 0\n", r"lists no number for a/same\.jpg and 1 others; add 1 to leave"),
        ("1.jpg 0\na/same.jpg 0\nb/same.jpg 1\n", r"partition_file=.*: no sample of 3 is held out; give another list"),
        ("1.jpg 2\na/same.jpg 2\nb/same.jpg 1\n", "no sample of 3 is left to train with"),
        ("image_id,partition\n", "line 1: is no `name number` with 0, 1 or 2, but 'image_id,partition'"),
        ("1.jpg 3\n", "line 1: is no `name number`"),
        ("0\n", "line 1: is no `name number`"),
    ],
)
def test_a_list_that_does_not_match_is_told_by_its_line(tmp_path: Path, text: str, why: str) -> None:
    with pytest.raises(ConfigError, match=why):
        divide(["1.jpg", "a/same.jpg", "b/same.jpg"], listed(tmp_path, text))


def test_a_list_that_cannot_be_read_is_told(tmp_path: Path) -> None:
    config = listed(tmp_path, "")
    (tmp_path / "list.txt").write_bytes(b"\xff 0\n")
    with pytest.raises(ConfigError, match=r"partition_file: .*list\.txt: is not UTF-8 text; give another"):
        divide(NAMES, config)
    (tmp_path / "list.txt").unlink()
    with pytest.raises(ConfigError, match=r"partition_file: .*list\.txt: does not exist; give another"):
        divide(NAMES, config)


@pytest.mark.parametrize("values", [{"by": "list"}, {"by": "name", "partition_file": "list.txt"}])
def test_a_list_and_its_rule_go_together(values: dict[str, str]) -> None:
    with pytest.raises(ConfigError, match="by=list and partition_file go together"):
        ImageSplitConfig.parse(values, "test")
