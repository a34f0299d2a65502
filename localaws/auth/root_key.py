"""The keys of a home, the root user's and the operator's: made once, kept across restarts, for this user only.

A file carries its checksum; one that was damaged is said, and another key takes its place.
"""

import secrets
import string
import sys
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TypeVar

from localaws.folders import read_json, sealed, unsealed, write_private

FILE = "root_key.json"
OPERATOR_FILE = "operator_key.json"
_AGAIN = "shells that have the former one need it from `kennel up` or `python -m localaws env`"
_ID_LETTERS = string.ascii_uppercase + "234567"  # as in AWS's access key ids
_SECRET_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class AccessKey:
    """What signs requests."""

    access_key_id: str
    secret_access_key: str = field(repr=False)


@dataclass(frozen=True)
class RootKey(AccessKey):
    """What signs requests as the account's root user, and the bearer token of localaws's own paths."""

    token: str = field(repr=False)


Kept = TypeVar("Kept", bound=AccessKey)


def new_key() -> AccessKey:
    """Return a random key."""
    return AccessKey("AKIA" + _letters(_ID_LETTERS, 16), _letters(_SECRET_LETTERS, 40))


def new() -> RootKey:
    """Return a random key of a root user."""
    return RootKey(**asdict(new_key()), token=secrets.token_urlsafe(32))


def keep(home: Path, key: RootKey | None = None) -> RootKey:
    """Return the key of a home that exists; `key`, or a random one, becomes it if there is none that can be read.

    Raises: NotItsHome if something else than a file is in the place of the key.
    """
    return _kept(home / FILE, RootKey, lambda: key or new())


def keep_operator(home: Path, key: AccessKey | None = None) -> AccessKey:
    """Return the operator's key, as `keep` the root user's.

    Raises: NotItsHome if something else than a file is in the place of the key.
    """
    return _kept(home / OPERATOR_FILE, AccessKey, lambda: key or new_key())


def _kept(path: Path, kind: type[Kept], make: Callable[[], Kept]) -> Kept:
    try:
        found = kind(**unsealed(read_json(path)))
        if not all(isinstance(value, str) and value for value in asdict(found).values()):
            raise ValueError("it has a value that is no text")
        path.chmod(0o600)
        return found
    except FileNotFoundError:
        pass
    except (ValueError, TypeError) as error:
        print(f"localaws: {path} is damaged ({error}): there is another key; {_AGAIN}", file=sys.stderr)
    made = make()
    write_private(path, sealed(asdict(made)))
    return made


def _letters(alphabet: str, count: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(count))
