"""The condition keys whose values are the same for all requests to this server, or are those of the moment."""

from collections.abc import Mapping
from datetime import UTC, datetime

KeyValues = Mapping[str, list[str]]

HERE: KeyValues = {  # traffic never leaves the machine: to a policy that asks for TLS it counts as transported securely
    "aws:securetransport": ["true"],
    "aws:sourceip": ["127.0.0.1"],
    "aws:viaawsservice": ["false"],
    "aws:principalisawsservice": ["false"],
    "s3:tlsversion": ["1.3"],
}


def time_of(key: str) -> list[str] | None:
    """Return the real time, if the key is one of the time."""
    now = datetime.now(UTC)
    if key == "aws:currenttime":
        return [now.strftime("%Y-%m-%dT%H:%M:%SZ")]
    return [str(int(now.timestamp()))] if key == "aws:epochtime" else None
