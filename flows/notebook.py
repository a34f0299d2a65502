"""A run's SageMaker notebook instance: create or adopt it, list what there is, start it, stop it.

prefect deployment run 'notebook/notebook' -p run_id=dogs-1a2b3c4d -p action=create -p idle_minutes=60
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Annotated, Literal

from prefect import flow, task
from prefect.cache_policies import NO_CACHE
from pydantic import Field

from flows.parameters import InstanceType, RunId
from tasks.account.prices import choose_notebook_instance
from tasks.account.roles import ensure_role
from tasks.notebook.instance import (
    NotebookPlan,
    NotebookRef,
    NotebookReport,
    NotebookState,
    ensure_notebook,
    list_notebooks,
    start_notebook,
    stop_notebook,
)
from tasks.notebook.role import notebook_role
from tasks.run.artifacts import publish_record
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.ledger import Ledger, run_lock
from tasks.run.records import DatasetRef, load_record, save_record
from tasks.run.settings import Settings
from tasks.run.waiting import say

STAGE = "notebook"
Action = Literal["create", "list", "start", "stop"]
IdleMinutes = Annotated[int, Field(ge=10, le=24 * 60)]


@flow(name=STAGE)
async def notebook(
    run_id: RunId | None = None,
    action: Action = "list",
    instance_type: InstanceType | None = None,
    idle_minutes: IdleMinutes = 60,
) -> NotebookReport:
    """Do one thing with the run's notebook instance; `list` may name no run and then shows those of all.

    `instance_type` and `idle_minutes` are for `create`.

    Raises:
        SettingsRefused: the action needs a run, the run has no instance, or a running one would have to change.
        StageFailed: the instance failed; with AWS's reason.
        WaitTimedOut: it did not settle in time.
        OwnershipRefused: what has its name is not the run's.
        AwsFailed: AWS refused.
    """
    settings = Settings.load()
    aws = Aws(settings)
    if action == "list":
        report = NotebookReport(action, await look(aws, run_id))
        await publish_record(STAGE, run_id or "all runs", report)
        return report
    if run_id is None:
        raise SettingsRefused(STAGE, f"action={action}", "it is done with one run's instance", "name a run_id")
    with run_lock(settings.run_dir(run_id)):
        if action == "create":
            state = await create(aws, run_id, instance_type, idle_minutes)
        else:
            state = await (start if action == "start" else stop)(aws, run_id)
        report = NotebookReport(action, (state,))
        await publish_record(STAGE, run_id, report)
    return report


@task(name="notebook instances", cache_policy=NO_CACHE)
async def look(aws: Aws, run_id: str | None) -> tuple[NotebookState, ...]:
    """Look which notebook instances there are."""
    return await asyncio.to_thread(list_notebooks, aws, run_id)


@task(name="notebook instance", cache_policy=NO_CACHE)
async def create(aws: Aws, run_id: str, instance_type: str | None, idle_minutes: int) -> NotebookState:
    """Make the role, the lifecycle configuration and the instance, or adopt them."""
    return await asyncio.to_thread(_create, aws, run_id, instance_type, idle_minutes)


@task(name="start the notebook instance", cache_policy=NO_CACHE)
async def start(aws: Aws, run_id: str) -> NotebookState:
    """Start the instance."""
    return _recorded(aws, await asyncio.to_thread(start_notebook, aws, run_id))


@task(name="stop the notebook instance", cache_policy=NO_CACHE)
async def stop(aws: Aws, run_id: str) -> NotebookState:
    """Stop the instance."""
    return _recorded(aws, await asyncio.to_thread(stop_notebook, aws, run_id))


def _create(aws: Aws, run_id: str, instance_type: str | None, idle_minutes: int) -> NotebookState:
    run_dir = aws.settings.run_dir(run_id)
    ledger = Ledger.open(aws, run_id)
    instance = choose_notebook_instance(instance_type)
    say(f"notebook: {instance.instance_type}: {instance.reason}; it stops after {idle_minutes} idle minutes")
    role = notebook_role(aws, run_id, load_record(run_dir, "stage_data", DatasetRef))
    plan = NotebookPlan(run_id, ensure_role(aws, ledger, run_id, role), instance, idle_minutes)
    made = ensure_notebook(aws, ledger, plan)
    kept = load_record(run_dir, STAGE, NotebookRef)
    first = kept is not None and kept.state.created == made.state.created
    save_record(run_dir, STAGE, replace(made, seconds=kept.seconds) if kept and first else made)
    say(f"notebook {made.state.name}: {made.state.status}")
    return made.state


def _recorded(aws: Aws, state: NotebookState) -> NotebookState:
    """Keep the new state in the run's record, if an earlier `create` left one here."""
    run_dir = aws.settings.run_dir(state.run_id)
    kept = load_record(run_dir, STAGE, NotebookRef)
    if kept is not None:
        save_record(run_dir, STAGE, replace(kept, state=state))
    say(f"notebook {state.name}: {state.status}")
    return state
