"""Imports moto's EC2 without half of what that costs: it asks botocore for EC2's regions while it is imported.

It does so by three new sessions, each of which parses the endpoints of all services and, to learn under which name
these list EC2, EC2's whole model. The name is the same, and the endpoints are parsed once here for all sessions of this
process.
"""

import functools
import importlib
import sys
from pathlib import PurePath
from typing import Any

ASKING = "moto.ec2.models.availability_zones_and_regions"
_READ_ONLY = ("endpoints", "partitions")  # botocore never changes what it parsed of these files


def import_ec2() -> None:
    """Import moto's EC2; the environment must be as moto is to find it. One thread at a time may do so."""
    if ASKING in sys.modules:
        return
    boto3: Any = importlib.import_module("boto3")
    importlib.import_module("moto.core.base_backend")  # which keeps boto3's own class of sessions
    usual, boto3.Session = boto3.Session, quick(boto3.Session)
    try:
        importlib.import_module(ASKING)
    finally:
        boto3.Session = usual


def quick(session: Any) -> Any:
    """Return a kind of boto3's session that tells EC2's regions without reading EC2's model."""
    from botocore.regions import EndpointResolver

    class QuickSession(session):  # type: ignore[misc]
        def get_available_regions(
            self, service_name: str, partition_name: str = "aws", allow_non_regional: bool = False
        ) -> list[str]:
            if service_name != "ec2" or allow_non_regional:
                return list(super().get_available_regions(service_name, partition_name, allow_non_regional))
            resolver = EndpointResolver(self._session.get_component("data_loader").load_data("endpoints"))
            return list(resolver.get_available_endpoints("ec2", partition_name))

    return QuickSession


def parse_endpoints_once() -> None:
    """Have botocore keep what it parsed of endpoints and partitions."""
    from botocore.loaders import JSONFileLoader

    loader: Any = JSONFileLoader
    parse = loader.load_file
    kept = functools.cache(lambda path: parse(JSONFileLoader(), path))

    def load_file(self: JSONFileLoader, path: str) -> Any:
        return kept(path) if PurePath(path).name in _READ_ONLY else parse(self, path)

    loader.load_file = load_file
