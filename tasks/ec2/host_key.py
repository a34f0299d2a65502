"""The ed25519 keys of a run's instances: made here before the launch, so that the first connection is to a known host.

`runs/<run id>/ec2/` (0700) holds `login_key`, which lets us in, and `host_key_<number>` for each instance, which
cloud-init installs there; private halves are 0600, and a repeated command finds them again. Touches those files only.
A run that is torn down has no use for them: `remove_keys`.
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

from tasks.run.errors import LedgerRefused
from tasks.run.record_store import write_atomically

FOLDER = "ec2"
LOGIN = "login_key"
HOST = "host_key_"


@dataclass(frozen=True)
class KeyFile:
    """A private key in a file, and its public half as one line ("ssh-ed25519 AAAA…", without a comment)."""

    path: Path
    public: str

    def private(self) -> str:
        """Read the private half, an OpenSSH PEM that ends in a newline."""
        return self.path.read_text()


def login_key(run_dir: Path) -> KeyFile:
    """Make the run's login key, or find it.

    Raises:
        LedgerRefused: the file is there and is no ed25519 key, or others can read it.
    """
    return _ensure(login_path(run_dir))


def host_key(run_dir: Path, number: int) -> KeyFile:
    """Make the host key of the run's instance `number` (from 1), or find it.

    Raises:
        LedgerRefused: as for `login_key`.
    """
    return _ensure(run_dir / FOLDER / f"{HOST}{number}")


def login_path(run_dir: Path) -> Path:
    """Return where a run's login key is, or would be."""
    return run_dir / FOLDER / LOGIN


def known_host_key(run_dir: Path, number: int) -> str:
    """Return the public line that the run's instance `number` must answer with, "" when the key is not here.

    Raises:
        LedgerRefused: as for `login_key`.
    """
    path = run_dir / FOLDER / f"{HOST}{number}"
    return _public_of(path) if path.exists() else ""


def remove_keys(run_dir: Path) -> None:
    """Delete every private key of a run; records beside them stay. Nothing to delete is fine."""
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
        why = f"a private key is a file that nobody else can read, and this one has mode {stat.filemode(state.st_mode)}"
        raise LedgerRefused("key", str(path), why, f"chmod 600 {path}, if nobody else read it; else kennel down")
    try:
        key = load_ssh_private_key(path.read_bytes(), password=None)
    except (ValueError, UnsupportedAlgorithm) as error:
        raise _no_key(path, str(error)) from error
    if not isinstance(key, Ed25519PrivateKey):
        raise _no_key(path, f"it is an {type(key).__name__}")
    return key.public_key().public_bytes(Encoding.OpenSSH, PublicFormat.OpenSSH).decode()


def _no_key(path: Path, why: str) -> LedgerRefused:
    remove = f"kennel down {path.parent.parent.name}, which removes the instances that know the key and the file"
    return LedgerRefused("key", f"{path} is no ed25519 key that kennel made", why, remove)
