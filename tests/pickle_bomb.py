"""A pickle that leaves a mark where it is loaded, in every wrapping in which files of the field hold one."""

import io
import os
import pickle
import zipfile
from pathlib import Path

import numpy as np


class Bomb:
    """Makes a folder where it is unpickled."""

    def __init__(self, mark: Path) -> None:
        self._mark = mark

    def __reduce__(self) -> tuple[object, tuple[str]]:
        return os.mkdir, (str(self._mark),)


def bare(mark: Path) -> bytes:
    """As `pickle.dump` writes it; `torch.load` of old files reads it."""
    return pickle.dumps(Bomb(mark))


def in_zip(mark: Path) -> bytes:
    """As `torch.save` writes it."""
    file = io.BytesIO()
    with zipfile.ZipFile(file, "w") as archive:
        archive.writestr("archive/data.pkl", bare(mark))
        archive.writestr("archive/version", "3\n")
    return file.getvalue()


def in_npy(mark: Path) -> bytes:
    """As `numpy.save` writes an array of objects."""
    file = io.BytesIO()
    np.save(file, np.array([Bomb(mark)], object), allow_pickle=True)
    return file.getvalue()


def in_npz(mark: Path) -> bytes:
    """As `numpy.savez` writes it."""
    file = io.BytesIO()
    np.savez(file, a=np.array([Bomb(mark)], object))
    return file.getvalue()


def in_yaml(mark: Path) -> bytes:
    """As a tag that `yaml.unsafe_load` obeys."""
    return f'title: !!python/object/apply:os.mkdir ["{mark}"]\n'.encode()


WRAPPINGS = {"pickle": bare, "pt": in_zip, "npy": in_npy, "npz": in_npz, "yaml": in_yaml}
