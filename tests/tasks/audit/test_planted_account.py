"""The planted account: each of its 12 defects is found, and none of the 18 roles that look like one."""

import pytest

from tasks.audit.account import Account
from tasks.audit.checks import check
from tasks.audit.collect import collect
from tasks.audit.findings import Finding
from tasks.run.aws import Aws
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.tasks.audit.planted import DEFECTS, plant


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
