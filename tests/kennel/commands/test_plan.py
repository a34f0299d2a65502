"""`kennel plan` and the costs that `kennel run` asks for, without an AWS: no call can be made, so none is needed."""

import json
from pathlib import Path

import pytest

from kennel.commands.plan import hours_of
from tasks.run.errors import SettingsRefused
from tests.kennel.interface import differences
from tests.kennel.shell import Terminal

ACCOUNT = {"KENNEL_ACCOUNT_ID": "123456789012"}


@pytest.fixture
def alone(tmp_path: Path) -> Terminal:
    """A shell whose home has no embedded AWS."""
    return Terminal(tmp_path / "home", tmp_path / "runs", {"COLUMNS": "80"})


def test_without_an_aws_everything_is_to_be_created_and_nothing_is_written(alone: Terminal) -> None:
    shown = alone.kennel("plan", "--instances", "2", "--ec2-instances", "1")
    assert shown.code == 0, shown.err
    lines = shown.out.splitlines()
    assert max(map(len, lines)) <= 80
    assert "22 to create; nothing was created or changed" in lines
    assert "The embedded AWS bills nothing. The prices below are what AWS would bill." in lines
    assert "worst case     no limit: the endpoint runs until `kennel down`" in lines
    assert not alone.home.exists() and not alone.runs.exists()


def test_run_with_plan_shows_the_same(alone: Terminal) -> None:
    assert alone.kennel("run", "--plan").out == alone.kennel("plan").out


def test_the_json_has_every_member_and_null_where_a_price_is_unknown(alone: Terminal) -> None:
    shown = alone.kennel("plan", "--instance-type", "ml.unheard.of", "--json")
    assert shown.code == 0, shown.err
    answer = shown.answer
    assert differences("plan", answer) == []
    assert answer["usd"] is None
    assert answer["unknown"] == ["training, 1 × ml.unheard.of"]
    assert answer["machines"][0]["usd_per_hour"] is None
    assert 0 not in [each["usd_per_hour"] for machines in answer["machines"] for each in machines["candidates"]]


def test_a_plan_above_the_budget_is_shown_and_ends_with_13(alone: Terminal) -> None:
    shown = alone.kennel("plan", "--budget", "0.01", "--json")
    assert shown.code == 13
    assert "may cost 0.3601 USD, and the budget is 0.0100 USD" in " ".join(shown.err.split())
    assert len(shown.out.splitlines()) == 2  # the plan, and the error
    assert json.loads(shown.out.splitlines()[1])["error"]["kind"] == "SpendingRefused"


def test_a_time_to_live_bounds_the_worst_case(alone: Terminal) -> None:
    answer = alone.kennel("plan", "--ttl", "4h", "--json").answer
    assert answer["worst_case"]["usd"] == pytest.approx(answer["usd"]["most"] + 4 * 0.115)


@pytest.mark.parametrize("more", [(), ("--budget", "5"), ("--json",)])
def test_on_aws_a_run_without_a_terminal_and_without_yes_ends_with_13_before_any_call(
    alone: Terminal, more: tuple[str, ...]
) -> None:
    refused = alone.kennel("run", *more, more=ACCOUNT | {"AWS_MAX_ATTEMPTS": "1", "HTTPS_PROXY": "http://127.0.0.1:1"})
    assert refused.code == 13, refused.err
    assert "there is no terminal to ask at, and --yes was not given" in " ".join(refused.err.split())
    assert not alone.runs.exists()


@pytest.mark.parametrize(("text", "hours"), [("30m", 0.5), ("4h", 4.0), ("2d", 48.0), (None, None)])
def test_a_time_to_live_is_read(text: str | None, hours: float | None) -> None:
    assert hours_of(text) == hours


@pytest.mark.parametrize("text", ["", "4", "0h", "-1h", "367d", "4 h", "h"])
def test_what_is_no_time_to_live_is_refused(text: str) -> None:
    with pytest.raises(SettingsRefused, match="--ttl"):
        hours_of(text)
