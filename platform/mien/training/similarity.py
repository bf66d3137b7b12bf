"""How alike the expression tokens of a clip are, as numbers and as figures: tokens that collapse show here."""

from pathlib import Path
from typing import Any

import numpy as np
import torch

_BINS = 50


def per_clip(tokens: torch.Tensor, mask: torch.Tensor) -> list[np.ndarray]:
    """Cosine similarities of every two frames of each clip, negative ones too; clips of one frame have none.

    Args:
        tokens: Expression tokens of clips [B, T, D].
        mask: Frames that count [B, T].

    Raises:
        ValueError: The tokens are not those of clips, frame by frame.
    """
    require_sequence(tokens, mask)
    found = []
    for clip, kept in zip(tokens.detach().float().cpu(), mask.cpu(), strict=True):
        unit = torch.nn.functional.normalize(clip[kept], dim=-1)
        upper = torch.triu_indices(len(unit), len(unit), offset=1)
        found.append((unit @ unit.T)[upper[0], upper[1]].numpy())
    return [values for values in found if len(values)]


def require_sequence(tokens: torch.Tensor, mask: torch.Tensor) -> None:
    """Expression tokens are logged as [B, T, D], T the frames of the clip; a [B, 1, D] would draw a flat line.

    Raises:
        ValueError: They are something else.
    """
    if tokens.ndim != 3 or mask.shape != tokens.shape[:2]:
        raise ValueError(
            f"expression tokens must be [clips, frames, dimensions] with a mask [clips, frames], not "
            f"{list(tokens.shape)} and {list(mask.shape)}"
        )


def pooled(clips: list[np.ndarray]) -> np.ndarray:
    """The similarities of all clips together."""
    return np.concatenate(clips) if clips else np.empty(0, np.float32)


def statistics(values: np.ndarray) -> dict[str, float]:
    """Mean, std, min, max and count of similarities."""
    if not len(values):
        return {"count": 0}
    return {
        "mean": float(values.mean()),
        "std": float(values.std()),
        "min": float(values.min()),
        "max": float(values.max()),
        "count": len(values),
    }


def figure(clips: list[np.ndarray], step: int) -> Any:
    """Left: all similarities, logarithmic counts; right: one violin per clip. A matplotlib Figure of 15 by 6 inches."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(15, 6), layout="constrained")
    left, right = drawn.subplots(1, 2)
    together = pooled(clips)
    left.hist(together, bins=_BINS, color="tab:blue")
    left.set(yscale="log", xlabel="cosine similarity", ylabel="pairs of frames", title=f"All pairs, step {step}")
    said = "\n".join(f"{key} {value:.4g}" for key, value in statistics(together).items())
    left.text(0.02, 0.97, said, transform=left.transAxes, va="top", bbox={"facecolor": "wheat", "alpha": 0.7})
    right.violinplot(clips, showmeans=True, showmedians=True)
    right.set(xlabel="clip", ylabel="cosine similarity", title="By clip: mean and median")
    means = np.array([values.mean() for values in clips])
    said = f"clips {len(clips)}\nmean of the clips' means {means.mean():.4g}\nstd of these {means.std():.4g}"
    right.text(0.02, 0.97, said, transform=right.transAxes, va="top", bbox={"facecolor": "lightblue", "alpha": 0.7})
    return drawn


def evolution_figure(history: list[dict[str, float]], first: np.ndarray, last: np.ndarray) -> Any:
    """Two by two: mean and std, std, range, and the first against the last histogram; over the logged steps."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(12, 9), layout="constrained")
    axes = drawn.subplots(2, 2)
    steps, mean, std, low, high = (
        np.array([row[key] for row in history]) for key in ("step", "mean", "std", "min", "max")
    )
    axes[0, 0].plot(steps, mean)
    axes[0, 0].fill_between(steps, mean - std, mean + std, alpha=0.3)
    axes[0, 1].plot(steps, std)
    axes[1, 0].fill_between(steps, low, high, alpha=0.3)
    for values, name in ((first, f"step {steps[0]:g}"), (last, f"step {steps[-1]:g}")):
        axes[1, 1].hist(values, bins=_BINS, alpha=0.5, label=name)
    axes[1, 1].legend()
    titles = ("mean ± std", "std", "least to greatest", "first and last")
    for axis, title in zip(axes.flat, titles, strict=True):
        axis.set(title=title, xlabel="cosine similarity" if title == titles[3] else "step")
    return drawn


def schedule_figure(rows: list[dict[str, float]], warmup_end: int | None) -> Any:
    """Learning rate above, loss weights below, over the steps; a dashed line where the warm-up ends."""
    from matplotlib.figure import Figure

    drawn = Figure(figsize=(10, 7), layout="constrained")
    above, below = drawn.subplots(2, 1, sharex=True)
    steps = [row["step"] for row in rows]
    above.plot(steps, [row["learning_rate"] for row in rows])
    above.set(ylabel="learning rate")
    for name in (key for key in rows[0] if key.startswith("weight/")):
        below.plot(steps, [row[name] for row in rows], label=name.removeprefix("weight/"))
    below.set(xlabel="step", ylabel="weight")
    below.legend()
    for axis in (above, below):
        if warmup_end:
            axis.axvline(warmup_end, color="red", linestyle="--", linewidth=1)
    return drawn


def save(drawn: Any, path: Path, dpi: int = 150) -> Path:
    """Write a figure as PNG."""
    drawn.savefig(path, dpi=dpi)
    return path
