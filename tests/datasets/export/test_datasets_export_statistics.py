"""Against numpy over all rows at once."""

import numpy as np
import pytest

from mien.datasets.export.statistics import Statistics, together


@pytest.mark.parametrize("shape", [(1,), (3,), (4, 4)])
def test_parts_together_are_the_whole(shape: tuple[int, ...]) -> None:
    rng = np.random.default_rng(3)
    rows = 1000 + rng.normal(size=(100, *shape))  # a large mean beside a small deviation
    rows[17] = np.nan
    parts = []
    for part in np.array_split(rows, [1, 1, 40, 97]):
        statistics = Statistics(shape)
        for few in np.array_split(part, 3):
            statistics.add(few)
        parts.append({"a": statistics.to_json(), "nothing": Statistics(shape).to_json()})
    found, finite = together(parts), np.delete(rows, 17, axis=0)
    assert found.keys() == {"a"}
    assert found["a"]["count"] == [99]
    for name in ("min", "max", "mean", "std"):
        assert np.allclose(found["a"][name], getattr(finite, name)(axis=0), rtol=1e-9), name
