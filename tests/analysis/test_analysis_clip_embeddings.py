"""Rows and texts of a dataset, against transformers' own CLIP on the same crops and words."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import transformers

from mien.analysis.clip_embeddings import ClipEmbeddingsConfig, notes, opened, write
from mien.datasets.dataset import Dataset
from mien.datasets.embedding_file import provenance
from mien.datasets.embeddings import ColumnsConfig, EmbeddingRows, read_rows
from mien.errors import AssetError, ConfigError, RefusedError
from mien.features.clip_vit_text import visual_projection
from mien.features.registry import build, resolve
from mien.storage.local import LocalStore
from said_datasets import KEYWORDS, NUM_CLIPS, clip_of, make_said
from tiny_clip import DIM, SIZE_PX, write_clip


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_clip(tmp_path_factory.mktemp("clip"))


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    return make_said(tmp_path_factory.mktemp("said") / "dataset")


def config(model: Path, **more: Any) -> ClipEmbeddingsConfig:
    features = {"model": str(model), "size_px": SIZE_PX, "dtype": "float32", **more.pop("features", {})}
    return ClipEmbeddingsConfig.parse({"features": features, **more}, "test")


def rows(folder: Path, modality: str) -> EmbeddingRows:
    columns = ColumnsConfig(modality_column="modality", keep=modality, groups_column="item")
    return read_rows(str(folder / "embeddings.parquet"), columns)


def written(dataset: Dataset, output: Path, config: ClipEmbeddingsConfig) -> tuple[EmbeddingRows, EmbeddingRows]:
    write(opened(dataset.uri, config), LocalStore(output))
    return rows(output, "visual"), rows(output, "text")


def embedded(model: Path, crops: np.ndarray) -> np.ndarray:
    """Mean unit vector of crops [n, H, W, 3], by transformers."""
    network = transformers.CLIPVisionModelWithProjection.from_pretrained(model, local_files_only=True).eval()
    mean, std = ([0.48145466, 0.4578275, 0.40821073], [0.26862954, 0.26130258, 0.27577711])
    pixels = torch.from_numpy(crops).permute(0, 3, 1, 2) / 255
    pixels = (pixels - torch.tensor(mean).view(1, 3, 1, 1)) / torch.tensor(std).view(1, 3, 1, 1)
    with torch.no_grad():
        found = network(pixels).image_embeds.double().numpy()
    return (found / np.linalg.norm(found, axis=1, keepdims=True)).mean(0)


def test_rows_are_crops_and_texts_are_keywords_in_one_space(dataset: Dataset, model: Path, tmp_path: Path) -> None:
    visual, text = written(dataset, tmp_path, config(model, num_frames=2))
    assert visual.values.shape == (NUM_CLIPS - 1, DIM)
    clips = [clip_of(number) for number in range(NUM_CLIPS - 1)]
    assert visual.names == [clip.clip_id for clip in clips]
    assert visual.labels == [clip.matches[0].keyword for clip in clips]
    assert visual.groups == [clip.source.uri for clip in clips]
    crops = dataset[clips[3].clip_id].crops()[[1, 5]]  # of the frames 1, 3 and 5, which show a face, two
    assert visual.values[3] == pytest.approx(embedded(model, crops), abs=1e-5)
    assert text.names == [*KEYWORDS]
    network = transformers.CLIPTextModelWithProjection.from_pretrained(model, local_files_only=True).eval()
    read = transformers.CLIPTokenizer.from_pretrained(model, local_files_only=True)
    for values, keyword in zip(text.values, KEYWORDS, strict=True):
        with torch.no_grad():
            assert values == pytest.approx(
                network(**read([keyword], return_tensors="pt")).text_embeds[0].numpy(), abs=1e-5
            )


def test_what_transcripts_say_and_how_it_is_put(dataset: Dataset, model: Path, tmp_path: Path) -> None:
    visual, text = written(dataset, tmp_path / "a", config(model, text="transcript", independent="subject"))
    assert visual.labels is not None
    assert visual.labels[0] == "now please smile 0"
    assert len(text.names) == 6, "each text once"
    assert {*visual.labels} == {*text.names}
    assert {*(visual.groups or ())} == {"s0", "s1", "s2"}
    _, plain = written(dataset, tmp_path / "b", config(model))
    same, asked = written(dataset, tmp_path / "c", config(model, template="they {}"))
    assert asked.names == plain.names
    assert not np.allclose(asked.values, plain.values)
    assert np.array_equal(same.values, visual.values), "the template is of texts alone"


def test_features_of_the_dataset_are_taken_where_the_same_network_made_them(model: Path, tmp_path: Path) -> None:
    given = config(model, num_frames=1)
    made_by = dict(resolve(given.features).provenance)
    there = make_said(tmp_path / "there", models={"feature": made_by})
    resolved = resolve(given.features)
    visual, _ = written(there, tmp_path / "a", given)
    stored = there[clip_of(0).clip_id]["feature"][[1]] @ visual_projection(resolved, DIM).T
    assert visual.values[0] == pytest.approx(stored[0] / np.linalg.norm(stored[0]), abs=1e-5)
    other = make_said(tmp_path / "other", models={"feature": {**made_by, "sha256": "0" * 64}})
    visual, _ = written(other, tmp_path / "b", given)
    expected = build(resolved)(other[clip_of(0).clip_id].crops()[[1]]) @ visual_projection(resolved, DIM).T
    assert visual.values[0] == pytest.approx(expected[0] / np.linalg.norm(expected[0]), abs=1e-5)


def test_an_end_in_between_costs_little_and_another_config_is_refused(
    dataset: Dataset, model: Path, tmp_path: Path
) -> None:
    store = LocalStore(tmp_path)
    first = written(dataset, tmp_path, config(model))[0].values
    before = store.stat("embeddings.parquet").size_bytes
    again = written(dataset, tmp_path, config(model))[0].values
    assert np.array_equal(first, again)
    assert store.stat("embeddings.parquet").size_bytes == before
    with pytest.raises(RefusedError, match=r"other values of .*num_frames"):
        written(dataset, tmp_path, config(model, num_frames=1))
    about = provenance(store, "embeddings.parquet")
    assert about["dataset"] == dataset.uri
    assert about["images"]["sha256"] == about["texts"]["sha256"]
    assert about["num_items"] == NUM_CLIPS


def test_what_is_left_out_or_means_nothing_is_told(dataset: Dataset, model: Path) -> None:
    assert notes(opened(dataset.uri, config(model))) == ["1 face tracks have no keyword and are left out"]
    random = config(model, features={"weights": "random"})
    assert notes(opened(dataset.uri, random))[0].startswith("RANDOM weights")


def test_what_does_not_fit_is_told(dataset: Dataset, model: Path, tmp_path: Path) -> None:
    single = make_said(tmp_path / "single", num_clips=1)
    with pytest.raises(ConfigError, match=r"of 1 face tracks all say 'smile', but two keywords are needed; .*=keyword"):
        opened(single.uri, config(model))
    with pytest.raises(AssetError, match="is neither a folder nor the name of a model"):
        opened(dataset.uri, config(tmp_path / "nowhere"))
    with pytest.raises(ConfigError, match=r"must have \{\} once"):
        config(model, template="a face")
    with pytest.raises(ConfigError, match="output=patch is not in the space of texts"):
        config(model, features={"output": "patch"})
