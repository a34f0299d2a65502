"""What a row of a ledger may say: a kind that kennel makes, a name that AWS has for it, an ARN of the ledger's own AWS.

A row that says anything else was not written by this release, whatever its digest is. The errors do not repeat what is
in it, because that may be anything, such as a URL with a token.
"""

from __future__ import annotations

import re

KINDS = frozenset(
    {
        *("bucket", "s3-prefix", "role", "log-group", "training-job", "tuning-job", "processing-job"),
        "budget",
        *("model", "endpoint-config", "endpoint", "scalable-target"),
        *("model-package", "model-package-group", "alarm"),
        *("function", "function-alias", "function-url", "provisioned-concurrency"),
        *("instance", "instance-profile", "security-group", "key-pair"),
        *("notebook-instance", "notebook-lifecycle"),
    }
)
_NAME = re.compile(r"(?!.*://)[A-Za-z0-9/][A-Za-z0-9._+=,@:/-]{0,1023}")

_HEADER = {
    "account_id": re.compile(r"[0-9]{12}"),
    "region": re.compile(r"[a-z0-9-]{1,40}"),
    "endpoint": re.compile(r"aws|https?://[^\s@]{1,300}"),
}


class UnknownKind(ValueError):
    """A row is of a kind of resource that this release does not make."""


def check_header(account_id: str, region: str, endpoint: str) -> None:
    """Return if a ledger's account, region and endpoint may be what kennel wrote.

    Raises:
        ValueError: one of them cannot be.
    """
    for (name, pattern), value in zip(_HEADER.items(), (account_id, region, endpoint), strict=True):
        if pattern.fullmatch(value) is None:
            raise ValueError(f"its {name} is none that AWS has")


def check_row(kind: str, name: str, identifier: str | None, account_id: str | None, region: str | None) -> None:
    """Return if a row may be what kennel wrote; `account_id` and `region` are the ledger's, None where not known.

    Raises:
        UnknownKind: the kind is none of kennel's.
        ValueError: the name cannot be that of a resource, or the identifier is an ARN of another account or region.
    """
    spelt = kind.replace("_", "-")  # as some rows of release 0.1.0
    if spelt not in KINDS:
        raise UnknownKind("it has a kind of resource that this release of kennel does not make")
    if _NAME.fullmatch(name.removeprefix("s3://") if spelt == "s3-prefix" else name) is None:
        raise ValueError(f"its name is none that AWS has for a {spelt}")
    for what, found, own in (("region", _part(identifier, 3), region), ("account", _part(identifier, 4), account_id)):
        if own and found not in {"", own}:
            raise ValueError(f"its ARN is of another {what} than the ledger's {own}")


def _part(identifier: str | None, number: int) -> str:
    """Return a part of an ARN; "" for none, and for an identifier that is no ARN."""
    parts = (identifier or "").split(":", 5)
    return parts[number] if parts[0] == "arn" and len(parts) == 6 else ""
