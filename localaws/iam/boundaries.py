"""Permissions boundaries of users, which moto does not have, and of policies that exist, which it does not look for."""

from typing import Any

from moto.core.responses import ActionResult, EmptyResult
from moto.iam.exceptions import NoSuchEntity
from moto.iam.models import Role, User
from moto.iam.responses import IamResponse

from localaws.iam.managed_policies import load

_create_user, _create_role = IamResponse.create_user, IamResponse.create_role
_put_on_role = IamResponse.put_role_permissions_boundary


def create_user(self: IamResponse) -> ActionResult:
    """Make a user within the boundary that the request names, if it names one."""
    boundary = _boundary_of(self)
    made = _create_user(self)
    user: Any = made.result
    user["User"].permissions_boundary_arn = boundary
    return made


def create_role(self: IamResponse) -> ActionResult:
    """Make a role; its boundary exists."""
    _boundary_of(self)
    return _create_role(self)


def put_role_permissions_boundary(self: IamResponse) -> ActionResult:
    """Put a role within a boundary that exists."""
    _boundary_of(self)
    return _put_on_role(self)


def put_user_permissions_boundary(self: IamResponse) -> ActionResult:
    """Put a user within a boundary."""
    boundary = _boundary_of(self)
    _set(self, boundary)
    return EmptyResult()


def delete_user_permissions_boundary(self: IamResponse) -> ActionResult:
    """Take a user's boundary away."""
    _set(self, None)
    return EmptyResult()


def install_boundaries() -> None:
    """Put these in the place of moto's, and beside them."""
    shown: Any = Role.permissions_boundary
    User.permissions_boundary_arn = None  # type: ignore[attr-defined]
    User.permissions_boundary = shown  # type: ignore[attr-defined]
    for each in (
        *(create_user, create_role, put_role_permissions_boundary),
        *(put_user_permissions_boundary, delete_user_permissions_boundary),
    ):
        setattr(IamResponse, each.__name__, each)


def _set(response: IamResponse, boundary: str | None) -> None:
    user: Any = response.backend.get_user(response._get_param("UserName"))
    user.permissions_boundary_arn = boundary


def _boundary_of(response: IamResponse) -> str | None:
    """Return the boundary that a request names, None if it names none.

    Raises:
        NoSuchEntity: there is no such managed policy.
    """
    arn: str | None = response._get_param("PermissionsBoundary")
    if arn is None:
        return None
    load(response.backend)
    if arn not in response.backend.managed_policies:
        raise NoSuchEntity(f"Scope ARN: {arn} does not exist or is not attachable.")
    return arn
