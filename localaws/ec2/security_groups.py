"""Security groups whose rules take effect on the machines, and which cannot be deleted while they are in use."""

import threading
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from moto.ec2.models.security_groups import SecurityGroupBackend

from localaws.ec2.errors import invalid
from localaws.ec2.ingress import ingress_of
from localaws.errors import AwsError


class GroupRules(SecurityGroupBackend):
    """The part of EC2's backend that is about security groups. `instances` is the backend's."""

    _applying: ClassVar[threading.Lock] = threading.Lock()

    def instances(self) -> Iterator[Any]:
        """Yield all instances."""
        raise NotImplementedError

    def find(self, instance_ids: Sequence[str]) -> list[Any]:
        """Return the instances of these ids."""
        raise NotImplementedError

    def apply_rules(self) -> None:
        """Have every machine let in whom the groups' rules let in now."""
        with self._applying:
            present = [
                instance for instance in self.instances() if instance.state not in ("shutting-down", "terminated")
            ]
            for instance in present:
                instance.let_in(ingress_of(instance, present))

    def authorize_security_group_ingress(self, *arguments: Any, **named: Any) -> Any:
        """Add rules, in effect when this returns."""
        _check_rule(named)
        answer = super().authorize_security_group_ingress(*arguments, **named)
        self.apply_rules()
        return answer

    def revoke_security_group_ingress(self, *arguments: Any, **named: Any) -> None:
        """Take rules away, out of effect when this returns."""
        super().revoke_security_group_ingress(*arguments, **named)
        self.apply_rules()

    def modify_security_group_rules(self, group_id: str, rules: dict[str, dict[str, Any]]) -> None:
        """Change rules, in effect when this returns."""
        super().modify_security_group_rules(group_id, rules)
        self.apply_rules()

    def modify_instance_security_groups(self, instance_id: str, new_group_id_list: list[str]) -> Any:
        """Put an instance into other groups, in effect when this returns."""
        (instance,) = self.find([instance_id])
        groups = self.describe_security_groups(group_ids=new_group_id_list)
        instance.security_groups = groups
        for interface in instance.network_interfaces:
            interface._group_set = list(groups)
        self.apply_rules()
        return instance

    def delete_security_group(self, name: str | None = None, group_id: str | None = None) -> None:
        """Delete a group that nothing depends on.

        Raises: AwsError DependencyViolation for one that an instance or another group's rule uses, CannotDelete for a
            default group.
        """
        group = self.get_security_group_by_name_or_id(group_id or name or "")
        if group is not None:
            if group.is_default:
                raise AwsError(
                    "CannotDelete",
                    f'the specified group: "{group.id}" name: "{group.name}" cannot be deleted by a user',
                )
            if self._is_used(group.id):
                raise AwsError("DependencyViolation", f"resource {group.id} has a dependent object")
        super().delete_security_group(name=name, group_id=group_id)

    def delete_vpc(self, vpc_id: str) -> Any:
        """Delete a VPC with its default group.

        Raises: AwsError DependencyViolation while it has other groups, or moto's for other dependencies.
        """
        groups = list(self.groups.get(vpc_id, {}).values())
        gateways = self.describe_internet_gateways(filters={"attachment.vpc-id": [vpc_id]})  # type: ignore[attr-defined]
        if gateways or any(not group.is_default for group in groups):
            raise AwsError("DependencyViolation", f"The vpc '{vpc_id}' has dependencies and cannot be deleted.")
        for group in groups:
            group.is_default = False  # it may be deleted now, by moto
        try:
            return super().delete_vpc(vpc_id)  # type: ignore[misc]
        except Exception:
            for group in groups:
                group.is_default = True
            raise

    def _is_used(self, group_id: str) -> bool:
        members = (instance.security_groups for instance in self.instances() if not instance.is_terminated)
        rules = (
            rule
            for groups in self.groups.values()
            for group in list(groups.values())
            for rule in [*group.ingress_rules, *group.egress_rules]
            if group.id != group_id
        )
        return any(group.id == group_id for groups in members for group in groups) or any(
            rule.source_group.get("GroupId") == group_id for rule in rules
        )

    def describe_security_groups(
        self, group_ids: list[str] | None = None, groupnames: list[str] | None = None, filters: Any = None
    ) -> list[Any]:
        """Return groups.

        Raises: AwsError InvalidGroup.NotFound.
        """
        known = [group for groups in self.groups.values() for group in list(groups.values())]
        for wanted, attribute in ((group_ids or (), "id"), (groupnames or (), "name")):
            present = {getattr(group, attribute) for group in known}
            for each in wanted:
                if each not in present:
                    raise AwsError("InvalidGroup.NotFound", f"The security group '{each}' does not exist")
        found: list[Any] = super().describe_security_groups(group_ids, groupnames, filters)
        return found


def _check_rule(rule: Mapping[str, Any]) -> None:
    """Refuse a rule that moto would stumble over or that no machine could follow."""
    if rule.get("prefix_list_ids"):
        raise AwsError(
            "UnsupportedOperation", "localaws does not emulate PrefixListIds of AuthorizeSecurityGroupIngress."
        )
    protocol = str(rule.get("ip_protocol"))
    if protocol != "-1" and (rule.get("from_port") is None or rule.get("to_port") is None):
        raise invalid("Invalid value for portRange. Must specify both from and to ports with TCP/UDP.")
