"""Every mode and kind of file against pixels that numpy knows, and what no one may train on."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from mien.datasets.image_pixels import CelebaConfig, PixelsConfig
from mien.errors import MediaError
from pictures import encoded, noise

AS_IS = PixelsConfig(filter="box")
"""With a size that an image has already, its pixels stay as they are."""
RGB = noise(8, 8)


def prepared(image: np.ndarray | Image.Image, kind: str = "PNG", **options: object) -> np.ndarray:
    return AS_IS.prepare(encoded(image, kind, **options), 8)


@pytest.mark.parametrize(("kind", "options"), [("PNG", {}), ("BMP", {}), ("TIFF", {}), ("WEBP", {"lossless": True})])
def test_what_keeps_every_pixel_gives_them_back(kind: str, options: dict[str, object]) -> None:
    np.testing.assert_array_equal(prepared(RGB, kind, **options), RGB)


def test_a_jpeg_is_near_its_pixels() -> None:
    smooth = np.full((8, 8, 3), (200, 100, 50), np.uint8)
    assert np.abs(prepared(smooth, "JPEG", quality=95).astype(int) - smooth).max() <= 3


def test_grey_of_one_eight_and_sixteen_bits_becomes_three_equal_channels() -> None:
    grey = RGB[..., 0]
    as_rgb = np.repeat(grey[..., None], 3, 2)
    np.testing.assert_array_equal(prepared(grey), as_rgb)
    for kind in ("PNG", "TIFF"):
        np.testing.assert_array_equal(prepared(grey.astype(np.uint16) * 257, kind), as_rgb)
    np.testing.assert_array_equal(prepared(Image.fromarray(grey > 127)), (as_rgb > 127) * np.uint8(255))


def test_cmyk_is_what_its_inks_leave_of_white() -> None:
    inks = np.concatenate([RGB, np.zeros((8, 8, 1), np.uint8)], 2)
    image = Image.frombytes("CMYK", (8, 8), inks.tobytes())
    np.testing.assert_array_equal(prepared(image, "TIFF"), 255 - RGB)
    assert prepared(image, "JPEG").shape == (8, 8, 3)


def test_what_is_transparent_lies_over_the_background() -> None:
    alpha = np.zeros((8, 8, 1), np.uint8)
    alpha[:4] = 255
    data = encoded(np.concatenate([RGB, alpha], 2))
    for background, value in (("black", 0), ("white", 255)):
        got = PixelsConfig(filter="box", background=background).prepare(data, 8)
        np.testing.assert_array_equal(got, np.where(alpha, RGB, np.uint8(value)))
    half = np.concatenate([RGB[..., :1], np.full((8, 8, 1), 128, np.uint8)], 2)
    expected = np.round(RGB[..., :1] * (128 / 255)) + np.zeros(3)
    assert np.abs(prepared(Image.frombytes("LA", (8, 8), half.tobytes())) - expected).max() <= 1


def test_a_palette_is_looked_up_and_its_transparent_entry_too() -> None:
    indices = np.arange(64, dtype=np.uint8).reshape(8, 8) % 4
    colours = np.array([[255, 0, 0], [0, 255, 0], [0, 0, 255], [9, 8, 7]], np.uint8)
    image = Image.frombytes("P", (8, 8), indices.tobytes())
    image.putpalette(colours.tobytes())
    np.testing.assert_array_equal(prepared(image), colours[indices])
    np.testing.assert_array_equal(prepared(image, transparency=1), (colours * [[1], [0], [1], [1]])[indices])


@pytest.mark.parametrize(("kind", "options"), [("GIF", {}), ("WEBP", {"lossless": True}), ("PNG", {}), ("TIFF", {})])
def test_of_several_frames_the_first_counts(kind: str, options: dict[str, object]) -> None:
    frames = [Image.new("RGB", (8, 8), colour) for colour in ("red", "blue")]
    got = prepared(frames[0], kind, save_all=True, append_images=frames[1:], **options)
    np.testing.assert_array_equal(got, np.full((8, 8, 3), (255, 0, 0)))


@pytest.mark.parametrize(("orientation", "turned"), [(1, RGB), (3, RGB[::-1, ::-1]), (6, np.rot90(RGB, -1))])
def test_an_image_is_turned_as_the_camera_was(orientation: int, turned: np.ndarray) -> None:
    exif = Image.Exif()
    exif[0x0112] = orientation
    np.testing.assert_array_equal(prepared(RGB, exif=exif), turned)


@pytest.mark.parametrize(("width", "height"), [(31, 20), (20, 31), (20, 20), (5, 9)])
@pytest.mark.parametrize("name", ["box", "bilinear", "bicubic", "lanczos"])
def test_the_middle_is_cut_and_resized_antialiased(width: int, height: int, name: str) -> None:
    pixels, side = noise(width, height), min(width, height)
    top, left = (height - side) // 2, (width - side) // 2
    square = Image.fromarray(np.ascontiguousarray(pixels[top : top + side, left : left + side]))
    expected = np.asarray(square.resize((8, 8), Image.Resampling[name.upper()]))
    np.testing.assert_array_equal(PixelsConfig(filter=name).prepare(encoded(pixels), 8), expected)


def test_the_crop_of_celeba_is_148_pixels_from_row_40_and_column_15() -> None:
    pixels, config = noise(178, 218), PixelsConfig(transform=CelebaConfig())
    expected = Image.fromarray(np.ascontiguousarray(pixels[40:188, 15:163])).resize((64, 64), Image.Resampling.BICUBIC)
    np.testing.assert_array_equal(config.prepare(encoded(pixels), 64), np.asarray(expected))
    for size in ((100, 100), (218, 178), (1024, 1024)):
        with pytest.raises(MediaError, match=f"is {size[0]} x {size[1]}, not 178 x 218"):
            config.prepare(encoded(noise(*size)), 64)


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def bomb(side: int) -> bytes:
    """A PNG that says it is so large, and has no pixels."""
    header = struct.pack(">IIBBBBB", side, side, 8, 2, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")) + chunk(b"IEND", b"")


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"", "is no image of JPEG, PNG"),
        (b"text", "is no image of JPEG, PNG"),
        (encoded(RGB, "PPM"), "is no image of JPEG, PNG"),
        (encoded(noise(64, 64))[:5000], "truncated"),
        (encoded(noise(64, 64), "JPEG")[:2000], "truncated"),
        (encoded(noise(64, 64), "WEBP")[:2000], "^[^:]"),
        (encoded(noise(64, 64), "TIFF")[:5000], "truncated|short"),
        (bomb(9000), "has 9000 x 9000 pixels, more than max_pixels=50000000"),
        (bomb(100_000), "exceeds limit"),
        (encoded(Image.fromarray(RGB[..., 0].astype(np.float32)), "TIFF"), "floating point"),
    ],
    ids=["empty", "text", "ppm", "png", "jpeg", "webp", "tiff", "large", "bomb", "float"],
)
def test_what_cannot_be_used_says_why_on_one_line(data: bytes, why: str) -> None:
    with pytest.raises(MediaError, match=why) as raised:
        PixelsConfig().prepare(data, 8)
    assert str(raised.value).isprintable()
    assert str(raised.value)


def test_the_largest_image_is_a_matter_of_the_config() -> None:
    config = PixelsConfig(max_pixels=64)
    assert config.prepare(encoded(RGB), 4).shape == (4, 4, 3)
    with pytest.raises(MediaError, match="has 9 x 8 pixels, more than max_pixels=64"):
        config.prepare(encoded(noise(9, 8)), 4)
