"""What is known of the people in the videos, and which videos are left out for it."""

import json
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from mien.clips.annotations import AnnotationsConfig, Annotator
from mien.clips.clip import Source
from mien.errors import ConfigError

ROOT = "/videos"


def source(name: str, subject: str = "", labels: str = "") -> Source:
    return Source(f"{ROOT}/{name}.mp4", 1000, 7, subject, labels)


def annotated(sources: list[Source], **values: Any) -> tuple[list[Source], dict[str, int]]:
    annotator = Annotator(AnnotationsConfig.parse(values, "test"), ROOT)
    found = [each for each in map(annotator, sources) if each is not None]
    annotator.finish()
    return found, dict(annotator.left_out)


def test_without_annotations_a_source_stays_as_it_is() -> None:
    sources = [source("a", "s1"), source("b")]
    assert annotated(sources) == (sources, {})


def test_a_table_is_joined_on_the_source(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("source,subject,age,gender,skin_type,duration_s\nb.mp4,12,34,f,3,8.5\n/videos/a.mp4,,,m,,\n")
    found, _ = annotated([source("a", "s1", '{"set":"x"}'), source("b"), source("c")], path=str(path))
    assert [each.subject for each in found] == ["s1", "12", ""]
    assert [json.loads(each.labels or "{}") for each in found] == [
        {"set": "x", "gender": "m"},
        {"age": "34", "gender": "f", "skin_type": "3"},
        {},
    ]
    assert [each.duration_s for each in found] == [None, 8.5, None]


def test_parquet_gives_the_same_and_numbers_stay_numbers(tmp_path: Path) -> None:
    rows = [{"source": "b.mp4", "subject": 12.0, "age": 34}, {"source": "a.mp4", "subject": None, "age": None}]
    pq.write_table(pa.Table.from_pylist(rows), tmp_path / "people.parquet")
    found, _ = annotated([source("b")], path=str(tmp_path / "people.parquet"))
    assert (found[0].subject, json.loads(found[0].labels)) == ("12", {"age": 34})


def test_dark_files_of_a_corpus_are_left_out_unless_they_are_wanted(tmp_path: Path) -> None:
    about = {"files": ["a.mp4", "b.mp4"], "dark_files": ["b.mp4"], "label": {"age": "34", "skin-type": "3"}}
    path = tmp_path / "corpus.json"
    path.write_text(json.dumps({"12": about}))
    found, left_out = annotated([source("a"), source("b")], path=str(path))
    assert [each.uri for each in found] == [source("a").uri]
    assert json.loads(found[0].labels) == {"age": "34", "is_dark": False, "skin_type": "3"}
    assert list(left_out.values()) == [1]
    assert "annotations.skip_dark" in next(iter(left_out))
    found, left_out = annotated([source("a"), source("b")], path=str(path), skip_dark=False)
    assert ([json.loads(each.labels)["is_dark"] for each in found], left_out) == ([False, True], {})


@pytest.mark.parametrize("flag", ["true", "1", "yes", "True"])
def test_a_flag_is_read_as_people_write_it(flag: str) -> None:
    assert annotated([source("a", labels=json.dumps({"is_dark": flag}))])[0] == []
    for other in ("false", "0", "no", "", "False"):
        assert len(annotated([source("a", labels=json.dumps({"is_dark": other}))])[0]) == 1


def test_the_range_of_subjects_includes_both_ends() -> None:
    sources = [source(str(number), str(number)) for number in range(1, 8)] + [source("x", "s3"), source("y")]
    found, left_out = annotated(sources, subject_id_min=3, subject_id_max=5)
    assert [each.subject for each in found] == ["3", "4", "5"]
    assert sorted(left_out.values()) == [2, 4]
    assert [each.subject for each in annotated(sources, subject_id_min=6)[0]] == ["6", "7"]
    assert [each.subject for each in annotated(sources, subject_id_max=1)[0]] == ["1"]
    with pytest.raises(ConfigError, match="subject_id_min=3 is above subject_id_max=2"):
        AnnotationsConfig.parse({"subject_id_min": 3, "subject_id_max": 2}, "x.yaml")


def test_names_that_fit_no_source_are_told(tmp_path: Path) -> None:
    path = tmp_path / "people.csv"
    path.write_text("source,subject\nother/a.mp4,1\nother/b.mp4,2\n")
    with pytest.raises(ConfigError, match=r"none of its 2 rows is of a source; the first is of /videos/other/a.mp4"):
        annotated([source("a"), source("b")], path=str(path))


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ("source,age\na.mp4,1\nb.mp4,2\na.mp4,3\n", "1 row cannot be used: line 4: is of the source of line 2"),
        ("source,age\n,1\n", "line 2: has no source"),
        ("source,duration_s\na.mp4,0\n", "line 2: duration_s='0' is no length"),
    ],
)
def test_a_bad_row_is_told_by_its_line(tmp_path: Path, content: str, said: str) -> None:
    path = tmp_path / "people.csv"
    path.write_text(content)
    with pytest.raises(ConfigError) as error:
        annotated([source("a")], path=str(path))
    assert str(error.value).startswith(f"{path}: ")
    assert said in str(error.value)
