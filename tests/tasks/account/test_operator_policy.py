"""The policy of a person who runs kennel: documents that IAM takes, actions that exist, and the page in docs/."""

import json
from pathlib import Path

import pytest

from kennel.commands.iam import operator_policy as print_policy
from localaws.permissions import catalog
from tasks.account.operator_policy import (
    LONGEST_POLICY,
    Account,
    operator_documents,
    operator_policies,
    operator_policy,
)
from tasks.run.errors import SettingsRefused

ACCOUNT = Account("123456789012", "us-east-1")
PAGE = Path(__file__).parents[3] / "docs" / "aws-policy.json"


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert print_policy((), account_id="123456789012", region="us-east-1", prefix=None, bucket=None) == 0
    assert capsys.readouterr().out == PAGE.read_text(), "make docs writes it anew"


def test_the_documents_fit_and_hold_every_statement_once() -> None:
    documents = operator_documents(ACCOUNT)
    assert all(len("".join(json.dumps(each).split())) <= LONGEST_POLICY for each in documents.values())
    parts = [statement for each in documents.values() for statement in each["Statement"]]
    assert parts == operator_policy(ACCOUNT)["Statement"]
    assert len({each["Sid"] for each in parts}) == len(parts)


def test_every_action_exists() -> None:
    actions = {action for each in operator_policy(ACCOUNT)["Statement"] for action in each["Action"]}
    assert [action for action in sorted(actions) if catalog.find(action) is None] == []


def test_a_prefix_and_features_narrow_it_and_an_unknown_feature_is_refused_with_those_there_are() -> None:
    narrow = Account("123456789012", "eu-west-1", prefix="kennel-dogs-", bucket="mine")
    (document,) = operator_documents(narrow, ["stage", "sagemaker"]).values()
    text = json.dumps(document)
    assert "training-job/kennel-dogs-*" in text and "arn:aws:s3:::mine/*" in text and "us-east-1" not in text
    with pytest.raises(SettingsRefused, match=", ".join(operator_policies(ACCOUNT))):
        operator_documents(ACCOUNT, ["training"])


def test_without_an_account_nothing_is_printed(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KENNEL_ACCOUNT_ID", raising=False)
    with pytest.raises(SettingsRefused, match="no account is named"):
        print_policy((), account_id=None, region=None, prefix=None, bucket=None)
