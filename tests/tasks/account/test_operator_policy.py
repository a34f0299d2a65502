"""The policy of a person who runs kennel: documents that IAM takes, actions that exist, and the page in docs/."""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from kennel.commands.iam import operator_policy
from localaws.permissions import catalog
from tasks.account.operator_policy import LONGEST_POLICY, Account, operator_policies
from tasks.run.errors import SettingsRefused, SourceRefused

ACCOUNT = "123456789012"
DOCS = Path(__file__).parents[3] / "docs"
EVERY = operator_policies(Account(ACCOUNT, "us-east-1"))


def show(features: Sequence[str] = (), **given: str) -> int:
    every: dict[str, Any] = dict.fromkeys(("account_id", "region", "prefix", "bucket"))
    return operator_policy(features, **{**every, **given})


def test_the_page_is_what_the_command_prints(capsys: pytest.CaptureFixture[str]) -> None:
    assert show(account_id=ACCOUNT, region="us-east-1") == 0
    assert capsys.readouterr().out == (DOCS / "aws-policy.json").read_text(), "make docs writes it anew"


def test_each_document_fits_and_the_command_names_each_feature() -> None:
    sizes = {name: len("".join(json.dumps(each).split())) for name, each in EVERY.items()}
    assert max(sizes.values()) <= LONGEST_POLICY, sizes
    assert len(sizes) <= 10, "a user or a group has at most 10 managed policies"
    assert ", ".join(EVERY) in (DOCS / "cli.md").read_text().replace("\n  ", " ")


def test_every_action_exists_and_every_statement_has_an_id_of_its_own() -> None:
    statements = [statement for each in EVERY.values() for statement in each["Statement"]]
    actions = {action for each in statements for action in each["Action"]}
    assert [action for action in sorted(actions) if catalog.find(action) is None] == []
    assert len({each["Sid"] for each in statements}) == len(statements)


def test_a_prefix_a_bucket_and_features_narrow_it(capsys: pytest.CaptureFixture[str]) -> None:
    show(["stage", "sagemaker"], account_id=ACCOUNT, region="eu-west-1", prefix="kennel-dogs-", bucket="mine")
    text = capsys.readouterr().out
    assert list(json.loads(text)) == ["stage", "sagemaker"]
    assert "training-job/kennel-dogs-*" in text and "arn:aws:s3:::mine/*" in text and "us-east-1" not in text


def test_sources_in_buckets_may_be_listed_and_read_and_nothing_else(capsys: pytest.CaptureFixture[str]) -> None:
    sources = ["s3://photos/dogs", "s3://photos/cats/", "s3://others/x.zip"]
    operator_policy(["stage"], account_id=ACCOUNT, region="us-east-1", prefix=None, bucket=None, sources=sources)
    statements = {each["Sid"]: each for each in json.loads(capsys.readouterr().out)["stage"]["Statement"]}
    assert statements["ListSources"]["Action"] == ["s3:ListBucket"]
    assert statements["ListSources"]["Resource"] == ["arn:aws:s3:::photos"]
    assert statements["ReadSources"]["Action"] == ["s3:GetObject"]
    ends = ["photos/dogs/*", "photos/cats/*", "others/x.zip"]
    assert statements["ReadSources"]["Resource"] == [f"arn:aws:s3:::{end}" for end in ends]
    assert "ListSources" not in {each["Sid"] for each in EVERY["stage"]["Statement"]}


def test_an_archive_is_read_without_listing_its_bucket_and_a_name_of_no_bucket_is_refused(
    capsys: pytest.CaptureFixture[str],
) -> None:
    given = {"account_id": ACCOUNT, "region": "us-east-1", "prefix": None, "bucket": None}
    operator_policy(["stage"], sources=["s3://others/x.zip"], **given)
    sids = {each["Sid"] for each in json.loads(capsys.readouterr().out)["stage"]["Statement"]}
    assert "ReadSources" in sids and "ListSources" not in sids
    for source in ("my-bucket", "photos-archive/dogs/", "https://example.org/x.zip"):
        with pytest.raises(SourceRefused, match="it is no place in a bucket of S3"):
            operator_policy(["stage"], sources=[source], **given)


def test_another_partition_has_its_own_arns() -> None:
    text = json.dumps(operator_policies(Account(ACCOUNT, "us-gov-west-1")))
    assert "arn:aws-us-gov:" in text and "arn:aws:" not in text


def test_each_kind_of_role_is_passed_to_its_own_service_only() -> None:
    statements = [each for document in EVERY.values() for each in document["Statement"]]
    passing = [each for each in statements if "iam:PassRole" in each["Action"]]
    found = {each["Resource"][0]: each["Condition"]["StringEquals"]["iam:PassedToService"] for each in passing}
    ends = {"training": "sagemaker", "instance": "ec2", "endpoint": "sagemaker", "classify": "lambda"}
    ends |= {"notebook": "sagemaker", "load": "ec2", "staging": "sagemaker"}
    assert [each["Action"] for each in passing] == [["iam:PassRole"]] * len(ends)
    assert found == {f"arn:aws:iam::{ACCOUNT}:role/kennel-*-{end}": f"{to}.amazonaws.com" for end, to in ends.items()}


MAKES_WITH_TAGS = {
    **dict.fromkeys(("sagemaker:CreateTrainingJob", "sagemaker:CreateEndpoint"), "sagemaker:AddTags"),
    **dict.fromkeys(("sagemaker:CreateModel", "sagemaker:CreateNotebookInstance"), "sagemaker:AddTags"),
    "sagemaker:CreateHyperParameterTuningJob": "sagemaker:AddTags",
    "lambda:CreateFunction": "lambda:TagResource",
    "lambda:GetFunction": "lambda:ListTags",
    "s3:PutObject": "s3:PutObjectTagging",
}
"""What AWS asks for besides, because kennel sends tags or reads them."""


@pytest.mark.parametrize(("action", "besides"), MAKES_WITH_TAGS.items())
def test_what_sends_or_reads_tags_may_do_so_on_the_same_resources(action: str, besides: str) -> None:
    allowed = [row for name, each in EVERY.items() if name != "boundary" for row in each["Statement"]]
    own = [each for each in allowed if action in each["Action"]]
    assert own and all(besides in each["Action"] for each in own)


def test_an_unknown_feature_and_a_missing_account_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("KENNEL_ACCOUNT_ID", raising=False)
    with pytest.raises(SettingsRefused, match=", ".join(EVERY)):
        show(["training"], account_id=ACCOUNT)
    with pytest.raises(SettingsRefused, match="no account is named"):
        show()
