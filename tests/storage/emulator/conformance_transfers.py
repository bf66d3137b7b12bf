"""What google-cloud-storage relies on beside single objects: files, batches, parts side by side, volume."""

import os
import tempfile
from pathlib import Path

from conformance_google import KIB, LARGE, MIB, content, listed, put_listing
from gcs_conformance import Place
from google.cloud.storage import transfer_manager


def check_parts_side_by_side(place: Place) -> None:
    data = LARGE * 3
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder, "parts")
        path.write_bytes(data)
        blob = place.blob("x")
        options = {"chunk_size": 5 * MIB, "max_workers": 2, "worker_type": transfer_manager.THREAD}
        transfer_manager.upload_chunks_concurrently(str(path), blob, **options)
    assert content(place, "x") == data


def check_batch_delete(place: Place) -> None:
    put_listing(place)
    client = place.client()
    bucket = client.bucket(place.bucket_name)
    with client.batch():
        for number in range(5):
            bucket.blob(place.name(f"d0/f{3 * number:03d}")).delete()
    assert listed(place, prefix=place.name("d0/")) == ["d0/f015", "d0/f018", "d0/f021", "d0/f024"]


def check_open_as_a_file(place: Place) -> None:
    data = LARGE[:700_000]
    with place.blob("x").open("wb") as file:
        file.write(data)
    with place.blob("x").open("rb", chunk_size=256 * KIB) as file:
        assert file.read() == data


def check_an_unfinished_upload_is_invisible(place: Place) -> None:
    writer = place.blob("x", chunk_size=256 * KIB).open("wb", ignore_flush=True)
    try:
        writer.write(LARGE[: 2 * MIB])
        assert not place.blob("x").exists()
        assert listed(place, prefix=place.prefix) == []
    finally:
        writer.terminate()


def check_a_large_object(place: Place) -> None:
    data = os.urandom(64 * MIB)
    place.blob("x", chunk_size=8 * MIB).upload_from_string(data)
    assert content(place, "x") == data


def check_many_small_objects(place: Place) -> None:
    bucket = place.bucket()
    for number in range(300):
        bucket.blob(place.name(f"{number:03d}")).upload_from_string(b"x" * 100)
    assert listed(place, prefix=place.prefix) == [f"{number:03d}" for number in range(300)]
