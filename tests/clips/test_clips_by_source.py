from datetime import date

import pytest

from mien.clips.by_source import BySource, Unused


def test_values_come_back_by_source_in_the_order_of_the_rows() -> None:
    rows = BySource()
    assert rows.add("/b.mp4", 1, [1.5, None], "first") == 0
    assert rows.add("/a.mp4", 2, {"age": 30}) == 0
    assert rows.add("/b.mp4", 3, "later", "second") == 0
    assert (rows.of("/b.mp4"), rows.of("/a.mp4"), rows.of("/c.mp4")) == ([[1.5, None], "later"], [{"age": 30}], [])
    assert len(rows) == 3


def test_a_row_of_the_same_source_and_mark_is_not_added_and_the_first_is_named() -> None:
    rows = BySource()
    assert rows.add("/a.mp4", 4, 1, "x") == 0
    assert rows.add("/a.mp4", 9, 2, "x") == 4
    assert rows.of("/a.mp4") == [1]
    assert len(rows) == 1


def test_what_nobody_asked_for_is_told() -> None:
    rows = BySource()
    for number in range(10):
        rows.add(f"/{number}.mp4", number + 1, None)
    for number in (0, 3, 4):
        rows.of(f"/{number}.mp4")
    assert rows.num_unused == 7
    assert rows.unused(3) == [Unused(2, "/1.mp4"), Unused(3, "/2.mp4"), Unused(6, "/5.mp4")]
    assert len(rows.unused(100)) == 7


def test_values_of_a_table_need_not_be_json() -> None:
    rows = BySource()
    rows.add("/a.mp4", 1, {"day": date(2024, 5, 3)})
    assert rows.of("/a.mp4") == [{"day": "2024-05-03"}]


@pytest.mark.parametrize("name", ["/ä 'quoted'; DROP TABLE rows.mp4", '/"x".mp4', "/a\0b.mp4"])
def test_odd_names_are_names(name: str) -> None:
    rows = BySource()
    rows.add(name, 1, "here")
    assert rows.of(name) == ["here"]
    assert rows.of(name + " ") == []


def test_a_member_of_a_tar_is_found_by_its_name_and_by_its_place() -> None:
    rows = BySource()
    assert rows.add("/0.tar/x/a.mp4", 1, "by name") == 0
    assert rows.add("/0.tar#1536:x/a.mp4", 2, "by place") == 1
    assert rows.of("/0.tar#512:./x/a.mp4") == ["by name"]
