"""The root key of a home: made once, kept across restarts and resets, readable by this user only."""

import json
import secrets
import string
from dataclasses import asdict, dataclass, field
from pathlib import Path

from localaws.folders import read_json, write_private

FILE = "root_key.json"
_ID_LETTERS = string.ascii_uppercase + "234567"  # as in AWS's access key ids
_SECRET_LETTERS = string.ascii_letters + string.digits


@dataclass(frozen=True)
class RootKey:
    """What signs requests as the account's root user, and the bearer token of localaws's own paths."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    token: str = field(repr=False)


def new() -> RootKey:
    """Return a random key."""
    return RootKey(
        access_key_id="AKIA" + _letters(_ID_LETTERS, 16),
        secret_access_key=_letters(_SECRET_LETTERS, 40),
        token=secrets.token_urlsafe(32),
    )


def keep(home: Path, key: RootKey | None = None) -> RootKey:
    """Return the key of a home that exists; `key`, or a random one, becomes it if there is none that can be read.

    Raises: NotItsHome if something else than a file is in the place of the key.
    """
    path = home / FILE
    try:
        found = RootKey(**read_json(path))
        if not all(isinstance(value, str) and value for value in asdict(found).values()):
            raise ValueError(f"{path} has a value that is no text")
        path.chmod(0o600)
        return found
    except (FileNotFoundError, ValueError, TypeError):
        made = key or new()
        write_private(path, json.dumps(asdict(made)))
        return made


def _letters(alphabet: str, count: int) -> str:
    return "".join(secrets.choice(alphabet) for _ in range(count))
