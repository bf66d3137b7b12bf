"""Probes find what was planted in tokens, and nothing where nothing is."""

import numpy as np
import pytest

from embedded_scenes import embedded, expression
from mien.evaluation.bootstrap import BootstrapConfig, NotMeasurable
from mien.evaluation.embedded import Embedded, Floats
from mien.evaluation.probes import ProbeConfig, ProbeResult

FACE = expression(20, 40, 6)


def probe(frames: Embedded, config: ProbeConfig | None = None, seed: int = 0) -> ProbeResult | NotMeasurable:
    return (config or ProbeConfig()).build(BootstrapConfig(seed=seed))(frames)


def found(frames: Embedded) -> ProbeResult:
    result = probe(frames)
    assert isinstance(result, ProbeResult)
    return result


def noisy(signal: float, columns: list[int]) -> Floats:
    """Tokens that show each of these blendshapes, with R² = signal and noise of its own, turned by a rotation."""
    shown = FACE[:, columns]
    rng = np.random.default_rng(len(columns))
    noise = rng.normal(size=shown.shape) * FACE.std() * np.sqrt(1 / signal - 1)
    return (shown + noise) @ np.linalg.qr(rng.normal(size=(len(columns), len(columns))))[0]


@pytest.mark.parametrize("signal", [0.3, 0.8])
def test_a_noisy_linear_map_has_the_r_squared_of_its_noise(signal: float) -> None:
    """Of x = y + noise the best linear guess of y has R² var(y) / (var(y) + var(noise)); turning x changes nothing."""
    result = found(embedded(tokens=noisy(signal, [0, 1, 2, 3, 4, 5])))
    assert result.tokens.mean.value == pytest.approx(signal, abs=0.05)
    assert result.tokens.mean.low < signal < result.tokens.mean.high + 0.02
    assert -0.05 < result.shuffled.mean.value < 0.02  # a fit on what is not shuffled would miss by far more
    assert result.tokens_minus_shuffled.low > signal - 0.1
    assert result.tokens_minus_baseline.low > signal - 0.1
    assert [estimate.value for estimate in result.tokens.per_blendshape] == pytest.approx([signal] * 6, abs=0.1)


def test_what_a_token_shows_and_what_not_is_told_apart() -> None:
    result = found(embedded(tokens=noisy(0.9, [1, 4])))
    for column, estimate in zip(result.varied, result.tokens.per_blendshape, strict=True):
        assert (estimate.value > 0.8) if column in {1, 4} else (estimate.value < 0.1)
    each = [estimate.value for estimate in result.tokens.per_blendshape]
    assert result.tokens.mean.value == pytest.approx(np.mean(each))


def test_random_tokens_have_no_r_squared() -> None:
    result = found(embedded())
    for score in (result.tokens, result.baseline, result.shuffled):
        assert -0.1 < score.mean.value < 0.02
        assert score.mean.low <= 0
    assert result.tokens_minus_shuffled.low <= 0 <= result.tokens_minus_shuffled.high


def test_a_shift_between_the_sides_is_held_against_the_training_mean() -> None:
    """Who predicts the training mean scores 0, although every held-out frame lies 0.3 above it."""
    result = found(embedded(blendshapes=FACE + 0.3 * embedded().is_held_out[:, None]))
    assert result.tokens.mean.value == pytest.approx(0, abs=0.03)


def test_held_out_frames_change_neither_the_fit_nor_its_penalty(rng: np.random.Generator) -> None:
    tokens = noisy(0.8, [0, 1, 2, 3, 4, 5])
    first = found(embedded(tokens=tokens))
    is_held_out = embedded().is_held_out
    second = found(embedded(tokens=np.where(is_held_out[:, None], rng.normal(size=tokens.shape), tokens)))
    assert first.tokens.penalty == second.tokens.penalty
    assert second.tokens.mean.value < 0.1


def test_the_identity_of_a_clip_does_not_pass_for_expression() -> None:
    """Tokens that name their clip explain training frames by heart, and held-out ones not at all."""
    tokens = np.random.default_rng(0).normal(size=(20, 16))[embedded().clip]
    assert found(embedded(tokens=tokens)).tokens.mean.value < 0.05


def test_frames_without_blendshapes_take_no_part() -> None:
    blendshapes, tokens = FACE.copy(), noisy(0.8, [0, 1, 2, 3, 4, 5])
    blendshapes[::3] = np.nan
    tokens[::3] = 1e6  # would ruin every fit
    frames = embedded(tokens=tokens, blendshapes=blendshapes)
    result = found(frames)
    assert result.tokens == found(frames.where(frames.is_measured)).tokens
    assert result.tokens.mean.value == pytest.approx(0.8, abs=0.05)
    assert result.num_frames == (frames.is_measured & frames.is_held_out).sum()


def test_blendshapes_that_hardly_vary_are_listed() -> None:
    blendshapes = FACE.copy()
    blendshapes[:, 0] = 0.2
    blendshapes[:, 3] = 0.001 * FACE[:, 3]
    blendshapes[embedded().is_held_out, 5] = 0.5  # varies in training alone
    result = found(embedded(blendshapes=blendshapes, tokens=noisy(0.8, [1, 2, 4])))
    assert result.left_out == (0, 3, 5)
    assert result.varied == (1, 2, 4)
    assert result.tokens.mean.value == pytest.approx(0.8, abs=0.05)


def test_the_same_data_give_the_same_numbers() -> None:
    frames = embedded(tokens=noisy(0.5, [0, 1]))
    assert probe(frames) == probe(frames)
    assert probe(frames) != probe(frames, seed=1)
    assert probe(frames) != probe(frames, ProbeConfig(seed=1))


@pytest.mark.parametrize(
    ("frames", "reason"),
    [
        (embedded(num_clips=1), "training clips with blendshapes: 1"),
        (embedded(is_held_out=embedded().clip > 0), "training clips with blendshapes: 1"),
        (embedded(is_held_out=np.zeros(800, bool)), "no held-out clip"),
        (embedded(blendshapes=np.full((800, 6), np.nan)), "training clips with blendshapes: 0"),
        (embedded(blendshapes=np.full((800, 6), 0.3)), "no blendshape varies"),
    ],
    ids=["one clip", "one training clip", "none held out", "no blendshapes", "constant"],
)
def test_what_cannot_be_measured_says_why(frames: Embedded, reason: str) -> None:
    result = probe(frames)
    assert isinstance(result, NotMeasurable)
    assert reason in result.reason


def test_one_held_out_clip_has_a_value_without_interval() -> None:
    result = found(embedded(is_held_out=embedded().clip == 3, tokens=noisy(0.8, [0, 1, 2, 3, 4, 5])))
    assert result.tokens.mean.value > 0.6
    assert np.isnan(result.tokens.mean.low)
