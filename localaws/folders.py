"""Removes folders in which foreign programs may have changed permissions; writes and reads localaws's own records."""

import hashlib
import json
import os
import shutil
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import IO, Any

from localaws.errors import NotItsHome

CHECKSUM = "checksum"


def open_own(path: Path) -> IO[str]:
    """Open a file of the home for reading and writing, made if it is not there, and leave what it has as it is.

    Raises: NotItsHome if a link, a FIFO or anything else that is no file is in its place: nothing is followed.
    """
    try:
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise NotItsHome(f"{path} cannot be opened ({error.strerror}); remove or move it") from error
    if not stat.S_ISREG(os.fstat(descriptor).st_mode):
        os.close(descriptor)
        raise NotItsHome(f"{path} is not a file; remove or move it")
    return os.fdopen(descriptor, "r+")


def remove_folder(folder: Path) -> None:
    """Remove a folder and all in it, whatever permissions were taken from it; nothing happens if it is not there.

    Of a link, only the link is removed.
    """
    if folder.is_symlink():
        folder.unlink()
    if not folder.exists():
        return
    try:
        shutil.rmtree(folder)
    except PermissionError:
        _open(folder)
        shutil.rmtree(folder)


def write_private(path: Path, text: str) -> None:
    """Have a file with this text, for this user's eyes only (0600) from its first byte on, in one step.

    Raises: NotItsHome if something else than a file is in its place; OSError if it cannot be written.
    """
    _require_file(path)
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


def read_json(path: Path) -> Any:
    """Return the value in a file of JSON.

    Raises: NotItsHome if something else than a file is in its place; ValueError if it is not JSON, or is nested too
    deeply; OSError if it cannot be read.
    """
    _require_file(path)
    try:
        return json.loads(path.read_bytes())
    except RecursionError as error:
        raise ValueError(f"{path} is nested too deeply") from error


def sealed(content: Mapping[str, Any]) -> str:
    """Return content as JSON with its checksum: the sha256 of the other members, with their names sorted."""
    return json.dumps({**content, CHECKSUM: _digest(content)})


def unsealed(content: Any) -> Any:
    """Return what `sealed` was given, from the JSON value that it made.

    Raises: ValueError if the checksum is that of another content. One without a checksum is of an older release.
    """
    if not isinstance(content, dict) or CHECKSUM not in content:
        return content
    plain = {name: value for name, value in content.items() if name != CHECKSUM}
    if content[CHECKSUM] != _digest(plain):
        raise ValueError("its checksum is that of another content")
    return plain


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _require_file(path: Path) -> None:
    """Refuse a folder, a FIFO or a device where a file belongs, before it is opened: a FIFO is waited for."""
    if path.exists() and not path.is_file():
        raise NotItsHome(f"{path} is not a file; remove or move it, and start localaws again")


def _open(folder: Path) -> None:
    """Give this user every right to the folders below, without following links."""
    folder.chmod(0o700)
    for parent, names, _ in os.walk(folder):
        for name in names:
            if not (path := Path(parent, name)).is_symlink():
                path.chmod(0o700)  # before os.walk looks into it
