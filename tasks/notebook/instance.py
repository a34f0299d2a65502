"""Create, adopt, list, start and stop the SageMaker notebook instance of a run; each run has at most one.

AWS's waiters may end on a failed instance, so this module reads and checks the status itself. An instance is billed
while it is `InService`; a stopped one costs its 5 GB volume. An idle instance stops itself
(`tasks/notebook/lifecycle.py`).
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import UTC
from functools import partial
from typing import Any

from botocore.exceptions import ClientError
from pydantic import SecretStr

from tasks.account.lookup import none_if_missing, refuse_foreign, shown_tags, tags_to_dict
from tasks.account.prices import usd_per_hour
from tasks.notebook.lifecycle import ensure_lifecycle, lifecycle_name
from tasks.notebook.records import DEADLINE_SECONDS, NotebookPlan, NotebookRef, NotebookState
from tasks.notebook.role import LOG_GROUP, notebook_name
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused, StageFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.lost_answers import carried_out, true_or_none
from tasks.run.naming import RESOURCE_PREFIX
from tasks.run.statuses import NOTEBOOK
from tasks.run.waiting import retry_until_role_propagates, say, wait_for

SESSION_SECONDS = 4 * 3600


def ensure_notebook(run: Run, plan: NotebookPlan) -> NotebookRef:
    """Create the run's notebook instance, or update an existing one to the plan, and wait for it.

    If the instance already fits the plan, no changing call is made. A stopped instance is updated and stays stopped.

    Raises:
        StageFailed: the instance failed; the message has AWS's FailureReason.
        SettingsRefused: the instance differs from the plan and is not stopped, so AWS does not change it.
        WaitTimedOut: the instance did not reach a final status within the plan's deadline.
        OwnershipRefused: an instance or lifecycle configuration of that name does not have this run's tags.
        AwsFailed: SageMaker refused a call, or did not answer.
    """
    begun, name = time.perf_counter(), notebook_name(plan.run_id)
    with aws_boundary(f"notebook {name}"):
        ensure_lifecycle(run, idle_minutes=plan.idle_minutes)
        found = _wait_until_settled(run.aws, plan.run_id, plan.deadline_seconds)
        if found is None:
            _create(run, plan)
        else:
            _refuse_foreign(run.aws, plan.run_id, found)
            run.ledger.adopt("notebook-instance", name, found["NotebookInstanceArn"])
            _update(run.aws, plan, found)
        served = _wait_until_settled(run.aws, plan.run_id, plan.deadline_seconds)
    state = _require_status(run.aws, plan.run_id, served, {"InService"} if found is None else {"InService", "Stopped"})
    seconds = round(time.perf_counter() - begun, 3)
    reason, lifecycle = plan.instance.reason, lifecycle_name(plan.run_id)
    return NotebookRef(state, reason, plan.role_arn, lifecycle, plan.idle_minutes, seconds)


def start_notebook(aws: Aws, run_id: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> NotebookState:
    """Start the run's notebook instance if it is stopped, and wait until it is InService.

    Raises:
        StageFailed: the instance failed, with AWS's FailureReason, or has another unexpected status.
        SettingsRefused: the run has no notebook instance.
        WaitTimedOut, OwnershipRefused, AwsFailed: as `ensure_notebook`.
    """
    start = aws.client("sagemaker").start_notebook_instance
    return _change_status(aws, run_id, start, {"Stopped", "Failed"}, "InService", deadline_seconds)


def stop_notebook(aws: Aws, run_id: str, *, deadline_seconds: float = DEADLINE_SECONDS) -> NotebookState:
    """Stop the run's notebook instance if it is InService, and wait until it is Stopped, which ends its billing.

    Raises:
        StageFailed, SettingsRefused, WaitTimedOut, OwnershipRefused, AwsFailed: as `start_notebook`.
    """
    stop = aws.client("sagemaker").stop_notebook_instance
    return _change_status(aws, run_id, stop, {"InService"}, "Stopped", deadline_seconds)


def list_notebooks(aws: Aws, run_id: str | None = None) -> tuple[NotebookState, ...]:
    """Return the notebook instances with kennel's tags, sorted by name, of one run or of all runs.

    Raises:
        AwsFailed: SageMaker refused a call, or did not answer.
    """
    sagemaker = aws.client("sagemaker")
    with aws_boundary("notebooks"):
        pages = sagemaker.get_paginator("list_notebook_instances").paginate(NameContains=RESOURCE_PREFIX)
        names = sorted(item["NotebookInstanceName"] for page in pages for item in page["NotebookInstances"])
        listed = [_own_state(aws, name) for name in names]
    return tuple(state for state in listed if state is not None and run_id in {None, state.run_id})


def presigned_url(aws: Aws, run_id: str) -> SecretStr:
    """Return a secret URL that opens the notebook; it is valid for 5 minutes, and its session lasts 4 hours.

    Raises:
        SettingsRefused: the run has no notebook instance.
        OwnershipRefused: the instance does not have this run's tags.
        AwsFailed: SageMaker refused the call, as it does for an instance that is not InService, or did not answer.
    """
    with aws_boundary(f"notebook {notebook_name(run_id)}: address"):
        _require_own(aws, run_id)
        answer = aws.client("sagemaker").create_presigned_notebook_instance_url(
            NotebookInstanceName=notebook_name(run_id), SessionExpirationDurationInSeconds=SESSION_SECONDS
        )
    return SecretStr(answer["AuthorizedUrl"])


def _create(run: Run, plan: NotebookPlan) -> None:
    name = notebook_name(plan.run_id)
    fields = {**plan.changeable, **plan.fixed, "Tags": run.aws.tag_list(plan.run_id)}
    with run.ledger.create("notebook-instance", name, lambda: _own_arn(run.aws, plan.run_id)) as row:
        answer = retry_until_role_propagates(
            run.aws.target,
            f"notebook {name}",
            lambda: run.aws.client("sagemaker").create_notebook_instance(NotebookInstanceName=name, **fields),
        )
        row.identifier = answer["NotebookInstanceArn"]


def _own_arn(aws: Aws, run_id: str) -> str | None:
    found = _describe(aws, notebook_name(run_id))
    if found is None:
        return None
    _refuse_foreign(aws, run_id, found)
    return str(found["NotebookInstanceArn"])


def _update(aws: Aws, plan: NotebookPlan, found: Mapping[str, Any]) -> None:
    """Update a stopped instance if it differs from the plan; a failed one is not changed, so its reason is reported."""
    changes = _changes(plan, found)
    if not changes or found["NotebookInstanceStatus"] == "Failed":
        return
    name = notebook_name(plan.run_id)
    if found["NotebookInstanceStatus"] != "Stopped":
        what = ", ".join(f"{field}={present}, not {plan.changeable[field]}" for field, present in changes.items())
        stop = f"kennel notebook stop {plan.run_id}, then the same command again"
        raise SettingsRefused(f"notebook {name}", what, "AWS changes a notebook instance only when it is stopped", stop)
    wanted = {field: plan.changeable[field] for field in changes}
    update = partial(aws.client("sagemaker").update_notebook_instance, NotebookInstanceName=name)
    carried_out(
        f"notebook {name}",
        lambda: retry_until_role_propagates(aws.target, f"notebook {name}", lambda: update(**wanted)),
        lambda: true_or_none(_changes(plan, _describe(aws, name) or {}) == {} or _has_left(aws, name, "Stopped")),
    )


def _changes(plan: NotebookPlan, found: Mapping[str, Any]) -> dict[str, Any]:
    """Return the present values of the properties that differ from the plan."""
    present = {**found, "LifecycleConfigName": found.get("NotebookInstanceLifecycleConfigName")}
    return {name: present.get(name) for name, value in plan.changeable.items() if present.get(name) != value}


def _change_status(
    aws: Aws, run_id: str, call: Callable[..., object], before: set[str], after: str, deadline_seconds: float
) -> NotebookState:
    """Make the call if the instance's status is one of `before`, and wait until its status is `after`."""
    name = notebook_name(run_id)
    with aws_boundary(f"notebook {name}"):
        _require_own(aws, run_id)
        found = _wait_until_settled(aws, run_id, deadline_seconds)
        if found is not None and found["NotebookInstanceStatus"] in before:
            before_call = str(found["NotebookInstanceStatus"])
            change = partial(_unless_in_transition, partial(call, NotebookInstanceName=name))
            carried_out(f"notebook {name}", change, lambda: true_or_none(_has_left(aws, name, before_call)))
        found = _wait_until_settled(aws, run_id, deadline_seconds)
    return _require_status(aws, run_id, found, {after})


def _has_left(aws: Aws, name: str, status: str) -> bool:
    """Tell whether the instance's status is no longer `status`, because a change has begun."""
    found = _describe(aws, name)
    return found is not None and found["NotebookInstanceStatus"] != status


def _unless_in_transition(call: Callable[[], object]) -> None:
    """Make a call, and ignore a refusal because the instance is already in transition, for example stops itself."""
    try:
        call()
    except ClientError as error:
        if "unable to transition" not in str(error).lower():
            raise
        say(f"notebook: the instance is already changing its status ({error.response['Error'].get('Message')})")


def _wait_until_settled(aws: Aws, run_id: str, deadline_seconds: float) -> Mapping[str, Any] | None:
    """Wait until the instance is not in transition; return its description, or None if it does not exist."""

    def probe() -> tuple[tuple[Mapping[str, Any] | None] | None, str]:
        found = _describe(aws, notebook_name(run_id))
        if found is None or NOTEBOOK.has_settled(found["NotebookInstanceStatus"]):
            return (found,), "settled"
        return None, str(found["NotebookInstanceStatus"])

    what, then = f"notebook {notebook_name(run_id)}", f"kennel notebook list {run_id}"
    return wait_for(aws.target, what, probe, deadline_seconds=deadline_seconds, poll_seconds=0.5, next_command=then)[0]


def _describe(aws: Aws, name: str) -> Mapping[str, Any] | None:
    found: Mapping[str, Any] | None = none_if_missing(
        lambda: aws.client("sagemaker").describe_notebook_instance(NotebookInstanceName=name)
    )
    return found


def _require_own(aws: Aws, run_id: str) -> None:
    """Raise an error unless the run has an instance with the run's tags."""
    found = _describe(aws, notebook_name(run_id))
    if found is None:
        where, create = f"notebook {notebook_name(run_id)}", f"kennel notebook create {run_id}"
        raise SettingsRefused(where, "it does not exist", f"run {run_id} has no notebook instance", create)
    _refuse_foreign(aws, run_id, found)


def _own_state(aws: Aws, name: str) -> NotebookState | None:
    found = _describe(aws, name)
    tags = _tags(aws, found) if found else {}
    return (
        _state(found, tags[naming.RUN_TAG], aws.region)
        if found and tags.get(naming.PROJECT_TAG) == naming.PROJECT
        else None
    )


def _tags(aws: Aws, found: Mapping[str, Any]) -> dict[str, str]:
    answer = none_if_missing(lambda: aws.client("sagemaker").list_tags(ResourceArn=found["NotebookInstanceArn"]))
    return tags_to_dict(answer["Tags"]) if answer else {}


def _refuse_foreign(aws: Aws, run_id: str, found: Mapping[str, Any]) -> None:
    where = f"notebook {found['NotebookInstanceName']}"
    tags = shown_tags(aws, where, lambda: _tags(aws, found))
    refuse_foreign(where, tags, run_id, next_command="kennel notebook create <another run>")


def _require_status(aws: Aws, run_id: str, found: Mapping[str, Any] | None, wanted: set[str]) -> NotebookState:
    where = f"notebook {notebook_name(run_id)}"
    if found is None:
        raise StageFailed(where, "it no longer exists", "it was deleted meanwhile", "run the same command again")
    state = _state(found, run_id, aws.region)
    if state.status not in wanted:
        reason = state.failure_reason or "AWS gave no reason"
        logs = aws.cli(f"logs tail {LOG_GROUP}", log_stream_name_prefix=f"{state.name}/")
        raise StageFailed(where, f"it is {state.status}", reason, f"{logs}, then kennel notebook start {run_id}")
    return state


def _state(found: Mapping[str, Any], run_id: str, region: str) -> NotebookState:
    created, kind = found.get("CreationTime"), str(found["InstanceType"])
    return NotebookState(
        name=str(found["NotebookInstanceName"]),
        run_id=run_id,
        arn=str(found["NotebookInstanceArn"]),
        status=str(found["NotebookInstanceStatus"]),
        instance_type=kind,
        usd_per_hour=usd_per_hour(kind, region, "Notebook"),
        created=created.astimezone(UTC).isoformat() if created else "",
        failure_reason=found.get("FailureReason"),
    )
