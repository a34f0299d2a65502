"""The control plane of SageMaker's notebook instances: AWS's states, tags and refusals. No instance is started.

No Jupyter runs, the lifecycle scripts are kept and not executed, and nothing stops because it is idle. `InService`
therefore promises less than on AWS, and the presigned URL, which needs a server, is refused by name. `Pending`,
`Stopping` and `Updating` last `TRANSITION_SECONDS`, so that a client that does not wait for them fails here too.
"""

import threading
import time
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

from moto.core.utils import utcnow
from moto.sagemaker.exceptions import ValidationError
from moto.sagemaker.models import FakeSageMakerNotebookInstanceLifecycleConfig as LifecycleConfig

from localaws.core import Core
from localaws.errors import NoSuchRole
from localaws.partition import partition
from localaws.sagemaker.roles import PRINCIPAL, cannot_assume

TRANSITION_SECONDS = 1.0
"""At time scale 1; AWS takes minutes."""

DEFAULTS = {
    "DirectInternetAccess": "Enabled",
    "InstanceMetadataServiceConfiguration": {"MinimumInstanceMetadataServiceVersion": "1"},
    "RootAccess": "Enabled",
    "VolumeSizeInGB": 5,
}
STARTABLE = DELETABLE = CHANGEABLE_IN = ("Stopped", "Failed")
STOPPABLE = ("InService",)


class NotebookInstance:
    """One record. Its status is a settled one, or one that becomes settled at a moment of `clock`."""

    def __init__(self, arn: str, fields: Mapping[str, Any], clock: Callable[[], float] = time.monotonic) -> None:
        self.arn = arn
        self.notebook_instance_name = str(fields["NotebookInstanceName"])
        self.tags: list[dict[str, str]] = list(fields.get("Tags") or [])
        self.creation_time = self.last_modified_time = utcnow()
        self.fields: dict[str, Any] = {**DEFAULTS, **fields}
        self._clock = clock
        self._passing, self._settled, self._settles_at = "Pending", "InService", clock()

    @property
    def status(self) -> str:
        """NotebookInstanceStatus at this moment."""
        return self._settled if self._clock() >= self._settles_at else self._passing

    def move(self, through: str, to: str, seconds: float) -> None:
        """Be `through` for so long, then `to`."""
        self._passing, self._settled, self._settles_at = through, to, self._clock() + seconds
        self.last_modified_time = utcnow()

    def to_dict(self) -> dict[str, Any]:
        """Return what DescribeNotebookInstance answers."""
        kept = {name: value for name, value in self.fields.items() if name not in {"LifecycleConfigName", "Tags"}}
        lifecycle = self.fields.get("LifecycleConfigName")
        return {
            **kept,
            **({"NotebookInstanceLifecycleConfigName": lifecycle} if lifecycle else {}),
            "NotebookInstanceArn": self.arn,
            "NotebookInstanceStatus": self.status,
            "CreationTime": self.creation_time,
            "LastModifiedTime": self.last_modified_time,
        }


class Notebooks:
    """Overrides moto's notebook instances, which are in service at once and forget half of what was asked for."""

    core: ClassVar[Core]
    account_id: str
    region_name: str
    notebook_instances: dict[str, NotebookInstance]
    notebook_instance_lifecycle_configurations: dict[str, LifecycleConfig]
    _one_at_a_time: ClassVar[threading.Lock] = threading.Lock()

    def make_notebook_instance(self, fields: Mapping[str, Any]) -> NotebookInstance:
        """Keep an instance, `Pending` at first.

        Raises:
            ValidationError: the name is taken, or the role or lifecycle configuration does not exist.
        """
        name = fields["NotebookInstanceName"]
        instance = NotebookInstance(self._notebook_arn("notebook-instance", name), fields)
        self._require_what_it_names(fields, instance.arn)
        with self._one_at_a_time:
            if name in self.notebook_instances:
                raise ValidationError(message=f"Cannot create a duplicate Notebook Instance ({instance.arn})")
            self._require_notebook_quota(fields["InstanceType"])
            self._begin(instance, "Pending", "InService")
            self.notebook_instances[name] = instance
        return instance

    def _require_notebook_quota(self, instance_type: str) -> None:
        running = [each for each in self.notebook_instances.values() if each.status not in ("Stopped", "Failed")]
        current = sum(each.fields["InstanceType"] == instance_type for each in running)
        self.core.quotas.require_instances(instance_type, "notebook instance", current=current, wanted=1)

    def start_notebook_instance(self, notebook_instance_name: str) -> None:
        """`Pending`, then `InService`."""
        self._move(notebook_instance_name, STARTABLE, "Pending", "InService")

    def stop_notebook_instance(self, notebook_instance_name: str) -> None:
        """`Stopping`, then `Stopped`."""
        self._move(notebook_instance_name, STOPPABLE, "Stopping", "Stopped")

    def update_notebook_instance(self, name: str, changes: Mapping[str, Any]) -> None:
        """`Updating`, then `Stopped` with the changes made."""
        self._require_what_it_names(changes, self._notebook(name).arn)
        self._move(name, CHANGEABLE_IN, "Updating", "Stopped", changes)

    def delete_notebook_instance(self, notebook_instance_name: str) -> None:
        """Forget an instance that is stopped."""
        with self._one_at_a_time:
            instance = self._notebook(notebook_instance_name)
            _require_status(instance, DELETABLE, "Deleting")
            del self.notebook_instances[notebook_instance_name]

    def make_lifecycle_config(self, fields: Mapping[str, Any]) -> LifecycleConfig:
        """Keep a lifecycle configuration with its tags.

        Raises:
            ValidationError: the name is taken.
        """
        config = super().create_notebook_instance_lifecycle_config(  # type: ignore[misc]
            fields["NotebookInstanceLifecycleConfigName"], fields.get("OnCreate") or [], fields.get("OnStart") or []
        )
        config.tags = list(fields.get("Tags") or [])
        return config  # type: ignore[no-any-return]

    def update_lifecycle_config(self, fields: Mapping[str, Any]) -> None:
        """Put other scripts in the place of the hooks that are named.

        Raises:
            ValidationError: there is no such configuration.
        """
        config = self._lifecycle_config(fields["NotebookInstanceLifecycleConfigName"], "update")
        config.on_create = fields.get("OnCreate", config.on_create)
        config.on_start = fields.get("OnStart", config.on_start)
        config.last_modified_time = utcnow()

    def _require_what_it_names(self, fields: Mapping[str, Any], arn: str) -> None:
        role, lifecycle = fields.get("RoleArn"), fields.get("LifecycleConfigName")
        if lifecycle:
            self._lifecycle_config(lifecycle, "describe")
        try:
            if role:
                self.core.credentials.require(role, PRINCIPAL, arn)
        except NoSuchRole as error:
            raise ValidationError(message=cannot_assume(role)) from error

    def _move(
        self, name: str, allowed: tuple[str, ...], through: str, to: str, changes: Mapping[str, Any] | None = None
    ) -> None:
        with self._one_at_a_time:
            instance = self._notebook(name)
            _require_status(instance, allowed, through)
            instance.fields.update(changes or {})
            self._begin(instance, through, to)

    def _begin(self, instance: NotebookInstance, through: str, to: str) -> None:
        instance.move(through, to, TRANSITION_SECONDS / self.core.settings.time_scale)

    def _notebook(self, name: str) -> NotebookInstance:
        if name not in self.notebook_instances:
            raise ValidationError(message="RecordNotFound")
        return self.notebook_instances[name]

    def _lifecycle_config(self, name: str, verb: str) -> LifecycleConfig:
        if name not in self.notebook_instance_lifecycle_configurations:
            arn = self._notebook_arn("notebook-instance-lifecycle-config", name)
            why = "(Details: Notebook Instance Lifecycle Config does not exist.)"
            raise ValidationError(message=f"Unable to {verb} Notebook Instance Lifecycle Config '{arn}'. {why}")
        return self.notebook_instance_lifecycle_configurations[name]

    def _notebook_arn(self, kind: str, name: str) -> str:
        return f"arn:{partition()}:sagemaker:{self.region_name}:{self.account_id}:{kind}/{name}"

    def _get_resource_from_arn(self, arn: str) -> Any:
        """Find what a tag operation is about; moto does not know lifecycle configurations there."""
        kind, _, name = arn.rpartition(":")[2].partition("/")
        if kind == "notebook-instance-lifecycle-config":
            return self._lifecycle_config(name, "describe")
        return super()._get_resource_from_arn(arn)  # type: ignore[misc]


def _require_status(instance: NotebookInstance, allowed: tuple[str, ...], to: str) -> None:
    if (status := instance.status) not in allowed:
        raise ValidationError(
            message=f"Status ({status}) not in ([{', '.join(allowed)}]). "
            f"Unable to transition to ({to}) for Notebook Instance ({instance.arn})"
        )
