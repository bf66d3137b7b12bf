"""Verbs for videos as they are: describe, take frames, thumbnails and sound out of them, make mp4s of them."""

import json
import re
import time
from typing import Annotated, Any

import typer

from mien import log
from mien.verbs.verb import Json, call, lines

app = typer.Typer()
video_app = typer.Typer(help="Look into videos: info, frames, thumbnail, audio, convert.", no_args_is_help=True)
app.add_typer(video_app, name="video")

_SETTING = re.compile(r"[a-z_][a-z0-9_.]*=")
"""How a setting begins; a path that looks like one is written ./a=b.mp4."""

Words = Annotated[list[str], typer.Argument(metavar="VIDEO... [key=value]...", help="Files, folders, patterns, gs://.")]
Output = Annotated[str, typer.Option("-o", "--output", help="Folder or gs:// prefix that takes the results.")]
Overwrite = Annotated[bool, typer.Option("--overwrite", help="Make again what is there already.")]


@video_app.command()
def info(words: Words, as_json: Json = False) -> None:
    """Say what videos are: size, duration, frame rate, frames, picture, rotation, codec, sound.

    Setting: count_frames (read the file where its header does not say how many there are).

    Example: mien video info VIDEOS --json
    """
    report = _run("info", words)
    _emit(report, as_json, _described)
    report.check()


@video_app.command()
def frames(words: Words, output: Output = "", overwrite: Overwrite = False, as_json: Json = False) -> None:
    """Take frames out of videos, at a rate or at given times, into a folder per video. The same command resumes.

    Settings: rate_fps (1), start_s, end_s, or at_s=1.5,2,3; quality (95), format (jpg, png).

    Example: mien video frames VIDEOS -o FRAMES rate_fps=2
    """
    _make("frames", words, output, overwrite, as_json)


@video_app.command()
def thumbnail(words: Words, output: Output = "", overwrite: Overwrite = False, as_json: Json = False) -> None:
    """Make one small picture per video, its proportions kept. The same command resumes.

    Settings: width_px (320), height_px (240), at_s (the middle), quality (90), format (jpg, png).

    Example: mien video thumbnail VIDEOS -o THUMBNAILS
    """
    _make("thumbnail", words, output, overwrite, as_json)


@video_app.command()
def audio(words: Words, output: Output = "", overwrite: Overwrite = False, as_json: Json = False) -> None:
    """Take the sound out of videos. The same command resumes.

    Settings: format (wav, flac, mp3), start_s, end_s, rate_hz, channels (as_is, mono).

    Example: mien video audio VIDEOS -o SOUND format=mp3
    """
    _make("audio", words, output, overwrite, as_json)


@video_app.command()
def convert(words: Words, output: Output = "", overwrite: Overwrite = False, as_json: Json = False) -> None:
    """Make mp4s of videos: copied where mp4 holds what is inside, else encoded anew. The same command resumes.

    Settings: reencode, encode.crf (18), encode.preset.

    Example: mien video convert VIDEOS -o MP4 'sources.suffixes=[.mov]'
    """
    _make("convert", words, output, overwrite, as_json)


def _run(verb: str, words: list[str], output: str = "", overwrite: bool = False) -> Any:
    places = [word for word in words if not _SETTING.match(word)]
    settings = [word for word in words if _SETTING.match(word)]
    return call("mien.pipelines.each_video:run", verb, places, settings, output, overwrite)


def _make(verb: str, words: list[str], output: str, overwrite: bool, as_json: bool) -> None:
    started = time.monotonic()
    report = _run(verb, words, output, overwrite)
    _emit(report, as_json, _made)
    summary = report.summary()
    counts = ", ".join(f"{summary[f'num_{status}']} {status}" for status in ("done", "kept", "failed"))
    log.logger.info("videos   %s%s", counts, " (--overwrite makes again what was kept)" if summary["num_kept"] else "")
    log.logger.info("output   %s", summary["output"])
    log.logger.info("took     %.1f s", time.monotonic() - started)
    report.check()


def _emit(report: Any, as_json: bool, human: Any) -> None:
    """One JSON document, or a paragraph per video; a million rows pass one by one."""
    if not as_json:
        for row in report.rows():
            if row["status"] != "failed":
                typer.echo(human(row))
        return
    head = json.dumps(report.summary(), indent=2).removesuffix("\n}")
    typer.echo(f'{head},\n  "videos": [', nl=False)
    for number, row in enumerate(report.rows()):
        typer.echo(f"{',' if number else ''}\n    {json.dumps(row)}", nl=False)
    typer.echo("\n  ]\n}")


def _described(row: dict[str, Any]) -> str:
    return lines({key: value for key, value in row.items() if key != "status"}) + "\n"


def _made(row: dict[str, Any]) -> str:
    facts = ", ".join(f"{key} {value}" for key, value in row.items() if key not in {"source", "status", "output"})
    return log.printable(f"{row['status']}  {row['source']} -> {row['output']}{f'  ({facts})' if facts else ''}")
