"""Keys of moto's KMS, found by id, ARN, alias or an alias's ARN; AWS's own key for S3 is made on first use."""

from dataclasses import dataclass
from typing import Any

from localaws.errors import AwsError

AWS_ALIASES = "alias/aws/"
"""How the aliases of AWS's own keys begin."""

OF_S3 = f"{AWS_ALIASES}s3"
"""AWS's own key for S3, which everybody in the account may use through S3."""


@dataclass(frozen=True)
class Key:
    """A key: `is_aws_managed` for AWS's own, whose policy nobody has to be allowed beside."""

    arn: str
    is_enabled: bool
    is_aws_managed: bool


def find_key(account_id: str, region: str, name: str) -> Key | None:
    """Return a key by any of its names, None if there is none; nothing of another region or account is known."""
    from moto.kms.models import kms_backends

    backend: Any = kms_backends[account_id][region]
    parts = name.split(":", 5)
    if name.startswith("arn:"):
        if len(parts) < 6 or (parts[2], parts[3], parts[4]) != ("kms", region, account_id):
            return None
        name = parts[5].removeprefix("key/")
    key_id = backend.get_key_id_from_alias(name) if name.startswith("alias/") else name
    found = backend.keys.get(key_id)
    return None if found is None else Key(found.arn, found.key_state == "Enabled", _is_managed(found))


def usable_key(account_id: str, region: str, name: str) -> Key:
    """Return a key that S3 can seal and open objects with.

    Raises:
        AwsError: KMS.NotFoundException or KMS.DisabledException, as S3 answers.
    """
    found = find_key(account_id, region, name)
    if found is None:
        raise AwsError("KMS.NotFoundException", f"Invalid keyId '{name}'")
    if not found.is_enabled:
        raise AwsError("KMS.DisabledException", f"{found.arn} is disabled.")
    return found


def _is_managed(key: Any) -> bool:
    return any(alias.startswith(AWS_ALIASES) for alias in key.aliases)
