"""Name the statuses of AWS that end a wait; every other one, also one that AWS adds later, means "not ready yet".

A list of the statuses that are busy would count an unknown one as ready. Here the ready and the failed ones are listed;
an unknown one is logged once and waited for until the deadline of the wait.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

from tasks.run.waiting import say

NOT_TOLD = "not told"
"""The status of a thing whose description has none; it counts as not ready yet, like every unknown one."""


@dataclass(frozen=True)
class Statuses:
    """The meanings of the values of one enumeration of botocore's, `shape` of `service`.

    `ready` and `failed` are final until somebody changes the thing; `pending` are the other known ones.
    """

    service: str
    shape: str
    ready: frozenset[str]
    failed: frozenset[str]
    pending: frozenset[str]

    def is_ready(self, status: str) -> bool:
        """Tell whether the status is one of the ready ones."""
        return self._known(status) in self.ready

    def has_failed(self, status: str) -> bool:
        """Tell whether the status is one of the failed ones."""
        return self._known(status) in self.failed

    def has_settled(self, status: str) -> bool:
        """Tell whether the status is ready or failed."""
        return self.is_ready(status) or self.has_failed(status)

    def is_pending(self, status: str) -> bool:
        """Tell whether the status is neither ready nor failed, known or not."""
        return not self.has_settled(status)

    def _known(self, status: str) -> str:
        status = str(status)  # a reply may hold anything
        if status not in self.ready | self.failed | self.pending:
            _say_unknown(self.shape, status)
        return status


@functools.cache
def _say_unknown(shape: str, status: str) -> None:
    """Log an unknown status, once in a process."""
    say(f"AWS answered {shape} {status!r}, which this release of kennel does not know; it counts as not ready yet")


ENDPOINT = Statuses(
    "sagemaker",
    "EndpointStatus",
    ready=frozenset({"InService"}),
    failed=frozenset({"Failed", "OutOfService", "UpdateRollbackFailed"}),
    pending=frozenset({"Creating", "Updating", "SystemUpdating", "RollingBack", "Deleting"}),
)
TRAINING_JOB = Statuses(
    "sagemaker",
    "TrainingJobStatus",
    ready=frozenset({"Completed"}),
    failed=frozenset({"Failed", "Stopped"}),
    pending=frozenset({"InProgress", "Stopping", "Deleting"}),
)
PROCESSING_JOB = Statuses(
    "sagemaker",
    "ProcessingJobStatus",
    ready=frozenset({"Completed"}),
    failed=frozenset({"Failed", "Stopped"}),
    pending=frozenset({"InProgress", "Stopping"}),
)
TUNING_JOB = Statuses(
    "sagemaker",
    "HyperParameterTuningJobStatus",
    ready=frozenset({"Completed"}),
    failed=frozenset({"Failed", "Stopped", "DeleteFailed"}),
    pending=frozenset({"InProgress", "Stopping", "Deleting"}),
)
NOTEBOOK = Statuses(
    "sagemaker",
    "NotebookInstanceStatus",
    ready=frozenset({"InService", "Stopped"}),
    failed=frozenset({"Failed"}),
    pending=frozenset({"Pending", "Stopping", "Updating", "Deleting", "PendingMaintenance", "InMaintenance"}),
)
FUNCTION = Statuses(
    "lambda",
    "State",
    ready=frozenset({"Active", "Inactive"}),  # the next call wakes an inactive function
    failed=frozenset({"Failed"}),
    pending=frozenset({"Pending", "Deactivating", "Deactivated", "ActiveNonInvocable", "Deleting"}),
)
FUNCTION_UPDATE = Statuses(
    "lambda",
    "LastUpdateStatus",
    ready=frozenset({"Successful"}),
    failed=frozenset({"Failed"}),
    pending=frozenset({"InProgress"}),
)
PROVISIONED = Statuses(
    "lambda",
    "ProvisionedConcurrencyStatusEnum",
    ready=frozenset({"READY"}),
    failed=frozenset({"FAILED"}),
    pending=frozenset({"IN_PROGRESS"}),
)
INSTANCE = Statuses(
    "ec2",
    "InstanceStateName",
    ready=frozenset({"running"}),
    failed=frozenset({"shutting-down", "terminated"}),
    pending=frozenset({"pending", "stopping", "stopped"}),
)
ALL = (ENDPOINT, TRAINING_JOB, TUNING_JOB, NOTEBOOK, FUNCTION, FUNCTION_UPDATE, PROVISIONED, INSTANCE)
