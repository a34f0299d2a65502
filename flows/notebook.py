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
from tasks.run.handle import Run
from tasks.run.options import InstanceType, RunId
from tasks.run.records import DatasetRef
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
    aws = Aws(Settings.load())
    if action == "list":
        report = NotebookReport(action, await look(aws, run_id))
        await publish_record(STAGE, run_id or "all runs", report)
        return report
    if run_id is None:
        raise SettingsRefused(STAGE, f"action={action}", "it is done with one run's instance", "name a run_id")
    run = Run(aws, run_id)
    with run.lock():
        if action == "create":
            state = await create(run, instance_type, idle_minutes)
        else:
            state = await (start if action == "start" else stop)(run)
        report = NotebookReport(action, (state,))
        await publish_record(STAGE, run_id, report)
    return report


@task(name="notebook instances", cache_policy=NO_CACHE)
async def look(aws: Aws, run_id: str | None) -> tuple[NotebookState, ...]:
    """Look which notebook instances there are."""
    return await asyncio.to_thread(list_notebooks, aws, run_id)


@task(name="notebook instance", cache_policy=NO_CACHE)
async def create(run: Run, instance_type: str | None, idle_minutes: int) -> NotebookState:
    """Make the role, the lifecycle configuration and the instance, or adopt them."""
    return await asyncio.to_thread(_create, run, instance_type, idle_minutes)


@task(name="start the notebook instance", cache_policy=NO_CACHE)
async def start(run: Run) -> NotebookState:
    """Start the instance."""
    return _recorded(run, await asyncio.to_thread(start_notebook, run.aws, run.id))


@task(name="stop the notebook instance", cache_policy=NO_CACHE)
async def stop(run: Run) -> NotebookState:
    """Stop the instance."""
    return _recorded(run, await asyncio.to_thread(stop_notebook, run.aws, run.id))


def _create(run: Run, instance_type: str | None, idle_minutes: int) -> NotebookState:
    instance = choose_notebook_instance(instance_type)
    say(f"notebook: {instance.instance_type}: {instance.reason}; it stops after {idle_minutes} idle minutes")
    role = notebook_role(run.aws, run.id, run.find(DatasetRef))
    plan = NotebookPlan(run.id, ensure_role(run, role), instance, idle_minutes)
    made, kept = ensure_notebook(run, plan), run.find(NotebookRef)
    first = kept is not None and kept.state.created == made.state.created
    run.keep(replace(made, seconds=kept.seconds) if kept and first else made)
    say(f"notebook {made.state.name}: {made.state.status}")
    return made.state


def _recorded(run: Run, state: NotebookState) -> NotebookState:
    """Keep the new state in the run's record, if an earlier `create` left one here."""
    kept = run.find(NotebookRef)
    if kept is not None:
        run.keep(replace(kept, state=state))
    say(f"notebook {state.name}: {state.status}")
    return state
