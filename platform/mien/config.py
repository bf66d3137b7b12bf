"""Strict configuration: one YAML is one run, sparse; load, override, dump and compare go through here.

Precedence is default < YAML < `key.path=value`. A config class stands on top of what it configures, in the same file.
"""

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Self, get_args

import yaml
from pydantic import BaseModel, ConfigDict, ValidationError, model_validator
from pydantic_core import ErrorDetails

from mien.errors import ConfigError

MAX_BYTES = 1_000_000
"""A config file larger than this is refused: it is not one."""

COMMAND_LINE = "command line"
"""What an error message calls an override."""


class Config(BaseModel):
    """Base of every config: frozen, unknown keys forbidden, a docstring under each field is its description."""

    model_config = ConfigDict(frozen=True, extra="forbid", use_attribute_docstrings=True, validate_default=True)

    @model_validator(mode="before")
    @classmethod
    def _keep_defaults(cls, values: Any) -> Any:
        """`format.row_group_mb=32` alone changes one value of the default `format`; its kind and the others stay."""
        if not isinstance(values, dict):
            return values
        defaults = {name: field.default for name, field in cls.model_fields.items()}
        return values | {name: _over(defaults.get(name), given) for name, given in values.items()}

    @classmethod
    def load(cls, path: Path | None, overrides: Iterable[str] = ()) -> Self:
        """Read a YAML file (or only the defaults) and apply `key.path=value` overrides.

        Raises:
            ConfigError: The file cannot be read, or a key or value does not fit; the message names file and key.
        """
        values = read_yaml(path) if path else {}
        assignments = [parse_override(text) for text in overrides]
        for key, value in assignments:
            assign(values, key, value)
        return cls.parse(values, str(path) if path else COMMAND_LINE, overridden=[key for key, _ in assignments])

    @classmethod
    def parse(cls, values: Mapping[str, Any], origin: str, overridden: Sequence[str] = ()) -> Self:
        """Validate plain values; `origin` is what an error message calls the input.

        Args:
            values: Nested plain values.
            origin: File or other source of the values.
            overridden: Dotted keys that came from the command line instead.

        Raises:
            ConfigError: A key or value does not fit; one line for each.
        """
        try:
            return cls.model_validate(values)
        except ValidationError as error:
            lines = []
            for detail in error.errors():
                key = _dotted(detail, values)
                for line in _explain(
                    cls, detail, key
                ).splitlines():  # a rule about several keys may find several faults
                    named = key or line.partition(":")[0]
                    is_overridden = any(f"{named}.".startswith(f"{other}.") for other in overridden)
                    lines.append(f"{COMMAND_LINE if is_overridden else origin}: {line}")
            raise ConfigError("\n".join(lines)) from None

    def dump(self) -> dict[str, Any]:
        """Plain values of every field, valid input of `parse`."""
        return self.model_dump(mode="json")

    def to_yaml(self) -> str:
        """The resolved config as YAML, valid input of `load`."""
        return yaml.dump(self.dump(), Dumper=_Dumper, sort_keys=False, allow_unicode=True)


class _Loader(yaml.SafeLoader):
    """SafeLoader that refuses aliases (an alias bomb explodes when copied) and repeated keys."""

    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            mark = self.peek_event().start_mark  # type: ignore[no-untyped-call]
            raise yaml.MarkedYAMLError(None, None, "aliases are not allowed", mark)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        keys = [key.value for key, _ in node.value if isinstance(key, yaml.ScalarNode)]
        if len(set(keys)) < len(keys):
            repeated = next(key for key, count in Counter(keys).items() if count > 1)
            raise yaml.MarkedYAMLError(None, None, f"key {repeated!r} stands twice", node.start_mark)
        return super().construct_mapping(node, deep)


class _Dumper(yaml.SafeDumper):
    """Writes what `_Loader` reads."""


for _kind in (_Loader, _Dumper):  # YAML 1.1, which PyYAML follows, takes 1e-3 for a text: people mean the number
    _kind.add_implicit_resolver(
        "tag:yaml.org,2002:float", re.compile(r"[-+]?(\.\d+|\d+\.?\d*)[eE][-+]?\d+$"), list("-+.0123456789")
    )


def read_yaml(path: Path) -> dict[str, Any]:
    """Values of one YAML file.

    Raises:
        ConfigError: It is absent, too large, not YAML or not a mapping.
    """
    try:
        with path.open("rb") as file:
            text = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(f"{path}: cannot be read: {error.strerror}") from None
    return parse_yaml(text, str(path))


def parse_yaml(text: bytes, origin: str) -> dict[str, Any]:
    """Values of a YAML text: plain ones, no tag is obeyed and no alias followed. `origin` names it in messages.

    Raises:
        ConfigError: It is too large, not YAML or not a mapping.
    """
    if len(text) > MAX_BYTES:
        raise ConfigError(f"{origin}: larger than {MAX_BYTES} bytes, so not a config")
    try:
        values = yaml.load(text.decode(), _Loader)  # noqa: S506  a SafeLoader
    except UnicodeDecodeError:
        raise ConfigError(f"{origin}: is not UTF-8 text") from None
    except (yaml.YAMLError, RecursionError, ValueError) as error:
        raise ConfigError(f"{origin}: is not valid YAML: {_without_snippet(error)}") from None
    if not isinstance(values, dict | None):
        raise ConfigError(f"{origin}: must hold `key: value` lines, not a {type(values).__name__}")
    return values or {}


def _without_snippet(error: Exception) -> str:
    """What is wrong with a YAML text and where, without a piece of it: it may hold a signed link."""
    if not isinstance(error, yaml.MarkedYAMLError):
        return " ".join(str(error).split())
    words = [error.context, error.problem]
    mark = error.problem_mark
    words += [f"at line {mark.line + 1}, column {mark.column + 1}"] if mark else []
    return " ".join(" ".join(word for word in words if word).split())


def parse_override(text: str) -> tuple[str, Any]:
    """Split `key.path=value`; the value is read as YAML, so `null`, `[1, 2]` and `0.5` mean what they mean there."""
    key, equals, value = text.partition("=")
    if not equals or not key.strip():
        raise ConfigError(f"{text!r}: an override is written key.path=value")
    try:
        return key.strip(), yaml.load(value, _Loader)  # noqa: S506  a SafeLoader
    except (yaml.YAMLError, RecursionError, ValueError):  # `*.mp4` is no YAML, but a plain text all the same
        return key.strip(), value


def assign(values: dict[str, Any], key: str, value: Any) -> None:
    """Set a dotted key in nested plain values, making the mappings on the way."""
    *parents, last = key.split(".")
    for parent in parents:
        child = values.get(parent)
        if child is None:
            child = values[parent] = {}
        if not isinstance(child, dict):
            raise ConfigError(f"{key}: {parent} is {child!r}, which has no keys below it")
        values = child
    values[last] = value


def flatten(values: Mapping[str, Any], prefix: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted key and value of every leaf."""
    for key, value in values.items():
        if isinstance(value, Mapping) and value:
            yield from flatten(value, f"{prefix}{key}.")
        else:
            yield f"{prefix}{key}", value


def differing_keys(left: Mapping[str, Any], right: Mapping[str, Any]) -> list[str]:
    """Dotted keys whose values differ, sorted."""
    a, b = dict(flatten(left)), dict(flatten(right))
    return sorted(key for key in a.keys() | b.keys() if a.get(key) != b.get(key))


def fingerprint(values: Mapping[str, Any]) -> str:
    """SHA-256 of the values, independent of key order: 64 hex characters."""
    canonical = json.dumps(values, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(canonical.encode()).hexdigest()


def dotted_keys(model: type[BaseModel], prefix: str = "") -> Iterator[str]:
    """Every dotted key that a config class accepts, unions included."""
    for name, field in model.model_fields.items():
        yield prefix + name
        for nested in models_in(field.annotation):
            yield from dotted_keys(nested, f"{prefix}{name}.")


def models_in(annotation: Any) -> Iterator[type[BaseModel]]:
    """Every config class that a field's annotation names, alone or in a union or collection."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        yield annotation
    for argument in get_args(annotation):
        yield from models_in(argument)


def no_such_key(key: str, known: Iterable[str]) -> str:
    """What to say of an unknown key: its nearest known one too, if one is near."""
    near = difflib.get_close_matches(key, set(known), n=1, cutoff=0.6)
    return f"{key}: no such key" + (f"; did you mean {near[0]}?" if near else "")


def _over(default: Any, given: Any) -> Any:
    """Plain values given for a config that has a default: what they leave out is taken from there."""
    if not isinstance(default, Config) or not isinstance(given, dict):
        return given
    kept = {name: getattr(default, name) for name in type(default).model_fields}
    if given.get("kind", kept.get("kind")) != kept.get("kind"):
        return given
    return kept | {name: _over(kept.get(name), value) for name, value in given.items()}


def _explain(cls: type[BaseModel], detail: ErrorDetails, key: str) -> str:
    """Dotted key, what is wrong and, for an unknown key, the nearest known one."""
    if detail["type"] == "extra_forbidden":
        return no_such_key(key, dotted_keys(cls))
    if detail["type"] == "missing":
        return f"{key}: is required; add it to the file or as {key}=VALUE"
    if detail["type"] == "union_tag_invalid":
        context = detail["ctx"]
        return f"{key}.kind: {context['tag']!r} is not one of {context['expected_tags']}"
    if detail["type"] == "union_tag_not_found":
        return f"{key}.kind: is required; add it to the file or as {key}.kind=KIND"
    message = detail["msg"].removeprefix("Value error, ")
    message = message[:1].lower() + message[1:]
    if isinstance(detail["input"], Mapping | BaseModel):  # a rule about several keys, which names them itself
        return f"{key}: {message}" if key else message
    return f"{key}: {message} (got {detail['input']!r:.80})"


def _dotted(detail: ErrorDetails, values: Any) -> str:
    """The key as the user wrote it: pydantic also puts the tags of unions into the location."""
    is_missing = detail["type"] == "missing"
    location = detail["loc"][:-1] if is_missing else detail["loc"]
    readings = [*_readings(location, values)]
    is_whole = isinstance(detail["input"], Mapping | BaseModel)
    fitting = [reading for reading in readings if isinstance(reading[1], Mapping) == is_whole] or readings
    found = max(fitting, key=lambda reading: [part is not None for part in reversed(reading[0])])[0]
    parts = [part for part in found if part is not None]
    return ".".join([*parts, *([str(detail["loc"][-1])] if is_missing else [])])


def _readings(location: Sequence[int | str], values: Any) -> Iterator[tuple[list[str | None], Any]]:
    """Every way to take a location: each item as a key, or as a tag, which leads nowhere (None); and what is there."""
    if not location:
        yield [], values
        return
    item, rest = location[0], location[1:]
    is_key = isinstance(values, Mapping) and item in values
    is_index = isinstance(values, list) and isinstance(item, int) and item < len(values)
    if is_key or is_index:
        yield from (([str(item), *parts], there) for parts, there in _readings(rest, values[item]))
    yield from (([None, *parts], there) for parts, there in _readings(rest, values))
