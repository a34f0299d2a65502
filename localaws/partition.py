"""The partition of AWS that this server plays, by the region in which it executes: "aws", "aws-cn", "aws-us-gov", ...

ARNs begin with it, and moto keeps under it what belongs to no region: IAM, STS and S3. Its regions are those that
botocore knows.
"""

import functools
import os

_EVERYWHERE = "ec2"  # the service that is in each region
_HOMES = {"pricing": "us-east-1"}  # where a service answers for all partitions


def partition() -> str:
    """Return the partition; the region is in the environment, where moto reads it too."""
    return _partition_of(own_region())


def own_region() -> str:
    """Return the region in which this server executes."""
    return os.environ.get("AWS_DEFAULT_REGION", "us-east-1")


def has_region(service: str, region: str) -> bool:
    """Return whether a service (its signing name) is in a region, which has to be of this partition."""
    return region in _regions(partition(), service if service == "sagemaker" else _EVERYWHERE) or (
        region == _HOMES.get(service)
    )


@functools.cache
def _regions(name: str, service: str) -> frozenset[str]:
    from botocore.session import get_session

    return frozenset(get_session().get_available_regions(service, partition_name=name))


@functools.cache
def _partition_of(region: str) -> str:
    from moto.utilities.utils import get_partition

    return str(get_partition(region))
