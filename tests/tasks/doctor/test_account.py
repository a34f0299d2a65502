"""The doctor asks an AWS as the operator. Nothing is wrong with it, or one thing is, which is found with its cure."""

import re
import socket
import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import pytest

from tasks.doctor.account import RunParts, account_findings, require_account, require_findings
from tasks.doctor.bucket import PREFIX
from tasks.doctor.examine import Check, rows_of
from tasks.doctor.findings import Finding, counts, with_status
from tasks.doctor.images import training_findings
from tasks.doctor.permissions import principal_of
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, LimitReached
from tasks.run.options import DeployOptions, Ec2TrainingOptions, Network, TrainingOptions
from tasks.run.settings import Settings
from tests.conftest import RunningLocalAws, running_localaws
from tests.counting_proxy import Calls, Fault, counting_proxy, ec2_error
from tests.keys import OPERATOR, for_environment, give_keys
from tests.localaws.callers import ACCOUNT, deny, document
from tests.localaws.roles import trust
from tests.vpcs import make_vpc

WANTED = RunParts(TrainingOptions(), DeployOptions(), Ec2TrainingOptions())
BUCKET = f"kennel-{ACCOUNT}-us-east-1"
DENIED = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>not you</Message></Error></ErrorResponse>"
LIST_QUOTAS = "ServiceQuotasV20190624.ListServiceQuotas"
THROTTLED = b'{"__type":"TooManyRequestsException","message":"Rate exceeded"}'


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RunningLocalAws]:
    policies = give_keys(tmp_path_factory.mktemp("operator"))
    with running_localaws("--operator", str(policies)) as server:
        yield server


@pytest.fixture
def calls(server: RunningLocalAws, monkeypatch: pytest.MonkeyPatch) -> Iterator[Calls]:
    """What the doctor asks, as the operator."""
    for name, value in for_environment(OPERATOR).items():
        monkeypatch.setenv(name, value)
    with counting_proxy(server.url) as calls:
        yield calls


def look(url: str, folder: Path, wanted: RunParts = WANTED, **given: Any) -> tuple[Finding, ...]:
    more = {"writes": True, **given}
    return account_findings(Settings(home=folder, endpoint_url=url), wanted, **more)


def failed(found: tuple[Finding, ...]) -> list[tuple[str, str, str]]:
    return [(each.check, each.seen, each.cure) for each in with_status(found, "fail")]


def test_an_account_in_use_has_no_finding_and_nothing_is_changed(calls: Calls, tmp_path: Path) -> None:
    found = look(calls.url, tmp_path, RunParts(TrainingOptions(spot=True), DeployOptions(), Ec2TrainingOptions()))
    assert counts(found) == {"ok": len(found), "warn": 0, "fail": 0, "skipped": 0}, found
    checks = {each.check for each in found}
    assert {"account", "clock", "credentials", "permissions", "quotas", "images", "network", "bucket"} <= checks
    assert [each for each in calls.mutating() if "Simulate" not in each] == []


def test_an_object_is_put_into_our_own_bucket_read_and_deleted(
    server: RunningLocalAws, calls: Calls, tmp_path: Path
) -> None:
    s3 = server.client("s3")
    s3.create_bucket(Bucket=BUCKET)
    try:
        (_, round_trip) = [each for each in look(calls.url, tmp_path) if each.check == "bucket"]
        assert round_trip.status == "ok" and f"s3://{BUCKET}/{PREFIX}" in round_trip.seen
        calls.seen.clear()
        quietly = look(calls.url, tmp_path, writes=False)
        assert len([each for each in quietly if each.check == "bucket"]) == 1
        assert [each for each in calls.seen if PREFIX in each] == []
        closed = deny("s3:GetObject", f"arn:aws:s3:::{BUCKET}/*", Principal="*")
        s3.put_bucket_policy(Bucket=BUCKET, Policy=document(closed))
        ((_, seen, _),) = failed(look(calls.url, tmp_path))
        assert "GetObject answered AccessDenied" in seen
        assert s3.list_objects_v2(Bucket=BUCKET)["KeyCount"] == 0, "it is deleted all the same"
    finally:
        s3.delete_bucket(Bucket=BUCKET)


def test_a_new_account_is_told_its_quotas_and_a_run_ends_with_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in for_environment(OPERATOR).items():
        monkeypatch.setenv(name, value)
    policies = give_keys(tmp_path / "new")
    with running_localaws("--operator", str(policies), "--account", "new") as new:
        found = look(new.url, tmp_path)
        assert [check for check, _, _ in failed(found)] == ["quotas", "quotas"]
        assert all("request-service-quota-increase" in cure for _, _, cure in failed(found))
        (warning,) = with_status(found, "warn")
        assert "'Concurrent executions' is 10" in warning.seen
        with pytest.raises(LimitReached, match="the run would fail: 2 findings") as refusal:
            require_findings(found)
        assert "ml.m5.large for endpoint usage" in refusal.value.why
        with pytest.raises(LimitReached, match="the account has too little of 2 quotas"):  # of this AWS nothing more
            require_account(Settings(home=tmp_path, endpoint_url=new.url), WANTED)


def test_a_policy_that_lacks_a_feature_is_named_with_the_command_that_prints_it(
    server: RunningLocalAws, calls: Calls, tmp_path: Path
) -> None:
    iam, arn = server.client("iam"), f"arn:aws:iam::{ACCOUNT}:policy/kennel-serving"
    iam.detach_user_policy(UserName="operator", PolicyArn=arn)
    try:
        found = look(calls.url, tmp_path)
        with pytest.raises(AwsFailed, match="the run would fail: 1 finding") as refusal:
            require_findings(found)
    finally:
        iam.attach_user_policy(UserName="operator", PolicyArn=arn)
    ((check, seen, cure),) = failed(found)
    assert check in refusal.value.why and cure == refusal.value.next_command
    assert check == "permissions" and re.match("serving: denied: .*iam:PassRole.* and [0-9]+ more", seen)
    assert cure == f"kennel iam operator-policy serving --account {ACCOUNT} --region us-east-1, and attach that"


NO_VPC = b'<DescribeVpcsResponse xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"><vpcSet/></DescribeVpcsResponse>'
PLANTED: Mapping[str, tuple[Fault, str, str]] = {
    "a foreign bucket": (
        Fault(f"HEAD /{BUCKET}", instead=(403, b""), headers=(("x-amz-request-id", "0"),)),
        "bucket",
        "export KENNEL_BUCKET=",
    ),
    "no default VPC": (Fault("DescribeVpcs", instead=(200, NO_VPC)), "network", "ec2 create-default-vpc"),
}
UNSEEN: Mapping[str, tuple[Fault, str]] = {
    "no simulation": (Fault("SimulatePrincipalPolicy", instead=(403, DENIED), times=99), "permissions"),
    "throttled quotas": (
        Fault("ServiceQuotasV20190624.ListServiceQuotas", instead=(400, THROTTLED), times=99),
        "quotas",
    ),
    "no offerings": (
        Fault("DescribeInstanceTypeOfferings", instead=ec2_error("UnauthorizedOperation", "no", 403)),
        "network",
    ),
    "an answer that is none": (Fault("GetPolicy", instead=(200, b"<html>"), times=9), "roles"),
}


@pytest.mark.parametrize("what", PLANTED)
def test_a_planted_defect_is_the_only_finding_and_has_its_cure(what: str, calls: Calls, tmp_path: Path) -> None:
    fault, check, cure = PLANTED[what]
    calls.faults.append(replace(fault))
    ((found, _, advice),) = failed(look(calls.url, tmp_path))
    assert found == check and cure in advice


@pytest.mark.parametrize("what", UNSEEN)
def test_what_cannot_be_looked_at_is_a_row_that_says_so(what: str, calls: Calls, tmp_path: Path) -> None:
    fault, check = UNSEEN[what]
    calls.faults.append(replace(fault))
    found = look(calls.url, tmp_path)
    assert {each.check for each in with_status(found, "skipped")} == {check}
    assert failed(found) == []


def test_a_network_of_the_users_is_judged_by_what_the_run_uses(
    server: RunningLocalAws, calls: Calls, tmp_path: Path
) -> None:
    """SageMaker takes subnets only together with security groups, and EC2 gets a group of its own."""
    network = Network(subnets=make_vpc(server.client("ec2"), "a").subnets)
    ec2, sagemaker = RunParts(ec2=Ec2TrainingOptions(), network=network), RunParts(TrainingOptions(), network=network)
    for parts, status in ((ec2, "ok"), (sagemaker, "fail")):
        (row,) = [each for each in look(calls.url, tmp_path, parts) if each.check == "network"]
        assert row.status == status, row


def test_what_has_no_answer_at_the_deadline_is_a_row_and_nobody_waits_for_it(calls: Calls, tmp_path: Path) -> None:
    looked = threading.Event()

    def late(answer: bytes) -> bytes:
        looked.wait(60)
        return answer

    calls.faults.append(Fault("DescribeVpcs", change=late, times=9))
    begun = time.monotonic()
    found = look(calls.url, tmp_path, deadline_seconds=2.5)
    assert time.monotonic() - begun < 30
    looked.set()
    (network,) = [each for each in found if each.check == "network"]
    assert network.status == "skipped" and "no answer within" in network.seen


def test_an_aws_that_never_answers_is_given_up_after_seconds(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in for_environment().items():
        monkeypatch.setenv(name, value)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        begun = time.monotonic()
        (_, account, rest) = look(f"http://127.0.0.1:{silent.getsockname()[1]}", tmp_path)
        assert time.monotonic() - begun < 30
    assert (account.status, rest.status) == ("skipped", "skipped") and "Read timeout" in account.seen


def test_without_an_answer_to_who_calls_nothing_else_is_asked(calls: Calls, tmp_path: Path) -> None:
    expired = b"<ErrorResponse><Error><Code>ExpiredToken</Code><Message>expired</Message></Error></ErrorResponse>"
    calls.faults.append(Fault("GetCallerIdentity", instead=(403, expired), times=9))
    (_, account, rest) = look(calls.url, tmp_path)
    assert (account.check, account.status, rest.status) == ("account", "fail", "skipped")
    assert "aws sso login" in account.cure
    assert set(calls.seen) == {"GetCallerIdentity"}


def test_a_clock_that_aws_refuses_is_told_with_the_difference(calls: Calls, tmp_path: Path) -> None:
    text = "Signature expired: 20260101T000000Z is now earlier than 20260101T001000Z"
    refused = (
        f"<ErrorResponse><Error><Code>SignatureDoesNotMatch</Code><Message>{text}</Message></Error></ErrorResponse>"
    )
    date = (("Date", "Thu, 01 Jan 2026 00:15:00 GMT"),)
    calls.faults.append(Fault("GetCallerIdentity", instead=(403, refused.encode()), times=9, headers=date))
    (_, clock, _) = look(calls.url, tmp_path)
    assert (clock.check, clock.status) == ("clock", "fail") and "timedatectl" in clock.cure


def test_another_account_and_an_unknown_region_are_found_before_anything_is_asked(
    calls: Calls, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    other = Settings(home=tmp_path, endpoint_url=calls.url, account_id="999988887777")
    (_, account, _) = account_findings(other, WANTED, writes=True)
    assert account.status == "fail" and "KENNEL_ACCOUNT_ID=999988887777" in account.seen
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    nowhere = Settings(home=tmp_path, account_id=ACCOUNT, region="eu-nowhere-9")
    (region, rest) = account_findings(nowhere, WANTED, writes=True)
    assert (region.status, rest.status) == ("fail", "skipped") and "export AWS_REGION=" in region.cure


PULL = "AmazonEC2ContainerRegistry_V20150921.BatchGetImage"
ECR: Mapping[str, tuple[tuple[int, bytes], str, str]] = {
    "there": ((200, b'{"images":[{"imageManifest":"{}"}],"failures":[]}'), "ok", "patched until 2027-07-20"),
    "no such tag": (
        (200, b'{"images":[],"failures":[{"failureReason":"Requested image not found"}]}'),
        *("fail", "does not exist (Requested image not found)"),
    ),
    "no such repository": ((400, b'{"__type":"RepositoryNotFoundException","message":"none"}'), "fail", "none"),
    "denied": ((400, b'{"__type":"AccessDeniedException","message":"not you"}'), "skipped", "not you"),
}


@pytest.mark.parametrize("what", ECR)
def test_a_container_image_is_asked_for_as_whoever_pulls_it_does(what: str, calls: Calls, tmp_path: Path) -> None:
    answer, status, words = ECR[what]
    calls.faults.append(Fault(PULL, b"763104351884", instead=answer))  # localaws has no ECR
    aws = Aws(Settings(home=tmp_path, endpoint_url=calls.url))
    check = Check("images", lambda: training_findings(aws, TrainingOptions(), date(2026, 11, 28)))
    (found,) = rows_of(check)
    assert found.status == status and words in found.seen
    assert PULL in calls.seen


def test_an_image_that_aws_does_not_have_in_the_region_is_found_without_a_call(calls: Calls, tmp_path: Path) -> None:
    aws = Aws(Settings(home=tmp_path, endpoint_url=calls.url, region="eu-nowhere-9"))
    (found,) = training_findings(aws, TrainingOptions(), date(2026, 11, 28))
    assert found.status == "fail" and calls.seen == []


def test_the_root_user_is_told_that_nobody_simulates_it(
    server: RunningLocalAws, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in for_environment().items():
        monkeypatch.setenv(name, value)
    (permissions,) = [each for each in look(server.url, tmp_path) if each.check == "permissions"]
    assert permissions.status == "warn" and "the root user" in permissions.seen


def test_a_session_is_simulated_as_its_role_whose_path_it_lacks(server: RunningLocalAws) -> None:
    iam = server.client("iam")
    made = iam.create_role(RoleName="sso", Path="/aws-reserved/x/", AssumeRolePolicyDocument=trust("lambda"))
    assert principal_of(f"arn:aws:sts::{ACCOUNT}:assumed-role/sso/ann", iam) == made["Role"]["Arn"]
    assert principal_of(f"arn:aws:sts::{ACCOUNT}:federated-user/ann", iam) is None
