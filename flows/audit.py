"""Looks at the whole account, changes nothing, and reports what is too open, unused or left behind.

prefect deployment run 'audit/audit' -p unused_days=90 -p baseline=/etc/kennel/audit.toml
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from prefect import flow
from pydantic import Field

from flows.harmless import harmless_errors
from flows.reported import reported
from flows.run_name import named, named_run
from flows.step import step
from tasks.audit.baseline import read_baseline
from tasks.audit.collect import collect
from tasks.audit.report import AuditReport, audit_markdown, judge
from tasks.run.artifacts import publish_markdown
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.naming import RunId
from tasks.run.settings import Region, Settings

STAGE = "audit"
UnusedDays = Annotated[int, Field(ge=1, le=400)]

look = step("look at the account")(collect)


@step("report of the run")
def add_to_report(run: Run, report: AuditReport) -> None:
    """Write the audit to the run's records, and the run's report anew.

    Raises:
        RunBusy: another process works on the run.
    """
    with run.lock(), reported(run):
        run.keep(report)


@flow(name=STAGE, flow_run_name=named(STAGE, named_run))
@harmless_errors
async def audit(
    run_id: RunId | None = None,
    unused_days: UnusedDays = 90,
    baseline: Path | None = None,
    regions: tuple[Region, ...] = (),
) -> AuditReport:
    """Audit the account; with a run, the audit becomes a section of that run's report.

    Args:
        run_id: The run to whose report the audit is added.
        unused_days: A role or key that was not used for so long counts as unused.
        baseline: A file with findings that are accepted.
        regions: Where to look at what has regions; by default in all that are enabled.

    Raises:
        SettingsRefused: the baseline file is not allowed.
        AwsFailed: IAM refused to show the account's identities, or AWS did not answer.
        WaitTimedOut: the deadline passed before the identities were read.
        RunBusy: another process works on the run.
    """
    accepted = () if baseline is None else read_baseline(baseline)
    aws = Aws(Settings.load())
    report = judge(aws, await look(aws, unused_days=unused_days, regions=regions), accepted, unused_days=unused_days)
    await publish_markdown(STAGE, run_id or f"account {report.account_id}", audit_markdown(report))
    if run_id is not None:
        await add_to_report(Run(aws, run_id), report)
    return report
