"""ARNs of IAM's own resources, which have a path: moto's where it has the identity, else that of the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localaws.permissions import catalog, stored
from localaws.permissions.asking import Place, Resource
from localaws.permissions.catalog import Action
from localaws.permissions.operations import Operation
from localaws.permissions.resources import resources_of
from localaws.policies.patterns import ARN_PARTS

_NAMES = {"role": "RoleName", "user": "UserName", "group": "GroupName", "instance-profile": "InstanceProfileName"}
_WHOLE = {  # parameters that are ARNs of these kinds
    "policy": "PolicyArn",
    "oidc-provider": "OpenIDConnectProviderArn",
    "saml-provider": "SAMLProviderArn",
    "mfa": "SerialNumber",
}
_OTHER_NAMES = {"policy": "PolicyName", "server-certificate": "ServerCertificateName", "mfa": "VirtualMFADeviceName"}
_LINKED = "CreateServiceLinkedRole"
_LINKED_ROLES = {
    "sagemaker.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
    "lambda.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency",
    "spot.amazonaws.com": "AWSServiceRoleForEC2Spot",
}


def identities_of(operation: Operation, action: Action, place: Place) -> list[Resource]:
    """Return the resources of an action of IAM.

    `user/*` stands for the caller where a request names no user.
    """
    if operation.name == _LINKED:
        return [_linked_role(str(operation.parameters.get("AWSServiceName", "")), place)]
    given = str(operation.parameters.get("Arn", ""))  # of any kind: what an access report is about
    if given.startswith("arn:") and given.count(":") >= ARN_PARTS - 1:
        return [Resource(given.split(":", ARN_PARTS - 1)[-1].partition("/")[0], given)]
    required = [each.kind for each in action.uses if each.is_required]
    if not required:
        return resources_of(operation, action, place)
    return [_identity(kind, operation.parameters, place) for kind in required]


def role(name: str, place: Place, path: str = "/") -> Resource:
    """Return the role of a name."""
    found = stored.identity(place, "role", name)
    return Resource("role", found.arn if found is not None else _arn("role", path, name, place))


def _linked_role(service: str, place: Place) -> Resource:
    """Return the role that AWS makes for a service of its own; `*` for a name that is not known here."""
    return Resource("role", _arn("role", f"/aws-service-role/{service}/", _LINKED_ROLES.get(service, "*"), place))


def _identity(kind: str, parameters: Mapping[str, Any], place: Place) -> Resource:
    whole = str(parameters.get(_WHOLE.get(kind, ""), ""))
    if whole.startswith("arn:"):
        return Resource(kind, whole)
    name = str(parameters.get(_NAMES.get(kind) or _OTHER_NAMES.get(kind, ""), "")) or "*"
    found = stored.identity(place, kind, name)
    if found is not None:
        return Resource(kind, found.arn)
    return Resource(kind, _arn(kind, str(parameters.get("Path") or "/"), name, place))


def _arn(kind: str, path: str, name: str, place: Place) -> str:
    start = catalog.template("iam", kind).partition(f":{kind}/")[0]
    filled = start.replace("${Partition}", place.partition).replace("${Account}", place.account_id)
    return f"{filled}:{kind}/{path.strip('/')}/{name}".replace(f"{kind}//", f"{kind}/")
