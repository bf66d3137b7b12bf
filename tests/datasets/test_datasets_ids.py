import hashlib

import numpy as np
import pyarrow as pa

from mien.datasets import ids


def made_up(count: int, salt: str = "") -> list[str]:
    return [hashlib.sha256(f"{salt}{number}".encode()).hexdigest()[:32] for number in range(count)]


def test_ids_of_texts_and_of_columns_are_the_same() -> None:
    texts = made_up(50)
    column = pa.chunked_array([texts[:20], texts[20:20], texts[20:]], pa.string())
    assert [clip_id.decode() for clip_id in ids.from_column(column)] == texts
    assert (ids.from_column(column) == ids.from_texts(texts)).all()


def test_no_ids_are_no_ids() -> None:
    none = ids.gathered([])
    assert len(none) == 0
    assert none.dtype == ids.ID
    assert len(ids.from_column(pa.chunked_array([], pa.string()))) == 0
    assert len(ids.distinct(none)) == 0
    some = ids.from_texts(made_up(3))
    assert ids.are_among(some, none).tolist() == [False] * 3
    assert ids.Lookup(none).first(some).tolist() == [ids.NOWHERE] * 3
    assert ids.Lookup(none).all("0" * 32) == []


def test_distinct_is_a_sorted_set() -> None:
    texts = made_up(100)
    found = ids.distinct(ids.gathered([ids.from_texts(texts), ids.from_texts(texts[::3])]))
    assert [clip_id.decode() for clip_id in found] == sorted(set(texts))


def test_membership_is_that_of_a_set() -> None:
    known, asked = made_up(100), made_up(40) + made_up(40, "other")
    mask = ids.are_among(ids.from_texts(asked), ids.distinct(ids.from_texts(known)))
    assert mask.tolist() == [text in set(known) for text in asked]


def test_a_lookup_finds_the_first_and_all_places() -> None:
    texts = [*made_up(30), *made_up(10), *made_up(5, "x")]
    lookup = ids.Lookup(ids.from_texts(texts))
    asked = [*reversed(texts), *made_up(3, "strange"), "0" * 32, "f" * 32]
    expected = [texts.index(text) if text in texts else ids.NOWHERE for text in asked]
    assert lookup.first(ids.from_texts(asked)).tolist() == expected
    for text in asked:
        assert lookup.all(text) == [place for place, other in enumerate(texts) if other == text]
    assert [clip_id.decode() for clip_id in lookup.ids] == texts


def test_a_key_that_is_no_id_is_nowhere() -> None:
    lookup = ids.Lookup(ids.from_texts(made_up(5)))
    assert lookup.all(made_up(1)[0] + "0") == []
    assert lookup.all("") == []
    assert lookup.all("ä") == []


def test_bytes_per_clip_stay_small() -> None:
    found = ids.distinct(ids.from_texts(made_up(1000)))
    assert found.nbytes == 32 * 1000
    assert np.asarray(ids.Lookup(found).first(found)).tolist() == list(range(1000))
