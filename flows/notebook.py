"""Creates or adopts a run's SageMaker notebook instance, lists the instances, starts or stops one.

prefect deployment run 'notebook/notebook' -p run_id=dogs-1a2b3c4d -p action=create -p idle_minutes=60
"""

from __future__ import annotations

from typing import Annotated, Literal

from prefect import flow
from pydantic import Field

from flows.harmless import harmless_errors
from flows.run_name import named, named_run
from flows.step import step
from tasks.notebook import actions
from tasks.notebook.instance import list_notebooks
from tasks.notebook.records import NotebookReport
from tasks.run.artifacts import publish_record
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.run.options import InstanceType
from tasks.run.settings import Settings
from tasks.teardown.rebuild import working_on

STAGE = "notebook"
Action = Literal["create", "list", "start", "stop"]
IdleMinutes = Annotated[int, Field(ge=10, le=24 * 60)]

look = step("notebook instances")(list_notebooks)
create = step("notebook instance")(actions.create)
start = step("start the notebook instance")(actions.start)
stop = step("stop the notebook instance")(actions.stop)


@flow(name=STAGE, flow_run_name=named(STAGE, named_run))
@harmless_errors
async def notebook(
    run_id: RunId | None = None,
    action: Action = "list",
    instance_type: InstanceType | None = None,
    idle_minutes: IdleMinutes = 60,
) -> NotebookReport:
    """Do one action with the run's notebook instance; `list` without a run lists the instances of all runs.

    Args:
        run_id: The run that the instance belongs to.
        action: What to do.
        instance_type: Of an instance that is created, instead of the smallest with enough memory.
        idle_minutes: How long an instance that is created may be idle before it stops itself.

    Raises:
        SettingsRefused: the action needs a run, the run has no instance, or a running instance would have to change.
        StageFailed: the instance failed; the error has AWS's reason.
        WaitTimedOut: the instance did not settle in time.
        OwnershipRefused: an instance of that name belongs to somebody else.
        AwsFailed: AWS refused.
    """
    aws = Aws(Settings.load())
    if action == "list":
        report = NotebookReport(action, await look(aws, run_id))
        await publish_record(STAGE, run_id or "all runs", report)
        return report
    if run_id is None:
        raise SettingsRefused(STAGE, f"action={action}", "this action needs a run", "name a run_id")
    run = Run(aws, run_id)
    with working_on(run, STAGE):
        if action == "create":
            state = await create(run, instance_type, idle_minutes)
        else:
            state = await (start if action == "start" else stop)(run)
        report = NotebookReport(action, (state,))
        await publish_record(STAGE, run_id, report)
    return report
