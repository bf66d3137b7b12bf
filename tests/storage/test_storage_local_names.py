"""No name leads out of the root: row 35 of SECURITY.md."""

from pathlib import Path

import pytest

from hostile_names import OBJECT_NAMES
from mien.errors import StorageError
from mien.storage.local import LocalStore


def files_beside(root: Path) -> dict[str, bytes]:
    top = root.parent
    return {str(path): path.read_bytes() for path in top.rglob("*") if path.is_file() and not path.is_relative_to(root)}


@pytest.mark.parametrize("name", OBJECT_NAMES, ids=lambda name: ascii(name)[:24])
def test_a_name_is_below_the_root_or_refused(tmp_path: Path, name: str) -> None:
    root = tmp_path / "a" / "b" / "root"
    root.mkdir(parents=True)
    for folder in (tmp_path, tmp_path / "a", tmp_path / "a" / "b"):
        (folder / "up").write_bytes(b"not yours")
    before, store = files_beside(root), LocalStore(root)
    draft = root / "draft"
    draft.write_bytes(b"shard")
    try:
        store.put_new(name, b"1")
        store.replace(name, b"2")
        assert store.read(name) == b"2"
        assert store.fetch(name).is_relative_to(root)
        store.delete(name)
        store.publish(draft, name)
        assert store.read(name) == b"shard"
    except StorageError:
        for use in (store.read, store.fetch, store.delete):
            with pytest.raises(StorageError):
                use(name)
        with pytest.raises(StorageError):
            store.publish(draft, name)
    assert files_beside(root) == before
    assert not Path("/absolute").exists()
