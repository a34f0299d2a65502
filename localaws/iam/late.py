"""Tells of new and changed roles and instance profiles, so that other services see them later, as on AWS."""

import functools
import inspect
from collections.abc import Callable
from typing import Any

from moto.iam.models import IAMBackend

from localaws.permissions.propagation import Propagation, role_of

CHANGES = (
    *("put_role_policy", "delete_role_policy", "attach_role_policy", "detach_role_policy"),
    "update_assume_role_policy",
)


def install_lateness(propagation: Propagation) -> None:
    """Have the operations tell; what is installed must have put its own in the place of moto's before."""
    IAMBackend.create_role = _making(IAMBackend.create_role, propagation)  # type: ignore[method-assign]
    create, add = IAMBackend.create_instance_profile, IAMBackend.add_role_to_instance_profile
    IAMBackend.create_instance_profile = _making(create, propagation)  # type: ignore[method-assign]
    IAMBackend.add_role_to_instance_profile = _adding(add, propagation)  # type: ignore[method-assign]
    for name in CHANGES:
        setattr(IAMBackend, name, _changing(getattr(IAMBackend, name), propagation))


def _making(make: Callable[..., Any], propagation: Propagation) -> Callable[..., Any]:
    @functools.wraps(make)
    def told(self: IAMBackend, *arguments: Any, **options: Any) -> Any:
        made = make(self, *arguments, **options)
        propagation.made(made.arn)
        return made

    return told


def _adding(add: Callable[..., Any], propagation: Propagation) -> Callable[..., Any]:
    @functools.wraps(add)
    def told(self: IAMBackend, profile_name: str, role_name: str) -> None:
        add(self, profile_name, role_name)
        propagation.made(role_of(self.get_instance_profile(profile_name)))

    return told


def _changing(change: Callable[..., Any], propagation: Propagation) -> Callable[..., Any]:
    signature = inspect.signature(change)

    @functools.wraps(change)
    def told(self: IAMBackend, *arguments: Any, **options: Any) -> Any:
        role_name = signature.bind(self, *arguments, **options).arguments["role_name"]
        propagation.changes(self.get_role(role_name))
        return change(self, *arguments, **options)

    return told
