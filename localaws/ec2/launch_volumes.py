"""The volumes of a new instance: those of its image, as BlockDeviceMappings changes them or adds to them.

The volumes are records only. An instance writes into its folder, whatever the volume's size, type or encryption.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from localaws.ec2.errors import refuse_others, unsupported
from localaws.errors import AwsError

OPERATION = "RunInstances"
VOLUME_MEMBERS = frozenset(
    {"DeleteOnTermination", "Encrypted", "Iops", "KmsKeyId", "SnapshotId", "Throughput", "VolumeSize", "VolumeType"}
)


@dataclass(frozen=True)
class VolumeRequest:
    """A volume to be made and attached as `device`."""

    device: str
    size_gib: int
    volume_type: str
    snapshot_id: str | None
    is_encrypted: bool
    kms_key_id: str | None
    iops: int | None
    throughput: int | None
    ends_with_instance: bool


def parse_volumes(mappings: Sequence[Mapping[str, Any]], image: Any) -> tuple[VolumeRequest, ...]:
    """Return the volumes of an instance: the root volume first, then the others as they were asked for.

    Raises: AwsError InvalidBlockDeviceMapping, MissingParameter, or UnsupportedOperation by name.
    """
    asked = {_device(mapping): mapping for mapping in mappings}
    root = str(image.root_device_name)
    found = [_volume(root, asked.pop(root, {}).get("Ebs") or {}, image)]
    found += [_volume(device, mapping.get("Ebs") or {}, None) for device, mapping in asked.items()]
    return tuple(found)


def _device(mapping: Mapping[str, Any]) -> str:
    refuse_others(mapping, ("DeviceName", "Ebs"), OPERATION, inside="BlockDeviceMappings")
    if not mapping.get("DeviceName"):
        raise AwsError("MissingParameter", "The request must contain the parameter deviceName")
    return str(mapping["DeviceName"])


def _volume(device: str, ebs: Mapping[str, Any], image: Any) -> VolumeRequest:
    refuse_others(ebs, VOLUME_MEMBERS, OPERATION, inside=f"BlockDeviceMappings[{device}].Ebs")
    snapshot = image.ebs_snapshot if image is not None else None
    if snapshot is None and ebs.get("SnapshotId"):
        raise unsupported(f"BlockDeviceMappings[{device}].Ebs.SnapshotId={ebs['SnapshotId']!r}", OPERATION)
    size = ebs.get("VolumeSize") or (snapshot.volume_size if snapshot else None)
    if size is None:
        raise AwsError("MissingParameter", "The request must contain the parameter size or snapshotId")
    if snapshot is not None and size < snapshot.volume_size:
        raise AwsError(
            "InvalidBlockDeviceMapping",
            f"Volume of size {size}GB is smaller than snapshot '{snapshot.id}', "
            f"expect size >= {snapshot.volume_size}GB",
        )
    return VolumeRequest(
        device=device,
        size_gib=int(size),
        volume_type=ebs.get("VolumeType") or ("gp3" if snapshot is not None else "gp2"),
        snapshot_id=snapshot.id if snapshot is not None else None,
        is_encrypted=bool(ebs.get("Encrypted")),
        kms_key_id=ebs.get("KmsKeyId"),
        iops=ebs.get("Iops"),
        throughput=ebs.get("Throughput"),
        ends_with_instance=bool(ebs.get("DeleteOnTermination", snapshot is not None)),
    )
