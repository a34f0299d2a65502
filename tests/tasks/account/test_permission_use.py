"""What was used of what was granted: what is not told is unknown, and only what is known to be unused is taken away."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from tasks.account.permission_use import (
    NOT_EXERCISED,
    Asked,
    PermissionUse,
    Told,
    action_uses,
    permission_use,
    policies_on_trial,
    recorded_use,
    tightened,
    tightened_policies,
    without,
)
from tasks.account.role_policies import function_role
from tasks.account.roles import ensure_role
from tasks.report.permissions import count_text, permissions_markdown
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.settings import LOCAL_PERMISSIONS_PATH as PATH
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws
from tests.keys import token_of

ENDPOINT = "arn:aws:sagemaker:us-east-1:123456789012:endpoint/e"
POLICY: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": [
        {"Sid": "A", "Effect": "Allow", "Action": ["s3:GetObject", "s3:PutObject"], "Resource": ["r"]},
        {"Sid": "B", "Effect": "Allow", "Action": "s3:ListBucket", "Resource": ["b"], "Condition": {"Bool": {}}},
        {"Sid": "C", "Effect": "Allow", "Action": ["ecr:BatchGetImage", "logs:*"], "Resource": ["*"]},
    ],
}


def states(told: Told) -> dict[str, str]:
    return {row.action: row.state for row in action_uses("role", POLICY, told)}


def test_a_complete_record_tells_used_and_unused_and_what_aws_needs_is_kept() -> None:
    told = Told({"s3:GetObject": Asked(3), "s3:ListBucket": Asked(5, 1), "iam:PassRole": Asked(0, 2)}, Asked())
    assert states(told) == {
        "s3:GetObject": "used",
        "s3:PutObject": "unused",
        "s3:ListBucket": "denied",
        "ecr:BatchGetImage": "not exercised",
        "logs:*": "unknown",
        "iam:PassRole": "denied",
    }


def test_what_aws_does_not_tell_is_unknown_and_its_uses_have_no_count() -> None:
    told = Told({"s3:PutObject": Asked(), "s3:ListBucket": Asked(None, 0, "2026-11-28T00:00:00+00:00")}, None, "why")
    assert states(told) == {
        "s3:GetObject": "unknown",
        "s3:PutObject": "unused",
        "s3:ListBucket": "used",
        "ecr:BatchGetImage": "not exercised",
        "logs:*": "unknown",
    }
    texts = {row.action: count_text(row) for row in action_uses("role", POLICY, told)}
    assert texts["s3:ListBucket"] == "used, AWS does not count, last 2026-11-28T00:00:00+00:00"
    assert texts["s3:GetObject"] == "unknown, why"


def test_a_tightened_policy_keeps_resources_and_conditions_and_drops_empty_statements() -> None:
    first, _, third = POLICY["Statement"]
    wanted = [{**first, "Action": ["s3:GetObject"]}, {**third, "Action": ["ecr:BatchGetImage", "logs:*"]}]
    assert tightened(POLICY, {"s3:PutObject", "s3:ListBucket"})["Statement"] == wanted
    assert tightened(POLICY, set())["Statement"][1]["Condition"] == {"Bool": {}}


def test_every_action_that_is_kept_unseen_has_a_page_of_aws() -> None:
    assert all(page.startswith("https://docs.aws.amazon.com/") for page in NOT_EXERCISED.values())


@pytest.fixture
def run(localaws: RunningLocalAws, tmp_path: Path) -> Run:
    settings = Settings(endpoint_url=localaws.url, runs=tmp_path, region="us-east-1", permissions_token=token_of(PATH))  # type: ignore[arg-type]
    made = Run(Aws(settings), f"used-{datetime.now(UTC):%H%M%S%f}")
    ensure_role(made, function_role(made.aws, made.id, ENDPOINT, "/aws/lambda/f"))
    return made


def test_a_role_that_did_nothing_used_nothing(run: Run) -> None:
    use = permission_use(run)
    assert {row.state for row in use.rows} == {"unused"}
    assert list(tightened_policies(run, use).values()) == [{"Version": "2012-10-17", "Statement": []}]
    assert "Unused: `kennel-used-" in "\n".join(permissions_markdown(use))


def test_without_the_token_localaws_answers_as_aws_does_and_nothing_is_called_unused(run: Run) -> None:
    blind = Run(Aws(run.settings.model_copy(update={"permissions_token": None})), run.id)
    assert recorded_use(blind) is None
    use = permission_use(blind)
    assert use.source.startswith("AWS's last accessed") and {row.state for row in use.rows} == {"unknown"}
    assert tightened_policies(blind, use) == {} and all("younger than 4 hours" in row.note for row in use.rows)


@pytest.mark.parametrize("error", [KeyboardInterrupt, ValueError])
def test_a_trial_that_ends_in_any_other_way_puts_the_former_policy_back(run: Run, error: type[BaseException]) -> None:
    iam, name = run.aws.client("iam"), f"kennel-{run.id}-classify"

    def policy() -> Any:
        return iam.get_role_policy(RoleName=name, PolicyName="kennel")["PolicyDocument"]

    before = policy()
    other = tightened(before, {"logs:PutLogEvents"})
    with pytest.raises(error), policies_on_trial(run, {name: other}):
        assert policy() == other
        raise error
    assert policy() == before
    with policies_on_trial(run, {name: other}):
        pass
    assert policy() == other


def test_what_was_taken_away_is_remembered_until_it_is_granted_again(run: Run) -> None:
    use, name = permission_use(run), f"kennel-{run.id}-classify"
    (taken,) = (row for row in use.rows if row.action == "logs:PutLogEvents")
    policy = run.aws.client("iam").get_role_policy(RoleName=name, PolicyName="kennel")["PolicyDocument"]
    with policies_on_trial(run, {name: tightened(policy, {taken.action})}):
        after = permission_use(run)
    run.keep(without(after, use.rows))

    assert permission_use(run).taken_away == (taken,)
    ensure_role(run, function_role(run.aws, run.id, ENDPOINT, "/aws/lambda/f"))
    assert permission_use(run).taken_away == ()
    run.path(PermissionUse).write_text("damaged")
    assert permission_use(run).rows == use.rows
