"""moto's EC2 backend with instances that run.

moto keeps the records: reservations, key pairs, groups, volumes, interfaces, tags. This class puts a machine behind
every instance.
"""

import re
import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import moto.ec2.models as moto_models
from moto.ec2.models.instances import InstanceState, Reservation
from moto.ec2.utils import random_reservation_id

from localaws.core import Core
from localaws.ec2.addresses import NoAddress
from localaws.ec2.capacity import Capacity, Pool, check_quota, check_vcpus
from localaws.ec2.errors import dry_run, invalid, not_permitted
from localaws.ec2.instance import Addresses, ExecutingInstance
from localaws.ec2.launch_request import LaunchRequest, parse_launch
from localaws.ec2.machine import Machines, MachineSpec
from localaws.ec2.network import NetworkFailed
from localaws.ec2.published_ami import PublishedImages
from localaws.ec2.security_groups import GroupRules
from localaws.errors import AwsError

INSTANCE_ID = re.compile(r"i-([0-9a-f]{8}|[0-9a-f]{17})")
Changed = list[tuple[ExecutingInstance, InstanceState]]


class ExecutingEC2(GroupRules, PublishedImages, moto_models.EC2Backend):
    """EC2 of one account and region."""

    __module__ = moto_models.__name__  # moto finds a backend's urls by it
    core: ClassVar[Core]  # these three are set by install; moto makes the instances of the class
    machines: ClassVar[Machines]
    capacity: ClassVar[Capacity]

    def __init__(self, region_name: str, account_id: str) -> None:
        self._launching = threading.Lock()
        self._tokens: dict[str, tuple[Mapping[str, Any], Reservation]] = {}
        self._is_made = False
        super().__init__(region_name, account_id)
        self._is_made = True

    # The default VPC

    @property
    def default_vpc(self) -> Any:
        """The default VPC.

        Raises: AwsError VPCIdNotSpecified without one.
        """
        vpc = self.get_default_vpc()
        if vpc is None:
            raise AwsError("VPCIdNotSpecified", "No default VPC for this user")
        return vpc

    @default_vpc.setter
    def default_vpc(self, _: Any) -> None:
        """Ignore what moto keeps: there may be none, and another one later."""

    def create_default_vpc(self) -> Any:
        """Make the default VPC, from the start or when it is asked for."""
        if not self._is_made and not self.core.settings.has_default_vpc:
            return None
        return super().create_default_vpc()

    # Launching

    def launch(self, parameters: Mapping[str, Any]) -> Reservation:
        """Launch instances as RunInstances does; a client token that is known launches nothing.

        Raises: AwsError with EC2's code and text.
        """
        self._require_region()
        asked = {name: value for name, value in parameters.items() if name not in ("ClientToken", "DryRun")}
        token = parameters.get("ClientToken")
        with self._launching:
            if token in self._tokens:
                return self._launched(*self._tokens[token], asked)
            request = parse_launch(parameters, self)
            if parameters.get("DryRun"):
                raise dry_run()
            try:
                reservation = self._launch(request, self._room_for(request))
            except (NoAddress, NetworkFailed) as error:
                text = f"localaws cannot run an instance on this machine: {error}"
                raise AwsError("InternalError", text, status=500) from error
            if token:
                self._tokens[token] = asked, reservation
        return reservation

    def run_instances(self, *_: Any, **__: Any) -> Reservation:
        """Refuse to make instances that nothing runs behind, as moto's fleets and spot requests would."""
        raise NotImplementedError

    def _launched(self, before: Mapping[str, Any], reservation: Reservation, asked: Mapping[str, Any]) -> Reservation:
        if before != asked:
            raise AwsError(
                "IdempotentParameterMismatch",
                "Arguments on this idempotent request are inconsistent with arguments used in previous request(s).",
            )
        if all(instance.state == "terminated" for instance in reservation.instances):
            raise AwsError(
                "IdempotentInstanceTerminated",
                "The client token you have provided is associated with a terminated instance. "
                "Please use a different client token.",
            )
        return reservation

    def _room_for(self, request: LaunchRequest) -> int:
        running = [instance for instance in self.instances() if instance.state not in ("stopped", "terminated")]
        check_quota(len(running), request.minimum)
        check_vcpus(self.core.quotas, request, running)
        pool = Pool(request.instance_type, request.market)
        return self.capacity.take(pool, minimum=request.minimum, maximum=request.maximum, zone=request.placement.zone)

    def _launch(self, request: LaunchRequest, count: int) -> Reservation:
        made = [self._make(request, index) for index in range(count)]
        reservation = Reservation(random_reservation_id(), owner_id=self.account_id)
        self.reservations[reservation.id] = reservation
        for instance in made:
            reservation.instances.append(instance)
            self._furnish(instance, request)
        self.apply_rules()
        for instance in made:
            if self.capacity.is_launch_to_fail(request.instance_type):
                instance.on_ended("a fault that was asked for")
            else:
                instance.boot()
        return reservation

    def _make(self, request: LaunchRequest, index: int) -> ExecutingInstance:
        private, public = self.machines.new_addresses()
        addresses = Addresses(private, public if request.placement.has_public_address else None)
        instance = ExecutingInstance(  # type: ignore[abstract]  # as moto does
            self, request, index=index, addresses=addresses
        )
        spec = _spec(instance.id, request, addresses)
        instance.machine = self.machines.make(spec, on_running=instance.on_running, on_ended=instance.on_ended)
        return instance

    def _furnish(self, instance: ExecutingInstance, request: LaunchRequest) -> None:
        """Give an instance its tags, and its volumes and interface with theirs."""
        instance.add_tags(dict(request.tags.get("instance", {})))
        for interface in instance.network_interfaces:
            interface.add_tags(dict(request.tags.get("network-interface", {})))
        for wanted in request.volumes:
            volume = self.create_volume(
                size=wanted.size_gib,
                zone_name=request.placement.zone,
                snapshot_id=wanted.snapshot_id,
                encrypted=wanted.is_encrypted,
                kms_key_id=wanted.kms_key_id,
                volume_type=wanted.volume_type,
                iops=wanted.iops,
                throughput=wanted.throughput,
            )
            attachment: Any = self.attach_volume(
                volume.id, instance.id, wanted.device, delete_on_termination=wanted.ends_with_instance
            )
            attachment.delete_on_termination = wanted.ends_with_instance  # which moto shows of the instance only
            volume.add_tags(dict(request.tags.get("volume", {})))

    def _require_region(self) -> None:
        region = self.core.settings.region
        if self.region_name != region:
            raise invalid(f"localaws runs instances in {region} only, not in {self.region_name}.")

    # Finding

    def instances(self) -> Iterator[ExecutingInstance]:
        """Yield all instances, the oldest first, the terminated ones too."""
        for reservation in list(self.reservations.values()):
            yield from list(reservation.instances)  # type: ignore[misc]

    def find(self, instance_ids: Sequence[str]) -> list[ExecutingInstance]:
        """Return the instances of these ids; one that is not there and none is returned.

        Raises: AwsError InvalidInstanceID.Malformed, InvalidInstanceID.NotFound.
        """
        for instance_id in instance_ids:
            if not INSTANCE_ID.fullmatch(instance_id):
                raise AwsError("InvalidInstanceID.Malformed", f'Invalid id: "{instance_id}"')
        known = {instance.id: instance for instance in self.instances()}
        missing = [instance_id for instance_id in instance_ids if instance_id not in known]
        if missing:
            text = f"ID '{missing[0]}' does" if len(missing) == 1 else f"IDs '{', '.join(missing)}' do"
            raise AwsError("InvalidInstanceID.NotFound", f"The instance {text} not exist")
        return [known[instance_id] for instance_id in dict.fromkeys(instance_ids)]

    # Power

    def start_instances(self, instance_ids: list[str]) -> Changed:  # type: ignore[override]
        """Start stopped instances, if there is capacity for them."""
        found = self.find(instance_ids)
        for instance in found:
            if instance.state == "stopped":
                pool = Pool(instance.instance_type, "on-demand")
                self.capacity.take(pool, minimum=1, maximum=1, zone=str(instance.availability_zone))
        return [(instance, instance.start()) for instance in found]

    def stop_instances(self, instance_ids: list[str]) -> Changed:  # type: ignore[override]
        """Stop instances; one that may not be stopped and none is."""
        found = self.find(instance_ids)
        for instance in found:
            _check_stoppable(instance)
        return [(instance, instance.stop()) for instance in found]

    def reboot_instances(self, instance_ids: list[str]) -> list[ExecutingInstance]:  # type: ignore[override]
        """Reboot instances."""
        found = self.find(instance_ids)
        for instance in found:
            instance.reboot()
        return found

    def terminate_instances(self, instance_ids: list[str]) -> Changed:  # type: ignore[override]
        """Terminate instances; one that may not be terminated and none is."""
        found = self.find(instance_ids)
        for instance in found:
            if instance.disable_api_termination:
                raise not_permitted(instance.id, "terminated", "disableApiTermination")
        return [(instance, instance.terminate()) for instance in found]

    # Key pairs

    def describe_key_pairs(self, key_names: list[str], filters: Any = None) -> list[Any]:
        """Return key pairs.

        Raises: AwsError InvalidKeyPair.NotFound.
        """
        for name in key_names or ():
            if name not in self.key_pairs:
                raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist")
        found: list[Any] = super().describe_key_pairs(key_names, filters)
        return found


def install_backend(core: Core, machines: Machines, capacity: Capacity) -> None:
    """Have moto make `ExecutingEC2` for every account and region."""
    ExecutingEC2.core, ExecutingEC2.machines, ExecutingEC2.capacity = core, machines, capacity
    moto_models.ec2_backends.backend = ExecutingEC2


def _spec(instance_id: str, request: LaunchRequest, addresses: Addresses) -> MachineSpec:
    profile = request.profile
    return MachineSpec(
        instance_id=instance_id,
        instance_type=request.instance_type,
        ami_id=request.image_id,
        availability_zone=request.placement.zone,
        private_address=addresses.private,
        public_address=addresses.public,
        user_data=request.user_data,
        public_key=request.public_key,
        role_arn=profile.role_arn if profile else None,
        profile_arn=profile.arn if profile else None,
        requires_token=request.metadata_options.get("HttpTokens") == "required",
        is_spot=request.is_spot,
    )


def _check_stoppable(instance: ExecutingInstance) -> None:
    if instance.is_spot:
        raise AwsError(
            "UnsupportedOperation",
            f"You can't stop the Spot Instance '{instance.id}' because it is associated with a one-time Spot Instance "
            "request. You can only stop Spot Instances associated with persistent Spot Instance requests.",
        )
    if instance.disable_api_stop:
        raise not_permitted(instance.id, "stopped", "disableApiStop")
