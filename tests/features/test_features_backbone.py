import hashlib
import json
import logging
import pickle
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import transformers

from mien.errors import AssetError, ConfigError
from mien.features.backbone import BackboneConfig, resolve
from mien.features.clip_vit import ClipVitConfig
from mien.features.dinov2 import Dinov2Config
from mien.features.registry import build
from mien.features.vit import VitConfig

pytestmark = pytest.mark.usefixtures("no_network")

Tiny = Callable[[str], Path]


def vit(folder: Path, **fields: object) -> VitConfig:
    return VitConfig.parse({"model": str(folder), "size_px": 32, **fields}, "test")


@pytest.fixture
def folder(tiny: Tiny, tmp_path: Path) -> Path:
    """A tiny ViT that a test may spoil."""
    return shutil.copytree(tiny("vit"), tmp_path / "model")


def rewrite(path: Path, **changes: object) -> None:
    values = json.loads(path.read_text("utf-8")) if path.exists() else {}
    path.write_text(json.dumps(values | changes), "utf-8")


def test_provenance_says_what_the_features_are_made_with(folder: Path) -> None:
    resolved = resolve(vit(folder, output="patch", dtype="bfloat16"))
    assert resolved.provenance == {
        "kind": "vit",
        "model": str(folder),
        "weights": "pretrained",
        "output": "patch",
        "size_px": 32,
        "revision": "local",
        "sha256": hashlib.sha256((folder / "model.safetensors").read_bytes()).hexdigest(),
        "dim": 32,
        "resize": "bilinear",
        "mean": [0.5, 0.5, 0.5],
        "std": [0.5, 0.5, 0.5],
        "dtype": "bfloat16",
    }
    assert json.loads(json.dumps(resolved.provenance)) == resolved.provenance
    assert (resolved.dim, resolved.shape) == (32, (16, 32))
    assert pickle.loads(pickle.dumps(resolved)) == resolved


def test_an_automatic_dtype_is_left_open_until_it_is_fixed_for_all(folder: Path) -> None:
    resolved = resolve(vit(folder))
    assert "dtype" not in resolved.provenance
    fixed = resolved.with_dtype("float32")
    assert (fixed.config.dtype, fixed.provenance["dtype"]) == ("float32", "float32")
    assert "dtype" not in resolved.provenance


def test_random_weights_are_said_aloud_and_stamped(caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "mien"):
        resolved = resolve(Dinov2Config(weights="random", seed=5))
    assert "facebook/dinov2-small: RANDOM weights (seed 5): the features mean nothing" in caplog.text
    stamp = {key: resolved.provenance[key] for key in ("weights", "seed", "sha256", "revision")}
    assert stamp == {"weights": "random", "seed": 5, "sha256": "", "revision": ""}
    assert resolved.read_weights() == b""


def test_no_default_is_random() -> None:
    assert [config().weights for config in (Dinov2Config, VitConfig, ClipVitConfig)] == ["pretrained"] * 3


def test_random_weights_need_known_sizes(folder: Path) -> None:
    with pytest.raises(ConfigError, match=r"'a/b' are not known.*google/vit-base-patch16-224, WinKawaks/vit-small"):
        resolve(VitConfig(model="a/b", weights="random"))
    (folder / "model.safetensors").unlink()
    assert resolve(vit(folder, weights="random")).dim == 32


@pytest.mark.parametrize(
    ("config", "millions"),
    [
        (Dinov2Config(model="facebook/dinov2-small"), 22.06),
        (Dinov2Config(model="facebook/dinov2-base"), 86.58),
        (Dinov2Config(model="facebook/dinov2-large"), 304.37),
        (VitConfig(model="google/vit-base-patch16-224"), 85.80),
        (VitConfig(model="WinKawaks/vit-small-patch16-224"), 21.67),
        (ClipVitConfig(model="openai/clip-vit-base-patch16"), 86.19 - 0.39),
        (ClipVitConfig(model="openai/clip-vit-base-patch32"), 87.85 - 0.39),
    ],
)
def test_known_sizes_have_the_published_number_of_parameters(config: BackboneConfig, millions: float) -> None:
    """Parameters of the published models, of CLIP without its projection [768, 512]."""
    resolved = resolve(config.model_copy(update={"weights": "random"}))
    network_class = getattr(transformers, config.family.network)
    with torch.device("meta"):
        architecture = network_class.config_class.from_dict(resolved.architecture)
        network = network_class(architecture, **config.family.options)
    count = sum(parameter.numel() for parameter in network.parameters())
    assert count / 1e6 == pytest.approx(millions, abs=0.01)


@pytest.mark.parametrize("config", [Dinov2Config, VitConfig, ClipVitConfig])
def test_silence_of_a_config_json_means_what_transformers_takes_it_for(config: type[BackboneConfig]) -> None:
    architecture = getattr(transformers, config.family.network).config_class()
    assert config.family.defaults == {key: getattr(architecture, key) for key in config.family.defaults}


def test_dinov2_at_its_own_size_has_37_by_37_patches() -> None:
    assert resolve(Dinov2Config(weights="random", output="patch")).shape == (1369, 384)
    assert resolve(Dinov2Config(weights="random", output="patch", size_px=224)).shape == (256, 384)


@pytest.mark.parametrize(("size_px", "fitting"), [(500, "490 or 504"), (15, "14 or 28")])
def test_a_size_that_does_not_fit_the_patches_is_refused(size_px: int, fitting: str) -> None:
    with pytest.raises(
        ConfigError, match=rf"features.size_px: {size_px} is not a multiple of the 14 px.*use {fitting}"
    ):
        resolve(Dinov2Config(weights="random", size_px=size_px))


def test_a_size_below_one_patch_is_refused() -> None:
    with pytest.raises(ConfigError, match="use 32"):
        resolve(ClipVitConfig(model="openai/clip-vit-base-patch32", weights="random", size_px=16))


def test_the_vision_part_of_clip_is_found(tiny: Tiny) -> None:
    resolved = resolve(ClipVitConfig(model=str(tiny("clip_vit")), size_px=32))
    assert (resolved.dim, resolved.architecture["patch_size"]) == (32, 8)


@pytest.mark.parametrize(
    ("file", "content", "message"),
    [
        ("config.json", None, r"config.json: cannot be read: No such file.*a model folder holds config.json and"),
        ("config.json", b"{", "config.json: is not JSON"),
        ("config.json", b"[" * 100_000, "config.json: is not JSON"),
        ("config.json", b"\xff\xfe", "config.json: is not JSON"),
        ("config.json", b"[]", "config.json: must hold a JSON object"),
        ("config.json", b" " * 1_000_001, "config.json: larger than 1000000 bytes"),
        (
            "config.json",
            b'{"model_type": "bert"}',
            r"config.json: is a 'bert' model, not one of vit; set features.kind",
        ),
        ("config.json", b"{}", "config.json: is a None model"),
        ("config.json", b'{"model_type": "vit", "hidden_size": "x"}', "hidden_size is 'x', not a positive"),
        ("config.json", b'{"model_type": "vit", "patch_size": 0}', "patch_size is 0, not a positive"),
        ("config.json", b'{"model_type": "vit", "quantization_config": {}}', "is a quantised model"),
        ("model.safetensors", None, r"model: has no model.safetensors, .* \(it holds config.json\)"),
        ("model.safetensors", b"", "model.safetensors: is damaged"),
        ("model.safetensors", b"\x80\x04pickled" * 9, "model.safetensors: is damaged"),
        ("preprocessor_config.json", b"{", "preprocessor_config.json: is not JSON"),
        ("preprocessor_config.json", b'{"image_mean": [0.5]}', r"image_mean is \[0.5\], not three numbers"),
    ],
)
def test_a_folder_that_is_not_such_a_model_is_one_clear_error(
    folder: Path, file: str, content: bytes | None, message: str
) -> None:
    (folder / file).unlink(missing_ok=True) if content is None else (folder / file).write_bytes(content)
    with pytest.raises(AssetError, match=message) as failure:
        resolve(vit(folder))
    assert str(failure.value).startswith(str(folder))
    assert failure.value.exit_code == 4


def test_weights_that_were_cut_short_are_refused(folder: Path) -> None:
    content = (folder / "model.safetensors").read_bytes()
    (folder / "model.safetensors").write_bytes(content[:-1])
    with pytest.raises(AssetError, match=r"model.safetensors: is damaged: .*; fetch the model again"):
        resolve(vit(folder))


def test_weights_that_are_only_a_pickle_are_refused_by_name(folder: Path) -> None:
    (folder / "model.safetensors").rename(folder / "pytorch_model.bin")
    with pytest.raises(AssetError, match=r"\(it holds config.json, pytorch_model.bin\); save it with save_pretrained"):
        resolve(vit(folder))


def test_a_vision_config_that_is_no_object_is_refused(folder: Path) -> None:
    rewrite(folder / "config.json", model_type="clip", vision_config="x")
    with pytest.raises(AssetError, match="vision_config is 'x', not an object"):
        resolve(ClipVitConfig(model=str(folder), size_px=32))


def test_a_program_that_a_model_names_is_not_fetched(folder: Path) -> None:
    rewrite(folder / "config.json", attn_implementation="owner/kernel", _attn_implementation="owner/kernel")
    for weights in ("pretrained", "random"):
        assert build(resolve(vit(folder, weights=weights))).dim == 32


def test_a_model_that_does_not_normalise_is_taken_at_its_word(folder: Path) -> None:
    rewrite(folder / "preprocessor_config.json", do_normalize=False, image_mean=[0.1, 0.1, 0.1])
    resolved = resolve(vit(folder))
    assert (resolved.mean, resolved.std) == ((0, 0, 0), (1, 1, 1))


def test_resolving_loads_neither_torch_nor_transformers(folder: Path) -> None:
    script = (
        "import sys; from mien.features.registry import resolve; from mien.features.vit import VitConfig;"
        "resolve(VitConfig(model=sys.argv[1], size_px=32));"
        "print(sorted({'torch', 'transformers'} & set(sys.modules)))"
    )
    done = subprocess.run([sys.executable, "-c", script, folder], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
