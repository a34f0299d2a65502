"""Creates the ed25519 keys of a run's instances before their launch, so that the first connection is to a known host.

`runs/<run id>/ec2/` (mode 0700) holds `login_key`, the key to log in with, and `host_key_<number>` for each instance,
which cloud-init installs there. The files have mode 0600, and a repeated command reads them again. A teardown deletes
them with `remove_keys`. This module touches no other files.
"""

from __future__ import annotations

import stat
from dataclasses import dataclass
from pathlib import Path

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_ssh_private_key,
)

from tasks.run.command_line import path_argument
from tasks.run.errors import LedgerRefused
from tasks.run.record_store import write_atomically

FOLDER = "ec2"
LOGIN = "login_key"
HOST = "host_key_"


@dataclass(frozen=True)
class KeyFile:
    """The path of a private key, and its public half as one line ("ssh-ed25519 AAAA…", without a comment)."""

    path: Path
    public: str

    def private(self) -> str:
        """Read the private half, an OpenSSH PEM that ends in a newline."""
        return self.path.read_text()


def login_key(run_dir: Path) -> KeyFile:
    """Create the run's login key, or read it when it exists.

    Raises:
        LedgerRefused: the file exists and is not an ed25519 key, or others can read it.
    """
    return _ensure(login_path(run_dir))


def host_key(run_dir: Path, number: int) -> KeyFile:
    """Create the host key of the run's instance `number` (from 1), or read it when it exists.

    Raises:
        LedgerRefused: as for `login_key`.
    """
    return _ensure(run_dir / FOLDER / f"{HOST}{number}")


def login_path(run_dir: Path) -> Path:
    """Return the path of a run's login key, whether or not it exists."""
    return run_dir / FOLDER / LOGIN


def known_host_key(run_dir: Path, number: int) -> str:
    """Return the public host key of the run's instance `number`, or "" when its file is not on this machine.

    Raises:
        LedgerRefused: as for `login_key`.
    """
    path = run_dir / FOLDER / f"{HOST}{number}"
    return _public_of(path) if path.exists() else ""


def remove_keys(run_dir: Path) -> None:
    """Delete the private keys of a run, if there are any; the records beside them stay."""
    for path in (login_path(run_dir), *(run_dir / FOLDER).glob(f"{HOST}*")):
        path.unlink(missing_ok=True)


def _ensure(path: Path) -> KeyFile:
    if not path.is_symlink() and not path.exists():
        write_atomically(path, _new_key())
    return KeyFile(path, _public_of(path))


def _new_key() -> bytes:
    return Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.OpenSSH, NoEncryption())


def _public_of(path: Path) -> str:
    state = path.lstat()
    if not stat.S_ISREG(state.st_mode) or state.st_mode & 0o077:
        mode = stat.filemode(state.st_mode)
        why = f"a private key has to be a regular file that only its owner can read, and this one has mode {mode}"
        close = f"chmod 600 {path_argument(path)}, if nobody else read it; else kennel down {path.parent.parent.name}"
        raise LedgerRefused("key", str(path), why, close)
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, f"it is an {type(key).__name__}")
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _no_key(path: Path, why: str) -> LedgerRefused:
    remove = f"kennel down {path.parent.parent.name}, which removes the file and the instances that use the key"
    return LedgerRefused("key", f"{path} is not an ed25519 key that kennel created", why, remove)
