"""Reads and sets provisioned concurrency for Application Auto Scaling.

A resource id is `function:NAME:QUALIFIER`; the qualifier is an alias or a version. May be called from any thread, the
event loop's own included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from localaws.core import Core
from localaws.errors import AwsError

if TYPE_CHECKING:
    from localaws.functions.provisioned import ProvisionedState
    from localaws.functions.provisioning import Provisioning

SCALABLE_DIMENSION = "lambda:function:ProvisionedConcurrency"


class ProvisionedCapacity:
    """The scalable dimension `lambda:function:ProvisionedConcurrency` of the server's account and region.

    Making one does nothing; functions are looked up when they are asked for.
    """

    def __init__(self, core: Core) -> None:
        self._settings = core.settings

    def get_capacity(self, resource_id: str) -> int:
        """Return how many executions are asked to be provisioned, 0 if none are.

        Raises: AwsError if there is no such version or alias, or the id is no function's.
        """
        state = self.get_state(resource_id)
        return state.requested if state else 0

    def get_state(self, resource_id: str) -> ProvisionedState | None:
        """Return what there is, with its status; None if nothing is provisioned.

        Raises: AwsError as `get_capacity`.
        """
        return self._provisioning.state(*_parse(resource_id))

    def set_capacity(self, resource_id: str, executions: int) -> None:
        """Have so many executions provisioned; 0 deletes the configuration. Environments start in the background.

        Raises: AwsError if Lambda refuses it: no such version or alias, more than is reserved, too few left unreserved.
        """
        name, qualifier = _parse(resource_id)
        if executions:
            self._provisioning.put(name, qualifier, executions)
        else:
            self._provisioning.delete_of(name, qualifier)

    @property
    def _provisioning(self) -> Provisioning:
        from moto.awslambda.models import lambda_backends

        backend: Any = lambda_backends[self._settings.account_id][self._settings.region]
        provisioning: Provisioning = backend.provisioning
        return provisioning


def _parse(resource_id: str) -> tuple[str, str]:
    kind, _, rest = resource_id.partition(":")
    name, _, qualifier = rest.partition(":")
    if kind != "function" or not name or not qualifier or ":" in qualifier:
        raise AwsError(
            "ValidationException",
            f"ResourceId {resource_id!r} is not that of a Lambda version or alias: function:NAME:QUALIFIER.",
        )
    return name, qualifier
