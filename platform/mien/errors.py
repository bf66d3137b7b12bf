"""Every error a caller can handle, and the exit code it ends a command with.

    MienError                    1   anything below; also: failed
    ├── ConfigError              2   a key, value or argument that cannot be used
    ├── TooManyFailures          3   finished, with more failed clips or items than tolerated
    │   └── NothingFound         3   a keyword occurs nowhere, or there is no clip at all
    ├── PreflightError           4   something the job needs is missing: source, rights, disk, model
    │   └── AssetError           4   a model file that is absent, cannot be had, or has the wrong sum
    ├── RefusedError             5   the output was made with another config, or another run is at work on it
    ├── StorageError             1   a file or object could not be read or written
    │   ├── AlreadyExists        1   a write-once name is taken
    │   ├── NoSpace              1   the disk or the quota is full
    │   ├── Unavailable          1   the service did not answer for longer than its operations are tried again
    │   └── CommitUnknown        1   it is unknown whether a commit took effect; nothing was deleted
    ├── DatasetError             1   a dataset that is unfinished, damaged or not a dataset
    ├── CheckpointError          1   a checkpoint that is damaged, of another architecture, or not a checkpoint
    ├── TrainingError            1   training cannot go on: the loss is no number, replicas differ, workers keep dying
    ├── ItemError                –   one item of a list cannot be ingested; becomes a row of the report
    │   ├── DownloadError        –   it cannot be had, or is not what was promised
    │   └── ArchiveError         –   the archive is damaged, unsafe or larger than the limits
    └── ClipError                –   one clip cannot be made; becomes a row of failures.parquet
        ├── MediaError           –   the video cannot be read
        │   ├── LimitExceeded    –   the video is larger than what the limits allow
        │   └── NoAudioTrack     –   the video has no sound
        ├── TranscriptError      –   a transcript cannot be read; its video has no clip, the others go on
        └── FaceError            –   the faces in the clip do not meet the policy

An error message names the input, says what is wrong with it and what to do. No traceback reaches a user.
"""


class MienError(Exception):
    """Base of all errors raised on purpose."""

    exit_code = 1


class ConfigError(MienError):
    """A configuration or argument that cannot be used."""

    exit_code = 2


class TooManyFailures(MienError):
    """The job finished, but more clips or items failed than `max_failed` tolerates."""

    exit_code = 3


class NothingFound(TooManyFailures):
    """What was looked for occurs nowhere; what was found is planned."""


class PreflightError(MienError):
    """Something the job needs is missing; nothing was started."""

    exit_code = 4


class AssetError(PreflightError):
    """A model file is absent, cannot be had, or does not have the pinned sum."""


class RefusedError(MienError):
    """The output exists and was made with another config, or another run is at work on it."""

    exit_code = 5


class StorageError(MienError):
    """A file or object could not be read or written."""


class AlreadyExists(StorageError):
    """A write-once name is already taken."""


class NoSpace(StorageError):
    """The disk or the quota is full; what is finished stays, the same command resumes."""


class Unavailable(StorageError):
    """A storage service did not answer for as long as an operation is tried again; nothing is known to be wrong."""


class CommitUnknown(StorageError):
    """It cannot be told whether a commit took effect; nothing was deleted, the same command resumes."""


class DatasetError(MienError):
    """A dataset is unfinished, damaged, or not a dataset."""


class CheckpointError(MienError):
    """A checkpoint is damaged, of another architecture, or not a checkpoint."""


class TrainingError(MienError):
    """Training cannot go on; the last checkpoint stays."""


class ItemError(MienError):
    """One item of a list cannot be ingested; the others go on and the item becomes a row of the report."""


class DownloadError(ItemError):
    """An item cannot be had from its address, or is not what was promised."""


class ArchiveError(ItemError):
    """An archive is damaged, unsafe, or larger than the limits allow."""


class ClipError(MienError):
    """One clip cannot be made; the others go on and the clip becomes a row of failures.parquet."""


class MediaError(ClipError):
    """A video or audio file cannot be read."""


class LimitExceeded(MediaError):
    """A video is larger than the limits allow."""


class NoAudioTrack(MediaError):
    """A video has no sound where sound is asked for."""


class TranscriptError(ClipError):
    """A transcript cannot be read."""


class FaceError(ClipError):
    """The faces found in a clip do not meet the policy."""
