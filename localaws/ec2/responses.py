"""EC2 on the wire: moto's responses, extended so that a parameter without effect is refused by name."""

import base64
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn

from moto.core.responses import ActionResult, EmptyResult
from moto.core.utils import utcnow
from moto.ec2.models.instances import Reservation
from moto.ec2.responses import EC2Response

from localaws.ec2.errors import dry_run, invalid, refuse_others, unsupported
from localaws.ec2.instance import ExecutingInstance
from localaws.ec2.instance_filters import check_names, matches
from localaws.errors import AwsError
from localaws.paging import invalid_token, page_of

PAGE = 1000
TYPES_PAGE = 100  # AWS's most, and what it answers with where MaxResults is not given
NOT_OPTED_IN = "not-opted-in"
NOT_EXECUTED = (  # moto would keep a record, and no machine would follow it
    "associate_address",
    "associate_iam_instance_profile",
    "attach_network_interface",
    "attach_volume",
    "cancel_spot_fleet_requests",
    "cancel_spot_instance_requests",
    "copy_image",  # no instance could be launched from what these two make
    "create_fleet",
    "create_image",
    "describe_spot_fleet_requests",
    "describe_spot_instance_requests",
    "describe_vpc_endpoint_services",  # moto asks all of its services, of which some are not installed
    "describe_spot_price_history",  # moto's price is one that AWS never asked
    "detach_network_interface",
    "detach_volume",
    "disassociate_address",
    "disassociate_iam_instance_profile",
    "modify_instance_metadata_options",
    "modify_network_interface_attribute",
    "register_image",
    "replace_iam_instance_profile_association",
    "request_spot_fleet",
    "request_spot_instances",
)
ATTRIBUTES = {  # of ModifyInstanceAttribute: the member's name and the attribute of the record
    "InstanceInitiatedShutdownBehavior": "instance_initiated_shutdown_behavior",
    "DisableApiTermination": "disable_api_termination",
    "DisableApiStop": "disable_api_stop",
}


class ExecutingEC2Response(EC2Response):
    """One request to EC2."""

    RESPONSE_KEY_PATH_TO_TRANSFORMER = {  # noqa: RUF012 the type is moto's
        path: transform
        for path, transform in EC2Response.RESPONSE_KEY_PATH_TO_TRANSFORMER.items()
        if not path.startswith("RunInstances.")  # moto shows new instances as pending whatever they are
    }

    def error_on_dryrun(self) -> None:
        """Answer a dry run that has come so far."""
        if self._get_param("DryRun", False):
            raise dry_run()

    def describe_regions(self) -> ActionResult:
        """DescribeRegions: this server's own is enabled; with AllRegions the others are there, and not opted in to."""
        parameters = self._get_params()
        refuse_others(parameters, ("RegionNames", "AllRegions", "DryRun"), "DescribeRegions")
        self.error_on_dryrun()
        rows = [self._region(each) for each in self.ec2_backend.describe_regions(parameters.get("RegionNames", []))]
        shown = [each for each in rows if parameters.get("AllRegions") or each["OptInStatus"] != NOT_OPTED_IN]
        return ActionResult({"Regions": shown})

    def _region(self, found: Any) -> dict[str, str]:
        status = "opt-in-not-required" if found.name == self.ec2_backend.core.settings.region else NOT_OPTED_IN
        return {"RegionName": found.name, "Endpoint": found.endpoint, "OptInStatus": status}

    def run_instances(self) -> ActionResult:
        """RunInstances."""
        return ActionResult(self.ec2_backend.launch(self._get_params()))

    def describe_instances(self) -> ActionResult:
        """DescribeInstances: by ids or filters, in pages of instances."""
        parameters = self._get_params()
        refuse_others(parameters, ("InstanceIds", "Filters", "MaxResults", "NextToken", "DryRun"), "DescribeInstances")
        self.error_on_dryrun()
        page, token = self._page(parameters)
        wanted = {instance.id for instance in page}
        reservations = []
        for reservation in list(self.ec2_backend.reservations.values()):
            if shown := [instance for instance in reservation.instances if instance.id in wanted]:
                part = Reservation(reservation.id, owner_id=reservation.owner_id)
                part.instances = shown
                reservations.append(part)
        return ActionResult({"Reservations": reservations, "NextToken": token})

    def describe_instance_status(self) -> ActionResult:
        """DescribeInstanceStatus: of the running instances, or of all."""
        parameters = self._get_params()
        members = ("InstanceIds", "Filters", "MaxResults", "NextToken", "DryRun", "IncludeAllInstances")
        refuse_others(parameters, members, "DescribeInstanceStatus")
        self.error_on_dryrun()
        page, token = self._page(parameters, only_running=not parameters.get("IncludeAllInstances"))
        rows = [
            {
                "InstanceId": instance.id,
                "AvailabilityZone": instance.availability_zone,
                "InstanceState": instance.instance_state,
                "InstanceStatus": instance.instance_status,
                "SystemStatus": instance.system_status,
            }
            for instance in page
        ]
        return ActionResult({"InstanceStatuses": rows, "NextToken": token})

    def describe_instance_types(self) -> ActionResult:
        """DescribeInstanceTypes: moto's list, in pages."""
        parameters = self._get_params()
        self.error_on_dryrun()
        found = self.ec2_backend.describe_instance_types(
            parameters.get("InstanceTypes", []), self._filters_from_querystring()
        )
        size = parameters.get("MaxResults") or TYPES_PAGE
        page, token = page_of(found, parameters.get("NextToken"), size, service="ec2")
        return ActionResult({"InstanceTypes": page, "NextToken": token})

    def describe_volumes(self) -> ActionResult:
        """DescribeVolumes: moto's list, in pages."""
        parameters = self._get_params()
        self.error_on_dryrun()
        found = self.ec2_backend.describe_volumes(
            volume_ids=parameters.get("VolumeIds", []), filters=self._filters_from_querystring()
        )
        size = parameters.get("MaxResults") or PAGE
        page, token = page_of(found, parameters.get("NextToken"), size, service="ec2")
        return ActionResult({"Volumes": page, "NextToken": token})

    def _page(
        self, parameters: Mapping[str, Any], *, only_running: bool = False
    ) -> tuple[list[ExecutingInstance], str | None]:
        ids, size = parameters.get("InstanceIds") or [], parameters.get("MaxResults")
        _check_page(ids, size)
        backend, filters = self.ec2_backend, self._filters_from_querystring()
        check_names(filters)
        found = backend.find(ids) if ids else list(backend.instances())
        if token := parameters.get("NextToken"):
            found = found[_position(found, token) + 1 :]
        found = [each for each in found if matches(each, filters) and (each.state == "running" or not only_running)]
        page = found[: size or PAGE]
        return page, page[-1].id if len(page) < len(found) else None

    def start_instances(self) -> ActionResult:
        """StartInstances."""
        return self._power("start_instances", "StartingInstances")

    def stop_instances(self) -> ActionResult:
        """StopInstances."""
        return self._power("stop_instances", "StoppingInstances")

    def terminate_instances(self) -> ActionResult:
        """TerminateInstances."""
        return self._power("terminate_instances", "TerminatingInstances")

    def reboot_instances(self) -> ActionResult:
        """RebootInstances."""
        ids = self._power_ids("RebootInstances")
        self.ec2_backend.reboot_instances(ids)
        return EmptyResult()

    def _power(self, method: str, member: str) -> ActionResult:
        ids = self._power_ids(self._get_action())
        changed = getattr(self.ec2_backend, method)(ids)
        rows = [
            {"InstanceId": instance.id, "CurrentState": instance.instance_state, "PreviousState": previous}
            for instance, previous in changed
        ]
        return ActionResult({member: rows})

    def _power_ids(self, operation: str) -> list[str]:
        refuse_others(self._get_params(), ("InstanceIds", "DryRun"), operation)
        ids: list[str] = self._get_param("InstanceIds", [])
        if not ids:
            raise AwsError("MissingParameter", "The request must contain the parameter InstanceId")
        self.ec2_backend.find(ids)
        self.error_on_dryrun()
        return ids

    def get_console_output(self) -> ActionResult:
        """GetConsoleOutput: what the instance has written by now; kept after its end."""
        self.error_on_dryrun()
        (instance,) = self.ec2_backend.find([self._get_param("InstanceId")])
        output = base64.b64encode(instance.console()).decode()
        return ActionResult({"InstanceId": instance.id, "Timestamp": utcnow(), "Output": output})

    def describe_instance_attribute(self) -> ActionResult:
        """DescribeInstanceAttribute."""
        self.ec2_backend.find([self._get_param("InstanceId")])
        return super().describe_instance_attribute()

    def modify_instance_attribute(self) -> ActionResult:
        """ModifyInstanceAttribute of those attributes that change what happens to a machine."""
        parameters = _by_member(self._get_params())
        refuse_others(parameters, ("InstanceId", "DryRun", "Groups", *ATTRIBUTES), "ModifyInstanceAttribute")
        (instance,) = self.ec2_backend.find([self._get_param("InstanceId")])
        changes = {ATTRIBUTES[name]: _value(name, value) for name, value in parameters.items() if name in ATTRIBUTES}
        self.error_on_dryrun()
        for attribute, value in changes.items():
            setattr(instance, attribute, value)
        if parameters.get("Groups"):
            self.ec2_backend.modify_instance_security_groups(instance.id, parameters["Groups"])
        return EmptyResult()

    def describe_key_pairs(self) -> ActionResult:
        """DescribeKeyPairs, by id too, which moto does not read."""
        if ids := self._get_param("KeyPairIds", []):
            names = [self._key_of(key_pair_id).key_name for key_pair_id in ids]
            self.params = {**self.params, "KeyNames": [*self._get_param("KeyNames", []), *names]}
        return super().describe_key_pairs()

    def delete_key_pair(self) -> ActionResult:
        """DeleteKeyPair, by id too; a name that is not there is no error, as on AWS."""
        self.error_on_dryrun()
        if key_pair_id := self._get_param("KeyPairId"):
            self.params = {**self.params, "KeyName": self._key_of(key_pair_id).key_name}
        return super().delete_key_pair()

    def _key_of(self, key_pair_id: str) -> Any:
        for pair in list(self.ec2_backend.key_pairs.values()):
            if pair.id == key_pair_id:
                return pair
        raise AwsError("InvalidKeyPair.NotFound", f"The key pair '{key_pair_id}' does not exist")


def install_responses() -> None:
    """Have moto answer with `ExecutingEC2Response`."""
    import moto.ec2.urls as moto_urls

    for operation in NOT_EXECUTED:
        setattr(ExecutingEC2Response, operation, _refuse)
    moto_urls.url_paths.update(dict.fromkeys(moto_urls.url_paths, ExecutingEC2Response.dispatch))


def _refuse(_: Any) -> NoReturn:
    raise NotImplementedError  # the front answers it with an error that names the operation


def _check_page(ids: Sequence[str], size: int | None) -> None:
    if ids and size is not None:
        raise AwsError(
            "InvalidParameterCombination",
            "The parameter instancesSet cannot be used with the parameter maxResults",
        )
    if size is not None and not 5 <= size <= PAGE:
        bound = "greater than 5" if size < 5 else f"less than {PAGE}"
        raise invalid(f"Value ( {size} ) for parameter maxResults is invalid. Expecting a value {bound}.")


def _position(instances: Sequence[ExecutingInstance], token: str) -> int:
    for position, instance in enumerate(instances):
        if instance.id == token:
            return position
    raise invalid_token("ec2", token)


def _by_member(parameters: Mapping[str, Any]) -> dict[str, Any]:
    """Return ModifyInstanceAttribute's parameters in their structured form: Attribute and Value are one of them."""
    named = {name: value for name, value in parameters.items() if name not in ("Attribute", "Value")}
    if attribute := parameters.get("Attribute"):
        named[attribute[0].upper() + attribute[1:]] = {"Value": parameters.get("Value")}
    return named


def _value(name: str, given: Mapping[str, Any]) -> Any:
    value = given.get("Value")
    if name == "InstanceInitiatedShutdownBehavior":
        if value not in ("stop", "terminate"):
            raise invalid(f"Value ({value}) for parameter {name} is invalid.")
        return value
    if value not in (True, False, "true", "false"):
        raise unsupported(f"{name}={value!r}", "ModifyInstanceAttribute")
    return value in (True, "true")
