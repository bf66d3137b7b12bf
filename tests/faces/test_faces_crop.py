import io
import struct

import av
import numpy as np
import pytest

from mien.errors import DatasetError
from mien.faces.crop import crop, crop_box, decode_jpeg, encode_jpeg, thumbnail


def noise(height: int, width: int) -> np.ndarray:
    return np.random.default_rng(0).integers(0, 256, (height, width, 3), np.uint8)


def ramp(height: int, width: int, step: int = 1) -> np.ndarray:
    """Red grows by `step` per px to the right, green downwards."""
    image = np.zeros((height, width, 3), np.uint8)
    image[..., 0] = step * np.arange(width)
    image[..., 1] = step * np.arange(height)[:, None]
    return image


def read_by_ffmpeg(jpeg: bytes) -> tuple[np.ndarray, str]:
    with av.open(io.BytesIO(jpeg)) as container:
        frame = next(container.decode(video=0))
        return frame.to_ndarray(format="rgb24"), frame.format.name


def psnr(a: np.ndarray, b: np.ndarray) -> float:
    return float(10 * np.log10(255**2 / np.mean((a.astype(float) - b) ** 2)))


def test_crop_box_is_a_square_around_the_middle() -> None:
    assert crop_box((100, 200, 140, 260), 0.25) == (120 - 45, 230 - 45, 120 + 45, 230 + 45)


def test_a_crop_at_its_own_size_is_the_pixels_themselves() -> None:
    image = noise(80, 90)
    cut, padded = crop(image, (20, 10, 52, 42), 32)
    np.testing.assert_array_equal(cut, image[10:42, 20:52])
    assert padded == 0


@pytest.mark.parametrize("box", [(20.0, 30.0, 40.0, 50.0), (10.3, 11.7, 50.9, 52.3), (4.5, 5.25, 58.0, 58.75)])
@pytest.mark.parametrize("size_px", [16, 23, 48, 518])
def test_a_crop_shows_each_place_where_it_is(box: tuple[float, float, float, float], size_px: int) -> None:
    cut, _ = crop(ramp(64, 64, step=4), box, size_px)
    steps = (np.arange(size_px) + 0.5) / size_px
    # Half a grey level for each rounding, of which there are two when shrinking, and 1/32 px for the warp's table.
    tolerance_px = (0.5 if size_px >= box[2] - box[0] else 1.0) / 4 + 1 / 32
    for axis, start, stop in ((1, box[0], box[2]), (0, box[1], box[3])):
        shown = cut[..., 1 - axis].astype(float) / 4 + 0.5
        expected = np.expand_dims(start + steps * (stop - start), 1 - axis)
        assert np.abs(shown - expected).max() <= tolerance_px


@pytest.mark.parametrize("factor", [2, 3, 5])
def test_shrinking_averages_areas(factor: int) -> None:
    size_px = 24
    image = noise(150, 150)
    cut, _ = crop(image, (7, 9, 7 + size_px * factor, 9 + size_px * factor), size_px)
    part = image[9 : 9 + size_px * factor, 7 : 7 + size_px * factor].astype(float)
    expected = part.reshape(size_px, factor, size_px, factor, 3).mean((1, 3))
    assert np.abs(cut - expected).max() <= 0.51


def test_outside_the_frame_the_border_repeats_and_its_share_is_told() -> None:
    image = noise(40, 60)
    cut, padded = crop(image, (-10, -20, 40, 30), 50)
    np.testing.assert_array_equal(cut, np.pad(image, ((20, 0), (10, 0), (0, 0)), mode="edge")[:50, :50])
    assert padded == pytest.approx(1 - 40 * 30 / 50**2)
    assert crop(image, (100, 100, 150, 150), 50)[1] == 1


@pytest.mark.parametrize("box", [(0, 0, 0, 0), (0, 0, 10, 20), (10, 10, 5, 5), (float("nan"),) * 4])
def test_a_box_that_would_stretch_the_face_is_refused(box: tuple[float, float, float, float]) -> None:
    with pytest.raises(ValueError, match="must be a square"):
        crop(noise(30, 30), box, 16)


def test_jpeg_keeps_colours_in_their_order_and_full_resolution() -> None:
    image = np.zeros((64, 64, 3), np.uint8)
    image[:, :32], image[:, 32:] = (250, 20, 60), (10, 200, 90)
    jpeg = encode_jpeg(image, 95)
    outside, pixel_format = read_by_ffmpeg(jpeg)
    assert pixel_format == "yuvj444p"
    assert np.abs(outside.astype(int) - image).max() <= 4
    assert np.abs(decode_jpeg(jpeg).astype(int) - image).max() <= 4


def test_jpeg_of_a_smooth_image_is_close() -> None:
    image = ramp(200, 200)
    assert psnr(decode_jpeg(encode_jpeg(image, 95)), image) > 45


def test_what_is_not_a_whole_jpeg_is_refused() -> None:
    import cv2

    jpeg = encode_jpeg(noise(32, 32), 90)
    png = cv2.imencode(".png", noise(8, 8))[1].tobytes()
    for data in (b"", b"\xff\xd8\xff\xff\xd9", jpeg[:-50], png):
        with pytest.raises(DatasetError, match="not a whole JPEG"):
            decode_jpeg(data)


@pytest.mark.parametrize("side_px", [0, 4097, 65_500])
def test_a_jpeg_that_claims_to_be_huge_or_hides_its_size_is_refused(side_px: int) -> None:
    jpeg = encode_jpeg(noise(40, 40), 90)
    at = jpeg.index(b"\xff\xc0")
    assert jpeg[at + 5 : at + 9] == struct.pack(">HH", 40, 40)
    if side_px:
        claiming = jpeg[: at + 7] + struct.pack(">H", side_px) + jpeg[at + 9 :]
    else:
        claiming = jpeg[:at] + b"\xff" + jpeg[at:]  # a fill byte, which readers pass over
    with pytest.raises(DatasetError, match="not a whole JPEG of a crop"):
        decode_jpeg(claiming)


def test_the_largest_crop_is_read() -> None:
    assert decode_jpeg(encode_jpeg(np.zeros((2048, 2048, 3), np.uint8), 50)).shape == (2048, 2048, 3)


def test_thumbnails_keep_the_aspect_and_never_enlarge() -> None:
    assert decode_jpeg(thumbnail(noise(90, 160), 80, 80)).shape == (45, 80, 3)
    assert decode_jpeg(thumbnail(noise(900, 10), 90, 80)).shape == (90, 1, 3)
    assert decode_jpeg(thumbnail(noise(30, 20), 80, 80)).shape == (30, 20, 3)
    smooth = ramp(128, 128)
    expected = smooth.reshape(32, 4, 32, 4, 3).mean((1, 3))
    assert psnr(decode_jpeg(thumbnail(smooth, 32, 95)), expected) > 40
