"""Texts and images in one space, against transformers' own CLIP with the same weights."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from tokenizers import pre_tokenizers

from mien.errors import AssetError, ConfigError
from mien.features.clip_vit import ClipVitConfig
from mien.features.clip_vit_text import ClipVitTextConfig, TextTower, resolve_text, visual_projection
from mien.features.registry import build, resolve

pytestmark = pytest.mark.usefixtures("no_network")

Tiny = Callable[[str], Path]
TEXTS = ["smile", "Look SAD, please", "é", "laugh " * 100]


@pytest.fixture(scope="module")
def folder(clip_with_texts: Path) -> Path:
    return clip_with_texts


def tower(folder: Path, **fields: object) -> TextTower:
    return TextTower(resolve_text(ClipVitTextConfig.parse({"model": str(folder), **fields}, "test")))


def expected(folder: Path, texts: list[str]) -> np.ndarray:
    """By transformers alone, with its padding and mask."""
    model = transformers.CLIPTextModelWithProjection.from_pretrained(folder, local_files_only=True).eval()
    read = transformers.CLIPTokenizer.from_pretrained(folder, local_files_only=True)(
        texts, padding=True, truncation=True, max_length=12, return_tensors="pt"
    )
    with torch.no_grad():
        return model(**read).text_embeds.numpy()


def test_texts_are_those_of_transformers_in_batches_of_any_size(folder: Path) -> None:
    whole = tower(folder)(TEXTS)
    assert whole.values == pytest.approx(expected(folder, TEXTS), abs=1e-6)
    assert whole.num_cut == 2, "of twelve tokens, the second and the last text have more"
    assert tower(folder, batch_size=1)(TEXTS).values == pytest.approx(whole.values, abs=1e-5)
    assert tower(folder)([]).values.shape == (0, 16)
    assert np.linalg.norm(whole.values[0] - whole.values[2]) > 1e-3


def test_an_image_is_its_class_token_projected(folder: Path, frames: np.ndarray) -> None:
    resolved = resolve(ClipVitConfig.parse({"model": str(folder), "size_px": 32, "dtype": "float32"}, "test"))
    ours = build(resolved)(frames[:, :32, :32]) @ visual_projection(resolved, 16).T
    model = transformers.CLIPVisionModelWithProjection.from_pretrained(folder, local_files_only=True).eval()
    mean, std = (torch.tensor(values).view(1, 3, 1, 1) for values in (resolved.mean, resolved.std))
    pixels = (torch.from_numpy(frames[:, :32, :32].copy()).permute(0, 3, 1, 2) / 255 - mean) / std
    with torch.no_grad():
        assert ours == pytest.approx(model(pixels).image_embeds.numpy(), abs=1e-5)


def test_provenance_says_which_weights(folder: Path) -> None:
    found = resolve_text(ClipVitTextConfig.parse({"model": str(folder)}, "test")).provenance
    vision = resolve(ClipVitConfig.parse({"model": str(folder), "size_px": 32}, "test")).provenance
    assert found["sha256"] == vision["sha256"]
    assert (found["kind"], found["dim"], found["revision"]) == ("clip_vit_text", 16, "local")


def test_random_weights_follow_from_the_seed(tmp_path: Path, folder: Path) -> None:
    sizes = json.loads((folder / "config.json").read_text())
    sizes["text_config"]["eos_token_id"] = 7
    (tmp_path / "config.json").write_text(json.dumps(sizes))
    first, same, other = (tower(tmp_path, weights="random", seed=seed)(TEXTS).values for seed in (1, 1, 2))
    assert np.array_equal(first, same)
    assert not np.allclose(first, other)
    assert len(np.unique(first.round(5), axis=0)) == len(TEXTS), "each text ends where its own tokens do"
    vision = [
        visual_projection(resolve(ClipVitConfig.parse({"weights": "random", "seed": seed}, "test")), 512)
        for seed in (1, 2)
    ]
    assert vision[0].shape == (512, 768)
    assert not np.allclose(*vision)
    with pytest.raises(ConfigError, match=r"features\.model: the sizes of 'some/one' are not known"):
        resolve_text(ClipVitTextConfig.parse({"weights": "random", "model": "some/one"}, "test"))


@pytest.mark.parametrize("model", [*ClipVitTextConfig.family.known])
def test_the_known_sizes_are_those_of_the_published_network(model: str) -> None:
    resolved = resolve_text(ClipVitTextConfig.parse({"weights": "random", "model": model}, "test"))
    network_class = transformers.CLIPTextModelWithProjection
    with torch.device("meta"):
        network = network_class(network_class.config_class.from_dict(resolved.architecture))
    assert sum(one.numel() for one in network.parameters()) == 63_428_096
    assert resolved.dim == 512


def spoiled(folder: Path, target: Path) -> Path:
    return shutil.copytree(folder, target / "model")


def test_what_cannot_be_had_is_told(tmp_path: Path, tiny: Tiny, folder: Path) -> None:
    with pytest.raises(AssetError, match=r"has no tokenizer\.json"):
        tower(tiny("clip_vit"))
    with pytest.raises(AssetError, match="is a 'vit' model, not one of clip"):
        tower(tiny("vit"))
    copy = spoiled(folder, tmp_path)
    (copy / "tokenizer.json").write_text("{}")
    with pytest.raises(AssetError, match="is no tokenizer"):
        tower(copy)
    shutil.copy(folder / "tokenizer.json", copy)
    config = json.loads((copy / "config.json").read_text())
    config["text_config"]["eos_token_id"] = 5
    (copy / "config.json").write_text(json.dumps(config))
    with pytest.raises(AssetError, match="ends no text with token 5"):
        tower(copy)


def test_a_tokenizer_of_another_model_is_refused(tmp_path: Path, folder: Path) -> None:
    copy = spoiled(folder, tmp_path)
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {char: number for number, char in enumerate(alphabet)} | {"<|startoftext|>": 900, "<|endoftext|>": 901}
    transformers.CLIPTokenizer(vocab=vocabulary, merges=[]).save_pretrained(copy)
    with pytest.raises(AssetError, match="has more tokens than the network"):
        tower(copy)


def test_a_vision_tower_alone_has_no_shared_space(tmp_path: Path, folder: Path) -> None:
    transformers.CLIPVisionModel.from_pretrained(folder, local_files_only=True).save_pretrained(tmp_path)
    resolved = resolve(ClipVitConfig.parse({"model": str(tmp_path), "size_px": 32}, "test"))
    with pytest.raises(AssetError, match="vision tower alone; give the whole CLIP"):
        visual_projection(resolved, 16)
