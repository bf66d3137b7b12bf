"""Images from their files to samples: decoded once per machine, damaged ones masked and told."""

import logging
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from buckets import BUCKET
from mien.datasets.image_files import CHUNK_IMAGES
from mien.datasets.image_pixels import CelebaConfig
from mien.datasets.image_split import ImageSplitConfig
from mien.datasets.images import ImagesConfig, ImageSet, open_images
from mien.datasets.split import HELD_OUT, TRAIN
from mien.errors import DatasetError, PreflightError
from mien.storage.emulator import Emulator
from mien.storage.gcs import GcsStore
from pictures import encoded, noise, png
from tars import pack

NUM = 6


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """Six images of 8 x 8 pixels in two folders."""
    for number in range(NUM):
        path = tmp_path / "images" / f"s{number % 2}" / f"{number}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(png(number))
    return tmp_path / "images"


def opened(place: Path | str, size_px: int = 8, max_bytes: float = 1e9, **values: object) -> ImageSet:
    folder = Path(place).parent / "prepared" if isinstance(place, Path) else Path(values.pop("folder"))  # type: ignore[arg-type]
    return open_images(str(place), ImagesConfig.model_validate(values), size_px, folder, max_bytes)


def all_of(images: ImageSet) -> np.ndarray:
    return np.stack([images.read(number)[0] for number in range(len(images.parts))])


def expected(numbers: list[int]) -> np.ndarray:
    return np.stack([noise(8, 8, number) for number in numbers])


def arrays(place: Path) -> dict[str, int]:
    return {path.name: path.stat().st_ino for path in (place.parent / "prepared").glob("*.npy")}


def test_samples_are_numbered_by_name_and_read_by_number(place: Path) -> None:
    images = opened(place, split={"held_out": 0.4})
    assert [images.name(number) for number in range(NUM)] == [f"s{n % 2}/{n}.png" for n in (0, 2, 4, 1, 3, 5)]
    np.testing.assert_array_equal(all_of(images), expected([0, 2, 4, 1, 3, 5]))
    assert images.read(1)[1] is True
    assert (images.parts.dtype, images.shards.dtype) == (np.uint8, np.int64)
    assert np.bincount(images.parts).tolist() == [4, 2]
    assert images.shards.tolist() == [0] * NUM


def test_tars_tables_and_buckets_give_the_same_samples(place: Path, tmp_path: Path, emulator: Emulator) -> None:
    names = [f"{number}.png" for number in range(NUM)]
    data = [png(number) for number in range(NUM)]
    tar = pack(tmp_path / "x.tar", dict(zip(names, data, strict=True)))
    table = tmp_path / "x.parquet"
    pq.write_table(pa.table({"image": [{"bytes": one, "path": ""} for one in data]}), table)
    store = GcsStore(f"gs://{BUCKET}/samples")
    for name, one in zip(names, data, strict=True):
        store.replace(name, one)
    for where in (str(tar), str(table), store.uri):
        images = opened(where, folder=tmp_path / "prepared")
        np.testing.assert_array_equal(all_of(images), expected([*range(NUM)]))


def test_the_sides_are_those_of_the_rule_on_every_machine(place: Path, tmp_path: Path) -> None:
    copy = tmp_path / "other machine" / "images"
    for path in sorted(place.rglob("*.png"), reverse=True):
        target = copy / path.relative_to(place)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(path.read_bytes())
    for by in ("name", "folder"):
        one, other = (opened(where, split={"by": by, "held_out": 0.3}) for where in (place, copy))
        assert one.parts.tolist() == other.parts.tolist()
    assert {int(part) for part in one.parts[:3]} | {2} != {int(part) for part in one.parts[3:]} | {2}


def test_celeba_is_read_by_its_list_and_its_crop(tmp_path: Path) -> None:
    place = tmp_path / "img_align_celeba"
    place.mkdir()
    for number in (1, 2, 3):
        (place / f"{number:06}.jpg").write_bytes(encoded(noise(178, 218, number), "JPEG", quality=95))
    (tmp_path / "list_eval_partition.txt").write_text("000001.jpg 0\n000002.jpg 1\n000003.jpg 2\n")
    split = ImageSplitConfig(by="list", partition_file=str(tmp_path / "list_eval_partition.txt"))
    images = opened(place, 64, transform=CelebaConfig(), split=split)
    assert images.parts.tolist() == [TRAIN, 2, HELD_OUT]
    with Image.open(place / "000003.jpg") as image:
        square = Image.fromarray(np.asarray(image)[40:188, 15:163])
    np.testing.assert_array_equal(images.read(2)[0], np.asarray(square.resize((64, 64), Image.Resampling.BICUBIC)))


def test_an_epoch_decodes_nothing_again(place: Path) -> None:
    before = all_of(opened(place))
    made = arrays(place)
    assert len(made) == 1
    np.testing.assert_array_equal(all_of(opened(place, split={"seed": 1}, max_failed=0.5)), before)
    assert arrays(place) == made, "neither the split nor what is tolerated changes a pixel"


def test_whatever_leads_to_other_pixels_is_made_anew(place: Path) -> None:
    kept = list[ImageSet]()
    for number, values in enumerate(({}, {"filter": "box"}, {"background": "white"}, {"max_pixels": 65}), 1):
        kept.append(opened(place, **values))
        all_of(kept[-1])
        assert len(arrays(place)) == number
    opened(place, 4).read(0)
    assert len(arrays(place)) == 5
    (place / "s0" / "0.png").write_bytes(png(99))
    np.testing.assert_array_equal(opened(place).read(0)[0], noise(8, 8, 99))


def test_a_folder_too_small_for_all_is_told_and_kept_within_its_size(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    place = tmp_path / "images"
    place.mkdir()
    for number in range(3):
        pack(place / f"{number}.tar", {"1.png": png(number), "2.png": png(number + 10)})
    images = opened(place, max_bytes=1000)
    assert "images take 0.0 GB at 8 px, more than data.cache_gb allows (1e-06)" in caplog.text
    np.testing.assert_array_equal(all_of(images), expected([0, 10, 1, 11, 2, 12]))
    assert images.shards.tolist() == [0, 0, 1, 1, 2, 2]
    assert len(arrays(place)) == 1
    np.testing.assert_array_equal(all_of(images), expected([0, 10, 1, 11, 2, 12]))


def test_a_damaged_image_is_black_takes_no_part_and_is_told_once(place: Path, caplog: pytest.LogCaptureFixture) -> None:
    (place / "s0" / "2.png").write_bytes(encoded(noise(64, 64))[:5000])
    with caplog.at_level(logging.WARNING):
        for _ in range(2):
            images = opened(place)
            pixels, counts = images.read(1)
            assert not pixels.any()
            assert counts is False
            np.testing.assert_array_equal(images.read(2)[0], noise(8, 8, 4))
    assert [record.message.partition("images: ")[2] for record in caplog.records] == [
        "1 of 6 neighbouring images cannot be used; the first: s0/2.png image file is truncated; they take no part"
    ] * 2, "once for each that opens them, also where the pixels were there already"


@pytest.mark.parametrize(("share", "num_damaged"), [(0, 1), (0.01, 2), (0.34, 3)])
def test_more_damaged_images_than_tolerated_end_the_run(place: Path, share: float, num_damaged: int) -> None:
    for number in range(num_damaged):
        (place / "s0" / f"{2 * number}.png").write_bytes(b"no image")
    images = opened(place, max_failed=share)
    told = rf"{num_damaged} of 6 .* the first: s0/0\.png is no image of JPEG, PNG.*raise data\.max_failed={share:g}"
    for number in (0, 5):
        with pytest.raises(DatasetError, match=told):
            images.read(number)
    assert opened(place, max_failed=0.5).read(5)[1] is True


def test_an_image_that_celeba_cannot_have_counts_as_damaged(tmp_path: Path) -> None:
    place = tmp_path / "images"
    place.mkdir()
    for number, size in enumerate(((178, 218), (100, 100))):
        (place / f"{number}.png").write_bytes(encoded(noise(*size)))
    images = opened(place, transform={"kind": "celeba"})
    assert [images.read(number)[1] for number in range(2)] == [True, False]


def test_threads_that_read_at_once_get_their_own_pixels(tmp_path: Path) -> None:
    members = {f"{number}.png": png(number) for number in range(CHUNK_IMAGES + 50)}
    place = pack(tmp_path / "x.tar", members)
    images, wrong = opened(place), list[int]()

    def read(first: int) -> None:
        for number in range(first, CHUNK_IMAGES + 50, 97):
            if not np.array_equal(images.read(number)[0], noise(8, 8, number)):
                wrong.append(number)

    threads = [threading.Thread(target=read, args=(first,)) for first in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert images.shards.tolist() == [0] * CHUNK_IMAGES + [1] * 50


READ = """
import sys
from pathlib import Path
from mien.datasets.images import ImagesConfig, open_images
images = open_images(sys.argv[1], ImagesConfig(), 8, Path(sys.argv[2]), 1.0)
sys.stdin.readline()
print([int(images.read(number)[0].sum()) for number in (0, 2, 4) * 3])
"""


def test_two_processes_share_one_folder(tmp_path: Path) -> None:
    place, folder = tmp_path / "images", tmp_path / "prepared"
    place.mkdir()
    for number in range(3):
        pack(place / f"{number}.tar", {"1.png": png(number), "2.png": png(number + 10)})
    words = [sys.executable, "-c", READ, str(place), str(folder)]
    pipe = subprocess.PIPE
    both = [subprocess.Popen(words, stdin=pipe, stdout=pipe, stderr=pipe, text=True) for _ in range(2)]
    told = [process.communicate("go\n") for process in both]
    sums = [int(noise(8, 8, number).sum()) for number in range(3)] * 3
    assert [out.strip() for out, _ in told] == [str(sums)] * 2, told
    assert len([*folder.glob("*.npy")]) == 1
    assert not [*folder.glob("*.draft")]


def test_a_place_without_images_is_refused(tmp_path: Path) -> None:
    with pytest.raises(PreflightError, match="holds no image"):
        opened(tmp_path)
