"""Random numbers for each test: the same ones, whichever tests run beside it."""

import numpy as np
import pytest


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(7)
