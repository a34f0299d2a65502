"""Where EC2 instances would start: the default VPC, its subnets, and the zones that offer the instance types."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from tasks.account.network import require_network, zones_offering
from tasks.doctor.findings import Finding, fail, ok, warn
from tasks.ec2.prices import candidate_types
from tasks.run.aws import Aws
from tasks.run.errors import NotFound, SettingsRefused
from tasks.run.options import Ec2TrainingOptions, Network

CHECK = "network"


def network_findings(
    aws: Aws, wanted: Ec2TrainingOptions | None, network: Network, *, uses_sagemaker: bool
) -> Iterator[Finding]:
    """Yield whether the user's network serves the run, or without one whether EC2's instances would get an address.

    Raises:
        ClientError, BotoCoreError: EC2 refused, or did not answer; the caller translates it.
        AwsFailed: the same.
    """
    if network.vpc is not None:
        yield _named_network_finding(aws, wanted, network, uses_sagemaker=uses_sagemaker)
    elif wanted is not None:
        yield from _default_vpc_findings(aws, wanted)


def _named_network_finding(
    aws: Aws, wanted: Ec2TrainingOptions | None, network: Network, *, uses_sagemaker: bool
) -> Finding:
    types = [] if wanted is None else candidate_types(wanted)
    try:
        require_network(aws, network, ec2_types=types, uses_sagemaker=uses_sagemaker)
    except (SettingsRefused, NotFound) as error:
        return fail(CHECK, f"{error.what}: {error.why}", error.next_command)
    return ok(CHECK, f"{len(network.vpc.subnets) if network.vpc else 0} subnets of a VPC of yours serve the run")


def _default_vpc_findings(aws: Aws, wanted: Ec2TrainingOptions) -> Iterator[Finding]:
    vpcs = _all(aws, "describe_vpcs", "Vpcs", "is-default", "true")
    if not vpcs:
        yield fail(CHECK, f"{aws.region} has no default VPC for EC2 instances", aws.cli("ec2 create-default-vpc"))
        return
    vpc = str(vpcs[0]["VpcId"])
    subnets = _all(aws, "describe_subnets", "Subnets", "vpc-id", vpc)
    yield _subnet_finding(aws, vpc, subnets)
    if subnets:
        yield _type_finding(aws, wanted, {str(each["AvailabilityZone"]) for each in subnets})


def _subnet_finding(aws: Aws, vpc: str, subnets: list[Any]) -> Finding:
    if not subnets:
        cure = aws.cli("ec2 create-default-subnet", availability_zone=f"{aws.region}a")
        return fail(CHECK, f"the default VPC {vpc} has no subnet", cure)
    private = [str(each["SubnetId"]) for each in subnets if not each["MapPublicIpOnLaunch"]]
    if not private:
        return ok(CHECK, f"default VPC {vpc} with {len(subnets)} subnets that assign public addresses")
    what = f"{len(private)} of {len(subnets)} subnets of the default VPC assign no public address, which SSH needs"
    cure = aws.cli("ec2 modify-subnet-attribute --map-public-ip-on-launch", subnet_id=private[0])
    return (fail if len(private) == len(subnets) else warn)(CHECK, what, cure)


def _type_finding(aws: Aws, wanted: Ec2TrainingOptions, zones: set[str]) -> Finding:
    types = candidate_types(wanted)
    offers = zones_offering(aws, types)
    where = {name: sorted(offers.get(name, set()) & zones) for name in types}
    offered = [name for name in types if where[name]]
    if not offered:
        what = f"no zone with a subnet offers {', '.join(types)}"
        return fail(CHECK, what, "kennel train-ec2 --instance-type <another>, or another region")
    first = offered[0]
    seen = f"{first} is offered in {', '.join(where[first])}"
    if first == types[0]:
        return ok(CHECK, seen)
    return warn(CHECK, f"{types[0]} is offered in no zone with a subnet; {seen}", "nothing: kennel takes the next type")


def _all(aws: Aws, operation: str, member: str, filter_name: str, value: str) -> list[Any]:
    filters = [{"Name": filter_name, "Values": [value]}]
    pages = aws.client("ec2").get_paginator(operation).paginate(Filters=filters)
    return [each for page in pages for each in page[member]]
