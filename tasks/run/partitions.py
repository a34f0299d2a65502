"""Which suffix the hosts of an AWS region have, by botocore's own table of partitions. Nothing here calls AWS."""

from __future__ import annotations

import functools
import re
from typing import Any

import botocore.loaders


def dns_suffix(region: str) -> str:
    """Return the end of the names of AWS's hosts in a region: "amazonaws.com", "amazonaws.com.cn", ..."""
    return str(_outputs(region)["dnsSuffix"])


def partition_of(region: str) -> str:
    """Return the partition of a region, for text that is made without asking STS, which knows the caller's."""
    return str(_outputs(region)["name"])


def is_listed(region: str) -> bool:
    """Tell whether botocore's table lists the region; one that it does not list may be newer, or misspelt."""
    return any(region in each["regions"] for each in _table())


def _table() -> list[dict[str, Any]]:
    table: dict[str, Any] = botocore.loaders.create_loader().load_data("partitions")
    listed: list[dict[str, Any]] = table["partitions"]
    return listed


@functools.cache
def _outputs(region: str) -> dict[str, Any]:
    """Return what botocore says of a region's partition; one that it does not list is where its name fits, or in aws.

    Raises:
        LookupError: botocore's table has no partition aws.
    """
    table = _table()
    found = [each for each in table if region in each["regions"] or re.fullmatch(each["regionRegex"], region)]
    usual = next(each for each in table if each["id"] == "aws")
    outputs: dict[str, Any] = (found or [usual])[0]["outputs"]
    return outputs
