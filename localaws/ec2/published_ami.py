"""The published images as moto's records, each with the root volume that it has."""

from typing import Any

from moto.ec2.models.amis import Ami

from localaws.ec2.images import PUBLISHED, PublishedImage


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


def publish_images(ec2_backend: Any) -> None:
    """Have moto's DescribeImages know the images."""
    for image in PUBLISHED:
        ec2_backend.amis[image.ami_id] = PublishedAmi(ec2_backend, image)
