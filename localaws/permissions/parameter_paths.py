"""The ARNs on which SSM decides; of GetParametersByPath the path as it is written, with the slash at its end.

Sources: https://docs.aws.amazon.com/systems-manager/latest/userguide/ps-retrieval-authorization.html and, of the slash,
https://github.com/aws-ia/terraform-aws-control_tower_account_factory/issues/174
"""

from __future__ import annotations

from localaws.permissions.asking import Place, Resource
from localaws.permissions.catalog import Action
from localaws.permissions.operations import Operation
from localaws.permissions.resources import public, resources_of


def parameters_of(operation: Operation, action: Action, place: Place) -> list[Resource]:
    """Return the resources of an action of SSM's."""
    path = operation.parameters.get("Path")
    if operation.name != "GetParametersByPath" or not isinstance(path, str):
        return resources_of(operation, action, place)
    return [public(Resource("parameter", place.arn("ssm", f"parameter/{path.lstrip('/')}")), place)]
