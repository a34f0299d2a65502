"""Reads what RunInstances asks for and checks it as EC2 does.

Reads moto's state: images, key pairs, groups, subnets, instance profiles. Changes nothing. A parameter that localaws
would have to ignore is refused by name.
"""

import base64
import binascii
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localaws import image_reference
from localaws.ec2.errors import invalid, refuse_others, unsupported
from localaws.ec2.launch_placement import Placement, check_instance_type, place
from localaws.ec2.launch_volumes import VolumeRequest, parse_volumes
from localaws.errors import AwsError
from localaws.partition import partition
from localaws.permissions.propagation import role_of
from localaws.policies.trust import trusts

OPERATION = "RunInstances"
USER_DATA_BYTES = 16_384
TAGGABLE = ("instance", "volume", "network-interface")
CARRIED_OUT = frozenset(
    {
        "BlockDeviceMappings",
        "ClientToken",
        "DisableApiStop",
        "DisableApiTermination",
        "DryRun",
        "EbsOptimized",
        "IamInstanceProfile",
        "ImageId",
        "InstanceInitiatedShutdownBehavior",
        "InstanceMarketOptions",
        "InstanceType",
        "KeyName",
        "MaxCount",
        "MetadataOptions",
        "MinCount",
        "Monitoring",
        "NetworkInterfaces",
        "Placement",
        "SecurityGroupIds",
        "SecurityGroups",
        "SubnetId",
        "TagSpecifications",
        "UserData",
    }
)


@dataclass(frozen=True)
class Profile:
    """An instance profile. `role_arn` is None when the role does not trust EC2: the instance gets no credentials."""

    arn: str
    identifier: str
    role_arn: str | None


@dataclass(frozen=True)
class LaunchRequest:
    """A valid request. `parameters` is the request as it came; `user_data` is decoded."""

    parameters: Mapping[str, Any]
    image_id: str
    instance_type: str
    minimum: int
    maximum: int
    placement: Placement
    groups: tuple[Any, ...]
    key_name: str | None
    public_key: str | None
    user_data: bytes
    profile: Profile | None
    metadata_options: Mapping[str, Any]
    volumes: tuple[VolumeRequest, ...]
    terminates_on_shutdown: bool
    is_spot: bool
    tags: Mapping[str, Mapping[str, str]]

    @property
    def market(self) -> str:
        """The pool's market: "spot" or "on-demand"."""
        return "spot" if self.is_spot else "on-demand"


def parse_launch(parameters: Mapping[str, Any], ec2_backend: Any) -> LaunchRequest:
    """Return the request when it can be carried out.

    Raises: AwsError with EC2's code and text, or UnsupportedOperation naming what localaws does not do.
    """
    refuse_others(parameters, CARRIED_OUT, OPERATION)
    image = _image(parameters.get("ImageId"), ec2_backend)
    instance_type = parameters.get("InstanceType") or "m1.small"
    check_instance_type(instance_type, image.architecture)
    minimum, maximum = _counts(parameters)
    placement = place(parameters, instance_type, ec2_backend)
    is_spot = _is_spot(parameters.get("InstanceMarketOptions") or {})
    key_name = parameters.get("KeyName")
    return LaunchRequest(
        parameters=parameters,
        image_id=image.id,
        instance_type=instance_type,
        minimum=minimum,
        maximum=maximum,
        placement=placement,
        groups=_groups(placement, parameters.get("SecurityGroups") or (), ec2_backend),
        key_name=key_name,
        public_key=_public_key(key_name, ec2_backend) if key_name else None,
        user_data=decode_user_data(parameters.get("UserData")),
        profile=_profile(parameters.get("IamInstanceProfile") or {}, ec2_backend),
        metadata_options=_metadata_options(parameters.get("MetadataOptions") or {}),
        volumes=parse_volumes(parameters.get("BlockDeviceMappings") or (), image),
        terminates_on_shutdown=is_spot or _shutdown_behavior(parameters) == "terminate",
        is_spot=is_spot,
        tags=parse_tags(parameters.get("TagSpecifications") or ()),
    )


def decode_user_data(text: Any) -> bytes:
    """Return user data as the instance gets them.

    Raises: AwsError InvalidParameterValue for what is no base64 or larger than 16 KiB.
    """
    try:
        content = base64.b64decode(str(text or ""), validate=True)
    except binascii.Error as error:
        raise invalid("Invalid BASE64 encoding of user data.") from error
    if len(content) > USER_DATA_BYTES:
        raise invalid(f"User data is limited to {USER_DATA_BYTES} bytes")
    return content


def parse_tags(specifications: Sequence[Mapping[str, Any]]) -> dict[str, dict[str, str]]:
    """Return the tags by the type of resource that they are for.

    Raises: AwsError for a type that is not made here and for a reserved key.
    """
    found: dict[str, dict[str, str]] = {}
    for specification in specifications:
        kind = specification.get("ResourceType")
        if kind == "spot-instances-request":
            raise unsupported("TagSpecifications.ResourceType='spot-instances-request'", OPERATION)
        if kind not in TAGGABLE:
            raise invalid(f"'{kind}' is not a valid taggable resource type for this operation.")
        tags = {tag["Key"]: tag.get("Value", "") for tag in specification.get("Tags") or ()}
        if reserved := [key for key in tags if key.lower().startswith("aws:")]:
            raise invalid(f"Tag keys starting with 'aws:' are reserved for internal use: {reserved[0]}")
        found.setdefault(kind, {}).update(tags)
    return found


def _image(image_id: str | None, ec2_backend: Any) -> Any:
    if not image_id:
        raise AwsError("MissingParameter", "The request must contain the parameter ImageId")
    if image_id.startswith(image_reference.PREFIX):
        image_id = image_reference.resolve(image_id, ec2_backend.account_id, ec2_backend.region_name)
    return ec2_backend.describe_images(ami_ids=[image_id])[0]


def _counts(parameters: Mapping[str, Any]) -> tuple[int, int]:
    minimum, maximum = int(parameters["MinCount"]), int(parameters["MaxCount"])
    if minimum < 1:
        raise invalid(f"Value ({minimum}) for parameter minCount is invalid. Must be greater than zero.")
    if maximum < minimum:
        raise invalid(f"Value ({minimum}) for parameter minCount is invalid. Must not exceed maxCount ({maximum}).")
    return minimum, maximum


def _groups(placement: Placement, names: Sequence[str], ec2_backend: Any) -> tuple[Any, ...]:
    group_ids, vpc_id = placement.group_ids, placement.vpc_id
    if group_ids and names:
        raise AwsError(
            "InvalidParameterCombination", "The parameter groupName cannot be used with the parameter groupId"
        )
    found = []
    for wanted in group_ids or names:
        group = (
            ec2_backend.get_security_group_from_id(wanted)
            if group_ids
            else ec2_backend.get_security_group_from_name(wanted, vpc_id)
        )
        if group is None:
            place_of = "" if group_ids else f" in default VPC '{vpc_id}'"
            raise AwsError("InvalidGroup.NotFound", f"The security group '{wanted}' does not exist{place_of}")
        if group.vpc_id != vpc_id:
            where = f"Security group {group.id} and subnet {placement.subnet_id} belong to different networks."
            raise AwsError("InvalidParameter", where)
        found.append(group)
    return tuple(found) or (ec2_backend.get_default_security_group(vpc_id),)


def _public_key(key_name: str, ec2_backend: Any) -> str:
    pair = ec2_backend.key_pairs.get(key_name)
    if pair is None:
        raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{key_name}' does not exist")
    return f"{' '.join(pair.public_key.split()[:2])} {key_name}"


def _profile(wanted: Mapping[str, Any], ec2_backend: Any) -> Profile | None:
    from moto.iam.models import iam_backends

    propagation = ec2_backend.core.propagation
    if not wanted:
        return None
    if wanted.get("Arn") and wanted.get("Name"):
        text = "The parameter 'iamInstanceProfile.name' may not be used in combination with 'iamInstanceProfile.arn'"
        raise AwsError("InvalidParameterCombination", text)
    member = "Arn" if wanted.get("Arn") else "Name"
    value = wanted.get(member)
    for profile in iam_backends[ec2_backend.account_id][partition()].instance_profiles.values():
        if value == (profile.arn if member == "Arn" else profile.name) and propagation.is_seen(profile.arn):
            break
    else:
        kind = "ARN" if member == "Arn" else "name"
        raise invalid(
            f"Value ({value}) for parameter iamInstanceProfile.{member.lower()} is invalid. "
            f"Invalid IAM Instance Profile {kind}"
        )
    if not (profile.roles and propagation.is_seen(role_of(profile))):
        raise invalid(f'IAM Instance Profile "{profile.arn}" has no associated IAM Roles')
    role = profile.roles[0]
    is_trusted = trusts(propagation.seen(role).assume_role_policy_document, "ec2.amazonaws.com")
    return Profile(profile.arn, profile.id, role.arn if is_trusted else None)


def _metadata_options(wanted: Mapping[str, Any]) -> Mapping[str, Any]:
    refuse_others(
        wanted, ("HttpTokens", "HttpPutResponseHopLimit", "HttpEndpoint"), OPERATION, inside="MetadataOptions"
    )
    if wanted.get("HttpEndpoint", "enabled") != "enabled":
        raise unsupported(f"MetadataOptions.HttpEndpoint={wanted['HttpEndpoint']!r}", OPERATION)
    return wanted


def _shutdown_behavior(parameters: Mapping[str, Any]) -> str:
    behavior = parameters.get("InstanceInitiatedShutdownBehavior") or "stop"
    if behavior not in ("stop", "terminate"):
        raise invalid(f"Value ({behavior}) for parameter instanceInitiatedShutdownBehavior is invalid.")
    return str(behavior)


def _is_spot(options: Mapping[str, Any]) -> bool:
    refuse_others(options, ("MarketType", "SpotOptions"), OPERATION, inside="InstanceMarketOptions")
    if options.get("MarketType", "spot") != "spot":
        raise unsupported(f"InstanceMarketOptions.MarketType={options['MarketType']!r}", OPERATION)
    spot = options.get("SpotOptions") or {}
    refuse_others(
        spot,
        ("MaxPrice", "SpotInstanceType", "InstanceInterruptionBehavior"),
        OPERATION,
        inside="InstanceMarketOptions.SpotOptions",
    )
    for member, only in (("SpotInstanceType", "one-time"), ("InstanceInterruptionBehavior", "terminate")):
        if spot.get(member, only) != only:
            raise unsupported(f"InstanceMarketOptions.SpotOptions.{member}={spot[member]!r}", OPERATION)
    return bool(options)
