"""What a question to IAM is made of, before its circumstances are: for whom the services' rules write."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from localaws.partition import partition
from localaws.policies.context import Values


@dataclass(frozen=True)
class Place:
    """Where a request is carried out."""

    account_id: str
    region: str
    partition: str = field(default_factory=partition)

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of a resource here."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account_id}:{resource}"


@dataclass(frozen=True)
class Resource:
    """A resource by the reference's name of its type and by its ARN; of an object the version, if one is named."""

    kind: str
    arn: str
    version: str = ""


NO_RESOURCE = Resource("", "*")


@dataclass(frozen=True)
class Wanted:
    """An action on a resource that a request needs. `values`: condition keys that only this action has."""

    action: str
    resource: Resource = NO_RESOURCE
    values: Mapping[str, Values] = field(default_factory=dict)
