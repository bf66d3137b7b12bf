"""The bridge against a plain computation of its loss, and what its config and its mean must be."""

from typing import Any

import pytest
import torch
from torch.nn import functional

from mien import draws
from mien.errors import CheckpointError, ConfigError
from mien.models.checkpoint import load_into
from mien.models.residual_mlp import ResidualMlp
from mien.models.unet1d import Unet1d
from mien.objectives.batch import Samples
from mien.objectives.bridge import EmbeddingBridge, EmbeddingBridgeConfig

DIM = 16
SMALL = {
    "residual_mlp": {"embed_dim": DIM, "hidden_dim": 12, "num_blocks": 1},
    "unet1d": {"kind": "unet1d", "embed_dim": DIM, "init_channels": 4, "num_heads": 1, "head_dim": 4},
}


def objective(kind: str = "residual_mlp", **config: Any) -> EmbeddingBridge:
    torch.manual_seed(0)
    bridge = EmbeddingBridgeConfig.parse({"network": SMALL[kind], **config}, "run.yaml").build()
    for parameter in bridge.parameters():  # no gate is closed
        torch.nn.init.normal_(parameter, std=0.2)
    bridge.set_mean(mean_of(embeddings()))
    return bridge


def embeddings(num: int = 40) -> torch.Tensor:
    return 3 * torch.randn(num, DIM, generator=torch.Generator().manual_seed(1)) + 1


def mean_of(x: torch.Tensor) -> torch.Tensor:
    return functional.normalize(x).mean(0)


def samples(x: torch.Tensor, mask: torch.Tensor | None = None) -> Samples:
    keys = draws.keys(0, "test", torch.arange(len(x)))
    return Samples(x, keys, torch.ones(len(x), dtype=torch.bool) if mask is None else mask)


@pytest.mark.parametrize("training", [True, False])
def test_the_loss_is_a_plain_computation(training: bool) -> None:
    bridge = objective(weighting={"kind": "snr", "max_snr": 10.0}, bridge={"radius": 3.0}).train(training)
    batch = samples(embeddings(), torch.arange(40) % 3 > 0)
    outcome = bridge(batch)
    t, noise = outcome.seen["t"], draws.normal(draws.fold(batch.keys, 1), (DIM,))
    alpha_bar = bridge.schedule.alpha_bar[t].float()[:, None]
    centred = batch.values / batch.values.norm(dim=1, keepdim=True) - mean_of(embeddings())
    x_0 = 3 * centred / centred.norm(dim=1, keepdim=True)
    x_t = alpha_bar.sqrt() * x_0 + (1 - alpha_bar).sqrt() * noise
    x_t = 3 * x_t / x_t.norm(dim=1, keepdim=True)
    error = (bridge.network(x_t, t) - x_0).square().mean(1)
    weight = (alpha_bar / (1 - alpha_bar)).clamp(max=10)[:, 0]
    term = outcome.terms["denoising"]
    assert torch.allclose(term.sum, (error * weight)[batch.mask].sum(), rtol=1e-4)
    assert int(term.count) == int(batch.mask.sum())


@pytest.mark.parametrize("kind", SMALL)
def test_all_of_the_network_learns(kind: str) -> None:
    bridge = objective(kind)
    assert type(bridge.network) is {"residual_mlp": ResidualMlp, "unet1d": Unet1d}[kind]
    bridge(samples(embeddings())).terms["denoising"].sum.backward()
    still = [name for name, parameter in bridge.named_parameters() if not bool(parameter.grad.abs().sum() > 0)]
    assert still == []


def test_defaults_are_those_of_the_paper_but_for_the_network_and_a_clamp() -> None:
    config = EmbeddingBridgeConfig.load(None, ["network.embed_dim=512"])
    assert (config.network.kind, config.schedule.kind, config.schedule.num_steps) == ("residual_mlp", "cosine", 1000)
    assert (config.prediction, config.modality) == ("x_0", "text")
    assert config.weighting.dump() == {"kind": "snr", "max_snr": 1000.0}
    assert config.bridge.dump() == {"radius": 5.0, "start_step": 600, "num_steps": 5, "frame": "centred"}


@pytest.mark.parametrize("kind", SMALL)
def test_a_config_is_read_back(kind: str) -> None:
    config = EmbeddingBridgeConfig.parse({"network": SMALL[kind], "modality": "visual"}, "run.yaml")
    assert EmbeddingBridgeConfig.parse(config.dump(), "run.yaml") == config
    assert EmbeddingBridgeConfig(network=config.network).network is config.network


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("bridge.start_step=1001", "bridge.start_step=1001 is more than schedule.num_steps=1000; lower it"),
        ("schedule.num_steps=100", "bridge.start_step=600 is more than schedule.num_steps=100; lower it"),
        ("bridge.num_steps=601", "num_steps=601 must be between 1 and start_step=600"),
        ("prediction=eps", "prediction"),
        ("modality=sound", "modality"),
        ("network={kind: unet1d, embed_dim: 20}", "embed_dim"),
        ("network={kind: unet1d}", "embed_dim"),
        ("network={}", "embed_dim"),
        ("network={kind: gan, embed_dim: 8}", "'gan' is not one of"),
        ("network=3", "network"),
    ],
)
def test_a_config_that_cannot_be_is_one_line(override: str, message: str) -> None:
    with pytest.raises(ConfigError) as error:
        EmbeddingBridgeConfig.load(None, ["network.embed_dim=16", override])
    assert message in str(error.value)
    assert "\n" not in str(error.value)


def test_without_a_mean_nothing_is_learnt_or_translated() -> None:
    bridge = EmbeddingBridgeConfig(network=SMALL["residual_mlp"]).build()
    with pytest.raises(ValueError, match="has no mean; call set_mean"):
        bridge(samples(embeddings()))
    with pytest.raises(ValueError, match="has no mean; call set_mean"):
        bridge.translate(embeddings(), torch.zeros(DIM))


def test_a_mean_of_another_model_is_refused(unchecked: None) -> None:
    bridge = objective()
    with pytest.raises(ConfigError, match="embed_dim=16: the embeddings have 24 dimensions; set it to 24"):
        bridge.set_mean(torch.zeros(24))
    with pytest.raises(ValueError, match=r"embeddings are \[40, 16\], but must be \[b, 24\]"):
        bridge.translate(embeddings(), torch.zeros(24))
    with pytest.raises(ValueError, match="the config says embed_dim=16"):
        bridge.translate(torch.ones(3, 24), torch.zeros(24))
    wide = EmbeddingBridgeConfig(network=SMALL["residual_mlp"] | {"embed_dim": 24}).build()
    with pytest.raises(CheckpointError, match=r"mean is \[24\], not \[16\]"):
        load_into(bridge, wide.state_dict(), "run")


def test_the_mean_is_in_the_checkpoint() -> None:
    bridge, fresh = objective(), EmbeddingBridgeConfig(network=SMALL["residual_mlp"]).build()
    load_into(fresh, bridge.state_dict(), "run")
    x, source_mean = embeddings() - 2, mean_of(embeddings() - 2)
    assert torch.equal(fresh.translate(x, source_mean), bridge.translate(x, source_mean))


def test_translations_lie_on_the_sphere_of_their_frame() -> None:
    bridge = objective(bridge={"start_step": 300, "num_steps": 3}).eval()
    x, source_mean = embeddings() - 2, mean_of(embeddings() - 2)
    centred, raw = (bridge.translate(x, source_mean, frame) for frame in ("centred", "raw"))
    assert torch.equal(bridge.translate(x, source_mean), centred)
    for found in (centred, raw):
        assert torch.allclose(found.norm(dim=1), torch.ones(40))
        assert not found.requires_grad
    assert torch.allclose(functional.normalize(raw - bridge.mean), centred, atol=1e-5)
    assert torch.allclose(bridge.translate(4 * x, source_mean, "raw"), raw, atol=1e-5)
