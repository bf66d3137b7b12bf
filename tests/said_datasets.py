"""A small dataset of clips in which something is said: videos of two clips each, keywords in turn, and one silent."""

from pathlib import Path

from mien.clips.clip import Clip, Match, Source
from mien.datasets import index
from mien.datasets.card import CardConfig
from mien.datasets.dataset import CONFIG, Dataset
from mien.datasets.parquet import ParquetConfig
from mien.datasets.preview import PreviewConfig
from mien.datasets.publish import publish
from mien.storage.local import LocalStore
from sample_datasets import PROVENANCE, SIZE_PX, write_shard

KEYWORDS = ("smile", "look sad", "laugh")
NUM_CLIPS = 13


def clip_of(number: int) -> Clip:
    """The last one has no keyword."""
    video = number // 2
    source = Source(f"/videos/{video}.mp4", 1000 + video, 7, subject=f"s{video % 3}")
    keyword = KEYWORDS[number % len(KEYWORDS)]
    matches = (Match(keyword, 1.0 + number),) if number < NUM_CLIPS - 1 else ()
    text = f"now please\n  {keyword} {number % 2}" if matches else ""
    return Clip(source, float(number), number + 1.0, "keyword", matches, text)


def make_said(place: Path, num_clips: int = NUM_CLIPS, models: dict[str, object] | None = None) -> Dataset:
    """Finished; every second frame of a clip shows a face, of random pixels."""
    store, clips = LocalStore(place), [clip_of(number) for number in range(num_clips)]
    store.put_new(CONFIG, f"crop: {{size_px: {SIZE_PX}}}\nfps: null\n".encode())
    index.write_plan(store, (clip.to_row() for clip in clips))
    write_shard(store, ParquetConfig(), clips, "a1")
    said = {**PROVENANCE, "models": models or PROVENANCE["models"]}
    return publish(store, CardConfig(title="Said"), PreviewConfig(max_clips=1), said)
