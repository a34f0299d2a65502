"""A run's SageMaker notebook instance: created, adopted, listed, started and stopped; one for each run.

Whatever AWS's waiters would call an end, the status is read and judged here. Billing goes on while an instance is
`InService`; a stopped one costs its 5 GB volume. Not covered: what happens in the notebook, and stopping when idle,
which the instance does by itself (`tasks/notebook/lifecycle.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC
from typing import Any

from botocore.exceptions import ClientError
from pydantic import SecretStr

from tasks.account.lookup import none_if_missing, tags_to_dict
from tasks.account.prices import USD_PER_HOUR, InstanceChoice
from tasks.notebook.lifecycle import ensure_lifecycle, lifecycle_name
from tasks.notebook.role import notebook_name
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, SettingsRefused, StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.naming import RESOURCE_PREFIX
from tasks.run.record_store import Record
from tasks.run.waiting import retry_until_role_propagates, say, wait_for

DEADLINE_SECONDS = 900.0
"""AWS takes 2 to 5 minutes to start an instance, its on-start script may take 5 more."""

PLATFORM = "notebook-al2023-v1"
SESSION_SECONDS = 4 * 3600
VOLUME_GB = 5
_BUSY = frozenset({"Pending", "Stopping", "Updating", "Deleting", "InMaintenance"})


@dataclass(frozen=True)
class NotebookPlan:
    """What a notebook instance has to be."""

    run_id: str
    role_arn: str
    instance: InstanceChoice
    idle_minutes: int
    deadline_seconds: float = DEADLINE_SECONDS

    @property
    def changeable(self) -> dict[str, Any]:
        """What AWS lets one change while the instance is stopped, as CreateNotebookInstance wants it.

        No root for whoever works in it (the on-start script has it all the same), and IMDSv2 only.
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
        """What is decided once; the volume is encrypted with AWS's own key as no other is named."""
        return {"DirectInternetAccess": "Enabled", "VolumeSizeInGB": VOLUME_GB, "PlatformIdentifier": PLATFORM}


@dataclass(frozen=True)
class NotebookState:
    """What AWS says of a notebook instance at one moment; `usd_per_hour` is what it costs while it is InService."""

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
    """A run's record: the instance as last seen, why it is what it is, and after how many idle minutes it stops."""

    state: NotebookState
    instance_reason: str
    role_arn: str
    lifecycle_name: str
    idle_minutes: int
    seconds: float


@dataclass(frozen=True)
class NotebookReport:
    """What one action left: the instances that it was about."""

    action: str
    notebooks: tuple[NotebookState, ...]


def ensure_notebook(run: Run, plan: NotebookPlan) -> NotebookRef:
    """Bring the run's notebook instance to the plan and wait for it; calls nothing that changes what fits already.

    One that is stopped is changed if it has to be, and left stopped.

    Raises:
        StageFailed: the instance failed; with FailureReason.
        SettingsRefused: it runs and is another one than planned, which AWS changes only when it is stopped.
        WaitTimedOut: it did not settle within the plan's deadline.
        OwnershipRefused: an instance or lifecycle configuration of that name is not this run's.
        AwsFailed: SageMaker refused.
    """
    begun, name = time.perf_counter(), notebook_name(plan.run_id)
    with aws_boundary(f"notebook {name}"):
        ensure_lifecycle(run, idle_minutes=plan.idle_minutes)
        found = _settled(run.aws, plan.run_id, plan.deadline_seconds)
        if found is None:
            _create(run, plan)
        else:
            _refuse_foreign(run.aws, plan.run_id, found)
            run.ledger.adopt("notebook-instance", name, found["NotebookInstanceArn"])
            _bring_to(run.aws, plan, found)
        served = _settled(run.aws, plan.run_id, plan.deadline_seconds)
    state = _checked(plan.run_id, served, {"InService"} if found is None else {"InService", "Stopped"})
    seconds = round(time.perf_counter() - begun, 3)
    reason, lifecycle = plan.instance.reason, lifecycle_name(plan.run_id)
    return NotebookRef(state, reason, plan.role_arn, lifecycle, plan.idle_minutes, seconds)


def start_notebook(aws: Aws, run_id: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> NotebookState:
    """Start the run's notebook instance unless it runs, and wait until it does.

    Raises:
        StageFailed: it failed, with FailureReason, or is in another state than it should be.
        SettingsRefused: the run has none.
        WaitTimedOut, OwnershipRefused, AwsFailed: as `ensure_notebook`.
    """
    start = aws.client("sagemaker").start_notebook_instance
    return _drive(aws, run_id, start, {"Stopped", "Failed"}, "InService", deadline_seconds)


def stop_notebook(aws: Aws, run_id: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> NotebookState:
    """Stop the run's notebook instance unless it is stopped, and wait until it is: its hours end there.

    Raises: as `start_notebook`.
    """
    stop = aws.client("sagemaker").stop_notebook_instance
    return _drive(aws, run_id, stop, {"InService"}, "Stopped", deadline_seconds)


def list_notebooks(aws: Aws, run_id: str | None = None) -> tuple[NotebookState, ...]:
    """Return the notebook instances that carry kennel's tags, of one run or of all, by name; changes nothing.

    Raises:
        AwsFailed: SageMaker refused.
    """
    sagemaker = aws.client("sagemaker")
    with aws_boundary("notebooks"):
        pages = sagemaker.get_paginator("list_notebook_instances").paginate(NameContains=RESOURCE_PREFIX)
        names = sorted(item["NotebookInstanceName"] for page in pages for item in page["NotebookInstances"])
        listed = [_own_state(aws, name) for name in names]
    return tuple(state for state in listed if state is not None and run_id in {None, state.run_id})


def presigned_url(aws: Aws, run_id: str) -> SecretStr:
    """Return an address that opens the notebook for whoever has it: good for 5 minutes, its session for 4 hours.

    Raises:
        OwnershipRefused, SettingsRefused: the instance is not this run's, or there is none.
        AwsFailed: SageMaker refused; it does for an instance that is not InService.
    """
    with aws_boundary(f"notebook {notebook_name(run_id)}: address"):
        _own(aws, run_id)
        answer = aws.client("sagemaker").create_presigned_notebook_instance_url(
            NotebookInstanceName=notebook_name(run_id), SessionExpirationDurationInSeconds=SESSION_SECONDS
        )
    return SecretStr(answer["AuthorizedUrl"])


def _create(run: Run, plan: NotebookPlan) -> None:
    name = notebook_name(plan.run_id)
    fields = {**plan.changeable, **plan.fixed, "Tags": naming.tag_list(plan.run_id)}
    with run.ledger.create("notebook-instance", name) as row:
        answer = retry_until_role_propagates(
            f"notebook {name}",
            lambda: run.aws.client("sagemaker").create_notebook_instance(NotebookInstanceName=name, **fields),
        )
        row.identifier = answer["NotebookInstanceArn"]


def _bring_to(aws: Aws, plan: NotebookPlan, found: Mapping[str, Any]) -> None:
    """Change what differs, if the instance is stopped; a failed one is left as it is, for its reason to be told."""
    present = {**found, "LifecycleConfigName": found.get("NotebookInstanceLifecycleConfigName")}
    changes = {name: value for name, value in plan.changeable.items() if present.get(name) != value}
    if not changes or found["NotebookInstanceStatus"] == "Failed":
        return
    name = notebook_name(plan.run_id)
    if found["NotebookInstanceStatus"] != "Stopped":
        what = ", ".join(f"{field}={present.get(field)}, not {value}" for field, value in changes.items())
        stop = f"kennel notebook stop {plan.run_id}, then the same command again"
        raise SettingsRefused(f"notebook {name}", what, "AWS changes a notebook instance only when it is stopped", stop)
    aws.client("sagemaker").update_notebook_instance(NotebookInstanceName=name, **changes)


def _drive(
    aws: Aws, run_id: str, call: Callable[..., object], starting: set[str], goal: str, deadline_seconds: float
) -> NotebookState:
    """Make the call when the instance is in one of `starting`, and wait until it is in `goal`."""
    name = notebook_name(run_id)
    with aws_boundary(f"notebook {name}"):
        _own(aws, run_id)
        found = _settled(aws, run_id, deadline_seconds)
        if found is not None and found["NotebookInstanceStatus"] in starting:
            _unless_moving(lambda: call(NotebookInstanceName=name))
        found = _settled(aws, run_id, deadline_seconds)
    return _checked(run_id, found, {goal})


def _unless_moving(call: Callable[[], object]) -> None:
    """Make a call that somebody else may have made a moment ago, such as the instance that was idle."""
    try:
        call()
    except ClientError as error:
        if "unable to transition" not in str(error).lower():
            raise
        say(f"notebook: already on its way ({error.response['Error'].get('Message')})")


def _settled(aws: Aws, run_id: str, deadline_seconds: float) -> Mapping[str, Any] | None:
    """Return the instance's description once nothing moves it, or None when there is no instance."""

    def probe() -> tuple[tuple[Mapping[str, Any] | None] | None, str]:
        found = _describe(aws, notebook_name(run_id))
        if found is None or found["NotebookInstanceStatus"] not in _BUSY:
            return (found,), "settled"
        return None, str(found["NotebookInstanceStatus"])

    what, then = f"notebook {notebook_name(run_id)}", f"kennel notebook list {run_id}"
    return wait_for(what, probe, deadline_seconds=deadline_seconds, poll_seconds=0.5, next_command=then)[0]


def _describe(aws: Aws, name: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = none_if_missing(
        lambda: aws.client("sagemaker").describe_notebook_instance(NotebookInstanceName=name)
    )
    return found


def _own(aws: Aws, run_id: str) -> None:
    """Make sure that the run has an instance, and that it is the run's."""
    found = _describe(aws, notebook_name(run_id))
    if found is None:
        where, create = f"notebook {notebook_name(run_id)}", f"kennel notebook create {run_id}"
        raise SettingsRefused(where, "there is none", f"run {run_id} has no notebook instance", create)
    _refuse_foreign(aws, run_id, found)


def _own_state(aws: Aws, name: str) -> NotebookState | None:
    found = _describe(aws, name)
    tags = _tags(aws, found) if found else {}
    return _state(found, tags[naming.RUN_TAG]) if found and tags.get(naming.PROJECT_TAG) == naming.PROJECT else None


def _tags(aws: Aws, found: Mapping[str, Any]) -> dict[str, str]:
    answer = none_if_missing(lambda: aws.client("sagemaker").list_tags(ResourceArn=found["NotebookInstanceArn"]))
    return tags_to_dict(answer["Tags"]) if answer else {}


def _refuse_foreign(aws: Aws, run_id: str, found: Mapping[str, Any]) -> None:
    carried = _tags(aws, found)
    if any(carried.get(key) != value for key, value in naming.tags(run_id).items()):
        where, why = f"notebook {found['NotebookInstanceName']}", f"it does not carry the tags of run {run_id}"
        raise OwnershipRefused(where, "it exists already", why, "kennel notebook create <another run>")


def _checked(run_id: str, found: Mapping[str, Any] | None, wanted: set[str]) -> NotebookState:
    where = f"notebook {notebook_name(run_id)}"
    if found is None:
        raise StageFailed(where, "it is gone", "somebody deleted it while it was waited for", "the same command again")
    state = _state(found, run_id)
    if state.status not in wanted:
        reason = state.failure_reason or "AWS gave no reason"
        logs = f"aws logs tail /aws/sagemaker/NotebookInstances --log-stream-name-prefix {state.name}/"
        raise StageFailed(where, f"it is {state.status}", reason, f"{logs}, then kennel notebook start {run_id}")
    return state


def _state(found: Mapping[str, Any], run_id: str) -> NotebookState:
    created, kind = found.get("CreationTime"), str(found["InstanceType"])
    return NotebookState(
        name=str(found["NotebookInstanceName"]),
        run_id=run_id,
        arn=str(found["NotebookInstanceArn"]),
        status=str(found["NotebookInstanceStatus"]),
        instance_type=kind,
        usd_per_hour=USD_PER_HOUR.get(kind),
        created=created.astimezone(UTC).isoformat() if created else "",
        failure_reason=found.get("FailureReason"),
    )
