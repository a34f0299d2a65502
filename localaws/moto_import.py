"""Imports moto's EC2 without half of what that costs: it asks botocore for EC2's regions while it is imported.

It does so by three new sessions, of which each reads the endpoints of all services and the whole model of EC2. The
regions are in the endpoints alone, which are read once here, for all sessions of this process.
"""

import functools
import importlib
from pathlib import PurePath
from typing import Any

_READ_ONLY = ("endpoints", "partitions")  # botocore never changes what it parsed of these files


def import_ec2() -> None:
    """Import moto's EC2; the environment must be as moto is to find it. One thread at a time may do so."""
    boto3 = importlib.import_module("boto3")
    importlib.import_module("moto.core.base_backend")  # which keeps the true class of sessions
    session, boto3.Session = boto3.Session, _Regions  # type: ignore[attr-defined]
    try:
        importlib.import_module("moto.ec2.models.availability_zones_and_regions")
    finally:
        boto3.Session = session  # type: ignore[attr-defined]


class _Regions:
    """A session that knows a service's regions, if its endpoints are listed under its name, as EC2's are."""

    def get_available_regions(self, service: str, partition_name: str = "aws") -> list[str]:
        """Return the names of the regions, as boto3's session does."""
        from botocore.loaders import create_loader
        from botocore.regions import EndpointResolver

        resolver = EndpointResolver(create_loader().load_data("endpoints"))
        return list(resolver.get_available_endpoints(service, partition_name))


def parse_endpoints_once() -> None:
    """Have botocore keep what it parsed of endpoints and partitions."""
    from botocore.loaders import JSONFileLoader

    loader: Any = JSONFileLoader
    parse = loader.load_file
    kept = functools.cache(lambda path: parse(JSONFileLoader(), path))

    def load_file(self: JSONFileLoader, path: str) -> Any:
        return kept(path) if PurePath(path).name in _READ_ONLY else parse(self, path)

    loader.load_file = load_file
