"""What is read of an account: it changes nothing, and what cannot be looked at is said."""

import base64
import json
import re
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any
from urllib.parse import quote

import boto3
import pytest

from tasks.audit.account import ROOT, Account, Use
from tasks.audit.checks import check
from tasks.audit.collect import collect
from tasks.run.aws import Aws
from tasks.run.errors import AccessDenied, MalformedAnswer, Unreachable, WaitTimedOut
from tasks.run.settings import Settings
from tasks.run.waiting import Waiting
from tests.conftest import RunningLocalAws
from tests.counting_proxy import Calls, Fault, counting_proxy, ec2_error
from tests.keys import for_boto3
from tests.tasks.account.test_policy_documents import BAD
from tests.tasks.audit.planted import OWN, allow, document, make_function, service

GENERATED = {"GenerateCredentialReport", "GenerateServiceLastAccessedDetails"}
"""AWS writes a report for the caller; nothing of the account changes."""
DENIED = b"<ErrorResponse><Error><Code>AccessDenied</Code><Message>no</Message></Error></ErrorResponse>"
IDS = (("x-amz-request-id", "4442587FB7D0A2F9"),)
PUBLIC = "http://acs.amazonaws.com/groups/global/AllUsers"


@pytest.fixture(scope="module")
def proxied(own_localaws: RunningLocalAws) -> Iterator[Calls]:
    with counting_proxy(own_localaws.url) as calls:
        _make_things(own_localaws)
        yield calls


@pytest.fixture
def calls(proxied: Calls) -> Iterator[Calls]:
    proxied.seen.clear()
    yield proxied
    proxied.faults.clear()


def _make_things(server: RunningLocalAws) -> None:
    iam, s3, functions = server.client("iam"), server.client("s3"), server.client("lambda")
    trust, nothing = json.dumps(document(service("lambda"))), json.dumps(document(allow("s3:ListAllMyBuckets")))
    iam.create_role(RoleName="r", AssumeRolePolicyDocument=trust)
    iam.put_role_policy(RoleName="r", PolicyName="inline", PolicyDocument=nothing)
    iam.create_group(GroupName="g")
    iam.create_user(UserName="ann")
    iam.add_user_to_group(GroupName="g", UserName="ann")
    iam.create_login_profile(UserName="ann", Password="correct Horse 1!")
    for _ in range(2):
        iam.create_access_key(UserName="ann")
    make_function(functions, "f", f"arn:aws:iam::{OWN}:role/r")
    functions.publish_version(FunctionName="f")
    functions.create_alias(FunctionName="f", Name="live", FunctionVersion="1")
    permission = {"Action": "lambda:InvokeFunction", "Principal": "*", "StatementId": "all"}
    functions.add_permission(FunctionName="f", Qualifier="live", **permission)
    for name in ("open-bucket", "blocked-bucket", "closed-bucket"):
        s3.create_bucket(Bucket=name)
    for name in ("open-bucket", "blocked-bucket"):
        s3.put_bucket_acl(Bucket=name, ACL="public-read")
    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket="blocked-bucket", PublicAccessBlockConfiguration=block)


def look(calls: Calls, **more: Any) -> Account:
    return collect(Aws(Settings(endpoint_url=calls.url, region="us-east-1")), **{"unused_days": 90, **more})


def test_everything_is_read_and_nothing_is_changed(calls: Calls) -> None:
    account = look(calls)
    assert {*calls.mutating()} <= GENERATED
    assert {each.name: each.kind for each in account.identities} == {"r": "role", "ann": "user", "g": "group"}
    assert [(each.service, each.what) for each in account.uses] == [("lambda", "f"), ("lambda", "f")]
    assert {each.name: PUBLIC in each.grantees for each in account.buckets} == {
        "open-bucket": True,
        "blocked-bucket": False,
        "closed-bucket": False,
    }
    (row,) = (each for each in account.credentials if each.user == "ann")
    assert (row.has_password, row.has_mfa, len(row.keys)) == (True, False, 2)
    assert all(key.startswith("AKIA") and made <= datetime.now(UTC) for key, made in row.keys.items())
    assert sorted((each.name, each.id) for each in check(account, unused_days=90)) == [
        ("ann", "access-key-several"),
        ("ann", "no-mfa"),
        ("f", "function-public"),
        ("open-bucket", "bucket-public"),
    ]


def test_what_was_not_looked_at_is_said(calls: Calls) -> None:
    account = look(calls)
    assert account.regions == ("us-east-1",)
    assert account.notes == ("not looked at: the account's public access block (its service does not answer)",)


def enable_too(calls: Calls, region: str) -> None:
    """Have another region be enabled, in which localaws has what moto keeps."""
    item = f"<item><regionName>{region}</regionName></item></regionInfo>".encode()
    calls.faults.append(Fault("DescribeRegions", change=lambda answer: answer.replace(b"</regionInfo>", item)))


def test_all_enabled_regions_are_looked_at(own_localaws: RunningLocalAws, calls: Calls) -> None:
    arn = f"arn:aws:iam::{OWN}:instance-profile/far"
    far = boto3.client("ec2", endpoint_url=own_localaws.url, region_name="eu-west-1", **for_boto3())
    made = far.create_launch_template(
        LaunchTemplateName="far", LaunchTemplateData={"IamInstanceProfile": {"Arn": arn}}
    )["LaunchTemplate"]
    enable_too(calls, "eu-west-1")
    account = look(calls)
    far.delete_launch_template(LaunchTemplateId=made["LaunchTemplateId"])
    assert account.regions == ("us-east-1", "eu-west-1")
    assert Use("ec2", made["LaunchTemplateId"], arn) in account.uses
    assert Use("lambda", "f", f"arn:aws:iam::{OWN}:role/r") in account.uses


def test_a_region_that_refuses_is_said_and_hides_no_other(calls: Calls) -> None:
    enable_too(calls, "eu-west-1")
    code = b'{"__type": "AccessDeniedException", "message": "an SCP says no"}'
    calls.faults.append(Fault("", instead=(403, code), headers=IDS, region="eu-west-1", times=99))
    account = look(calls)
    (said,) = (note for note in account.notes if "eu-west-1" in note)
    assert said == "not looked at: region eu-west-1 (ListFunctions answered AccessDeniedException: an SCP says no)"
    assert account.unseen == {"lambda", "sagemaker", "ec2"}
    assert Use("lambda", "f", f"arn:aws:iam::{OWN}:role/r") in account.uses


def test_a_service_that_a_region_refuses_is_said_with_the_region(calls: Calls) -> None:
    enable_too(calls, "eu-west-1")
    code = b'{"__type": "AccessDeniedException", "message": "no"}'
    calls.faults.append(Fault("SageMaker.ListModels", instead=(400, code), region="eu-west-1"))
    account = look(calls)
    assert any(note.startswith("not looked at: SageMaker's models in eu-west-1 (") for note in account.notes)
    assert account.unseen == {"sagemaker"}


def test_named_regions_are_looked_at_and_the_others_said(calls: Calls) -> None:
    account = look(calls, regions=("eu-west-1", "eu-west-1"))
    assert (account.regions, account.uses) == (("eu-west-1",), ())
    assert "not looked at: Lambda, SageMaker and EC2 of other regions than eu-west-1" in account.notes
    assert "DescribeRegions" not in calls.seen


def test_regions_that_may_not_be_listed_are_said(calls: Calls) -> None:
    calls.faults.append(Fault("DescribeRegions", instead=ec2_error("UnauthorizedOperation", "no", 403)))
    account = look(calls)
    assert account.regions == ("us-east-1",)
    assert any(note.startswith("not looked at: which regions are enabled (") for note in account.notes)
    assert "not looked at: Lambda, SageMaker and EC2 of other regions than us-east-1" in account.notes


@pytest.mark.parametrize(
    ("operation", "what", "unseen"),
    [
        ("ListInstanceProfiles", "instance profiles", {"ec2"}),
        ("DescribeInstances", "instances", {"ec2"}),
        ("SageMaker.ListModels", "SageMaker's models", {"sagemaker"}),
        ("GetCredentialReport", "the credential report", set()),
    ],
)
def test_a_call_that_is_denied_becomes_a_note(calls: Calls, operation: str, what: str, unseen: set[str]) -> None:
    code = b'{"__type": "AccessDeniedException", "message": "no"}' if "." in operation else DENIED
    calls.faults.append(Fault(operation, instead=(400 if "." in operation else 403, code)))
    account = look(calls)
    assert account.unseen == unseen
    assert any(note.startswith(f"not looked at: {what} (") and "AccessDenied" in note for note in account.notes)
    assert account.buckets, "what comes behind it is looked at"


def test_a_bucket_that_may_not_be_looked_at_hides_no_other(calls: Calls) -> None:
    denied = b"<Error><Code>AccessDenied</Code><Message>no</Message></Error>"
    calls.faults.append(Fault("GET /blocked-bucket?policy", instead=(403, denied)))
    account = look(calls)
    assert {each.name for each in account.buckets} == {"closed-bucket", "open-bucket"}
    assert "not looked at: bucket blocked-bucket (GetBucketPolicy answered AccessDenied: no)" in account.notes


@pytest.mark.parametrize("text", [each for each in BAD if each], ids=lambda text: text[:40])
def test_a_policy_that_is_none_becomes_a_note(calls: Calls, text: str) -> None:
    pattern = rb"(<(PolicyDocument|AssumeRolePolicyDocument|Document)>).*?(</)"

    def spoil(content: bytes) -> bytes:
        return re.sub(pattern, lambda found: found[1] + quote(text).encode() + found[3], content, flags=re.DOTALL)

    calls.faults.append(Fault("GetAccountAuthorizationDetails", change=spoil))
    calls.faults.append(Fault("GET /open-bucket?policy", instead=(200, text.encode()), headers=IDS))
    account = look(calls)
    notes = [note for note in account.notes if note.startswith("not looked at: what the policy ")]
    assert any("inline of arn:aws:iam::" in note for note in notes)
    assert any("who may assume arn:aws:iam::" in note for note in notes)
    assert any(note.startswith("not looked at: bucket open-bucket") for note in account.notes)
    assert "ann" in {each.name for each in check(account, unused_days=90)}, "the checks judge the rest"


def test_identities_that_lack_something_end_the_audit_with_awss_error(calls: Calls) -> None:
    cut = Fault("GetAccountAuthorizationDetails", change=lambda content: re.sub(rb"<Path>.*?</Path>", b"", content))
    calls.faults.append(cut)
    with pytest.raises(MalformedAnswer, match="GetAccountAuthorizationDetails"):
        look(calls)


def test_an_aws_that_ends_ends_the_audit(own_localaws: RunningLocalAws) -> None:
    with counting_proxy(own_localaws.url) as gone:
        aws = Aws(Settings(endpoint_url=gone.url, region="us-east-1", max_attempts=1))
        aws.client("iam")
        gone.faults += [Fault("ListInstanceProfiles"), Fault("GetCallerIdentity")]
        with pytest.raises(Unreachable):
            collect(aws, unused_days=90)


def test_without_the_identities_there_is_no_audit(calls: Calls) -> None:
    calls.faults.append(Fault("GetAccountAuthorizationDetails", instead=(403, DENIED)))
    with pytest.raises(AccessDenied, match="GetAccountAuthorizationDetails answered AccessDenied"):
        look(calls)


def test_after_the_deadline_the_rest_is_a_note(calls: Calls) -> None:
    clock = iter([0.0, 1.0, 2.0])
    account = look(calls, deadline_seconds=10.0, waiting=Waiting(clock=lambda: next(clock, 11.0)))
    assert [each.name for each in account.roles] == ["r"] and account.buckets == ()
    assert "not looked at: buckets (not called: the audit's deadline has passed)" in account.notes
    assert account.unseen == {"ec2", "lambda", "sagemaker"}
    with pytest.raises(WaitTimedOut, match="the audit's deadline has passed"):
        look(calls, deadline_seconds=-1.0)


def test_a_policy_that_iam_does_not_list_is_said(calls: Calls) -> None:
    def without(answer: bytes) -> bytes:
        attached = b"<AttachedManagedPolicies><member><PolicyName>x</PolicyName><PolicyArn>arn:aws:iam::aws:policy/x"
        return answer.replace(
            b"<AttachedManagedPolicies/>", attached + b"</PolicyArn></member></AttachedManagedPolicies>"
        ).replace(b"<AttachedManagedPolicies />", attached + b"</PolicyArn></member></AttachedManagedPolicies>")

    calls.faults.append(Fault("GetAccountAuthorizationDetails", change=without))
    assert "not looked at: what the policy arn:aws:iam::aws:policy/x says (IAM did not list it)" in look(calls).notes


def test_every_page_is_read(calls: Calls) -> None:
    def with_more(answer: bytes) -> bytes:
        return answer.replace(b"<IsTruncated>false</IsTruncated>", b"<IsTruncated>true</IsTruncated><Marker>m</Marker>")

    calls.faults.append(Fault("GetAccountAuthorizationDetails", change=with_more))
    assert [each.name for each in look(calls).roles] == ["r", "r"], "the second page is the first once more"


def answer(operation: str, members: str) -> tuple[int, bytes]:
    """Return an answer of IAM's, as it spells it."""
    result = f"<{operation}Result>{members}</{operation}Result>"
    return 200, f"<{operation}Response>{result}</{operation}Response>".encode()


def accesses(status: str, service: str, more: str) -> tuple[int, bytes]:
    last = "<LastAuthenticated>2026-11-01T00:00:00Z</LastAuthenticated>" if service == "s3" else ""
    member = f"<member><ServiceName>x</ServiceName><ServiceNamespace>{service}</ServiceNamespace>{last}</member>"
    dates = "".join(f"<Job{of}Date>2026-11-28T00:00:00Z</Job{of}Date>" for of in ("Creation", "Completion"))
    listed = f"<ServicesLastAccessed>{member}</ServicesLastAccessed>{dates}{more}"
    return answer("GetServiceLastAccessedDetails", f"<JobStatus>{status}</JobStatus>{listed}")


def test_last_accesses_are_waited_for_and_read_page_by_page(calls: Calls) -> None:
    cut = "<IsTruncated>true</IsTruncated><Marker>m</Marker>"
    replies = [accesses("IN_PROGRESS", "s3", ""), accesses("COMPLETED", "s3", cut), accesses("COMPLETED", "sqs", "")]
    job = answer("GenerateServiceLastAccessedDetails", f"<JobId>{'1' * 36}</JobId>")
    calls.faults.append(Fault("GenerateServiceLastAccessedDetails", instead=job))
    calls.faults += [Fault("GetServiceLastAccessedDetails", instead=reply) for reply in replies]
    found = look(calls, unused_days=0, waiting=Waiting(sleep=lambda _: None)).last_accessed
    assert found == {f"arn:aws:iam::{OWN}:role/r": {"s3": datetime(2026, 11, 1, tzinfo=UTC), "sqs": None}}
    assert calls.seen.count("GetServiceLastAccessedDetails") == 3


def test_the_root_user_s_row_is_judged_by_the_report_and_the_summary(calls: Calls) -> None:
    def with_root(reply: bytes) -> bytes:
        before, _, rest = reply.partition(b"<Content>")
        content, _, after = rest.partition(b"</Content>")
        lines = base64.b64decode(content).decode().splitlines(keepends=True)
        report = "".join(line for line in lines if not line.startswith(ROOT))
        names = lines[0].strip().split(",")
        values = {"user": ROOT, "arn": f"arn:aws:iam::{OWN}:root", "password_enabled": "not_supported"}
        values |= {
            "mfa_active": "false",
            "access_key_1_active": "true",
            "access_key_1_last_rotated": "2020-01-01T00:00:00+00:00",
        }
        row = ",".join(values.get(name, "false") for name in names)
        return before + b"<Content>" + base64.b64encode(f"{report}{row}\n".encode()) + b"</Content>" + after

    def with_password(reply: bytes) -> bytes:
        name = b"<key>AccountPasswordPresent</key><value>"
        return reply.replace(name + b"0<", name + b"1<")

    calls.faults.append(Fault("GetCredentialReport", change=with_root))
    calls.faults.append(Fault("GetAccountSummary", change=with_password))
    account = look(calls)
    assert [each.has_password for each in account.credentials if each.user == ROOT] == [True]
    kinds = {each.id for each in check(account, unused_days=90) if each.name == ROOT}
    assert kinds == {"root-access-key", "no-mfa"}


def test_an_answer_that_is_not_as_it_should_be_becomes_a_note(calls: Calls) -> None:
    calls.faults.append(Fault("GetAccountSummary", change=lambda reply: reply.replace(b"SummaryMap", b"Other")))
    assert any("(AWS's answer is not as it should be: KeyError('SummaryMap'))" in note for note in look(calls).notes)
