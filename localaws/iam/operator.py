"""An IAM user that exists from the start, for whoever works with this server and is not its root.

Its managed policies come from a file: a JSON object of documents by their names. One whose name ends in `boundary` is
made and not attached: it is for the roles that the user makes.
"""

import json
from pathlib import Path
from typing import Any

from localaws.auth.root_key import AccessKey
from localaws.folders import read_json
from localaws.partition import partition

USER = "operator"
BOUNDARY = "boundary"


def make_operator(account_id: str, region: str, file: Path, key: AccessKey) -> None:
    """Make the user with its policies and this key.

    Raises:
        ValueError: the file is none, or a document is no policy; the message says which.
    """
    from moto.iam.exceptions import MalformedPolicyDocument
    from moto.iam.models import iam_backends

    backend: Any = iam_backends[account_id][partition()]
    backend.create_user(region, USER)
    for name, document in _documents(file).items():
        try:
            made = backend.create_policy("", "/", json.dumps(document), name, [])
        except MalformedPolicyDocument as error:
            raise ValueError(f"{file}: {name} is no policy: {error}") from None
        if not name.endswith(BOUNDARY):
            backend.attach_user_policy(made.arn, USER)
    _give_key(backend, key)


def _documents(file: Path) -> dict[str, Any]:
    documents = read_json(file)
    if not isinstance(documents, dict):
        raise ValueError(f"{file} must hold an object of policy documents by their names")
    return documents


def _give_key(backend: Any, key: AccessKey) -> None:
    """Have the user sign with a key that is kept in the home; moto would make another one at each start."""
    made = backend.create_access_key(USER)
    del backend.access_keys[made.access_key_id]
    made.access_key_id, made.secret_access_key = key.access_key_id, key.secret_access_key
    backend.access_keys[key.access_key_id] = made
