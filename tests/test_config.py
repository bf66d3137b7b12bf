import hashlib
import json
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated, Any, Literal, Self

import pytest
import yaml
from pydantic import Field, ValidationError, model_validator

from mien.config import (
    MAX_BYTES,
    Config,
    assign,
    differing_keys,
    dotted_keys,
    fingerprint,
    flatten,
    parse_override,
    read_yaml,
)
from mien.errors import ConfigError


class Parquet(Config):
    kind: Literal["parquet"] = "parquet"
    row_group_mb: int = Field(64, ge=1)
    """Size of a row group."""
    codec: str = "zstd"


class Hdf5(Config):
    kind: Literal["hdf5"] = "hdf5"
    chunk_mb: float = 1.0


class Detect(Config):
    min_score: float = Field(0.5, ge=0, le=1)
    max_faces: int = 1


class Track(Config):
    detect: Detect = Detect(min_score=0.7)
    gap_s: float = 0.2


class Job(Config):
    source: str
    fps: float | None = None
    end_s: float = float("inf")
    folder: Path = Path("out")
    format: Annotated[Parquet | Hdf5, Field(discriminator="kind")] = Parquet(codec="snappy")
    track: Track = Track(gap_s=0.4)
    sizes: tuple[int, ...] = (1, 2)
    other_sizes: tuple[int, ...] = (1, 2)
    low: int = 0
    high: int = 9

    @model_validator(mode="after")
    def _ordered(self) -> "Job":
        if self.low > self.high:
            raise ValueError("low must not exceed high")
        return self


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "job.yaml"
    path.write_text("source: videos\nfps: 5\nformat: {kind: hdf5}\n", encoding="utf-8")
    return path


def refusal(path: Path | None, *overrides: str) -> str:
    with pytest.raises(ConfigError) as caught:
        Job.load(path, overrides)
    return str(caught.value)


def written(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def test_defaults_then_file_then_overrides(file: Path) -> None:
    assert Job.load(None, ["source=a"]).fps is None
    assert Job.load(file).fps == 5
    assert Job.load(file, ["fps=7.5"]).fps == 7.5
    assert Job.load(file, ["fps=7.5", "fps=null"]).fps is None
    assert Job.load(file, ["fps=7.5"]).source == "videos"


def test_a_config_cannot_be_changed(file: Path) -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Job.load(file).fps = 3.0


def test_one_value_of_a_default_leaves_its_other_values() -> None:
    job = Job.load(None, ["source=a", "format.row_group_mb=32", "track.detect.max_faces=2"])
    assert job.format == Parquet(row_group_mb=32, codec="snappy")
    assert job.track == Track(detect=Detect(min_score=0.7, max_faces=2), gap_s=0.4)


def test_another_kind_starts_from_its_own_defaults() -> None:
    assert Job.load(None, ["source=a", "format.kind=hdf5"]).format == Hdf5()
    assert "row_group_mb: no such key" in refusal(None, "source=a", "format.kind=hdf5", "format.row_group_mb=3")


def test_unknown_kind_lists_the_known_ones() -> None:
    assert refusal(None, "source=a", "format.kind=zip") == (
        "command line: format.kind: 'zip' is not one of 'parquet', 'hdf5'"
    )


@pytest.mark.parametrize(
    ("key", "near"),
    [
        ("sorce", "; did you mean source?"),
        ("format.row_group", "; did you mean format.row_group_mb?"),
        ("row_group_mb", "; did you mean format.row_group_mb?"),
        ("track.detect.min_scor", "; did you mean track.detect.min_score?"),
        ("zzz", ""),
    ],
)
def test_unknown_key_names_the_nearest_known_one(key: str, near: str) -> None:
    assert refusal(None, "source=a", f"{key}=1") == f"command line: {key}: no such key{near}"


def test_every_wrong_key_is_told_at_once_and_where_it_came_from(file: Path) -> None:
    file.write_text("source: videos\nlow: x\n", encoding="utf-8")
    of_file, of_command_line = refusal(file, "format.row_group_mb=0").splitlines()
    assert of_command_line.startswith(f"{file}: low: ") or of_file.startswith(f"{file}: low: ")
    assert any(line.startswith("command line: format.row_group_mb: ") for line in (of_file, of_command_line))


def test_missing_key_says_how_to_give_it() -> None:
    assert refusal(None) == "command line: source: is required; add it to the file or as source=VALUE"


def test_a_bound_names_key_and_value() -> None:
    message = refusal(None, "source=a", "track.detect.min_score=1.5")
    assert message == "command line: track.detect.min_score: input should be less than or equal to 1 (got 1.5)"


def test_a_rule_about_two_keys_does_not_print_the_whole_config() -> None:
    assert refusal(None, "source=a", "low=10") == "command line: low must not exceed high"


class Rules(Config):
    low: int = 0
    high: int = 9
    format: Annotated[Parquet | Hdf5, Field(discriminator="kind")] | None = None

    @model_validator(mode="after")
    def _told(self) -> "Rules":
        if self.low > self.high:
            raise ValueError("low: exceeds high\nhigh: is below low")
        return self


def test_a_rule_that_finds_several_faults_has_a_line_for_each_and_where_its_key_came_from(file: Path) -> None:
    file.write_text("high: 3\n", encoding="utf-8")
    with pytest.raises(ConfigError) as caught:
        Rules.load(file, ["low=5"])
    assert str(caught.value).splitlines() == ["command line: low: exceeds high", f"{file}: high: is below low"]


def test_a_missing_kind_is_told_as_a_key() -> None:
    with pytest.raises(ConfigError, match=r"^command line: format\.kind: is required; add it .* as format\.kind=KIND$"):
        Rules.load(None, ["format={codec: zstd}"])


def test_a_value_in_a_list_is_named_by_its_place() -> None:
    assert refusal(None, "source=a", "sizes=[1, x]").startswith("command line: sizes.1: ")


def test_long_values_are_cut_in_messages() -> None:
    assert len(refusal(None, "source=a", "fps=" + "x" * 10_000)) < 250


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("- a\n", "must hold `key: value` lines, not a list"),
        ("just words", "not a str"),
        ("a: [", "is not valid YAML"),
        ("a: 1\na: 2\n", "'a' stands twice at line 1"),
        ("format: {kind: parquet, kind: hdf5}\n", "'kind' stands twice"),
        ("a: &x [1]\nb: *x\n", "aliases are not allowed at line 2"),
        ("? [a]\n: 1\n", "unhashable key"),
        ("a: !!python/object/apply:os.system [true]\n", "could not determine a constructor"),
        ("source: 2020-13-45\n", "month must be in 1..12"),
        ("[" * 20_000, "recursion"),
        ("a: 1\x00", "is not valid YAML"),
        ("1: 2\nsource: a\n", "1: keys should be strings"),
        ("format:\nsource: a\n", "format: "),
    ],
)
def test_files_that_are_no_config_are_refused(tmp_path: Path, text: str, reason: str) -> None:
    path = written(tmp_path / "bad.yaml", text)
    message = refusal(path)
    assert message.startswith(f"{path}: ")
    assert reason in message


def test_an_alias_bomb_is_refused_before_it_grows(tmp_path: Path) -> None:
    rows = ["a0: &a0 [x, x]"] + [f"a{i}: &a{i} [{', '.join([f'*a{i - 1}'] * 10)}]" for i in range(1, 40)]
    path = written(tmp_path / "bomb.yaml", "\n".join(rows))
    with pytest.raises(ConfigError, match="aliases are not allowed"):
        read_yaml(path)


def test_absent_large_and_binary_files_are_refused(tmp_path: Path) -> None:
    assert refusal(tmp_path / "absent.yaml").endswith("cannot be read: No such file or directory")
    assert refusal(tmp_path).endswith("cannot be read: Is a directory")
    large = written(tmp_path / "large.yaml", "#" * (MAX_BYTES + 1))
    assert "not a config" in refusal(large)
    binary = tmp_path / "binary.yaml"
    binary.write_bytes(b"\xff\xfe\x00")
    assert refusal(binary).endswith("is not UTF-8 text")


def test_an_endless_file_is_not_read_to_its_end() -> None:
    assert "not a config" in refusal(Path("/dev/zero"))


def test_an_empty_file_is_the_defaults(tmp_path: Path) -> None:
    assert read_yaml(written(tmp_path / "empty.yaml", "# nothing\n")) == {}


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("k=null", None),
        ("k=[1, 2]", [1, 2]),
        ("k=0.5", 0.5),
        ("k={a: 1}", {"a": 1}),
        ("k=a=b", "a=b"),
        ("k=gs://bucket/videos", "gs://bucket/videos"),
        ("k=*.mp4", "*.mp4"),
        ("k=2020-13-45", "2020-13-45"),
        ("k='12'", "12"),
        ("k=[", "["),
        (" k =1", 1),
    ],
)
def test_an_override_is_read_as_yaml_and_otherwise_as_text(text: str, value: object) -> None:
    assert parse_override(text) == ("k", value)


@pytest.mark.parametrize("text", ["fps", "=3", " =3", ""])
def test_an_override_without_key_or_value_is_refused(text: str) -> None:
    with pytest.raises(ConfigError, match=r"an override is written key\.path=value"):
        parse_override(text)


def test_assign_makes_mappings_but_does_not_write_into_a_value() -> None:
    values: dict[str, object] = {"a": None, "b": 3}
    assign(values, "a.x.y", 1)
    assert values == {"a": {"x": {"y": 1}}, "b": 3}
    with pytest.raises(ConfigError, match="b is 3, which has no keys below it"):
        assign(values, "b.x", 1)


def test_the_resolved_config_is_itself_valid(tmp_path: Path, file: Path) -> None:
    job = Job.load(file, ["sizes=[3, 3]", "other_sizes=[3, 3]", "source='12'", "track.gap_s=1e-4"])
    again = Job.load(written(tmp_path / "resolved.yaml", job.to_yaml()))
    assert again == job
    assert again.end_s == float("inf")
    assert Job.parse(job.dump(), "dump") == job


def test_the_resolved_config_keeps_text_readable() -> None:
    assert "source: Müller\n" in Job.load(None, ["source=Müller"]).to_yaml()


def test_a_fingerprint_is_the_sum_of_the_values_alone() -> None:
    left = {"b": {"y": 1, "x": "ü"}, "a": [1, 2]}
    right = {"a": [1, 2], "b": {"x": "ü", "y": 1}}
    text = '{"a":[1,2],"b":{"x":"ü","y":1}}'
    assert fingerprint(left) == fingerprint(right) == hashlib.sha256(text.encode()).hexdigest()
    assert fingerprint(left) != fingerprint({**left, "a": [2, 1]})


def test_a_fingerprint_is_the_same_in_another_process(file: Path) -> None:
    values = Job.load(file).dump()
    program = "import json,sys; from mien.config import fingerprint; print(fingerprint(json.load(sys.stdin)))"
    done = subprocess.run(
        [sys.executable, "-c", program],
        input=json.dumps(values),
        env=os.environ | {"PYTHONHASHSEED": "7"},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == fingerprint(values)


def test_differing_keys_are_dotted_and_sorted() -> None:
    left = Job.load(None, ["source=a", "track.detect.max_faces=3"]).dump()
    right = Job.load(None, ["source=b", "format.kind=hdf5"]).dump()
    assert differing_keys(left, right) == [
        "format.chunk_mb",
        "format.codec",
        "format.kind",
        "format.row_group_mb",
        "source",
        "track.detect.max_faces",
    ]
    assert differing_keys(left, left) == []


def test_flatten_keeps_empty_mappings_and_lists_whole() -> None:
    assert dict(flatten({"a": {"b": [1], "c": {}}, "d": 2})) == {"a.b": [1], "a.c": {}, "d": 2}


def test_dotted_keys_reach_into_unions() -> None:
    keys = set(dotted_keys(Job))
    assert {"source", "format.kind", "format.row_group_mb", "format.chunk_mb", "track.detect.min_score"} <= keys


def test_the_docstring_under_a_field_is_its_description() -> None:
    assert Job.model_json_schema()["$defs"]["Parquet"]["properties"]["row_group_mb"]["description"] == (
        "Size of a row group."
    )


def test_yaml_is_read_like_any_other_yaml(tmp_path: Path) -> None:
    text = "a: 1\nb: {c: [x, 0.5, null, true]}\nd: |\n  two\n  lines\n"
    assert read_yaml(written(tmp_path / "a.yaml", text)) == yaml.safe_load(text)


class _Folder(Config):
    kind: Literal["folder"] = "folder"
    folder: str
    depth: int = 1

    @model_validator(mode="after")
    def _is_shallow(self) -> Self:
        if self.depth > 5:
            raise ValueError("depth and folder do not go together")
        return self


class _Sourced(Config):
    source: Annotated[_Folder | Parquet, Field(discriminator="kind")]


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ({"folder": "a", "dept": 3}, "source.dept: no such key; did you mean source.depth?"),
        ({"folder": "a", "depth": "a"}, "source.depth: input should be a valid integer"),
        ({"folder": 3}, "source.folder: input should be a valid string"),
        ({"depth": 3}, "source.folder: is required"),
        ({"folder": "a", "depth": 6}, "source: depth and folder do not go together"),
    ],
)
def test_a_key_that_is_called_as_its_kind_is_told_as_a_key(source: dict[str, Any], message: str) -> None:
    with pytest.raises(ConfigError) as refused:
        _Sourced.parse({"source": {"kind": "folder", **source}}, "test")
    assert str(refused.value).startswith(f"test: {message}")


@pytest.mark.parametrize(("text", "value"), [("1e-3", 1e-3), ("-2E5", -2e5), (".5e1", 5.0), ("3.e+2", 300.0)])
def test_numbers_are_written_as_people_write_them(text: str, value: float, tmp_path: Path) -> None:
    """YAML 1.1 wants a dot and a sign in the exponent."""
    assert parse_override(f"rate={text}") == ("rate", value)
    path = tmp_path / "file.yaml"
    path.write_text(f"rate: {text}\n")
    assert read_yaml(path) == {"rate": value}


@pytest.mark.parametrize("text", ["1e3", "1e", "e3", "1e3x", "0.5"])
def test_a_text_that_looks_like_a_number_stays_one_through_a_file(text: str, tmp_path: Path) -> None:
    class Named(Config):
        name: str
        """A text."""

    path = tmp_path / "file.yaml"
    path.write_text(Named(name=text).to_yaml())
    assert Named.load(path).name == text


@pytest.mark.parametrize("text", ["1e3x", "12e", "4e5f0a", "1e3_"])
def test_an_id_is_no_number(text: str) -> None:
    assert parse_override(f"clip={text}") == ("clip", text)
