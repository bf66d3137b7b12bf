import numpy as np
import pytest

from mien.features.extractor import Extractor, FakeExtractor, check_frames


def test_the_fake_is_an_extractor_of_pixel_statistics() -> None:
    fake: Extractor = FakeExtractor()
    frames = np.zeros((2, 4, 4, 3), np.uint8)
    frames[1, :2, :, 0] = 255
    features = fake(frames)
    assert (fake.dim, fake.shape, features.shape, features.dtype) == (6, (6,), (2, 6), np.float32)
    np.testing.assert_allclose(features[0], 0)
    np.testing.assert_allclose(features[1], [0.5, 0, 0, 0.5, 0, 0])
    assert fake(frames[:0]).shape == (0, 6)
    assert fake.provenance["kind"] == "fake"


def test_frames_are_square_colours_of_eight_bits() -> None:
    check_frames(np.zeros((0, 4, 4, 3), np.uint8))
    for wrong in (np.zeros((2, 4, 4, 3), np.int16), np.zeros((2, 4, 5, 3), np.uint8), np.zeros((4, 4, 3), np.uint8)):
        with pytest.raises(ValueError, match="frames must be square uint8"):
            check_frames(wrong)
