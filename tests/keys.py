"""The keys of the servers that tests start.

All servers of one test process have the same keys, so that code which takes its key from this process's environment
can call each of them. The environment has the root user's. A server that a command starts has keys of its own, in its
`server.json`, and works as the operator, who may what `docs/aws-policy.json` allows.
"""

import hmac
import json
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import urlsplit

from botocore.auth import S3SigV4Auth, SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials

from localaws.auth.root_key import AccessKey, RootKey, keep, keep_operator, new, new_key
from tasks.account.operator_policy import Account, operator_policies

KEY = new()
OPERATOR = new_key()
POLICIES = {f"kennel-{name}": each for name, each in operator_policies(Account("123456789012", "us-east-1")).items()}
"""What the operator may, by policy: as whom kennel's own code works in tests."""

OWN_SIGNER = (Path(__file__).parents[1] / "lambda" / "classify" / "signature.py").read_text()
"""The deployed function's signer, which needs the standard library only: code of a test's function can begin with it.

`signed_by_environment` is added to it: the headers of a POST, signed with the key in the environment.
"""
OWN_SIGNER += """
import os
from datetime import UTC
from urllib.parse import urlsplit

def signed_by_environment(service, path, body, headers):
    names = ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN")
    signer = Signer(Credentials(*(os.environ[name] for name in names)), os.environ["AWS_REGION"], service)
    host = urlsplit(os.environ["AWS_ENDPOINT_URL"]).netloc
    return signer.sign(path, {"Host": host, **headers}, body, datetime.now(UTC))

"""


def give_keys(home: Path) -> Path:
    """Have the server that will run with this home use the keys of this process; return the operator's policies."""
    home.mkdir(parents=True, exist_ok=True)
    keep(home, KEY)
    keep_operator(home, OPERATOR)
    file = home / "operator.json"
    file.write_text(json.dumps(POLICIES))
    file.chmod(0o600)
    return file


def keys_of(home: Path) -> RootKey:
    """Return the root key of the server that runs with this home."""
    record = json.loads((home / "server.json").read_text())
    return RootKey(record["access_key_id"], record["secret_access_key"], record["token"])


def for_boto3(key: RootKey = KEY) -> dict[str, str]:
    """Return the arguments of a boto3 client or session that sign with a key."""
    return {"aws_access_key_id": key.access_key_id, "aws_secret_access_key": key.secret_access_key}


def for_environment(key: AccessKey = KEY) -> Mapping[str, str]:
    """Return the environment variables that have a program sign with a key."""
    return {
        "AWS_ACCESS_KEY_ID": key.access_key_id,
        "AWS_SECRET_ACCESS_KEY": key.secret_access_key,
        "AWS_SESSION_TOKEN": "",
    }


def signed(request: AWSRequest, service: str, key: AccessKey = KEY) -> dict[str, str]:
    """Return the headers of a request, `Host` among them, with botocore's signature of it."""
    request.headers["Host"] = urlsplit(request.url).netloc
    signer = S3SigV4Auth if service == "s3" else SigV4Auth
    signer(ReadOnlyCredentials(key.access_key_id, key.secret_access_key, None), service, "us-east-1").add_auth(request)
    return dict(request.headers.items())


def bearer(key: RootKey = KEY) -> Mapping[str, str]:
    """Return the header that localaws's own paths ask for."""
    return {"Authorization": f"Bearer {key.token}"}


def token_of(path: str, key: RootKey = KEY) -> str:
    """Return the token that opens one of localaws's own paths and no other."""
    return hmac.new(key.token.encode(), path.encode(), "sha256").hexdigest()
