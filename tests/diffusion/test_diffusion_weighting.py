"""Weights against the formulas of min-SNR as diffusers spells them, and against each other."""

import pytest
import torch
from diffusers import DDPMScheduler
from diffusers.training_utils import compute_snr

from mien.config import Config, ConfigError
from mien.diffusion.schedule import LinearScheduleConfig, Prediction
from mien.diffusion.weighting import MinSnrConfig, P2Config, SnrConfig, UnweightedConfig, WeightingConfig

SCHEDULE = LinearScheduleConfig().build()
SNR = compute_snr(DDPMScheduler(beta_schedule="linear"), torch.arange(1000)).double()
PREDICTIONS = pytest.mark.parametrize("prediction", ["eps", "x_0", "v"])


@pytest.mark.parametrize(("prediction", "divisor"), [("eps", SNR), ("x_0", torch.ones(1000)), ("v", SNR + 1)])
def test_min_snr(prediction: Prediction, divisor: torch.Tensor) -> None:
    expected = torch.stack([SNR, 5 * torch.ones(1000)], dim=1).min(dim=1).values / divisor
    assert torch.allclose(MinSnrConfig().weights(SCHEDULE, prediction), expected, rtol=1e-3)


@PREDICTIONS
def test_a_rule_means_the_same_for_each_prediction(prediction: Prediction) -> None:
    """The same error of x_0, told as an error of another prediction, has the same weighted loss."""
    x_0, noise, error = torch.randn(3, 1000, 1, dtype=torch.float64)
    t = torch.arange(1000)
    x_t, wrong = SCHEDULE.add_noise(x_0, noise, t), x_0 + error
    wrong_noise = SCHEDULE.eps_from(wrong, x_t, t)
    errors = SCHEDULE.target(prediction, wrong, wrong_noise, t) - SCHEDULE.target(prediction, x_0, noise, t)
    for rule in (SnrConfig(), MinSnrConfig(), P2Config()):
        loss = rule.weights(SCHEDULE, prediction) * errors[:, 0].square()
        assert torch.allclose(loss, rule.weights(SCHEDULE, "x_0") * error[:, 0].square(), rtol=1e-6)


def test_snr_is_the_simple_loss_of_the_noise_below_its_bound() -> None:
    assert torch.allclose(SnrConfig(max_snr=1e6).weights(SCHEDULE, "eps"), torch.ones(1000, dtype=torch.float64))
    assert SnrConfig().weights(SCHEDULE, "x_0").max() == 1000
    assert SnrConfig().weights(SCHEDULE, "x_0")[500].item() == pytest.approx(SNR[500].item(), rel=1e-3)


def test_p2_is_its_formula_on_the_loss_of_the_noise() -> None:
    assert torch.allclose(P2Config(k=2, gamma=0.5).weights(SCHEDULE, "eps"), (2 + SNR) ** -0.5, rtol=1e-3)


@PREDICTIONS
def test_no_weight(prediction: Prediction) -> None:
    assert torch.equal(UnweightedConfig().weights(SCHEDULE, prediction), torch.ones(1000, dtype=torch.float64))


class Holder(Config):
    weighting: WeightingConfig = UnweightedConfig()


def test_kinds_by_name() -> None:
    for kind in ("none", "snr", "min_snr", "p2"):
        assert Holder.parse({"weighting": {"kind": kind}}, "test").weighting.kind == kind
    with pytest.raises(ConfigError, match="'edm' is not one of"):
        Holder.parse({"weighting": {"kind": "edm"}}, "test")
