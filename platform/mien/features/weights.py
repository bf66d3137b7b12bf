"""Where the files of a backbone lie: in a local folder or a snapshot of the hub. Only safetensors, never a pickle.

This is the only place that asks the hub; it runs on the driver, before workers start.
"""

import hashlib
import json
import os
import re
from pathlib import Path
from typing import Any, NamedTuple

from mien.assets import is_offline
from mien.errors import AssetError
from mien.log import logger

ARCHITECTURE, WEIGHTS, PREPROCESSOR = "config.json", "model.safetensors", "preprocessor_config.json"
FILES = [ARCHITECTURE, WEIGHTS, PREPROCESSOR]
TOKENIZER = "tokenizer.json"
"""Of the models that read texts."""

TIMEOUT_S = 10
"""A hub that does not answer for this long is given up; no retry."""

_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")
_MAX_JSON_BYTES = 1_000_000


class Snapshot(NamedTuple):
    """A folder with the files of one model; `revision` is the commit on the hub, or `local`."""

    folder: Path
    revision: str


class _Wanted(NamedTuple):
    """A model, and what is needed of it."""

    model: str
    revision: str
    more: tuple[str, ...]
    """Files besides FILES, none of which can be missed."""


def find(model: str, revision: str, more: tuple[str, ...] = ()) -> Snapshot:
    """The local folder `model`, or the snapshot of the hub's model of that name, fetched where it is not cached.

    Args:
        model: Folder, or owner/name.
        revision: Branch, tag or commit on the hub.
        more: Files that are needed besides config and weights.

    Raises:
        AssetError: It cannot be had; the message says why and what to do.
    """
    folder = Path(model).expanduser()
    if model and folder.is_dir():
        return Snapshot(folder.resolve(), "local")
    if not _HUB_NAME.fullmatch(model):
        raise AssetError(
            f"{model}: is neither a folder nor the name of a model on the hub, which is written owner/name"
        )
    # Read when the hub's client is imported: without it, it reports the software around it and makes a further request.
    os.environ.setdefault("HF_HUB_DISABLE_TELEMETRY", "1")
    wanted = _Wanted(model, revision, more)
    found = _cached(wanted) or _fetched(wanted)
    if not (found.folder / WEIGHTS).is_file():
        raise AssetError(
            f"{model}: has no {WEIGHTS} at revision {revision}, and other formats can run code when read. "
            f"Name a revision or model that has it (features.revision=REVISION), or {_remedy(wanted)}"
        )
    return found


def read_json(path: Path) -> dict[str, Any]:
    """Values of a small JSON file of a model.

    Raises:
        AssetError: It is absent, or not a JSON object.
    """
    try:
        if path.stat().st_size > _MAX_JSON_BYTES:
            raise AssetError(f"{path}: larger than {_MAX_JSON_BYTES} bytes, so not the file it is taken for")
        values = json.loads(path.read_text("utf-8"))
    except OSError as error:
        raise AssetError(
            f"{path}: cannot be read: {error.strerror}; a model folder holds {' and '.join(FILES[:2])}"
        ) from None
    except (ValueError, RecursionError) as error:
        raise AssetError(f"{path}: is not JSON: {error}; fetch the model again") from None
    if not isinstance(values, dict):
        raise AssetError(f"{path}: must hold a JSON object; fetch the model again")
    return values


def checked_sha256(path: Path) -> str:
    """SHA-256 of a safetensors file whose header fits its length.

    Raises:
        AssetError: It is absent or damaged.
    """
    from safetensors import SafetensorError, safe_open

    if not path.is_file():
        others = ", ".join(sorted(other.name for other in path.parent.iterdir())) or "nothing"
        raise AssetError(
            f"{path.parent}: has no {path.name}, the only format that is read (it holds {others}); "
            "save it with save_pretrained of a current transformers"
        )
    try:
        with safe_open(path, framework="np"), path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    except (SafetensorError, OSError) as error:
        raise AssetError(f"{path}: is damaged: {error}; fetch the model again") from None


def _cached(wanted: _Wanted) -> Snapshot | None:
    """The snapshot that an earlier download left. `snapshot_download(local_files_only=True)` can make a request."""
    from huggingface_hub import try_to_load_from_cache

    needed = (ARCHITECTURE, WEIGHTS, *wanted.more)
    found = [try_to_load_from_cache(wanted.model, file, revision=wanted.revision) for file in needed]
    if not all(isinstance(path, str) for path in found):
        return None
    folder = Path(found[0]).parent
    return Snapshot(folder, folder.name)


def _fetched(wanted: _Wanted) -> Snapshot:
    """The snapshot as the hub has it now."""
    from huggingface_hub import HfApi, constants, errors, snapshot_download

    model, revision = wanted.model, wanted.revision
    if is_offline() or constants.HF_HUB_OFFLINE:
        raise AssetError(_cannot(wanted, "it is not cached, and MIEN_OFFLINE or HF_HUB_OFFLINE is set"))
    logger.info("%s: fetching revision %s from the hub", model, revision)
    try:
        HfApi().model_info(model, revision=revision, timeout=TIMEOUT_S)  # the download alone would wait without end
        folder = Path(snapshot_download(model, revision=revision, allow_patterns=[*FILES, *wanted.more]))
        return Snapshot(folder, folder.name)
    except errors.GatedRepoError:
        raise AssetError(_cannot(wanted, "it is gated; accept its licence, then `hf auth login`")) from None
    except errors.RepositoryNotFoundError:
        raise AssetError(_cannot(wanted, "the hub has no such model, or only after `hf auth login`")) from None
    except errors.RevisionNotFoundError:
        raise AssetError(_cannot(wanted, "the hub has the model, but not this revision")) from None
    except Exception as error:  # noqa: BLE001  the errors of the hub's client have no common base
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise AssetError(_cannot(wanted, f"the hub does not hand it out: {reason}")) from None


def _cannot(wanted: _Wanted, reason: str) -> str:
    return f"{wanted.model}: the weights cannot be had: {reason}.\nTo go on, {_remedy(wanted)}"


def _remedy(wanted: _Wanted) -> str:
    at = "" if wanted.revision == "main" else f" --revision {wanted.revision}"
    files = " ".join([*FILES, *wanted.more])
    return (
        f"run `hf download {wanted.model}{at} {files} --local-dir DIR` where there is a network "
        "and set features.model=DIR; or set features.weights=random to try the pipeline with features that mean nothing"
    )
