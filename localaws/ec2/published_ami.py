"""The published images as moto's records, each with the root volume that it has."""

from typing import Any

from moto.ec2.models.amis import Ami, AmiBackend

from localaws.ec2.images import PUBLISHED, PublishedImage
from localaws.errors import AwsError


class PublishedAmi(Ami):
    """An image as DescribeImages shows it."""

    def __init__(self, ec2_backend: Any, image: PublishedImage) -> None:
        super().__init__(
            ec2_backend,
            image.ami_id,
            name=image.name,
            description=image.description,
            owner_id=image.owner,
            owner_alias="amazon",
            image_location=f"amazon/{image.name}",
            public=True,
            virtualization_type="hvm",
            architecture="x86_64",
            hypervisor="xen",
            root_device_type="ebs",
            root_device_name="/dev/sda1",
        )
        self.ebs_snapshot.volume.size = image.root_gib

    @property
    def block_device_mappings(self) -> list[dict[str, Any]]:
        """The root volume that an instance gets unless it asks for another."""
        volume = {
            "SnapshotId": self.ebs_snapshot.id,
            "VolumeSize": self.ebs_snapshot.volume_size,
            "VolumeType": "gp3",
            "DeleteOnTermination": True,
            "Encrypted": False,
        }
        return [{"DeviceName": self.root_device_name, "Ebs": volume}]


class PublishedImages(AmiBackend):
    """The part of EC2's backend that is about images: those that instances can be launched from, which are Amazon's."""

    def _load_amis(self) -> None:
        """Know the published images, not moto's list of those that there once were."""
        for image in PUBLISHED:
            self.amis[image.ami_id] = PublishedAmi(self, image)

    def deregister_image(self, ami_id: str) -> None:
        """Refuse to deregister what is another account's.

        Raises: AwsError AuthFailure; moto's InvalidAMIID.NotFound for an image that is not there.
        """
        if ami_id in self.amis:
            raise AwsError("AuthFailure", f"Not authorized for image:{ami_id}", status=403)
        super().deregister_image(ami_id)
