"""ARNs of IAM's own resources, which have a path: moto's where it has the identity, else that of the request."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localaws.errors import AwsError
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
_NEW_PATH, _NEW_NAMES = "NewPath", ("NewUserName", "NewGroupName", "NewServerCertificateName")
_LINKED = "CreateServiceLinkedRole"
_LINKED_ROLES = {
    "sagemaker.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint",
    "lambda.application-autoscaling.amazonaws.com": "AWSServiceRoleForApplicationAutoScaling_LambdaConcurrency",
    "spot.amazonaws.com": "AWSServiceRoleForEC2Spot",
}


def identities_of(operation: Operation, action: Action, place: Place) -> list[Resource]:
    """Return the resources of an action of IAM; the caller where a request may name a user and names none.

    Raises:
        AwsError: ValidationError, the caller is no user; NoSuchEntity, the access key is not the caller's.
    """
    if operation.name == _LINKED:
        return [_linked_role(str(operation.parameters.get("AWSServiceName", "")), place)]
    given = str(operation.parameters.get("Arn", ""))  # of any kind: what an access report is about
    if given.startswith("arn:") and given.count(":") >= ARN_PARTS - 1:
        return [Resource(given.split(":", ARN_PARTS - 1)[-1].partition("/")[0], given)]
    required = [each.kind for each in action.uses if each.is_required]
    if not required:
        return resources_of(operation, action, place)
    if required == ["user"] and not operation.parameters.get("UserName"):
        return [_own_user(operation, place)]
    found = [_identity(kind, operation.parameters, place) for kind in required]
    return [*found, *(_renamed(each, operation.parameters) for each in found if _is_renaming(operation.parameters))]


def role(name: str, place: Place, path: str = "/") -> Resource:
    """Return the role of a name."""
    found = stored.identity(place, "role", name)
    return Resource("role", found.arn if found is not None else _arn("role", path, name, place))


def _own_user(operation: Operation, place: Place) -> Resource:
    """Return the user that is meant by a request without a name: its signer, or of an access key's use the owner.

    Source: https://docs.aws.amazon.com/IAM/latest/APIReference/API_UpdateAccessKey.html and, of others' keys and of
    roles, https://github.com/guardian/security-hq/pull/292 and https://github.com/aws/aws-sdk-java/issues/1304
    """
    signer, key_id = operation.signer_arn, str(operation.parameters.get("AccessKeyId", ""))
    owner = stored.owner_of_key(place, key_id) if key_id else None
    if operation.name == "GetAccessKeyLastUsed":
        return _any_user(place) if owner is None else Resource("user", owner.arn)
    if ":assumed-role/" in signer:
        raise AwsError("ValidationError", "Must specify userName when calling with non-User credentials")
    if ":user/" not in signer:
        return _any_user(place)
    if key_id and (owner is None or owner.arn != signer):
        raise AwsError("NoSuchEntity", f"The Access Key with id {key_id} cannot be found.", status=404)
    return Resource("user", signer)


def _any_user(place: Place) -> Resource:
    return Resource("user", _arn("user", "/", "*", place))


def _is_renaming(parameters: Mapping[str, Any]) -> bool:
    return any(parameters.get(name) for name in (_NEW_PATH, *_NEW_NAMES))


def _renamed(resource: Resource, parameters: Mapping[str, Any]) -> Resource:
    """Return what a user, group or certificate will be called, for which its caller needs the permission too."""
    start, _, path = resource.arn.partition(f":{resource.kind}/")
    old_path, _, old_name = f"/{path}".rpartition("/")
    name = next((str(parameters[each]) for each in _NEW_NAMES if parameters.get(each)), old_name)
    new_path = str(parameters.get(_NEW_PATH) or f"{old_path}/").strip("/")
    return Resource(
        resource.kind, f"{start}:{resource.kind}/{new_path}/{name}".replace(f"{resource.kind}//", f"{resource.kind}/")
    )


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
