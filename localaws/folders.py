"""Removes folders in which foreign programs may have changed permissions, and writes files for this user only."""

import os
import shutil
import tempfile
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


def write_private(path: Path, text: str) -> None:
    """Have a file with this text, for this user's eyes only (0600) from its first byte on, in one step."""
    descriptor, part = tempfile.mkstemp(prefix=f"{path.name}.", dir=path.parent)  # made with mode 0600
    try:
        with os.fdopen(descriptor, "w") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        Path(part).replace(path)
    except BaseException:
        Path(part).unlink(missing_ok=True)
        raise


def _open(folder: Path) -> None:
    """Give this user every right to the folders below, without following links."""
    folder.chmod(0o700)
    for parent, names, _ in os.walk(folder):
        for name in names:
            if not (path := Path(parent, name)).is_symlink():
                path.chmod(0o700)  # before os.walk looks into it
