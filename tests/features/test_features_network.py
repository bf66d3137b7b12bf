import hashlib
import json
import pickle
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np
import pytest
import torch
import transformers
from transformers.image_utils import IMAGENET_DEFAULT_MEAN, IMAGENET_DEFAULT_STD
from transformers.models.bit.image_processing_pil_bit import BitImageProcessorPil
from transformers.models.clip.image_processing_pil_clip import CLIPImageProcessorPil
from transformers.models.vit.image_processing_pil_vit import ViTImageProcessorPil

from mien.errors import AssetError
from mien.features.backbone import BackboneConfig, Resolved, resolve
from mien.features.clip_vit import ClipVitConfig
from mien.features.dinov2 import Dinov2Config
from mien.features.network import Network, choose_dtype
from mien.features.vit import VitConfig

pytestmark = pytest.mark.usefixtures("no_network")

KINDS = {"dinov2": Dinov2Config, "vit": VitConfig, "clip_vit": ClipVitConfig}
IMAGENET = {"image_mean": IMAGENET_DEFAULT_MEAN, "image_std": IMAGENET_DEFAULT_STD}
PROCESSORS = {
    "dinov2": partial(BitImageProcessorPil, **IMAGENET),
    "vit": ViTImageProcessorPil,
    "clip_vit": CLIPImageProcessorPil,
}
NATIVE_PX = {"dinov2": 42, "vit": 32, "clip_vit": 32}
LARGER_PX = {"dinov2": 70, "vit": 64, "clip_vit": 64}

Tiny = Callable[[str], Path]


def config_of(kind: str, folder: Path, **fields: object) -> BackboneConfig:
    return KINDS[kind].parse({"model": str(folder), "size_px": NATIVE_PX[kind], "dtype": "float32", **fields}, "test")


def network_of(kind: str, folder: Path, **fields: object) -> Network:
    return Network(resolve(config_of(kind, folder, **fields)))


def reference(kind: str, folder: Path, frames: np.ndarray, size_px: int, processor: object = None) -> torch.Tensor:
    """Tokens by transformers alone: its own image processor, its own loading."""
    size = {"height": size_px, "width": size_px}
    processor = processor or PROCESSORS[kind](size=size, do_center_crop=False)
    pixels = processor(images=list(frames), return_tensors="pt")["pixel_values"]
    with torch.no_grad():
        if kind == "dinov2":
            return transformers.Dinov2Model.from_pretrained(folder).eval()(pixels).last_hidden_state
        if kind == "vit":
            model = transformers.ViTModel.from_pretrained(folder, add_pooling_layer=False).eval()
            return model(pixels, interpolate_pos_encoding=True).last_hidden_state
        model = transformers.CLIPModel.from_pretrained(folder).eval().vision_model
        output = model(pixels, interpolate_pos_encoding=True)
        patches = model.post_layernorm(output.last_hidden_state[:, 1:])
        return torch.cat([output.pooler_output[:, None], patches], dim=1)


def cosine(a: np.ndarray, b: np.ndarray) -> np.ndarray:
    return (a * b).sum(-1) / np.linalg.norm(a, axis=-1) / np.linalg.norm(b, axis=-1)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("output", ["cls", "mean", "patch"])
@pytest.mark.parametrize("sizes", [NATIVE_PX, LARGER_PX])
def test_features_are_those_of_transformers(
    tiny: Tiny, frames: np.ndarray, kind: str, output: str, sizes: dict[str, int]
) -> None:
    size_px = sizes[kind]
    features = network_of(kind, tiny(kind), output=output, size_px=size_px)(frames)
    tokens = reference(kind, tiny(kind), frames, size_px).numpy()
    expected = {"cls": tokens[:, 0], "mean": tokens[:, 1:].mean(axis=1), "patch": tokens[:, 1:]}[output]
    assert features.shape == expected.shape
    assert features.dtype == np.float32
    assert cosine(features, expected).min() >= 0.9999
    np.testing.assert_allclose(np.linalg.norm(features, axis=-1), np.linalg.norm(expected, axis=-1), rtol=0.01)
    assert cosine(features, np.roll(features, 1, axis=0)).max() < 0.999, "the frames must tell right from wrong"


@pytest.mark.parametrize("kind", KINDS)
def test_without_a_resize_only_rounding_differs(tiny: Tiny, frames: np.ndarray, kind: str) -> None:
    crops = np.ascontiguousarray(frames[:, : NATIVE_PX[kind], : NATIVE_PX[kind]])
    features = network_of(kind, tiny(kind), output="patch")(crops)
    expected = reference(kind, tiny(kind), crops, NATIVE_PX[kind])[:, 1:].numpy()
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)


def test_normalisation_is_that_of_the_model_s_own_preprocessor(tiny: Tiny, frames: np.ndarray, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("vit"), tmp_path / "vit")
    size = {"height": 32, "width": 32}
    processor = ViTImageProcessorPil(size=size, image_mean=[0.1, 0.4, 0.7], image_std=[0.2, 0.3, 0.1])
    processor.save_pretrained(folder)
    network = network_of("vit", folder)
    expected = reference("vit", folder, frames, 32, processor)[:, 0].numpy()
    assert cosine(network(frames), expected).min() >= 0.9999
    assert network.provenance["mean"] == [0.1, 0.4, 0.7]
    assert cosine(network_of("vit", tiny("vit"))(frames), expected).max() < 0.99


def test_the_split_into_batches_does_not_matter(tiny: Tiny, frames: np.ndarray) -> None:
    whole = network_of("vit", tiny("vit"), batch_size=16)(frames)
    for batch_size in (1, 2, 5):
        np.testing.assert_allclose(network_of("vit", tiny("vit"), batch_size=batch_size)(frames), whole, atol=1e-5)


@pytest.mark.parametrize(("output", "shape"), [("cls", (32,)), ("mean", (32,)), ("patch", (16, 32))])
def test_no_frames_give_no_features(tiny: Tiny, output: str, shape: tuple[int, ...]) -> None:
    network = network_of("vit", tiny("vit"), output=output)
    features = network(np.empty((0, 48, 48, 3), np.uint8))
    assert (network.dim, network.shape, features.shape) == (32, shape, (0, *shape))


def test_frames_that_cannot_be_written_are_read(tiny: Tiny, frames: np.ndarray) -> None:
    locked = frames.copy()
    locked.flags.writeable = False
    network = network_of("vit", tiny("vit"))
    np.testing.assert_array_equal(network(locked), network(frames))


@pytest.mark.parametrize(
    ("shape", "dtype"),
    [
        ((1, 48, 48, 3), np.float32),
        ((48, 48, 3), np.uint8),
        ((1, 3, 48, 48), np.uint8),
        ((1, 48, 32, 3), np.uint8),
    ],
)
def test_other_arrays_than_square_rgb_are_a_programmer_s_error(tiny: Tiny, shape: object, dtype: object) -> None:
    wrong = np.zeros(shape, dtype)
    with pytest.raises(ValueError, match=r"frames must be square uint8 \[N, H, H, 3\]"):
        network_of("vit", tiny("vit"))(wrong)


@pytest.mark.parametrize("kind", KINDS)
def test_bfloat16_is_close_to_float32_and_says_so(tiny: Tiny, frames: np.ndarray, kind: str) -> None:
    full, half = (network_of(kind, tiny(kind), dtype=dtype) for dtype in ("float32", "bfloat16"))
    assert half(frames).dtype == np.float32
    assert 0.999 < cosine(full(frames), half(frames)).min() < 1
    assert (full.provenance["dtype"], half.provenance["dtype"]) == ("float32", "bfloat16")


def test_auto_is_bfloat16_only_where_the_processor_has_it() -> None:
    cpu = torch.device("cpu")
    flags = Path("/proc/cpuinfo").read_text("utf-8") if Path("/proc/cpuinfo").exists() else ""
    has_bfloat16 = "avx512_bf16" in flags or "amx_bf16" in flags
    assert choose_dtype("auto", cpu) is (torch.bfloat16 if has_bfloat16 else torch.float32)
    assert choose_dtype("float32", cpu) is torch.float32
    assert choose_dtype("bfloat16", cpu) is torch.bfloat16


@pytest.mark.parametrize("kind", KINDS)
def test_random_weights_come_from_the_seed_alone(tiny: Tiny, frames: np.ndarray, kind: str) -> None:
    def features(seed: int) -> np.ndarray:
        torch.manual_seed(seed + 7)
        state = torch.get_rng_state()
        network = network_of(kind, tiny(kind), weights="random", seed=seed)
        assert torch.equal(torch.get_rng_state(), state)
        return network(frames)

    np.testing.assert_array_equal(features(3), features(3))
    assert np.abs(features(3) - features(4)).max() > 0.01
    assert network_of(kind, tiny(kind), weights="random").provenance["weights"] == "random"


def test_a_resolved_backbone_travels_with_its_weights(tiny: Tiny, frames: np.ndarray, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("clip_vit"), tmp_path / "model")
    resolved = resolve(config_of("clip_vit", folder))
    weights = resolved.read_weights()
    expected = Network(resolved)(frames)
    shutil.rmtree(folder)
    elsewhere: Resolved = pickle.loads(pickle.dumps(resolved))
    np.testing.assert_array_equal(Network(elsewhere, weights)(frames), expected)
    with pytest.raises(
        AssetError, match=r"model.safetensors: cannot be read on this machine: .*disk that all machines"
    ):
        Network(elsewhere)


def test_other_weights_than_resolved_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("vit"), tmp_path / "model")
    resolved = resolve(config_of("vit", folder))
    content = bytearray((folder / "model.safetensors").read_bytes())
    content[-1] ^= 1
    (folder / "model.safetensors").write_bytes(content)
    with pytest.raises(AssetError, match=f"have sha256 {hashlib.sha256(content).hexdigest()} here, but [0-9a-f]{{64}}"):
        Network(resolved)


def test_weights_of_another_architecture_are_refused(tiny: Tiny, tmp_path: Path) -> None:
    folder = shutil.copytree(tiny("vit"), tmp_path / "model")
    values = json.loads((folder / "config.json").read_text("utf-8"))
    for change, message in (
        ({"num_hidden_layers": 3}, r"lacks 16 weights of ViTModel \(layers.2"),
        ({"hidden_size": 64}, "cannot be loaded"),
        ({"num_attention_heads": 5}, "cannot be loaded"),
        ({"hidden_act": "no such"}, "cannot be loaded"),
    ):
        (folder / "config.json").write_text(json.dumps(values | change), "utf-8")
        with pytest.raises(AssetError, match=message) as failure:
            network_of("vit", folder)
        assert str(failure.value).startswith(str(folder))


def test_loading_says_nothing(tiny: Tiny, capfd: pytest.CaptureFixture[str]) -> None:
    network_of("clip_vit", tiny("clip_vit"))
    assert capfd.readouterr() == ("", "")


@pytest.mark.gpu
def test_the_gpu_gives_the_features_of_the_cpu(tiny: Tiny, frames: np.ndarray) -> None:
    for kind in KINDS:
        network = network_of(kind, tiny(kind), output="patch", size_px=LARGER_PX[kind])
        expected = reference(kind, tiny(kind), frames, LARGER_PX[kind])[:, 1:].numpy()
        assert cosine(network(frames), expected).min() >= 0.9999
        assert network_of(kind, tiny(kind), dtype="auto").provenance["dtype"] == "bfloat16"


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("size", ["native", "larger"])
def test_positions_are_what_the_network_adds_to_its_patches(
    tiny: Tiny, frames: np.ndarray, kind: str, size: str
) -> None:
    size_px = (NATIVE_PX if size == "native" else LARGER_PX)[kind]
    made = network_of(kind, tiny(kind), size_px=size_px)
    embeddings, seen = made._network.embeddings, []
    handle = embeddings.register_forward_hook(lambda _, given, out: seen.append((given[0], out)))
    made(frames[:2])
    handle.remove()
    pixels, embedded = seen[0]
    with torch.no_grad():
        patches = embeddings.patch_embeddings if hasattr(embeddings, "patch_embeddings") else embeddings.patch_embedding
        bare = patches(pixels)
    bare = bare.flatten(2).mT if bare.ndim == 4 else bare
    positions = made.positions()
    assert positions.dtype == torch.float32
    torch.testing.assert_close(positions.expand_as(bare), embedded[:, 1:] - bare, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("output", ["cls", "mean", "patch"])
def test_tensors_are_embedded_as_arrays_are(tiny: Tiny, frames: np.ndarray, output: str) -> None:
    made = network_of("vit", tiny("vit"), output=output, batch_size=2)
    found = made.embed(torch.from_numpy(frames))
    np.testing.assert_array_equal(found.numpy(), made(frames))
    assert not found.requires_grad
    assert (found * torch.ones(1, requires_grad=True)).requires_grad, "no inference tensor: a model may train on it"
