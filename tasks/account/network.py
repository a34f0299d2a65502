"""Checks the VPC that a run is to use, before anything is made: its subnets, groups and zones, and its way to S3.

It only reads. SageMaker and Lambda take no network of the account's by default; EC2 takes the default VPC.
Source: https://docs.aws.amazon.com/sagemaker/latest/dg/train-vpc.html
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from tasks.account.ways import warn_of_missing_ways
from tasks.run.aws import Aws
from tasks.run.errors import NotFound, SettingsRefused, aws_boundary
from tasks.run.options import Network
from tasks.run.vpc_config import VpcConfig

WHERE = "network"


@dataclass(frozen=True)
class Subnet:
    """A subnet; `gives_address` is whether what is launched there gets a public address."""

    subnet_id: str
    vpc_id: str
    zone: str
    gives_address: bool


@dataclass(frozen=True)
class Ec2Network:
    """Where EC2 instances are launched: the subnets to try for each type, in order; none is the default VPC's choice.

    `security_groups` are those that the user named; the run's own, for SSH, comes first.
    """

    vpc_id: str
    security_groups: tuple[str, ...] = ()
    subnets: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    def subnets_of(self, instance_type: str) -> tuple[str | None, ...]:
        """Return the subnets for a type; None leaves the choice to EC2."""
        return self.subnets.get(instance_type, ()) if self.subnets else (None,)


def require_network(aws: Aws, network: Network, *, ec2_types: Sequence[str] = (), uses_sagemaker: bool = True) -> None:
    """Return if the run can be made in the network; what AWS would let pass and the run would miss is only said.

    `ec2_types` are the types that EC2 is asked for, none without EC2.

    Raises:
        SettingsRefused: a subnet or group does not exist or is of another VPC, one of both is missing, or no subnet
            is in a zone that offers a type of EC2.
        NotFound: EC2 is used without a subnet, and there is no default VPC.
        AwsFailed: EC2 refused.
    """
    if ec2_types:
        ec2_network(aws, network, ec2_types)
    vpc = network.vpc
    if vpc is None or not uses_sagemaker:
        return
    with aws_boundary(WHERE):
        subnets = _checked(aws, vpc)
        if not vpc.security_groups:
            why = "SageMaker and Lambda take subnets only together with security groups"
            raise SettingsRefused(WHERE, "subnets without a security group", why, "add --security-group <id>")
        warn_of_missing_ways(aws, subnets[0].vpc_id, [each.subnet_id for each in subnets])


def ec2_network(aws: Aws, network: Network, types: Sequence[str]) -> Ec2Network:
    """Return where instances of these types are launched.

    Raises:
        SettingsRefused, NotFound, AwsFailed: as `require_network` says.
    """
    vpc = network.vpc
    with aws_boundary(WHERE):
        if vpc is None:
            return Ec2Network(_default_vpc(aws))
        subnets = _reachable(aws, _checked(aws, vpc))
        zones = zones_offering(aws, types)
        by_type = {name: tuple(s.subnet_id for s in subnets if s.zone in zones.get(name, ())) for name in types}
    if not any(by_type.values()):
        offered = sorted({zone for name in types for zone in zones.get(name, ())})
        what = f"none of the subnets is in a zone that offers {' or '.join(types)}"
        why = f"they are in {_listed(each.zone for each in subnets)}; it is offered in {_listed(offered)}"
        raise SettingsRefused(WHERE, what, why, "add a --subnet in one of these zones, or name another type")
    return Ec2Network(subnets[0].vpc_id, vpc.security_groups, by_type)


def _default_vpc(aws: Aws) -> str:
    """Return the id of the default VPC, which has a subnet."""
    ec2 = aws.client("ec2")
    vpcs = ec2.describe_vpcs(Filters=[{"Name": "is-default", "Values": ["true"]}])["Vpcs"]
    name_one = "or name a subnet of a VPC of yours: --subnet <id>"
    if not vpcs:
        why = "without --subnet, EC2 instances and their security group are put into it; nothing was made"
        raise NotFound("default VPC", f"{aws.region} has none", why, f"{aws.cli('ec2 create-default-vpc')}; {name_one}")
    vpc_id = str(vpcs[0]["VpcId"])
    pages = ec2.get_paginator("describe_subnets").paginate(
        Filters=[{"Name": "vpc-id", "Values": [vpc_id]}, {"Name": "default-for-az", "Values": ["true"]}]
    )
    if not any(page["Subnets"] for page in pages):
        why = "EC2 launches in a default subnet of a zone if no subnet is named; nothing was made"
        make = aws.cli("ec2 create-default-subnet", availability_zone="<zone>")
        raise NotFound("default VPC", f"{vpc_id} has no default subnet", why, f"{make}; {name_one}")
    return vpc_id


def _checked(aws: Aws, vpc: VpcConfig) -> list[Subnet]:
    """Return the subnets, which exist and are in one VPC, as the groups are."""
    if not vpc.subnets:
        why = "the subnets say in which VPC and zones"
        raise SettingsRefused(WHERE, "security groups without a subnet", why, "add --subnet <id>")
    ec2 = aws.client("ec2")
    pages = ec2.get_paginator("describe_subnets").paginate(Filters=_named("subnet-id", vpc.subnets))
    found = {str(row["SubnetId"]): row for page in pages for row in page["Subnets"]}
    _require_all(aws, vpc.subnets, found, aws.cli("ec2 describe-subnets"))
    subnets = [_subnet(found[each]) for each in dict.fromkeys(vpc.subnets)]
    wanted = _named("group-id", vpc.security_groups or ("none",))
    pages = ec2.get_paginator("describe_security_groups").paginate(Filters=wanted)
    groups = {str(row["GroupId"]): row for page in pages for row in page["SecurityGroups"]}
    _require_all(aws, vpc.security_groups, groups, aws.cli("ec2 describe-security-groups"))
    places = {each.subnet_id: each.vpc_id for each in subnets} | {name: g["VpcId"] for name, g in groups.items()}
    if len(set(places.values())) > 1:
        why = ", ".join(f"{name} is in {place}" for name, place in places.items())
        raise SettingsRefused(WHERE, "the subnets and groups are not of one VPC", why, "name those of one VPC")
    return subnets


def _named(name: str, ids: Sequence[str]) -> list[dict[str, Any]]:
    return [{"Name": name, "Values": list(ids)}]


def _require_all(aws: Aws, ids: Sequence[str], found: Mapping[str, Any], look: str) -> None:
    """Refuse ids of which EC2 knows nothing."""
    if missing := [each for each in ids if each not in found]:
        why = f"account {aws.account_id} has none of that id in {aws.region}; nothing was made"
        raise SettingsRefused(WHERE, f"{_listed(missing)} does not exist", why, look)


def _subnet(found: Mapping[str, Any]) -> Subnet:
    gives_address = bool(found.get("MapPublicIpOnLaunch"))
    return Subnet(str(found["SubnetId"]), str(found["VpcId"]), str(found["AvailabilityZone"]), gives_address)


def _reachable(aws: Aws, subnets: Sequence[Subnet]) -> list[Subnet]:
    """Return the subnets whose instances can be reached from here by SSH; without one, they are refused."""
    found = [each for each in subnets if each.gives_address]
    if not found:
        what = f"{_listed(each.subnet_id for each in subnets)}: no public addresses are assigned there"
        why = "kennel logs in to EC2 instances from here by SSH"
        change = aws.cli("ec2 modify-subnet-attribute --map-public-ip-on-launch", subnet_id=subnets[0].subnet_id)
        raise SettingsRefused(WHERE, what, why, f"add another --subnet; or {change}")
    return found


def zones_offering(aws: Aws, types: Sequence[str]) -> Mapping[str, set[str]]:
    """Return the zones of the region that offer each type.

    Raises:
        ClientError, BotoCoreError: EC2 refused, or did not answer; the caller translates it.
    """
    pages = (
        aws.client("ec2")
        .get_paginator("describe_instance_type_offerings")
        .paginate(LocationType="availability-zone", Filters=[{"Name": "instance-type", "Values": list(types)}])
    )
    found: dict[str, set[str]] = {}
    for page in pages:
        for row in page["InstanceTypeOfferings"]:
            found.setdefault(str(row["InstanceType"]), set()).add(str(row["Location"]))
    return found


def _listed(words: Iterable[str]) -> str:
    return ", ".join(dict.fromkeys(words)) or "none"
