"""Every column that mien writes to disk: name, type, shape and unit, spelled only here.

A *clip* is a span of a source video. A *sample* is one face track of one clip: one row of the index and a run of rows
(one per frame) in one shard. Shapes leave out the row axis; `None` in a shape is set by the config.
"""

from typing import NamedTuple

VERSION = 1
"""Version of everything in this file; written into mien.json."""

CLIP_ID_CHARS = 32
"""A clip id is this many lower-case hex characters."""

NUM_LANDMARKS = 478
NUM_BLENDSHAPES = 52

FACE_NONE, FACE_DETECTED, FACE_INTERPOLATED = 0, 1, 2
"""Values of the column `face`: no face, found in this frame, or bridged between two frames in which it was found."""

BYTES, TEXT = "bytes", "text"
"""Types of variable length; every other type is a numpy name."""


class Column(NamedTuple):
    """One column on disk."""

    name: str
    dtype: str
    shape: tuple[int | None, ...]
    unit: str
    meaning: str


FRAMES = (
    Column("clip_id", TEXT, (), "", "clip of this frame"),
    Column("track", "int16", (), "", "face track within the clip, 0 first"),
    Column("pts", "int64", (), "time_base", "presentation time stamp of the source's container"),
    Column("time_s", "float64", (), "s", "time of the frame in the source"),
    Column("face", "uint8", (), "", "0 no face, 1 detected in this frame, 2 interpolated within the track"),
    Column("num_faces", "int16", (), "", "faces detected in this frame, all tracks"),
    Column("score", "float32", (), "", "detector score, NaN where not detected"),
    Column(
        "box", "float32", (4,), "px", "detected face x0, y0, x1, y1 in the upright source frame, NaN where not detected"
    ),
    Column(
        "crop_box", "float32", (4,), "px", "square x0, y0, x1, y1 the crop shows; may leave the frame; NaN without crop"
    ),
    Column("padded", "float32", (), "", "share of the crop that lies outside the frame and repeats its border"),
    Column(
        "crop", BYTES, (), "", "RGB crop as a JPEG, empty without crop; or raw uint8 [size, size, 3], zeros without"
    ),
    Column(
        "landmarks",
        "float32",
        (NUM_LANDMARKS, 3),
        "px",
        "MediaPipe face mesh in the crop, z in the same scale; NaN if none",
    ),
    Column(
        "blendshapes",
        "float32",
        (NUM_BLENDSHAPES,),
        "",
        "MediaPipe blendshape scores 0-1, order of its task; NaN if none",
    ),
    Column("head_pose", "float32", (4, 4), "cm", "canonical face to camera transform; NaN if none"),
    Column("feature", "float32", (None,), "", "output of the extractor, as it comes; NaN without crop"),
    Column("thumb", BYTES, (), "", "small JPEG of the whole frame for a few frames of the clip, else empty"),
    Column(
        "audio",
        BYTES,
        (),
        "",
        "int16 little-endian samples, channels interleaved, from this frame to the next",
    ),
)
"""Rows of a shard, one per frame. landmarks (with blendshapes and head_pose), feature and audio are there when asked
for."""

PLAN = (
    Column("clip_id", TEXT, (), "", "content-derived id: source, its size and generation, span and clip rule"),
    Column("source_uri", TEXT, (), "", "video the clip is cut from"),
    Column("source_bytes", "int64", (), "B", "size of the source when planned"),
    Column("source_generation", "int64", (), "", "generation of the object, or modification time in ns of a file"),
    Column("start_s", "float64", (), "s", "start of the clip"),
    Column("end_s", "float64", (), "s", "end of the clip, exclusive; infinity for the end of the video"),
    Column("reason", TEXT, (), "", "rule that chose the clip"),
    Column("subject", TEXT, (), "", "who is in it, empty where unknown"),
    Column("clip_score", "float64", (), "", "weighted sum of the two below; null for clips not chosen by score"),
    Column("score_variation", "float64", (), "", "expression variation: 0 for none, at most 1.5; null for others"),
    Column("score_stability", "float64", (), "", "position stability: 1 for a face that stays; null for others"),
    Column("keyword", TEXT, (), "", "keyword that chose the clip, the first of `matches`; empty for other rules"),
    Column("keyword_s", "float64", (), "s", "time of that match in the source, without the offset; null for others"),
    Column("matches", TEXT, (), "", "JSON: [keyword, time in s] of every match that the clip stands for, or empty"),
    Column("text", TEXT, (), "", "what the transcript says where the keywords were found, or empty"),
    Column("labels", TEXT, (), "", "JSON: what annotations and lists say of the clip or of who is in it, or empty"),
    Column("header_crc32c", TEXT, (), "", "CRC32C of what was read of an object to learn its length, or empty"),
)
"""Rows of plan/*.parquet, one per clip, written before anything is decoded.

Datasets of earlier versions lack `clip_score` and what follows it; their readers and these read both.
"""

INDEX = (
    *PLAN,
    Column("track", "int16", (), "", "face track within the clip"),
    Column("width_px", "int32", (), "px", "width of the upright source frame"),
    Column("height_px", "int32", (), "px", "height of the upright source frame"),
    Column("rotation_deg", "int16", (), "degree", "rotation that decode undid, counter-clockwise"),
    Column("fps", "float64", (), "1/s", "average frame rate of the source"),
    Column("is_vfr", "bool", (), "", "whether the source's frame rate varies"),
    Column("source_duration_s", "float64", (), "s", "length of the source, as its container says; null where unknown"),
    Column("source_num_frames", "int64", (), "", "frames of the source, as its container says; null where unknown"),
    Column("source_codec", TEXT, (), "", "codec of the source, by FFmpeg's name; null where unknown"),
    Column("time_base_num", "int64", (), "s", "numerator of the unit of pts"),
    Column("time_base_den", "int64", (), "s", "denominator of the unit of pts"),
    Column("audio_rate_hz", "int32", (), "1/s", "samples per second; 0: the video has no sound; null: none asked for"),
    Column("audio_channels", "int16", (), "", "channels of the sound; 0 and null as above"),
    Column("audio_file", TEXT, (), "", "sound of the clip, relative to the dataset; null where it is in the shard"),
    Column("audio_sha256", TEXT, (), "", "SHA-256 of that file"),
    Column("num_frames", "int64", (), "", "rows of the sample"),
    Column("num_detected", "int64", (), "", "rows in which the face was detected"),
    Column("file", TEXT, (), "", "shard, relative to the dataset"),
    Column("row_start", "int64", (), "", "first row of the sample in the shard"),
    Column("row_stop", "int64", (), "", "row after its last"),
    Column("checksums", TEXT, (), "", "JSON: column -> SHA-256 of its values in this sample"),
)
"""Rows of index.parquet, one per sample, in the order of the plan, then of the track."""

FAILURES = (
    *PLAN,
    Column("stage", TEXT, (), "", "where it failed: plan, open, decode, faces, features"),
    Column("error_type", TEXT, (), "", "class of the error"),
    Column("error", TEXT, (), "", "what was wrong"),
    Column("attempts", "int64", (), "", "how often it was tried"),
    Column("thumb", BYTES, (), "", "small JPEG of a frame, empty where none could be read"),
)
"""Rows of failures.parquet, one per clip that could not be made, in the order of the plan."""

INGESTED = (
    Column("number", "int64", (), "", "row of the list, 1 first; line of a text file"),
    Column("name", TEXT, (), "", "what the list calls the item, or the file's name in the address"),
    Column("url", TEXT, (), "", "where it came from, without user, password and query"),
    Column("target", TEXT, (), "", "file below the output; of an archive that was unpacked, its folder"),
    Column("status", TEXT, (), "", "done, failed, or open: not tried yet"),
    Column("num_files", "int64", (), "", "files below the output that it became"),
    Column("num_left_out", "int64", (), "", "files of an archive that no listing would show"),
    Column("size_bytes", "int64", (), "B", "size of the file; of an archive, of all its files"),
    Column("sha256", TEXT, (), "", "SHA-256 of what was fetched, hexadecimal; of an archive, of the archive"),
    Column("crc32c", TEXT, (), "", "CRC32C of what was fetched, hexadecimal"),
    Column("received_bytes", "int64", (), "B", "that came over the network, those that were dropped again included"),
    Column("resumed_bytes", "int64", (), "B", "that were there when a connection went on from them"),
    Column("num_tries", "int64", (), "", "requests that it took"),
    Column("seconds", "float64", (), "s", "that its last task took"),
    Column("ended_at", "float64", (), "s", "Unix time at which that ended"),
    Column("error_type", TEXT, (), "", "class of the error, empty if it is done"),
    Column("error", TEXT, (), "", "what was wrong"),
)
"""Rows of ingest/report.parquet, one per item of the list, in its order."""

EMBEDDINGS = (
    Column("embeddings", "float32", (None,), "", "as the network gives it, its length included"),
    Column("names", TEXT, (), "", "of the row: the item, with # and a number where it has several rows"),
    Column("labels", TEXT, (), "", "class of the row, the name of a text; empty where none is known"),
    Column("modality", TEXT, (), "", "visual or text: the name of the hook"),
    Column("item", TEXT, (), "", "what was given to the network: rows of one item are not independent"),
)
"""Rows of a file of embeddings."""

TRIALS = (
    Column("number", "int64", (), "", "number of the trial; with the seed of the sweep it decides what is drawn"),
    Column("state", TEXT, (), "", "running, done, stopped by the scheduler, or failed"),
    Column("repeat_of", "int64", (), "", "trial whose config it runs again; null for others"),
    Column("seed", "int64", (), "", "seed of its training"),
    Column("step", "int64", (), "", "step at which it last reported"),
    Column("seconds", "float64", (), "s", "that it took"),
    Column("reason", TEXT, (), "", "why it failed, empty if it did not"),
    Column("values", TEXT, (), "", "JSON: dotted key -> what was drawn for it"),
    Column("history", TEXT, (), "", "JSON: [step, {metric: value}] of everything it reported"),
)
"""First columns of trials.parquet, one row per trial, by number. There follow, to look at, `config/KEY` for each
leaf of what was drawn and `metric/NAME` for the last value of each metric; null where a trial has none."""


ACTIVATION_NUMBERS = (
    *("mean", "std", "min", "max", "median", "sparsity"),
    *("relative_sparsity", "hoyer", "dead_channels", "effective_rank"),
)
"""Of the activation maps of a layer for one image; as `mien.analysis.feature_numbers` explains them."""

ACTIVATIONS = (
    Column("sample", "int64", (), "", "number of the image among those that are compared"),
    Column("image", TEXT, (), "", "what its data call it"),
    Column("condition", TEXT, (), "", "clean_t0, or noisy_t<t>"),
    Column("t", "int64", (), "", "timestep, 0 for a clean image"),
    Column("layer", TEXT, (), "", "as it was asked for"),
    Column("module", TEXT, (), "", "dotted path of what was read"),
    Column("side", TEXT, (), "", "baseline or curriculum"),
    Column("figure", TEXT, (), "", "PNG that shows it, relative to the output"),
    Column("num_channels", "int64", (), "", "maps of the layer"),
    Column("map_height", "int64", (), "", "of a map, in places"),
    Column("map_width", "int64", (), "", "of a map, in places"),
    *(Column(name, "float64", (), "", "of all maps of the layer") for name in ACTIVATION_NUMBERS),
    *(Column(f"shown_{name}", "float64", (), "", "of the shown maps alone") for name in ACTIVATION_NUMBERS),
    Column("shown_channels", TEXT, (), "", "JSON: numbers of the channels in the figure, in its order"),
    Column("shown_from", TEXT, (), "", "JSON: activation that each of them has the lowest colour for"),
    Column("shown_to", TEXT, (), "", "JSON: activation that each of them has the highest colour for"),
    Column("thumb", BYTES, (), "", "small PNG of the first of them"),
)
"""Rows of activations/sample_<i>.parquet, one per image, condition, layer and model."""


def names(columns: tuple[Column, ...]) -> list[str]:
    """Names in their order on disk."""
    return [column.name for column in columns]
