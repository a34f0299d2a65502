"""Removes folders in which foreign programs may have changed permissions."""

import os
import shutil
from pathlib import Path


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, whatever permissions were taken from it; nothing happens if it is not there."""
    if not folder.exists():
        return
    try:
        shutil.rmtree(folder)
    except PermissionError:
        _open(folder)
        shutil.rmtree(folder)


def _open(folder: Path) -> None:
    """Give this user every right to the folders below, without following links."""
    folder.chmod(0o700)
    for parent, names, _ in os.walk(folder):
        for name in names:
            if not (path := Path(parent, name)).is_symlink():
                path.chmod(0o700)  # before os.walk looks into it
