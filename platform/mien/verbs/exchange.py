"""Verbs that hand a dataset to other programs, and take theirs over."""

import time
from typing import Annotated

import typer

from mien.verbs.verb import Json, Place, call, emit, finish, lines

app = typer.Typer()


@app.command()
def export(
    kind: Annotated[str, typer.Argument(metavar="KIND", help="clips, lerobot, webdataset, hf or openface.")],
    place: Place,
    words: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", help="Options of the kind.")] = None,
    output: Annotated[str, typer.Option("-o", "--output", metavar="OUT", help="Empty folder, or gs://.")] = ...,  # type: ignore[assignment]
    fresh: Annotated[bool, typer.Option("--fresh", help="Delete the export that is there and start over.")] = False,
    as_json: Json = False,
) -> None:
    """Write a dataset in a form that others read. The same command resumes.

    clips: HDF5 and MP4 per sample. lerobot: LeRobot v3.0. webdataset: tar shards. hf: Parquet with pictures and a card.
    openface: CSV with its 714 columns, what is not measured is empty.

    Options: subject=NAME and frames_per_part=N for all; size_px=, compression= (clips), task= (lerobot),
    unit=frame|sample, shard_mb= (webdataset), shard_mb= (hf), video.crf= where there is an MP4.

    Example: mien export hf DATASET -o OUT subject=s7
    """
    started = time.monotonic()
    config = call("mien.datasets.export.kinds:read_kind", kind, words or [])
    report = call("mien.pipelines.export:export", place, output, config, fresh=fresh)
    told = {key: value for key, value in report.items() if key not in {"origin", "options", "finished"}}
    emit(report, as_json, lambda: lines(told))
    finish(started, report["path"], f"see {report['path']}/README.md")


@app.command("import")
def import_clips(
    source: Annotated[str, typer.Argument(metavar="FOLDER", help="Folder or gs:// with clip files (.h5).")],
    words: Annotated[list[str] | None, typer.Argument(metavar="[key=value]...", help="Options.")] = None,
    output: Annotated[str, typer.Option("-o", "--output", metavar="OUT", help="Empty folder, or gs://.")] = ...,  # type: ignore[assignment]
    as_json: Json = False,
) -> None:
    """Make a dataset of clip files that older tools or `mien export clips` wrote. The same command resumes.

    Example: mien import CLIPS -o DATASET card.licence=MIT   (files with blue faces: add channel_order=bgr)
    """
    started = time.monotonic()
    given = {"source": source, "output": output}
    config = call("mien.verbs.verb:load", "mien.pipelines.import_clips:ImportConfig")
    config = config.load(None, [*(words or [])]).model_copy(update=given)
    report = call("mien.pipelines.import_clips:run", config)
    emit(report._asdict(), as_json, lambda: lines(report._asdict()))
    finish(started, report.path, f"mien inspect {report.path}")
    report.check(config.max_failed)
