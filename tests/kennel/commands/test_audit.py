"""`kennel audit`: its exit code by severity, its JSON and SARIF, the baseline, and the section in a run's report."""

import json
from pathlib import Path
from typing import Any

import pytest

from kennel.servers import prefect, processes
from tasks.run.ledger import Ledger
from tests.conftest import RunningLocalAws
from tests.kennel.servers.test_prefect_pages import Server
from tests.kennel.shell import Terminal
from tests.tasks.audit.planted import FOREIGN, document, trust

ROLE = "arn:aws:iam::123456789012:role/vendor"
ACCEPTED = f'[[accepted]]\nfinding = "trust-foreign"\narn = "{ROLE}"\nreason = "ticket 4711"\nuntil = 2999-12-31\n'


def test_where_nothing_runs_there_is_nothing_to_audit_and_no_server_is_started(tmp_path: Path) -> None:
    terminal = Terminal(tmp_path / "home", tmp_path / "runs")
    done = terminal.kennel("audit", "--json")
    assert done.code == 2
    assert done.answer["error"]["what"] == "localaws does not run"
    assert not (tmp_path / "home" / "processes").exists()


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--severity", "severe"), "severe"),
        (("--unused-days", "0"), "Must be >= 1"),
        (("--regions", "Frankfurt"), "a region is named as eu-central-1 is"),
        (("no-such-run",), "there is no such run"),
    ],
)
def test_wrong_usage_ends_with_2(tmp_path: Path, arguments: tuple[str, ...], words: str) -> None:
    done = Terminal(tmp_path / "home", tmp_path / "runs").kennel("audit", *arguments)
    assert done.code == 2
    assert words in done.err + done.out


def artifacts(home: Path) -> list[dict[str, Any]]:
    """Return what the home's Prefect server has published."""
    started = processes.last(home, prefect.NAME)
    assert started is not None
    found: list[dict[str, Any]] = Server(home, started).ask("/artifacts/filter", {})
    return found


@pytest.mark.slow
def test_findings_of_the_severity_asked_for_end_with_12_and_accepted_ones_do_not(
    terminal: Terminal, own_localaws: RunningLocalAws, tmp_path: Path
) -> None:
    statement = trust({"AWS": f"arn:aws:iam::{FOREIGN}:root"})
    own_localaws.client("iam").create_role(RoleName="vendor", AssumeRolePolicyDocument=json.dumps(document(statement)))
    sarif, baseline = tmp_path / "audit.sarif", tmp_path / "audit.toml"
    baseline.write_text(ACCEPTED)

    shown = terminal.kennel("audit", "--sarif", str(sarif))
    assert shown.code == 12, shown.err
    assert "HIGH trust-foreign: vendor" in shown.out
    assert "iam update-assume-role-policy --role-name=vendor --policy-document='" in shown.out
    assert "not looked at: the account's public access block" in shown.out
    assert "1 high in 1 roles, users and groups" in shown.out
    assert [each["ruleId"] for each in json.loads(sarif.read_text())["runs"][0]["results"]] == ["trust-foreign"]

    (artifact,) = artifacts(terminal.home)
    assert artifact["key"] == "audit-account-123456789012" and "vendor" in artifact["data"]

    above = terminal.kennel("audit", "--severity", "critical", "--json")
    assert (above.code, [each["arn"] for each in above.answer["findings"]]) == (0, [ROLE])

    Ledger(terminal.runs / "dogs", account_id="123456789012", endpoint="http://127.0.0.1:1").record(
        "role", "r", "created"
    )
    accepted = terminal.kennel("audit", "dogs", "--baseline", str(baseline), "--json")
    assert (accepted.code, accepted.answer["findings"], accepted.answer["silenced"]) == (0, [], 1)
    assert ">Audit</h2>" in (terminal.runs / "dogs" / "report.html").read_text()

    refused = terminal.kennel("audit", "--baseline", str(tmp_path / "none.toml"), "--json")
    assert (refused.code, refused.answer["error"]["where"]) == (2, "baseline")
