"""Define the plan of a notebook instance, its state, and the run's record of it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from tasks.account.prices import InstanceChoice
from tasks.notebook.lifecycle import lifecycle_name
from tasks.run.record_store import Amount, Count, Record

DEADLINE_SECONDS = 900.0
"""AWS takes 2 to 5 minutes to start an instance, and its on-start script may take 5 more."""

PLATFORM = "notebook-al2023-v1"
VOLUME_GB = 5


@dataclass(frozen=True)
class NotebookPlan:
    """The wanted properties of a notebook instance."""

    run_id: str
    role_arn: str
    instance: InstanceChoice
    idle_minutes: int
    deadline_seconds: float = DEADLINE_SECONDS

    @property
    def changeable(self) -> dict[str, Any]:
        """The parameters of CreateNotebookInstance that can be changed while the instance is stopped.

        Users of the notebook have no root access, but the on-start script does; only IMDSv2 is allowed.
        """
        return {
            "InstanceType": self.instance.instance_type,
            "RoleArn": self.role_arn,
            "LifecycleConfigName": lifecycle_name(self.run_id),
            "RootAccess": "Disabled",
            "InstanceMetadataServiceConfiguration": {"MinimumInstanceMetadataServiceVersion": "2"},
        }

    @property
    def fixed(self) -> dict[str, Any]:
        """The parameters that cannot be changed later; without a named key, AWS's own key encrypts the volume."""
        return {"DirectInternetAccess": "Enabled", "VolumeSizeInGB": VOLUME_GB, "PlatformIdentifier": PLATFORM}


@dataclass(frozen=True)
class NotebookState:
    """The state of a notebook instance as AWS reports it; `usd_per_hour` is its cost while it is InService."""

    name: str
    run_id: str
    arn: str
    status: str
    instance_type: str
    usd_per_hour: float | None
    created: str
    failure_reason: str | None = None


@dataclass(frozen=True)
class NotebookRef(Record, file="notebook.json", called="notebook instance", made_by="notebook"):
    """The run's record of its notebook instance: the last known state, and the plan that it was created from."""

    state: NotebookState
    instance_reason: str
    role_arn: str
    lifecycle_name: str
    idle_minutes: Count
    seconds: Amount


@dataclass(frozen=True)
class NotebookReport:
    """The result of an action: the states of the instances that it concerned."""

    action: str
    notebooks: tuple[NotebookState, ...]
