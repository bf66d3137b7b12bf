"""Verbs about when in a video to look."""

import time

import typer

from mien.verbs.verb import Json, Words, call, config_of, emit, finish, lines

app = typer.Typer()
clips_app = typer.Typer(help="Keywords in transcripts: search.", no_args_is_help=True)
app.add_typer(clips_app, name="clips")


@clips_app.command("search")
def clips_search(words: Words = None, as_json: Json = False) -> None:
    """Find keywords in the transcripts of a corpus or of a folder, and when they are said; no video is needed.

    Example: mien clips search transcripts=CORPUS.json keywords=[smile,sad] output=RESULT.json
    """
    started = time.monotonic()
    config = config_of("mien.clips.search:SearchConfig", words)
    found = call("mien.clips.search:search", config)
    is_printed = as_json or not config.output
    emit(found.result, is_printed, lambda: lines(found.summary()))
    if config.output:
        finish(started, config.output, "mien plan … clips.kind=keyword")
    found.check(config.transcripts)
