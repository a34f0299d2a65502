"""Removes everything of one run, or of all runs, from the account.

Resources are found by the ledgers and by tags, and removed in the order that AWS requires. A resource that does not
belong to kennel is never removed. Without `yes` the flow asks at the terminal, and refuses where there is none.
"""

from __future__ import annotations

import asyncio

from prefect import flow

from flows.harmless import harmless_errors
from flows.run_name import named, named_run
from flows.step import step
from tasks.run.artifacts import publish_record
from tasks.run.aws import Aws
from tasks.run.errors import SettingsRefused
from tasks.run.naming import RunId
from tasks.run.settings import Settings
from tasks.run.waiting import say
from tasks.teardown.expired import tear_down_expired
from tasks.teardown.models import ModelCopies, keep_models
from tasks.teardown.plan import Plan, plan_text
from tasks.teardown.teardown import TeardownReport, confirm, execute, plan_teardown

STAGE = "teardown"


@step("plan_removals")
def plan_removals(aws: Aws, run_id: str | None) -> Plan:
    """Find the account's resources and print what would be removed; nothing is changed.

    Raises:
        AwsFailed: a lookup failed.
    """
    plan, warnings = plan_teardown(aws, run_id)
    for line in (*warnings, plan_text(plan)):
        say(line)
    return plan


@step("keep_copies")
def keep_copies(aws: Aws, plan: Plan, *, yes: bool) -> ModelCopies:
    """Make sure that this machine has a copy of every model that the plan deletes.

    Raises:
        SettingsRefused: a model would be lost, and `yes` is not given.
        AwsFailed: S3 refused to list the models.
    """
    return keep_models(aws, plan, yes=yes, say=say)


@step("remove")
def remove(aws: Aws, plan: Plan, run_id: str | None, models: ModelCopies) -> TeardownReport:
    """Remove the plan's resources and verify that they are gone.

    Raises:
        RunBusy: another process works on one of the runs; nothing was removed.
        TeardownIncomplete: a resource still exists.
    """
    return execute(aws, plan, run_id, say=say, models=models)


@step("remove expired")
def remove_expired(aws: Aws, *, yes: bool) -> TeardownReport:
    """Remove every run that is past its time to live.

    Raises:
        SettingsRefused: it was not confirmed, or a model would be lost and `yes` is not given.
        RunBusy: another process works on one of the runs.
        TeardownIncomplete: a resource still exists.
        AwsFailed: a lookup failed.
    """
    return tear_down_expired(aws, yes=yes, say=say)


@flow(name=STAGE, flow_run_name=named(STAGE, named_run), persist_result=False)
@harmless_errors
async def teardown(run_id: RunId | None = None, yes: bool = False, expired: bool = False) -> TeardownReport:
    """Remove everything of one run, of every run when none is named, or of those past their time to live.

    Args:
        run_id: The run; with `expired` none is named.
        yes: Remove without asking.
        expired: Only the runs that are past the time to live that `ttl_hours` set, for a schedule.

    Raises:
        SettingsRefused: it was not confirmed, or a model would be lost and `yes` is not given.
        RunBusy: another process works on one of the runs; nothing was removed.
        TeardownIncomplete: a resource still exists; the message names it.
        AwsFailed: a lookup failed.
    """
    aws = Aws(Settings.load())
    if expired:
        _refuse_a_named(run_id)
        report = await remove_expired(aws, yes=yes)
        await publish_record(STAGE, "expired runs", report)
        return report
    plan = await plan_removals(aws, run_id)
    await asyncio.to_thread(confirm, plan, yes=yes)
    report = await remove(aws, plan, run_id, await keep_copies(aws, plan, yes=yes))
    await publish_record(STAGE, run_id or "all runs", report)
    return report


def _refuse_a_named(run_id: str | None) -> None:
    if run_id is not None:
        why = "expired chooses the runs by their time to live"
        raise SettingsRefused(STAGE, f"run_id={run_id} with expired", why, "leave one of the two out")
