"""The planted account: each of its 12 defects is found, and none of the 18 roles that look like one."""

import subprocess
import sys
from pathlib import Path

import pytest

from tasks.audit.account import Account
from tasks.audit.checks import check
from tasks.audit.collect import collect
from tasks.audit.findings import Finding
from tasks.run.aws import Aws
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.tasks.audit.planted import DEFECTS, plant
from tests.test_next_lines import is_aws_command

AWS_CLI = Path(sys.executable).with_name("aws")


@pytest.fixture(scope="module")
def account(own_localaws: RunningLocalAws) -> Account:
    plant(own_localaws)
    return collect(Aws(Settings(endpoint_url=own_localaws.url, region="us-east-1")), unused_days=90)


@pytest.fixture(scope="module")
def findings(account: Account) -> tuple[Finding, ...]:
    return check(account, unused_days=90)


def test_the_twelve_defects_are_found_and_nothing_else(account: Account, findings: tuple[Finding, ...]) -> None:
    assert (len(account.roles), account.service_linked, len(DEFECTS)) == (30, 1, 12)
    assert sorted((each.name, each.id) for each in findings) == sorted(DEFECTS)


def test_every_command_that_mends_is_one_of_aws_with_parameters_that_it_takes(findings: tuple[Finding, ...]) -> None:
    commands = [command.removeprefix("aws ") for each in findings for command in each.commands]
    assert len(commands) >= len(DEFECTS)
    assert [command for command in commands if not is_aws_command(command)] == []


@pytest.mark.slow
def test_mended_by_its_commands_the_account_has_no_finding_left(
    own_localaws: RunningLocalAws, findings: tuple[Finding, ...]
) -> None:
    for each in findings:
        script = " && ".join(command.replace("aws", str(AWS_CLI), 1) for command in each.commands)
        done = subprocess.run(
            script, shell=True, env=own_localaws.environment, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, f"{script}: {done.stderr}"
    aws = Aws(Settings(endpoint_url=own_localaws.url, region="us-east-1"))
    assert check(collect(aws, unused_days=90), unused_days=90) == ()
