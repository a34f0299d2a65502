"""Says which ways out of a VPC's subnets are missing that the jobs, the endpoint and the function take.

The interfaces that SageMaker and Lambda make have no public address, so a route to an internet gateway is no way for
them. Only routes and endpoints are looked at; network ACLs, groups and endpoint policies may still close a way.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tasks.run.aws import Aws
from tasks.run.waiting import say

_EVERYWHERE = "0.0.0.0/0"


@dataclass(frozen=True)
class _Ways:
    """The ways that subnets lack: the subnets without one to S3, and those without one to the internet."""

    s3: tuple[str, ...]
    internet: tuple[str, ...]
    tables: tuple[str, ...]


def warn_of_missing_ways(aws: Aws, vpc_id: str, subnets: Sequence[str]) -> None:
    """Say which subnets have no way to S3 or to the internet, and what does not work then.

    Raises:
        ClientError: EC2 refused; the caller translates it.
    """
    missing = _missing_ways(aws, vpc_id, subnets)
    if missing.s3:
        where = {"vpc_id": vpc_id, "service_name": _service(aws)}
        make = aws.cli("ec2 create-vpc-endpoint", **where, route_table_ids=missing.tables)
        say(
            f"WARNING: {', '.join(missing.s3)}: no way to S3 (no endpoint for S3, no NAT), which training jobs and "
            f"endpoints need; {make}"
        )
    if missing.internet:
        say(
            f"WARNING: {', '.join(missing.internet)}: no way to the internet (no NAT): a training job cannot install "
            "its packages from PyPI, and the function fetches no photo from outside of the VPC and needs an interface "
            "endpoint for sagemaker.runtime"
        )


def _missing_ways(aws: Aws, vpc_id: str, subnets: Sequence[str]) -> _Ways:
    of_vpc = [{"Name": "vpc-id", "Values": [vpc_id]}]
    ec2 = aws.client("ec2")
    tables = [
        row
        for page in ec2.get_paginator("describe_route_tables").paginate(Filters=of_vpc)
        for row in page["RouteTables"]
    ]
    wanted = [*of_vpc, {"Name": "service-name", "Values": [_service(aws)]}]
    pages = ec2.get_paginator("describe_vpc_endpoints").paginate(Filters=wanted)
    endpoints = [row for page in pages for row in page["VpcEndpoints"]]
    has_interface = any(each.get("VpcEndpointType") == "Interface" for each in endpoints)
    gateways = {table for each in endpoints for table in each.get("RouteTableIds", [])}
    used = {each: _table_of(each, tables) for each in subnets}
    internet = tuple(each for each, table in used.items() if not _leads_out(table))
    s3 = tuple(each for each in internet if not has_interface and used[each].get("RouteTableId") not in gateways)
    return _Ways(s3, internet, tuple(sorted({str(used[each].get("RouteTableId")) for each in s3})))


def _table_of(subnet: str, tables: Sequence[Mapping[str, Any]]) -> Mapping[str, Any]:
    """Return the route table of a subnet: the one associated with it, else the VPC's main one."""
    joined = [(table, link) for table in tables for link in table.get("Associations", [])]
    own = next((table for table, link in joined if link.get("SubnetId") == subnet), None)
    return own or next((table for table, link in joined if link.get("Main")), {})


def _leads_out(table: Mapping[str, Any]) -> bool:
    """Tell whether a table has a default route to something else than an internet gateway: a NAT, a transit gateway."""
    routes = [each for each in table.get("Routes", []) if each.get("DestinationCidrBlock") == _EVERYWHERE]
    return any(not str(each.get("GatewayId", "")).startswith("igw-") for each in routes)


def _service(aws: Aws) -> str:
    return f"com.amazonaws.{aws.region}.s3"
