"""What IAM tells of the account: AWS's managed policies, trust policies that are ones, last use, credential report."""

import csv
import io
import json
import uuid
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws
from tests.localaws.callers import ACCOUNT, allow, assume, document, make_role, make_user, refusal
from tests.polling import wait_until

READS = "arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"


def twice(text: str) -> str:
    """Return a policy whose statement denies, and then allows."""
    return text.replace('"Effect": "Allow"', '"Effect": "Deny", "Effect": "Allow"')


@pytest.mark.parametrize(
    "arn", ["AmazonSageMakerFullAccess", "service-role/AWSLambdaBasicExecutionRole", "AmazonS3ReadOnlyAccess"]
)
def test_awss_managed_policies_exist(localaws: RunningLocalAws, arn: str) -> None:
    iam, name = localaws.client("iam"), f"managed-{uuid.uuid4().hex[:8]}"
    found = iam.get_policy(PolicyArn=f"arn:aws:iam::aws:policy/{arn}")["Policy"]
    version = iam.get_policy_version(PolicyArn=found["Arn"], VersionId=found["DefaultVersionId"])["PolicyVersion"]
    assert version["Document"]["Statement"]
    iam.create_user(UserName=name)
    iam.attach_user_policy(UserName=name, PolicyArn=found["Arn"])
    details = iam.get_account_authorization_details()["Policies"]
    assert found["PolicyName"] in {each["PolicyName"] for each in details}
    assert len(details) < 200, "of AWS's own only what is attached"


def test_a_managed_policy_is_enforced(localaws: RunningLocalAws) -> None:
    user = make_user(localaws)
    assert refusal(user.client("s3").list_buckets)[0] == "AccessDenied"
    localaws.client("iam").attach_user_policy(UserName=user.arn.rpartition("/")[2], PolicyArn=READS)
    assert "Buckets" in user.client("s3").list_buckets()
    assert refusal(user.client("s3").create_bucket, Bucket="never-made")[0] == "AccessDenied"


@pytest.mark.parametrize(
    ("trust", "says"),
    [
        ("{}", "Syntax errors in policy"),
        ("notjson", "Syntax errors in policy"),
        (document(), "Syntax errors in policy"),
        (twice(document(allow("sts:AssumeRole"))), "Syntax errors in policy"),
        (document({"Effect": "Allow", "Action": "sts:AssumeRole"}), "Missing required field Principal"),
        (
            document({**allow("sts:AssumeRole"), "Principal": "*"}),
            "Has prohibited field Resource",
        ),
        (
            document(
                {
                    "Effect": "Allow",
                    "Action": "sts:AssumeRole",
                    "Principal": {"AWS": f"arn:aws:iam::{ACCOUNT}:role/nobody"},
                }
            ),
            "Invalid principal in policy",
        ),
    ],
)
def test_a_role_needs_a_trust_policy_that_is_one(localaws: RunningLocalAws, trust: str, says: str) -> None:
    iam = localaws.client("iam")
    code, text = refusal(iam.create_role, RoleName="untrusted", AssumeRolePolicyDocument=trust)
    assert (code, says in text) == ("MalformedPolicyDocument", True), text
    name = make_role(localaws, {"AWS": ACCOUNT}).rpartition("/")[2]
    code, text = refusal(iam.update_assume_role_policy, RoleName=name, PolicyDocument=trust)
    assert (code, says in text) == ("MalformedPolicyDocument", True), text


def test_no_policy_has_a_name_twice_in_an_object(localaws: RunningLocalAws) -> None:
    iam, user = localaws.client("iam"), localaws.client("iam").create_user(UserName="twice")["User"]["UserName"]
    text = twice(document(allow("s3:GetObject")))
    for call, given in (
        (iam.create_policy, {"PolicyName": "twice"}),
        (iam.put_user_policy, {"UserName": user, "PolicyName": "twice"}),
    ):
        code, says = refusal(call, **given, PolicyDocument=text)
        assert (code, says) == ("MalformedPolicyDocument", "Syntax errors in policy.")
    s3, kms = localaws.client("s3"), localaws.client("kms")
    s3.create_bucket(Bucket="policies-with-a-name-twice")
    code, says = refusal(s3.put_bucket_policy, Bucket="policies-with-a-name-twice", Policy=text)
    assert code == "MalformedPolicy" and "'Effect' is given twice" in says
    code, says = refusal(kms.create_key, Policy=text)
    assert code == "MalformedPolicyDocumentException" and "'Effect' is given twice" in says
    code, says = refusal(kms.replicate_key, KeyId=kms.create_key()["KeyMetadata"]["KeyId"], ReplicaRegion="eu-west-1")
    assert code == "UnsupportedOperation"


def test_what_a_role_was_granted_and_used_is_told_by_action(localaws: RunningLocalAws) -> None:
    iam, user = localaws.client("iam"), make_user(localaws, allow("sts:AssumeRole"))
    role = make_role(
        localaws, {"AWS": ACCOUNT}, allow(["s3:ListAllMyBuckets", "s3:GetObject", "sagemaker:InvokeEndpoint"])
    )
    assume(user, role).client("s3").list_buckets()
    job = iam.generate_service_last_accessed_details(Arn=role, Granularity="ACTION_LEVEL")["JobId"]
    report = iam.get_service_last_accessed_details(JobId=job)
    assert report["JobStatus"] == "COMPLETED"
    rows = {each["ServiceNamespace"]: each for each in report["ServicesLastAccessed"]}
    assert rows.keys() == {"s3", "sagemaker"}
    assert "LastAuthenticated" not in rows["sagemaker"]
    assert [each["ActionName"] for each in rows["s3"]["TrackedActionsLastAccessed"]] == ["ListAllMyBuckets"]
    with pytest.raises(ClientError, match="cannot be found"):
        iam.get_service_last_accessed_details(JobId="0" * 36)


def test_the_credential_report_has_true_dates_and_the_root_user(localaws: RunningLocalAws) -> None:
    iam, user = localaws.client("iam"), make_user(localaws, allow("s3:ListAllMyBuckets"))
    user.client("s3").list_buckets()
    wait_until(lambda: iam.generate_credential_report()["State"] == "COMPLETE")
    report = iam.get_credential_report()
    rows = {each["user"]: each for each in csv.DictReader(io.StringIO(report["Content"].decode()))}
    own = rows[user.arn.rpartition("/")[2]]
    assert (own["access_key_1_active"], own["access_key_1_last_used_service"]) == ("true", "s3")
    assert own["access_key_1_last_used_date"][:10] == report["GeneratedTime"].strftime("%Y-%m-%d")
    assert own["access_key_2_active"] == "false" and own["mfa_active"] == "false"
    assert "<root_account>" in rows


def test_a_custom_policy_is_simulated_by_the_same_code(localaws: RunningLocalAws) -> None:
    iam, resource = localaws.client("iam"), f"arn:aws:s3:::{'b' * 5}/k"
    policies = [document(allow("s3:*"))]

    def decided(**more: Any) -> str:
        wanted = {"PolicyInputList": policies, "ActionNames": ["s3:GetObject"], "ResourceArns": [resource], **more}
        return str(iam.simulate_custom_policy(**wanted)["EvaluationResults"][0]["EvalDecision"])

    closed = {**allow("s3:GetObject", resource), "Effect": "Deny", "Principal": "*"}
    assert decided() == "allowed"
    assert decided(PermissionsBoundaryPolicyInputList=[document(allow("sqs:*"))]) == "implicitDeny"
    caller = f"arn:aws:iam::{ACCOUNT}:user/ann"
    assert decided(ResourcePolicy=document(closed), CallerArn=caller) == "explicitDeny"
    assert decided(PolicyInputList=[json.dumps({"Version": "2012-10-17", "Statement": []})]) == "implicitDeny"
