"""Places have labels that tell them apart."""

from typing import Any

import pytest

from mien.analysis.labelled import Places
from mien.config import Config
from mien.errors import ConfigError


class Some(Config):
    """Holds places."""

    runs: Places
    """Of runs."""


def labels(given: Any) -> dict[str, str]:
    return dict(Some.parse({"runs": given}, "test").runs)


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ("/runs/joint/", {"joint": "/runs/joint/"}),
        (["/runs/a", "gs://b/runs/c"], {"a": "/runs/a", "c": "gs://b/runs/c"}),
        (["/x/a/joint", "/x/b/joint"], {"a/joint": "/x/a/joint", "b/joint": "/x/b/joint"}),
        (["/x/a/evaluation", "/x/b"], {"a": "/x/a/evaluation", "b": "/x/b"}),
        (["joint", "/x/joint"], {"joint": "joint", "x/joint": "/x/joint"}),
        ({"first": "/x/a", "second": "/x/a"}, {"first": "/x/a", "second": "/x/a"}),
        ([], {}),
    ],
)
def test_labels_are_the_fewest_parts_that_differ(given: Any, expected: dict[str, str]) -> None:
    found = labels(given)
    assert found == expected
    assert labels(found) == expected


def test_long_names_keep_their_ends() -> None:
    assert [*labels("/runs/" + "x" * 80 + "_3")] == ["x" * 58 + "_3"]
    alike = ["/a/" + "x" * 70, "/b/" + "x" * 70]
    assert [*labels(alike)] == alike


@pytest.mark.parametrize(
    ("given", "words"),
    [
        (["/a", "/a"], "a place stands twice"),
        ([1], "runs"),
        ({"": "/a"}, "at least 1 character"),
        ({"a": ""}, "at least 1 character"),
        ([f"/{number}" for number in range(15)], "at most 14 items"),
    ],
)
def test_what_names_no_places_is_refused(given: Any, words: str) -> None:
    with pytest.raises(ConfigError, match=words):
        labels(given)
