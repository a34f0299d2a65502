"""How an audit is shown: one line, Markdown, the run's report, SARIF, and commands for the AWS in use."""

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest

from tasks.audit.account import Credentials
from tasks.audit.baseline import Accepted
from tasks.audit.checks import check
from tasks.audit.findings import KINDS, SEVERITIES, at_least
from tasks.audit.report import AuditReport, audit_markdown, judge, sarif
from tasks.report.markdown import summary_markdown
from tasks.report.summary import summarise
from tasks.run.aws import Aws
from tasks.run.handle import RunFolder
from tasks.run.settings import Settings
from tests.tasks.audit.accounts import NOW, account, arn, role
from tests.tasks.audit.planted import FOREIGN, allow, trust

SCHEMA: dict[str, Any] = json.loads(Path(__file__).with_name("sarif_2_1_0.json").read_text())
AWS = Aws(Settings(endpoint_url="http://127.0.0.1:4566", region="us-east-1"))
ROOT = Credentials("<root_account>", arn("user", "root"), True, False, {})
SEEN = account(
    role("admin", allow("*"), trusts=(trust({"AWS": FOREIGN}),)),
    credentials=(ROOT,),
    service_linked=3,
    notes=("not looked at: <b>instances</b>",),
)
VENDOR = Accepted(finding="trust-foreign", arn=arn("role", "admin"), reason="the vendor", until=NOW.date())


@pytest.fixture
def report() -> AuditReport:
    return judge(AWS, SEEN, (), unused_days=90)


def test_the_summary_counts_by_severity_and_says_what_is_left_out(report: AuditReport) -> None:
    counts = "1 critical, 2 high in 1 roles, users and groups; "
    assert report.summary == f"{counts}left out: service-linked roles 3, findings that the baseline accepts 0"
    none = judge(AWS, account(), (), unused_days=90)
    assert none.summary.startswith("no findings in 0 roles")


def test_the_most_severe_findings_come_first_and_can_be_cut_by_severity(report: AuditReport) -> None:
    assert [each.id for each in report.findings] == ["full-access", "no-mfa", "trust-foreign"]
    assert [len(at_least(report.findings, each)) for each in SEVERITIES] == [3, 3, 3, 1]


def test_what_is_accepted_is_counted_and_not_shown() -> None:
    report = judge(AWS, SEEN, (VENDOR,), unused_days=90)
    assert [each.id for each in report.findings] == ["full-access", "no-mfa"]
    assert (report.silenced, report.notes) == (1, SEEN.notes)


def test_the_commands_are_for_the_aws_that_was_looked_at(report: AuditReport) -> None:
    (command,) = report.findings[0].commands
    start = "aws --endpoint-url http://127.0.0.1:4566 iam delete-role-policy"
    assert command == f"{start} --role-name=admin --policy-name=inline"


def test_the_audit_is_a_section_of_the_runs_report(report: AuditReport, tmp_path: Path) -> None:
    run = RunFolder(tmp_path / "dogs-1")
    run.keep(report)
    assert run.find(AuditReport) == report
    text = summary_markdown(summarise(run))
    assert audit_markdown(report) in text
    for shown in ("## Audit", "| critical | `full-access` |", "iam delete-role-policy", "&lt;b>instances", "root user"):
        assert shown in text
    run.forget(AuditReport)
    assert "## Audit" not in summary_markdown(summarise(run))


def test_sarif_is_as_the_standard_wants_it(report: AuditReport) -> None:
    log = sarif(report, "1.0")
    jsonschema.Draft4Validator(SCHEMA).validate(log)
    (run,) = log["runs"]
    rules = run["tool"]["driver"]["rules"]
    assert [rule["id"] for rule in rules] == [*KINDS]
    for result in run["results"]:
        assert rules[result["ruleIndex"]]["id"] == result["ruleId"]
    assert [each["level"] for each in run["results"]] == ["error", "error", "error"]
    assert run["results"][0]["locations"][0]["logicalLocations"][0]["fullyQualifiedName"] == arn("role", "admin")
    (notice,) = run["invocations"][0]["toolExecutionNotifications"]
    assert notice["message"]["text"] == SEEN.notes[0]


def test_a_finding_keeps_its_fingerprint_from_one_audit_to_the_next(report: AuditReport) -> None:
    def prints(made: AuditReport) -> set[str]:
        return {each["partialFingerprints"]["kennelAudit/v1"] for each in sarif(made, "1.0")["runs"][0]["results"]}

    assert prints(report) == prints(judge(AWS, SEEN, (), unused_days=90))
    assert len(prints(report)) == 3


def test_a_wrong_log_would_be_noticed(report: AuditReport) -> None:
    log = sarif(report, "1.0")
    log["runs"][0]["results"][0]["level"] = "critical"
    with pytest.raises(jsonschema.ValidationError):
        jsonschema.Draft4Validator(SCHEMA).validate(log)


def test_every_kind_has_one_sentence_of_consequence() -> None:
    for kind in KINDS.values():
        assert kind.consequence.endswith(".") and kind.consequence.count(". ") == 0
    assert {each.id for each in check(SEEN, unused_days=90)} <= {*KINDS}
