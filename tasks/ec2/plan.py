"""Plans an EC2 instance: a plan is data that can be shown, costed and compared before anything is launched.

It finds the image by an SSM parameter, writes the user data and builds the request; its only calls are lookups. The
user data gives the instance the host key that we pinned, and schedules the instance's shutdown. This dead-man's switch
ends the instance when no heartbeat postpones it.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any

from tasks.account.network import Ec2Network
from tasks.ec2.access import Access
from tasks.ec2.host_key import KeyFile, host_key
from tasks.ec2.prices import InstanceCandidates, Offer
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import NotFound, aws_boundary
from tasks.run.handle import Run
from tasks.run.settings import Settings
from tasks.run.waiting import say

IMAGES_PATH = "/aws/service/deeplearning/ami/x86_64"
_PYTORCH = re.compile(rf"{IMAGES_PATH}/oss-nvidia-driver-gpu-pytorch-(\d+)\.(\d+)-ubuntu-(\d+)\.(\d+)/latest/ami-id")
_NAME_ONE = "export KENNEL_EC2_IMAGE_PARAMETER=<the SSM parameter of an Ubuntu image with PyTorch in /opt/pytorch>"
USER = "ubuntu"
"""The user to log in as on Deep Learning AMIs that are built on Ubuntu."""


@dataclass(frozen=True)
class Image:
    """An AMI, the size that the root volume of its instances gets, and what a person is told of it."""

    image_id: str
    root_device: str
    volume_gib: int
    about: str = ""


@dataclass(frozen=True)
class InstancePlan:
    """An instance before it exists; `number` counts the run's instances from 1."""

    run_id: str
    number: int
    offers: tuple[Offer, ...]
    reason: str
    prices: str
    image: Image
    access: Access
    network: Ec2Network
    profile: str
    host_key: KeyFile
    port: int
    tags: Mapping[str, str]
    user_data: str = field(repr=False)
    volume_key: str | None = None

    @property
    def spec_digest(self) -> str:
        """Sixteen digits of a sha256 over keys, offers, profile and group; an instance must carry them to be adopted.

        The image is left out: a parameter that names the latest image may change while a training runs.
        """
        offers = sorted(offer.label for offer in self.offers)
        spec = [self.host_key.public, self.access.login_public, offers, self.profile, *self._groups]
        return hashlib.sha256(json.dumps(spec).encode()).hexdigest()[:16]

    def request(self, offer: Offer, name: str) -> dict[str, Any]:
        """Return RunInstances' parameters for one offer, without the ClientToken."""
        tags = [
            *({"Key": key, "Value": value} for key, value in self.tags.items()),
            {"Key": "Name", "Value": name},
            {"Key": naming.NUMBER_TAG, "Value": str(self.number)},
            {"Key": naming.SPEC_TAG, "Value": self.spec_digest},
        ]
        request = {
            "ImageId": self.image.image_id,
            "InstanceType": offer.instance_type,
            "MinCount": 1,
            "MaxCount": 1,
            "KeyName": self.access.key_name,
            "SecurityGroupIds": self._groups,
            "IamInstanceProfile": {"Name": self.profile},
            "UserData": self.user_data,
            "MetadataOptions": {"HttpTokens": "required", "HttpEndpoint": "enabled", "HttpPutResponseHopLimit": 1},
            "BlockDeviceMappings": [{"DeviceName": self.image.root_device, "Ebs": self._volume()}],
            "InstanceInitiatedShutdownBehavior": "terminate",
            "TagSpecifications": [{"ResourceType": kind, "Tags": tags} for kind in ("instance", "volume")],
        }
        place = {} if offer.subnet is None else {"SubnetId": offer.subnet}
        return request | place | ({"InstanceMarketOptions": _SPOT} if offer.is_spot else {})

    def digest(self, offer: Offer) -> str:
        """Return eight digits of a sha256 over the request: EC2 refuses a ClientToken that another request used."""
        request = json.dumps(self.request(offer, ""), sort_keys=True)
        return hashlib.sha256(request.encode()).hexdigest()[:8]

    @property
    def _groups(self) -> list[str]:
        return [self.access.group_id, *self.network.security_groups]

    def _volume(self) -> dict[str, Any]:
        size = {"VolumeSize": self.image.volume_gib, "VolumeType": "gp3"}
        key = {} if self.volume_key is None else {"KmsKeyId": self.volume_key}
        return {**size, "Encrypted": True, "DeleteOnTermination": True, **key}


def _placed(offers: Sequence[Offer], network: Ec2Network) -> tuple[Offer, ...]:
    """Return each offer once for each subnet that its type can be launched in."""
    return tuple(replace(offer, subnet=each) for offer in offers for each in network.subnets_of(offer.instance_type))


_SPOT = {
    "MarketType": "spot",
    "SpotOptions": {"SpotInstanceType": "one-time", "InstanceInterruptionBehavior": "terminate"},
}


def plan_instance(
    run: Run,
    *,
    access: Access,
    network: Ec2Network,
    profile: str,
    candidates: InstanceCandidates,
    spot: bool,
    number: int = 1,
    data_bytes: int = 0,
    volume_key: str | None = None,
) -> InstancePlan:
    """Plan the run's instance `number`, after creating or reading its host key and looking up the image.

    Raises:
        NotFound: the image's parameter or the image does not exist in this region.
        LedgerRefused: the host key's file is damaged or open to others.
        AwsFailed: SSM or EC2 refused.
    """
    key, image = host_key(run.folder, number), find_image(run.aws, data_bytes)
    if number == 1:
        say(image.about)
    return InstancePlan(
        run_id=run.id,
        number=number,
        offers=_placed(candidates.offers(spot=spot), network),
        reason=candidates.reason,
        prices=candidates.prices,
        image=image,
        access=access,
        network=network,
        volume_key=volume_key,
        profile=profile,
        host_key=key,
        port=run.settings.ssh_port,
        tags=run.aws.tags(run.id),
        user_data=user_data(key, dead_man_minutes=dead_man_minutes(run.settings)),
    )


def find_image(aws: Aws, data_bytes: int = 0) -> Image:
    """Look up the image of a Deep Learning AMI by its SSM parameter, and how large its root volume must be.

    The parameter is the setting `ec2_image_parameter`, else the one of the newest PyTorch on Ubuntu. EC2 shows a
    deprecated image only when asked for it. The volume has room for `data_bytes` twice, beside the image.

    Raises:
        NotFound: the parameter or the image does not exist in this region.
        AwsFailed: SSM or EC2 refused.
    """
    choose = aws.cli("ssm get-parameters-by-path --recursive", path=IMAGES_PATH)
    with aws_boundary(f"image {aws.settings.ec2_image_parameter or IMAGES_PATH}", choose):
        parameter, image_id = _named_image(aws) or _newest_image(aws)
        images = aws.client("ec2").describe_images(ImageIds=[image_id], IncludeDeprecated=True)["Images"]
    if not images:
        raise NotFound(f"image {image_id}", f"{aws.region} does not show it", f"{parameter} names it", choose)
    found = images[0]
    root = found["RootDeviceName"]
    sizes = [item["Ebs"].get("VolumeSize", 0) for item in found["BlockDeviceMappings"] if _is_root(item, root)]
    needed = max(sizes, default=0) + 2 * data_bytes // 2**30
    return Image(image_id, root, max(aws.settings.ec2_volume_gib, needed), _about(image_id, found, datetime.now(UTC)))


def _named_image(aws: Aws) -> tuple[str, str] | None:
    parameter = aws.settings.ec2_image_parameter
    if parameter is None:
        return None
    return parameter, str(aws.client("ssm").get_parameter(Name=parameter)["Parameter"]["Value"])


def _newest_image(aws: Aws) -> tuple[str, str]:
    pages = aws.client("ssm").get_paginator("get_parameters_by_path").paginate(Path=IMAGES_PATH, Recursive=True)
    values = {str(item["Name"]): str(item["Value"]) for page in pages for item in page["Parameters"]}
    versions = {name: tuple(map(int, match.groups())) for name in values if (match := _PYTORCH.fullmatch(name))}
    if not versions:
        what = f"{aws.region} has no Deep Learning AMI with PyTorch on Ubuntu"
        raise NotFound("image", what, f"no parameter below {IMAGES_PATH} names one", _NAME_ONE)
    newest = max(versions, key=lambda name: versions[name])
    return newest, values[newest]


def _about(image_id: str, found: Mapping[str, Any], now: datetime) -> str:
    """Return what a person is told of an image: its name, how old it is, and whether its owner deprecated it."""
    made, ends = found.get("CreationDate"), found.get("DeprecationTime")
    age = f", {(now - datetime.fromisoformat(made)).days} days old" if made else ""
    is_over = bool(ends) and datetime.fromisoformat(str(ends)) <= now
    over = f"; WARNING: its owner deprecated it on {str(ends)[:10]}, so expect no more patches" if is_over else ""
    return f"image {image_id}: {found.get('Name', 'without a name')}{age}{over}"


def user_data(key: KeyFile, *, dead_man_minutes: int) -> str:
    """Return the cloud-config: our host key in place of generated ones, then the dead-man's switch.

    The shutdown is scheduled by `runcmd`, not `bootcmd`: that early in the boot logind does not answer yet, and
    systemd's `shutdown +N` would power off at once. Every value is written as JSON, which is valid YAML.
    """
    private, public = json.dumps(key.private()), json.dumps(key.public)
    arm = json.dumps(["shutdown", "--no-wall", "-h", f"+{dead_man_minutes}"])
    return (
        "#cloud-config\n"
        "ssh_deletekeys: true\n"
        "ssh_keys:\n"
        f"  ed25519_private: {private}\n"
        f"  ed25519_public: {public}\n"
        "runcmd:\n"
        f"  - {arm}\n"
    )


def dead_man_minutes(settings: Settings, minutes: int | None = None) -> int:
    """Convert real minutes (default: the setting `dead_man_minutes`) to those of the embedded AWS's faster clock."""
    return math.ceil((settings.dead_man_minutes if minutes is None else minutes) * settings.time_scale)


def dead_man_command(minutes: int) -> str:
    """Return the command of the heartbeat: run on the instance, it postpones the shutdown to `minutes` from now."""
    return f"sudo shutdown --no-wall -h +{minutes}"


def _is_root(mapping: dict[str, Any], root: str) -> bool:
    return mapping.get("DeviceName") == root and "Ebs" in mapping
