"""Provisioned concurrency on the control plane: checks what may be provisioned and describes what is.

The counts are kept by the concurrency accounting and the environments by the provisioner; this module only keeps the
time of the last change. Error codes and texts are AWS's.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, Protocol

from localaws.errors import AwsError
from localaws.functions import validation
from localaws.functions.concurrency import RefusedError
from localaws.functions.deployment import LATEST, Deployment
from localaws.functions.naming import FunctionName
from localaws.functions.provisioned import Key, ProvisionedState, Share
from localaws.functions.requests import Target
from localaws.functions.service import FunctionService
from localaws.paging import page_of
from localaws.partition import partition

PAGE_LIMIT = 50
ON_PROVISIONED_VERSION = (
    "Alias can't be used for Provisioned Concurrency configuration on an already Provisioned version"
)


class Functions(Protocol):
    """The functions of an account and region."""

    region_name: str
    account_id: str

    def resolve(self, name: FunctionName) -> Target:
        """Return what a name leads to.

        Raises: AwsError ResourceNotFoundException.
        """


class Provisioning:
    """Puts, shows and deletes provisioned concurrency, and has it follow an alias."""

    def __init__(self, service: FunctionService, functions: Functions) -> None:
        self._service = service
        self._functions = functions

    def put(self, name: str, qualifier: str, executions: int) -> dict[str, Any]:
        """Provision for a version or alias; environments are started in the background.

        Raises: AwsError if AWS refuses it.
        """
        validation.check_range(executions, "provisionedConcurrentExecutions", 1, None)
        if qualifier == LATEST:
            raise _unpublished()
        target = self._target(name, qualifier)
        if len(target.choices) > 1:
            raise validation.invalid("Invalid alias configuration for Provisioned Concurrency")
        self._check_version(target)
        try:
            self._service.concurrency.provision(name, qualifier, executions)
        except RefusedError as error:
            raise validation.invalid(str(error)) from error
        self._service.provisioned_at[name, qualifier] = datetime.now(UTC)
        state = self._apply(target, executions)
        return self._shown((name, qualifier), state)

    def get(self, name: str, qualifier: str) -> dict[str, Any]:
        """Return what there is for a version or alias.

        Raises: AwsError ProvisionedConcurrencyConfigNotFoundException if nothing is provisioned.
        """
        state = self.state(name, qualifier)
        if state is None:
            text = "No Provisioned Concurrency Config found for this function"
            raise AwsError("ProvisionedConcurrencyConfigNotFoundException", text, status=404)
        return self._shown((name, qualifier), state)

    def state(self, name: str, qualifier: str) -> ProvisionedState | None:
        """Return what there is for a version or alias, None if nothing is provisioned.

        Raises: AwsError if there is no such version or alias.
        """
        self._require_published(name, qualifier)
        return self._service.on_loop(lambda: self._service.provisioner.state((name, qualifier)))

    def delete_of(self, name: str, qualifier: str) -> None:
        """Delete what is provisioned for a version or alias that exists.

        Raises: AwsError if there is no such version or alias.
        """
        self._require_published(name, qualifier)
        self.delete(name, qualifier)

    def delete(self, name: str, qualifier: str) -> None:
        """Delete what is provisioned, if anything is; idle environments are gone when this returns."""
        self._service.provisioned_at.pop((name, qualifier), None)
        self._service.unprovision((name, qualifier))

    def page(self, name: str, most: int, marker: str | None) -> dict[str, Any]:
        """Return a page of what is provisioned for a function's versions and aliases.

        Raises: AwsError ResourceNotFoundException if there is no such function.
        """
        self._functions.resolve(FunctionName(name, None))
        states = self._service.on_loop(lambda: self._service.provisioner.states())
        found = sorted((key, state) for key, state in states.items() if key[0] == name)
        items = [{"FunctionArn": self._arn(*key), **self._shown(key, state)} for key, state in found]
        page, following = page_of(items, marker, min(most, PAGE_LIMIT), service="lambda")
        listed: dict[str, Any] = {"ProvisionedConcurrencyConfigs": page}
        return {**listed, "NextMarker": following} if following else listed

    def forget(self, name: str) -> None:
        """Delete all that is provisioned for a function, which may be gone already."""
        for key in [key for key in self._service.provisioned_at if key[0] == name]:
            self.delete(*key)

    def check_move(self, name: str, alias: str, versions: Iterable[str]) -> None:
        """Refuse to point an alias that has provisioned concurrency where it cannot be.

        Raises: AwsError.
        """
        if (name, alias) not in self._service.provisioned_at:
            return
        for version in versions:
            if version == LATEST:
                raise _unpublished()
            self._check_version(self._functions.resolve(FunctionName(name, version)), alias)

    def follow(self, name: str, alias: str) -> None:
        """Have what is provisioned for an alias be where it points now, in shares if it points to two versions."""
        if (name, alias) in self._service.provisioned_at:
            target = self._functions.resolve(FunctionName(name, alias))
            state = self._service.on_loop(lambda: self._service.provisioner.state((name, alias)))
            if state is not None:
                self._apply(target, state.requested)

    def _apply(self, target: Target, executions: int) -> ProvisionedState:
        key = (target.name, str(target.resource.qualifier))
        shares = split(target.choices, executions)

        def apply() -> ProvisionedState:
            self._service.provisioner.set(key, shares)
            state = self._service.provisioner.state(key)
            assert state is not None
            return state

        return self._service.on_loop(apply)

    def _target(self, name: str, qualifier: str) -> Target:
        try:
            target = self._functions.resolve(FunctionName(name, qualifier))
        except AwsError as error:
            if error.code != "ResourceNotFoundException" or qualifier.isdigit():
                raise
            text = f"Cannot find alias arn: {self._arn(name, qualifier)}"
            raise AwsError("ResourceNotFoundException", text, status=404) from error
        if any(deployment.version == LATEST for deployment, _ in target.choices):
            raise _unpublished()
        return target

    def _require_published(self, name: str, qualifier: str) -> None:
        if qualifier == LATEST:
            raise validation.invalid("The function resource provided must be an alias or a published version.")
        self._target(name, qualifier)

    def _check_version(self, target: Target, alias: str | None = None) -> None:
        """A version's environments belong to one configuration: its own, or that of an alias that points to it."""
        own = (target.name, alias or str(target.resource.qualifier))
        deployment = target.choices[0][0]
        holder = self._service.on_loop(lambda: self._service.provisioner.allocation_for(deployment))
        if holder in (None, own):
            return
        is_version = own[1].isdigit()
        text = "Version is pointed by a Provisioned Concurrency alias" if is_version else ON_PROVISIONED_VERSION
        raise AwsError("ResourceConflictException", text, status=409)

    def _shown(self, key: Key, state: ProvisionedState) -> dict[str, Any]:
        changed = self._service.provisioned_at.get(key)
        shown = {
            "RequestedProvisionedConcurrentExecutions": state.requested,
            "AllocatedProvisionedConcurrentExecutions": state.allocated,
            "AvailableProvisionedConcurrentExecutions": state.available,
            "Status": state.status,
            "LastModified": f"{changed:%Y-%m-%dT%H:%M:%S+0000}" if changed else "",
        }
        return {**shown, "StatusReason": state.reason} if state.reason else shown

    def _arn(self, name: str, qualifier: str) -> str:
        functions = self._functions
        return f"arn:{partition()}:lambda:{functions.region_name}:{functions.account_id}:function:{name}:{qualifier}"


def split(choices: Sequence[tuple[Deployment, float]], executions: int) -> list[Share]:
    """Share environments between the versions that an alias points to, by their weights; the last gets what is left."""
    shares, left = [], executions
    for deployment, weight in choices[:-1]:
        count = min(left, math.ceil(executions * weight))
        shares.append(Share(deployment, count))
        left -= count
    return [*shares, Share(choices[-1][0], left)]


def _unpublished() -> AwsError:
    return validation.invalid("Provisioned Concurrency Configs cannot be applied to unpublished function versions.")
