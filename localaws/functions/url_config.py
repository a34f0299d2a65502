"""The record of a function's URL."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localaws.functions.naming import FunctionName

NONE = "NONE"  # the AuthType of a URL that authenticates nobody; the other one is AWS_IAM
BUFFERED = "BUFFERED"


@dataclass(frozen=True)
class UrlConfig:
    """A function's or alias's URL. `id` begins its host name; `cors` is as AWS's `Cors`, None for none."""

    id: str
    function: FunctionName
    arn: str
    url: str
    auth_type: str
    cors: Mapping[str, Any] | None
    created: str
    modified: str

    def shown(self) -> dict[str, Any]:
        """Return it in AWS's shape."""
        return {
            "FunctionUrl": self.url,
            "FunctionArn": self.arn,
            "AuthType": self.auth_type,
            "CreationTime": self.created,
            "LastModifiedTime": self.modified,
            "InvokeMode": BUFFERED,
            **({"Cors": dict(self.cors)} if self.cors else {}),
        }
