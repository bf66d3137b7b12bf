import random
from collections.abc import Iterator

import pytest

from mien.storage.emulator.listing import Listing, glob_pattern, page
from mien.storage.emulator.messages import Refusal, Request


def pages(names: list[str], **wanted: object) -> Iterator[tuple[list[str], list[str]]]:
    """All pages of a listing."""
    token: str | None = ""
    while token is not None:
        found = page(names, Listing(page_token=token, **wanted))  # type: ignore[arg-type]
        yield found.names, found.prefixes
        token = found.next_token


def by_definition(names: list[str], prefix: str, delimiter: str, start: str, end: str) -> tuple[list[str], list[str]]:
    """Items and prefixes as the manual defines them, name by name."""
    items, prefixes = [], set()
    for name in names:
        if name.startswith(prefix) and name >= start and (not end or name < end):
            rest = name[len(prefix) :]
            if delimiter and delimiter in rest:
                prefixes.add(prefix + rest[: rest.index(delimiter) + len(delimiter)])
            else:
                items.append(name)
    return items, sorted(prefixes)


@pytest.mark.parametrize("seed", range(30))
def test_pages_together_are_the_listing_whatever_their_size(seed: int) -> None:
    rng = random.Random(seed)
    alphabet = "ab/é\U0010ffff"
    names = sorted({"".join(rng.choices(alphabet, k=rng.randint(1, 5))) for _ in range(60)})
    prefix, start, end = ("".join(rng.choices(alphabet, k=rng.randint(0, 2))) for _ in range(3))
    delimiter = rng.choice(["", "/", "b/"])
    size = rng.randint(1, 7)
    found = list(pages(names, prefix=prefix, delimiter=delimiter, start_offset=start, end_offset=end, max_results=size))
    items, prefixes = by_definition(names, prefix, delimiter, start, end)
    assert [name for page, _ in found for name in page] == items
    assert [name for _, page in found for name in page] == prefixes
    assert all(len(some) + len(others) == size for some, others in found[:-1])


def test_the_last_page_that_is_full_has_no_token() -> None:
    assert page(["a", "b"], Listing(max_results=2)).next_token is None
    assert page([], Listing()) == ([], [], None)


def test_names_are_in_the_order_of_their_bytes() -> None:
    names = ["z", "é", "\uffff", "\U0001f600"]
    assert sorted(names) == sorted(names, key=str.encode)


def test_a_name_that_ends_with_the_delimiter_is_an_item_too_if_asked_for() -> None:
    names = ["d/", "d/x"]
    assert page(names, Listing(delimiter="/")) == ([], ["d/"], None)
    assert page(names, Listing(delimiter="/", include_trailing_delimiter=True)) == (["d/"], ["d/"], None)
    assert page(names, Listing(prefix="d/", delimiter="/")).names == ["d/", "d/x"]


@pytest.mark.parametrize(
    ("glob", "yes", "no"),
    [
        ("*.mp4", ["a.mp4", ".mp4"], ["d/a.mp4", "a.mp4x"]),
        ("**.mp4", ["a.mp4", "d/e/a.mp4"], ["a.avi"]),
        ("a?c", ["abc"], ["ac", "a/c"]),
        ("f00[0-2]", ["f001"], ["f003", "f00[0-2]"]),
        ("f[!a-c]", ["fd"], ["fa"]),
        ("{a,b*}/x", ["a/x", "bb/x"], ["c/x", "{a,b*}/x"]),
        ("a+(b)", ["a+(b)"], ["aab"]),
        ("[x", ["[x"], ["x"]),
    ],
)
def test_globs(glob: str, yes: list[str], no: list[str]) -> None:
    assert [name for name in yes + no if glob_pattern(glob).fullmatch(name)] == yes


def test_a_listing_is_read_from_a_query() -> None:
    query = {"prefix": ["p"], "delimiter": ["/"], "maxResults": ["5000"], "includeTrailingDelimiter": ["true"]}
    wanted = Listing(prefix="p", delimiter="/", max_results=1000, include_trailing_delimiter=True)
    assert Listing.of(Request("GET", "/", query)) == wanted
    assert Listing.of(Request("GET", "/", {"maxResults": ["0"]})).max_results == 1000


@pytest.mark.parametrize("query", [{"maxResults": ["-1"]}, {"maxResults": ["many"]}])
def test_a_bad_number_is_refused(query: dict[str, list[str]]) -> None:
    with pytest.raises(Refusal, match="maxResults"):
        Listing.of(Request("GET", "/", query))


@pytest.mark.parametrize("token", ["x", "é", "////"])
def test_a_foreign_token_is_refused(token: str) -> None:
    with pytest.raises(Refusal, match="pageToken"):
        page(["a"], Listing(page_token=token))
