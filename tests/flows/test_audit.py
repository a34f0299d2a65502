"""The flow of the audit without a server: its parameters, and what it writes for a run."""

import asyncio
from pathlib import Path
from typing import Any

import pytest
from prefect import Task
from prefect.exceptions import ParameterTypeError

from flows.audit import add_to_report, audit
from tasks.audit.report import AuditReport, judge
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.settings import Settings
from tests.tasks.audit.accounts import account, role
from tests.tasks.audit.planted import allow


@pytest.mark.parametrize("parameters", [{"unused_days": 0}, {"unused_days": 401}, {"run_id": "../up"}])
def test_parameters_out_of_bounds_are_refused(parameters: dict[str, Any]) -> None:
    with pytest.raises(ParameterTypeError, match=next(iter(parameters))):
        audit.validate_parameters(parameters)


def test_a_run_keeps_the_audit_and_its_report_shows_it(tmp_path: Path) -> None:
    aws = Aws(Settings(endpoint_url="http://127.0.0.1:1", runs=tmp_path, region="us-east-1"))
    run, report = Run(aws, "dogs"), judge(aws, account(role("admin", allow("*"))), (), unused_days=90)
    assert isinstance(add_to_report, Task)
    asyncio.run(add_to_report.fn(run, report))
    assert run.find(AuditReport) == report
    assert "role admin may do every action on every resource" in (run.folder / "report.html").read_text()
