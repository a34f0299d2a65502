"""Where an instance is launched: its type, zone, subnet, groups and whether it gets a public address."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from localaws.ec2.errors import invalid, refuse_others, unsupported
from localaws.errors import AwsError

OPERATION = "RunInstances"
INTERFACE_MEMBERS = frozenset(
    {
        "AssociatePublicIpAddress",
        "DeleteOnTermination",
        "Description",
        "DeviceIndex",
        "Groups",
        "NetworkCardIndex",
        "SubnetId",
    }
)


@dataclass(frozen=True)
class Placement:
    """A zone with the subnet in it; `group_ids` as asked for, maybe none."""

    zone: str
    subnet_id: str
    vpc_id: str
    group_ids: tuple[str, ...]
    has_public_address: bool
    interface_description: str


def check_instance_type(instance_type: str, architecture: str) -> None:
    """Refuse a type that does not exist or does not run the image's architecture.

    Raises: AwsError InvalidParameterValue.
    """
    from moto.ec2.models.instance_types import INSTANCE_TYPES

    known = INSTANCE_TYPES.get(instance_type)
    if known is None:
        raise invalid(f"Invalid value '{instance_type}' for InstanceType.")
    if architecture not in known["ProcessorInfo"]["SupportedArchitectures"]:
        runs = ",".join(known["ProcessorInfo"]["SupportedArchitectures"])
        raise invalid(
            f"The architecture '{runs}' of the specified instance type does not match the architecture "
            f"'{architecture}' of the specified AMI. Specify an instance type and an AMI that have matching "
            "architectures, and try again."
        )


def place(parameters: Mapping[str, Any], instance_type: str, ec2_backend: Any) -> Placement:
    """Return where the instances of a request go: the zone asked for, the subnet's, or the first that has the type.

    Raises: AwsError for a place that does not exist or lacks the type, or for no place without a default VPC.
    """
    interface = _interface(parameters)
    subnet_id = interface.get("SubnetId") or parameters.get("SubnetId")
    wanted_zone = _zone(parameters.get("Placement") or {})
    subnet = _subnet(subnet_id, wanted_zone, instance_type, ec2_backend)
    zone = str(subnet.availability_zone)
    _check_offered(instance_type, zone, ec2_backend.region_name)
    has_public_address = interface.get("AssociatePublicIpAddress")
    return Placement(
        zone=zone,
        subnet_id=subnet.id,
        vpc_id=subnet.vpc_id,
        group_ids=tuple(interface.get("Groups") or parameters.get("SecurityGroupIds") or ()),
        has_public_address=bool(
            subnet.map_public_ip_on_launch is True if has_public_address is None else has_public_address
        ),
        interface_description=interface.get("Description", ""),
    )


def _interface(parameters: Mapping[str, Any]) -> Mapping[str, Any]:
    interfaces = parameters.get("NetworkInterfaces") or ()
    if not interfaces:
        return {}
    if len(interfaces) > 1:
        raise unsupported(f"NetworkInterfaces with {len(interfaces)} interfaces", OPERATION)
    interface: Mapping[str, Any] = interfaces[0]
    refuse_others(interface, INTERFACE_MEMBERS, OPERATION, inside="NetworkInterfaces")
    if interface.get("DeviceIndex", 0) != 0 or interface.get("NetworkCardIndex", 0) != 0:
        raise invalid("Each network interface requires a device index of 0 for the primary one.")
    if interface.get("DeleteOnTermination") is False:
        raise unsupported("NetworkInterfaces.DeleteOnTermination=False", OPERATION)
    for taken in ("SubnetId", "SecurityGroupIds", "SecurityGroups"):
        if parameters.get(taken):
            raise AwsError(
                "InvalidParameterCombination",
                f"Network interfaces and an instance-level {taken} may not be specified on the same request",
            )
    return interface


def _zone(placement: Mapping[str, Any]) -> str | None:
    refuse_others(placement, ("AvailabilityZone", "Tenancy"), OPERATION, inside="Placement")
    if placement.get("Tenancy", "default") != "default":
        raise unsupported(f"Placement.Tenancy={placement['Tenancy']!r}", OPERATION)
    zone: str | None = placement.get("AvailabilityZone")
    return zone


def _subnet(subnet_id: str | None, zone: str | None, instance_type: str, ec2_backend: Any) -> Any:
    if subnet_id:
        subnet = ec2_backend.get_subnet(subnet_id)
        if zone not in (None, subnet.availability_zone):
            raise invalid(f"The subnet '{subnet_id}' is not in the Availability Zone {zone}.")
        return subnet
    vpc_id = ec2_backend.default_vpc.id
    defaults = (subnet for subnet in ec2_backend.get_default_subnets().values() if subnet.vpc_id == vpc_id)
    subnets = {subnet.availability_zone: subnet for subnet in defaults}
    if zone is not None and zone not in subnets:
        raise invalid(f"Invalid availability zone: [{zone}]")
    offered = (
        [zone]
        if zone
        else [each for each in sorted(subnets) if each in _offering_zones(instance_type, ec2_backend.region_name)]
    )
    if not offered:
        raise AwsError(
            "Unsupported", f"Your requested instance type ({instance_type}) is not supported in this region."
        )
    return subnets[offered[0]]


def _offering_zones(instance_type: str, region: str) -> list[str]:
    """Return the zones that have a type; all where moto does not know, which is so outside of the partition aws."""
    from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend
    from moto.ec2.models.instance_types import INSTANCE_TYPE_OFFERINGS

    offerings = INSTANCE_TYPE_OFFERINGS["availability-zone"].get(region)
    if offerings is None:
        return sorted(zone.name for zone in RegionsAndZonesBackend.zones[region])
    return sorted(row["Location"] for row in offerings if row["InstanceType"] == instance_type)


def _check_offered(instance_type: str, zone: str, region: str) -> None:
    offered = _offering_zones(instance_type, region)
    if zone not in offered:
        raise AwsError(
            "Unsupported",
            f"Your requested instance type ({instance_type}) is not supported in your requested Availability Zone "
            f"({zone}). Please retry your request by not specifying an Availability Zone or choosing "
            f"{', '.join(offered)}.",
        )
