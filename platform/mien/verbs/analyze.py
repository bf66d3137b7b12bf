"""Verbs that end in figures and the numbers behind them.

A kind of analysis is a command here, an entry in `CONFIGS`, and `mien.analysis.analyze_<kind>` with
`run(config, fresh=…)`, which returns an `AnalysisReport`. One that a Ray can share (`mien.verbs.spread`) also takes
`compute=…`.
"""

import json
import time
from typing import Annotated, Any

import typer

from mien.verbs.verb import Json, Words, call, emit, finish, read_config, table

app = typer.Typer()
analyze_app = typer.Typer(
    help="Figures, and the numbers behind them: of data, expressions, embeddings, models, runs; and a report.",
    no_args_is_help=True,
)
app.add_typer(analyze_app, name="analyze")

_SPREAD = ("embeddings", "expressions", "features")
"""Kinds whose work may be large."""

Fresh = Annotated[bool, typer.Option("--fresh", help="Delete what is there and start over.")]


@analyze_app.command()
def data(words: Words = None, fresh: Fresh = False, as_json: Json = False) -> None:
    """Draw a dataset: lengths, sizes, gaps, failures; what normalisation does to its vectors; how alike people are.

    Settings: figures=[overview,normalisation,similarity], vectors.column=feature|blendshapes|landmarks|head_pose|box,
    normalisation.scope=dataset|clip, similarity.centred=true, include_faces=true for pictures that show faces.

    Example: mien analyze data dataset=DATASET output=FIGURES
    """
    _analyze("data", words, fresh, as_json)


@analyze_app.command()
def expressions(words: Words = None, fresh: Fresh = False, as_json: Json = False) -> None:
    """Draw expressions of clips: candles, heatmap, movement; and tell whether and how much they vary.

    Sources (source.kind): dataset, checkpoint (a trained model looks at clips), file (.npy, .npz, .parquet), synthetic.
    Where there are both target and prediction, they are drawn beside each other, with their difference. compute=ray
    looks at clips and draws them on all cores.

    Example: mien analyze expressions source.kind=checkpoint source.checkpoint=RUN source.num_clips=4 output=FIGURES
    """
    _analyze("expressions", words, fresh, as_json)


@analyze_app.command()
def warp(words: Words = None, fresh: Fresh = False, as_json: Json = False) -> None:
    """Draw a warp field: each component as a map, and arrows over the plane; volumetric fields slice by slice.

    Sources (source.kind): file (.npy, .npz, .parquet), frames (two of a clip) and pictures (two files), measured by
    optical flow or by landmarks (source.by.kind), synthetic.

    Example: mien analyze warp source.kind=frames source.dataset=DATASET source.by.kind=landmarks output=FIGURES
    """
    _analyze("warp", words, fresh, as_json)


@analyze_app.command()
def features(words: Words = None, fresh: Fresh = False, as_json: Json = False) -> None:
    """Compare activation maps of two denoisers on the same images and noise. The same command resumes.

    A figure for each image, timestep and layer, contact sheets, and whether the two differ, which may be that they do
    not. Settings: num_samples, timesteps, layers, clean, noisy, weights=ema|model, grid.*, data.*, device, compute=ray.

    Example: mien analyze features baseline=RUN curriculum=RUN_C output=FIGURES
    """
    _analyze("features", words, fresh, as_json)


@analyze_app.command()
def report(
    words: Annotated[list[str], typer.Argument(metavar="PLACE... [CONFIG.yaml] [key.path=value]...")],
    output: Annotated[str, typer.Option("--output", "-o", help="Where the page goes.")] = "",
    fresh: Fresh = False,
    as_json: Json = False,
) -> None:
    """Write one page that explains runs, evaluations, sweeps, datasets and the figures of other analyses.

    The page needs no network and nothing beside it: numbers with intervals, figures with the tables behind them, clips
    frame by frame, a map of samples. Pictures of faces are in it only with include_faces=true.

    Example: mien analyze report RUN OTHER_RUN -o REPORT
    """
    places = [word for word in words if "=" not in word and not word.endswith((".yaml", ".yml"))]
    others = [word for word in words if word not in places]
    others += [f"sources={json.dumps(places)}"] * bool(places) + [f"output={json.dumps(output)}"] * bool(output)
    _analyze("report", others, fresh, as_json)


@analyze_app.command()
def training(words: Words = None, fresh: Fresh = False, as_json: Json = False) -> None:
    """Draw what runs logged, over one another: losses, schedules, signs of collapse, pace. Runs may be going on.

    Example: mien analyze training runs='{plain: RUN, longer: RUN_B}' output=FIGURES
    """
    _analyze("training", words, fresh, as_json)


@analyze_app.command()
def evaluation(words: Words = None, fresh: Fresh = False, as_json: Json = False) -> None:
    """Draw what evaluations of joint models say of each claim, models side by side, and whom each recognises.

    Example: mien analyze evaluation evaluations=[RUN,RUN_B] output=FIGURES
    """
    _analyze("evaluation", words, fresh, as_json)


@analyze_app.command()
def capture(
    words: Words = None,
    check: Annotated[bool, typer.Option("--check", help="Run one item, tell the shapes; write nothing.")] = False,
    fresh: Fresh = False,
    as_json: Json = False,
) -> None:
    """Take embeddings out of a torch model by hooks that the config names. The same command resumes.

    Settings: network, items (package.module:name), hooks.visual, hooks.text (dotted paths), text_names, num_items.

    Example: mien analyze capture CONFIG.yaml num_items=100 output=CAPTURED
    """
    config = read_config("analyze/capture", words)
    if check:
        found = call("mien.analysis.analyze_capture:check", config)
        return emit({"checks": found}, as_json, lambda: "\n".join(found))
    return _analyzed("capture", config, fresh, as_json)


@analyze_app.command()
def embeddings(
    words: Words = None,
    status: Annotated[bool, typer.Option("--status", help="Tell which steps are done; write nothing.")] = False,
    fresh: Fresh = False,
    as_json: Json = False,
) -> None:
    """Compare embeddings of two modalities, before and after bridges: figures, a report, classes and a verdict.

    Sets are dataset=DATASET, whose crops and keywords CLIP embeds (clips.text=transcript: what is said),
    embeddings=FILE, as capture writes it, or visual=FILE and text=FILE (.npz, .parquet, .safetensors).
    Settings: bridges=[RUN,…], num_rows, batch, tsne=skip, tsne.samples, tsne.perplexity, sweep.start_steps, compute.

    Example: mien analyze embeddings embeddings=CAPTURED/embeddings.parquet bridges=[RUN] output=FIGURES
    """
    config = read_config("analyze/embeddings", words)
    if status:
        steps = [one._asdict() for one in call("mien.analysis.analyze_embeddings:status", config)]
        return emit(steps, as_json, lambda: table(steps))
    return _analyzed("embeddings", config, fresh, as_json)


def _analyze(kind: str, words: list[str] | None, fresh: bool, as_json: bool) -> None:
    _analyzed(kind, read_config(f"analyze/{kind}", words), fresh, as_json)


def _analyzed(kind: str, config: Any, fresh: bool, as_json: bool) -> None:
    started = time.monotonic()
    if kind in _SPREAD:
        report = call("mien.verbs.spread:run", kind, config, fresh=fresh)
    else:
        report = call(f"mien.analysis.analyze_{kind}:run", config, fresh=fresh)
    emit(report.to_json(), as_json, lambda: report.text)
    finish(started, report.path, report.following)
