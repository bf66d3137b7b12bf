"""FID's extractor: its file, its resize, its features; and every file that is not the one it takes."""

from pathlib import Path

import numpy as np
import pytest
import torch

from inception_weights import drawn, hollow, pin, saved
from mien import assets
from mien.errors import AssetError
from mien.features.inception import Inception, load
from mien.features.inception_network import inception
from pickle_bomb import WRAPPINGS

pytestmark = pytest.mark.usefixtures("no_network")


@pytest.fixture(scope="module")
def weights() -> bytes:
    return saved(drawn())


@pytest.fixture
def extractor(weights: bytes, monkeypatch: pytest.MonkeyPatch) -> Inception:
    pin(monkeypatch, weights)
    return Inception(weights)


def resized(frames: np.ndarray, size: int) -> np.ndarray:
    """Of [n, h, h, 3] in float64: a value is that between two pixels, at i · h / size."""
    place = np.arange(size) * frames.shape[1] / size
    low, share = np.floor(place).astype(int), place - np.floor(place)
    high = np.minimum(low + 1, frames.shape[1] - 1)
    pixels = frames.astype(np.float64)
    rows = pixels[:, low] * (1 - share)[:, None, None] + pixels[:, high] * share[:, None, None]
    return rows[:, :, low] * (1 - share)[:, None] + rows[:, :, high] * share[:, None]


@pytest.mark.parametrize("side_px", [48, 31])
def test_features_are_the_networks_of_resized_pixels_about_zero(
    extractor: Inception, frames: np.ndarray, side_px: int
) -> None:
    crops = np.ascontiguousarray(frames[:2, :side_px, :side_px])
    network = inception()
    network.load_state_dict({name: tensor for name, tensor in drawn().items() if not name.startswith("fc.")})
    pixels = torch.from_numpy((resized(crops, 299) - 128) / 128).permute(0, 3, 1, 2)
    with torch.inference_mode():
        expected = network.double().eval()(pixels).numpy()
    features = extractor(crops)
    assert features.dtype == np.float32
    spread = (expected[0] - expected[1]).std()
    assert spread > 0.02, "the frames must tell right from wrong"
    assert np.abs(features - expected).max() < 1e-2 * spread


def test_it_says_what_its_features_are_made_with(extractor: Inception) -> None:
    (sha256,) = assets.ASSETS["inception"].sums
    said = extractor.provenance
    assert said["sha256"] == sha256
    assert (said["kind"], said["model"], said["dtype"]) == ("inception", "inception-2015-12-05", "float32")
    assert (said["size_px"], said["resize"], said["dim"]) == (299, "bilinear of TensorFlow 1", 2048)


def test_any_number_of_frames_has_features(extractor: Inception, frames: np.ndarray) -> None:
    assert extractor(np.empty((0, 48, 48, 3), np.uint8)).shape == (0, *extractor.shape)
    locked = frames[:3].copy()
    locked.flags.writeable = False
    whole = extractor(locked)
    extractor.batch_size = 2
    np.testing.assert_allclose(extractor(locked), whole, rtol=1e-4, atol=1e-4)


@pytest.mark.parametrize(
    "wrong",
    [np.zeros((1, 48, 48, 3), np.float32), np.zeros((1, 3, 48, 48), np.uint8), np.zeros((1, 48, 32, 3), np.uint8)],
)
def test_other_arrays_than_square_rgb_are_a_programmer_s_error(extractor: Inception, wrong: np.ndarray) -> None:
    with pytest.raises(ValueError, match=r"frames must be square uint8 \[N, H, H, 3\]"):
        extractor(wrong)


def test_bytes_with_another_sum_are_not_read(weights: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(AssetError, match=r"sha256 is [0-9a-f]{64}, expected 6726825d.*`mien assets pull inception`"):
        Inception(weights)
    pin(monkeypatch, weights)
    with pytest.raises(AssetError, match="sha256 is"):
        Inception(weights[:-1])
    with pytest.raises(AssetError, match="sha256 is"):
        Inception(b"")


def test_a_whole_file_fits(monkeypatch: pytest.MonkeyPatch) -> None:
    content = saved(hollow())
    pin(monkeypatch, content)
    network = load(content)
    assert not network.training
    assert not any(parameter.requires_grad for parameter in network.parameters())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"fc.bias": None}, r"1 entries are not .* \(fc.bias is absent, expected \[1008\]\)"),
        ({"Mixed_7c.branch1x1.bn.num_batches_tracked": None}, r"num_batches_tracked is absent, expected \[\]"),
        ({"fc.weight": torch.zeros(1000, 2048)}, r"fc.weight is \[1000, 2048\], expected \[1008, 2048\]"),
        ({"AuxLogits.fc.bias": torch.zeros(9)}, r"AuxLogits.fc.bias is \[9\], expected no such entry"),
        ({"Conv2d_1a_3x3.conv.weight": torch.zeros(32, 3, 5, 5)}, r"is \[32, 3, 5, 5\], expected \[32, 3, 3, 3\]"),
        ({"fc.bias": None, "extra": torch.zeros(2)}, r"2 entries are not"),
    ],
)
def test_a_file_of_another_network_is_told_by_its_entries(
    monkeypatch: pytest.MonkeyPatch, changes: dict[str, torch.Tensor | None], message: str
) -> None:
    content = saved({name: tensor for name, tensor in {**hollow(), **changes}.items() if tensor is not None})
    pin(monkeypatch, content)
    with pytest.raises(AssetError, match=message):
        load(content)


@pytest.mark.parametrize("content", [saved([1, 2]), saved({"a": 3}), saved(hollow())[:-900], b"PK", b""])
def test_a_damaged_file_is_one_clear_error(monkeypatch: pytest.MonkeyPatch, content: bytes) -> None:
    pin(monkeypatch, content)
    with pytest.raises(AssetError, match=r"\.pth: (is damaged|56\d entries).*; run `mien assets pull inception`"):
        load(content)


@pytest.mark.parametrize("wrapping", ["pickle", "pt"])
def test_nothing_in_the_file_runs(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, wrapping: str) -> None:
    content = WRAPPINGS[wrapping](tmp_path / "unpickled")
    pin(monkeypatch, content)
    with pytest.raises(AssetError, match="holds more than tensors"):
        load(content)
    assert not (tmp_path / "unpickled").exists()


@pytest.mark.gpu
def test_the_gpu_gives_the_features_of_the_cpu(
    extractor: Inception, weights: bytes, frames: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected = extractor(frames)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    np.testing.assert_allclose(Inception(weights)(frames), expected, rtol=1e-3, atol=1e-3)
