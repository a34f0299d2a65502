"""The partition of AWS that this server plays, by the region in which it executes: "aws", "aws-cn", "aws-us-gov", ...

ARNs begin with it, and moto keeps under it what belongs to no region: IAM, STS and S3.
"""

import functools
import os


def partition() -> str:
    """Return the partition; the region is in the environment, where moto reads it too."""
    return _partition_of(os.environ.get("AWS_DEFAULT_REGION", "us-east-1"))


@functools.cache
def _partition_of(region: str) -> str:
    from moto.utilities.utils import get_partition

    return str(get_partition(region))
