"""The images that instances can be launched from, and the SSM parameters that hold their ids.

The names of the parameters are those that AWS publishes. The ids of the images are this server's own: they are made
from the parameter's name, so that they are the same in every run. All images are Ubuntu for x86_64. AWS no longer
publishes Deep Learning AMIs for CPUs; the GPU ones run on CPU types too.
"""

import hashlib
from dataclasses import dataclass

from localaws.ec2.ubuntu_release import NOBLE, RELEASES, UbuntuRelease

AMAZON, CANONICAL = "898082745236", "099720109477"  # the accounts that own the images on AWS
_DEEP_LEARNING = "/aws/service/deeplearning/ami/x86_64"
_UBUNTU = "/aws/service/canonical/ubuntu/server"
PREFIXES = ("/aws/service/deeplearning", "/aws/service/canonical")


@dataclass(frozen=True)
class PublishedImage:
    """An image and the SSM parameter that holds its id. `root_gib`: the size of its snapshot, the least of a volume.

    Deep Learning AMIs differ by release; 75 GiB is the largest that AWS's refusals were seen to name.
    """

    parameter: str
    name: str
    description: str
    owner: str
    root_gib: int
    release: UbuntuRelease

    @property
    def ami_id(self) -> str:
        """The image's id."""
        return f"ami-{hashlib.sha256(self.parameter.encode()).hexdigest()[:17]}"


def _deep_learning(kind: str, title: str, ubuntu: str) -> PublishedImage:
    parameter = f"{_DEEP_LEARNING}/{kind}/latest/ami-id"
    return PublishedImage(parameter, f"{title} 20260101", title, AMAZON, root_gib=75, release=RELEASES[ubuntu])


def _pytorch(version: str, ubuntu: str) -> PublishedImage:
    return _deep_learning(
        f"oss-nvidia-driver-gpu-pytorch-{version}-ubuntu-{ubuntu}",
        f"Deep Learning OSS Nvidia Driver AMI GPU PyTorch {version} (Ubuntu {ubuntu})",
        ubuntu,
    )


def _base(ubuntu: str) -> PublishedImage:
    return _deep_learning(
        f"base-oss-nvidia-driver-gpu-ubuntu-{ubuntu}",
        f"Deep Learning Base OSS Nvidia Driver GPU AMI (Ubuntu {ubuntu})",
        ubuntu,
    )


def _ubuntu(version: str, code_name: str, volume: str) -> PublishedImage:
    return PublishedImage(
        f"{_UBUNTU}/{version}/stable/current/amd64/hvm/ebs-{volume}/ami-id",
        f"ubuntu/images/hvm-ssd/ubuntu-{code_name}-{version}-amd64-server-20260101",
        f"Canonical, Ubuntu, {version} LTS, amd64 {code_name} image",
        CANONICAL,
        root_gib=8,
        release=RELEASES[version],
    )


PUBLISHED = (
    _pytorch("2.7", "22.04"),
    _pytorch("2.8", "24.04"),
    _pytorch("2.9", "24.04"),
    _pytorch("2.10", "24.04"),
    _pytorch("2.12", "24.04"),
    _base("22.04"),
    _base("24.04"),
    _ubuntu("22.04", "jammy", "gp2"),
    _ubuntu("24.04", "noble", "gp3"),
)


def find(ami_id: str) -> PublishedImage | None:
    """Return the image of this id, or None if instances cannot be launched from it."""
    return next((image for image in PUBLISHED if image.ami_id == ami_id), None)


def release_of(ami_id: str) -> UbuntuRelease:
    """Return the system of an image; the newest for an id that is none of these."""
    image = find(ami_id)
    return image.release if image is not None else NOBLE
