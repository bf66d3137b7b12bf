"""Tables, sheets and index are made of the rows that were written, each number at its place."""

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from mien import schema
from mien.analysis.feature_files import FeatureConfig
from mien.analysis.feature_report import MEASURES, finish, sheets_of, tables_of
from mien.analysis.feature_sheets import SheetConfig
from mien.datasets.tables import parquet_bytes, rows_to_table
from mien.storage.local import LocalStore

LAYERS = ("in_conv", "bottleneck")
CONFIG = FeatureConfig.parse({"timesteps": [300], "layers": LAYERS, "names": ["Base|line", "<img onerror=x>"]}, "test")
FACTS: dict[str, Any] = {
    **{side: {"checkpoint": f"runs/{side}", "step": 9, "weights": "ema"} for side in ("baseline", "curriculum")},
    "schedule": {},
    "modules": {"in_conv": "in_conv", "bottleneck": "middle"},
    "notes": ["the two schedules differ"],
    "config": CONFIG.dump(),
}
NUMBERS = [0, 1, 2]


def value(sample: int, condition: int, layer: int, side: int, measure: int = 0) -> float:
    """Another one for every cell; in the second model larger for clean images, smaller for noisy ones."""
    return 1 + sample + 10 * layer + measure + side * (5 if condition == 0 else -5) + 0.01 * side * sample


def grey(level: int) -> bytes:
    data = io.BytesIO()
    Image.new("L", (8, 8), level).save(data, "png")
    return data.getvalue()


def row(sample: int, condition: int, layer: int, side: int) -> dict[str, Any]:
    """Text columns are empty, numbers 0, but for those that matter."""
    blank = {one.name: "" if one.dtype == schema.TEXT else 0 for one in schema.ACTIVATIONS if one.name != "thumb"}
    numbers = {name: value(sample, condition, layer, side, place) for place, name in enumerate(MEASURES)}
    names = {"sample": sample, "condition": CONFIG.conditions[condition].name, "layer": LAYERS[layer]}
    level = 100 * side + 30 * sample + 10 * condition + layer
    return {**blank, **numbers, **names, "side": ("baseline", "curriculum")[side], "thumb": grey(level)}


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> LocalStore:
    made = LocalStore(tmp_path_factory.mktemp("rows"))
    for sample in NUMBERS:
        rows = [row(sample, *place) for place in np.ndindex(2, 2, 2)]
        table = rows_to_table(rows, schema.ACTIVATIONS)
        made.replace(f"activations/sample_{sample}.parquet", parquet_bytes(table))
    return made


@pytest.fixture(scope="module")
def document(store: LocalStore) -> dict[str, Any]:
    finish(store, NUMBERS, CONFIG, FACTS)
    found: dict[str, Any] = json.loads(store.read("consistency.json"))
    return found


def test_a_table_has_every_row_at_its_image_layer_condition_and_model(store: LocalStore) -> None:
    for measure, table in enumerate(tables_of(store, NUMBERS, CONFIG, LAYERS)):
        assert (table.measure, table.layers, table.conditions) == (
            *(MEASURES[measure], LAYERS),
            ("clean_t0", "noisy_t300"),
        )
        for sample, layer, condition, side in np.ndindex(3, 2, 2, 2):
            assert table.values[sample, layer, condition, side] == value(sample, condition, layer, side, measure)


def test_sheets_of_a_layer_an_image_and_a_timestep_show_their_thumbnails(store: LocalStore) -> None:
    found = dict(sheets_of(store, NUMBERS, CONFIG, LAYERS))
    assert [*found] == [
        *(f"layer_{name}" for name in LAYERS),
        *(f"sample_{number}" for number in NUMBERS),
        *("condition_clean_t0", "condition_noisy_t300"),
    ]
    axes = {"layer": ("sample", "condition"), "sample": ("layer", "condition"), "condition": ("sample", "layer")}
    labels = {
        "sample": ["Sample 0", "Sample 1", "Sample 2"],
        "condition": ["clean_t0", "noisy_t300"],
        "layer": [*LAYERS],
    }
    for name, sheet in found.items():
        kind, _, fixed = name.partition("_")
        rows, columns = axes[kind]
        assert (list(sheet.rows), list(sheet.columns)) == (labels[rows], labels[columns])
        for y, x, side in np.ndindex(*sheet.sparsity.shape):
            place = {rows: y, columns: x, kind: [one.removeprefix("Sample ") for one in labels[kind]].index(fixed)}
            level = 100 * side + 30 * place["sample"] + 10 * place["condition"] + place["layer"]
            assert (sheet.thumbs[y, x, side] == level).all(), name
            assert sheet.sparsity[y, x, side] == value(place["sample"], place["condition"], place["layer"], side, 1)


def test_a_sheet_of_many_shows_some_of_them(store: LocalStore) -> None:
    config = CONFIG.model_copy(update={"sheets": SheetConfig(max_rows=2, max_columns=1)})
    found = dict(sheets_of(store, NUMBERS, config, LAYERS))
    assert found["layer_in_conv"].rows == ("Sample 0", "Sample 2")
    assert found["layer_in_conv"].columns == ("clean_t0",)
    assert "sample_1" not in found


def test_the_document_says_what_was_compared_and_what_came_out(document: dict[str, Any], store: LocalStore) -> None:
    assert {key: document[key] for key in FACTS} == json.loads(json.dumps(FACTS))
    assert document["samples"] == NUMBERS
    assert [one["measure"] for one in document["consistency"]] == [*MEASURES]
    for one in document["consistency"]:
        assert one["verdict"] == "mixed"
        assert (one["overall"]["higher"], one["overall"]["lower"]) == (6, 6)
        assert [part["verdict"] for part in one["by_condition"]] == ["higher", "lower"]
        assert len(one["cells"]) == 4
    for name in [*document["sheets"], "consistency.png"]:
        with Image.open(store.fetch(name)) as picture:
            assert min(picture.size) > 200


def test_the_index_gives_verdicts_caveats_and_every_sheet(document: dict[str, Any], store: LocalStore) -> None:
    index = store.read("README.md").decode()
    assert index.count("as the condition is: higher in 6, lower in 6, equal in 0 of 12 pairs") == len(MEASURES)
    assert "| hoyer | clean_t0 | higher | 6 / 0 / 0 |" in index
    assert "- **Note:** the two schedules differ" in index
    assert "other trainings of the same two recipes may differ otherwise" in index
    assert all(f"]({name})" in index for name in document["sheets"])
    assert "brightness does not" in index
    for layer in range(2):
        means = [np.mean([value(s, c, layer, side, 2) for s in NUMBERS for c in range(2)]) for side in range(2)]
        assert f"{means[0]:.3g} / {means[1]:.3g}" in index.partition(f"| {LAYERS[layer]} | ")[2]


def test_names_are_text_in_the_index(document: dict[str, Any], store: LocalStore) -> None:
    index = store.read("README.md").decode()
    assert document["config"]["names"][1] == "<img onerror=x>"
    assert "<img" not in index
    assert "Base|line" not in index


def test_a_measure_that_is_not_defined_is_null_and_the_rest_stays(tmp_path: Path) -> None:
    store = LocalStore(tmp_path)
    rows = [row(0, *place) | {"hoyer": float("nan")} for place in np.ndindex(2, 2, 2)]
    store.replace("activations/sample_0.parquet", parquet_bytes(rows_to_table(rows, schema.ACTIVATIONS)))
    found = {one.measure: one for one in finish(store, [0], CONFIG, {**FACTS, "notes": []})}
    assert found["hoyer"].overall.num == 0
    assert found["std"].overall.num == 4
    assert json.loads(store.read("consistency.json"))["consistency"][2]["overall"]["baseline"] is None
    assert store.read("README.md").decode().count(" – | ") > 2
