"""Which suffix the hosts of an AWS region have, by botocore's own table of partitions. Nothing here calls AWS."""

from __future__ import annotations

import functools
import re
from typing import Any

import botocore.loaders

_USUAL = "amazonaws.com"


@functools.cache
def dns_suffix(region: str) -> str:
    """Return the end of the names of AWS's hosts in a region: "amazonaws.com", "amazonaws.com.cn", ...

    A region that botocore does not list is in the partition whose pattern it fits, and else in AWS's first one.
    """
    table: dict[str, Any] = botocore.loaders.create_loader().load_data("partitions")
    for partition in table["partitions"]:
        if region in partition["regions"] or re.fullmatch(partition["regionRegex"], region):
            return str(partition["outputs"]["dnsSuffix"])
    return _USUAL
