"""Verbs that show what a model has learnt."""

import time
from typing import Annotated

import typer

from mien.verbs.verb import Json, call, config_of, emit, finish, lines

app = typer.Typer()
demo_app = typer.Typer(help="See what a model has learnt: sample.", no_args_is_help=True)
app.add_typer(demo_app, name="demo")


@demo_app.command()
def sample(
    place: Annotated[str, typer.Argument(metavar="CHECKPOINT", help="A run, or RUN/checkpoints/step_….")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", help="Settings.")] = None,
    as_json: Json = False,
) -> None:
    """Make images by a trained denoiser: a grid of them, and how some come out of the noise.

    Settings: output (samples), num (16), seed, weights=ema|model, sampler=ddpm|ddim, num_steps (of ddim), batch.

    Example: mien demo sample RUN output=SAMPLES num=25 num_steps=20
    """
    started = time.monotonic()
    config = config_of("mien.demos.samples:SamplesConfig", words).model_copy(update={"checkpoint": place})
    result = call("mien.demos.samples:run", config)
    emit(result, as_json, lambda: lines(result))
    finish(started, result["output"], f"see {result['grid']} and {result['strip']}")
