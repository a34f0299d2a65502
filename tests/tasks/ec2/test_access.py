"""Access to a run's instances, on localaws's EC2 and IAM, whose answers are lost now and then."""

import dataclasses
import json
from pathlib import Path

import pytest

from tasks.account.role_policies import instance_role
from tasks.ec2.access import caller_address, find_group, find_key_pair, rules_of
from tasks.ec2.host_key import login_key
from tasks.ec2.profile import ensure_instance_profile, find_profile
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.errors import OwnershipRefused, SettingsRefused, Unreachable
from tasks.run.handle import Run
from tasks.run.settings import Settings
from tests.counting_proxy import Calls, Fault
from tests.tasks.ec2.instances import DATA, account, default_access


@pytest.fixture(scope="module")
def aws(counted: Calls, tmp_path_factory: pytest.TempPathFactory) -> Aws:
    """Clients for all tests of this module, one attempt a call: run ids keep tests apart."""
    return account(counted.url, tmp_path_factory.mktemp("access"), max_attempts=1)


def ports_open_to(aws: Aws, run_id: str) -> set[tuple[str, int, int]]:
    group = find_group(aws, f"kennel-{run_id}-ssh")
    assert group is not None
    return {(source, rule["FromPort"], rule["ToPort"]) for source, rule in rules_of(group)}


def states(run: Run) -> dict[str, str]:
    return {row.kind: row.state for row in run.ledger.rows()}


# --- the group --------------------------------------------------------------------------------------------------------


def test_ssh_is_open_to_the_callers_address_alone_and_to_no_other_port(aws: Aws) -> None:
    access = default_access(Run(aws, "access-1"))
    assert ports_open_to(aws, "access-1") == {("127.0.0.1/32", 22, 22)}
    group = find_group(aws, "kennel-access-1-ssh")
    assert group is not None and group["GroupId"] == access.group_id
    assert {tag["Key"]: tag["Value"] for tag in group["Tags"]} == naming.tags("access-1")


def test_several_instances_may_reach_each_other_by_tcp(aws: Aws) -> None:
    access = default_access(Run(aws, "access-2"), instance_count=2)
    assert ports_open_to(aws, "access-2") == {("127.0.0.1/32", 22, 22), (access.group_id, 0, 65_535)}


def test_a_new_address_of_the_caller_takes_the_place_of_the_old_one(aws: Aws) -> None:
    run = Run(aws, "access-3")
    default_access(run, instance_count=2)
    moved = Aws(aws.settings.model_copy(update={"ssh_from": "198.51.100.7/32", "ssh_port": 2222}))
    default_access(Run(moved, "access-3"))
    assert ports_open_to(aws, "access-3") == {("198.51.100.7/32", 2222, 2222)}


def test_what_somebody_else_opened_in_the_group_is_closed(aws: Aws) -> None:
    run = Run(aws, "access-4")
    group = default_access(run).group_id
    wide = [{"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "IpRanges": [{"CidrIp": "0.0.0.0/0"}]}]
    aws.client("ec2").authorize_security_group_ingress(GroupId=group, IpPermissions=wide)
    default_access(run)
    assert ports_open_to(aws, "access-4") == {("127.0.0.1/32", 22, 22)}


def test_a_second_time_nothing_is_made_or_changed(aws: Aws, calls: Calls) -> None:
    run = Run(aws, "access-5")
    spec = instance_role(aws, "access-5", DATA, None)
    made = [default_access(run), ensure_instance_profile(run, spec)]
    calls.seen.clear()
    assert [default_access(run), ensure_instance_profile(run, spec)] == made
    assert calls.mutating() == []
    assert set(states(run).values()) == {"created"}


def test_a_group_of_that_name_without_our_tags_is_left_alone(aws: Aws) -> None:
    aws.client("ec2").create_security_group(GroupName="kennel-access-6-ssh", Description="theirs")
    with pytest.raises(OwnershipRefused, match="security group kennel-access-6-ssh"):
        default_access(Run(aws, "access-6"))
    assert ports_open_to(aws, "access-6") == set()


# --- the caller's address ---------------------------------------------------------------------------------------------


def address_told(calls: Calls, answer: bytes, status: int = 200) -> Settings:
    calls.faults.append(Fault("GET /_localaws/caller-address", instead=(status, answer)))
    return Settings(endpoint_url=calls.url)


def test_the_callers_address_is_asked_for_at_the_endpoint_in_use(calls: Calls) -> None:
    assert str(caller_address(address_told(calls, b"203.0.113.9\n"))) == "203.0.113.9"


def test_on_real_aws_the_address_comes_from_aws() -> None:
    assert Settings(account_id="123456789012").caller_address_source() == "https://checkip.amazonaws.com"


@pytest.mark.parametrize("answer", [b"<html>hello</html>", b"2001:db8::1", b"", b"203.0.113.9, 10.0.0.1", b"\xff"])
def test_an_answer_that_is_no_ipv4_address_opens_nothing(calls: Calls, answer: bytes) -> None:
    with pytest.raises(Unreachable, match="did not tell it") as caught:
        caller_address(address_told(calls, answer))
    assert "KENNEL_SSH_FROM" in caught.value.next_command


def test_an_address_service_that_fails_opens_nothing(calls: Calls) -> None:
    with pytest.raises(Unreachable, match="did not tell it"):
        caller_address(address_told(calls, b"203.0.113.9", status=503))


@pytest.mark.parametrize("cidr", ["0.0.0.0/0", "203.0.113.9/24", "anywhere", "::/0"])
def test_an_ssh_from_that_is_too_wide_or_no_network_is_refused(cidr: str) -> None:
    with pytest.raises(SettingsRefused, match="KENNEL_SSH_FROM"):
        Settings.load(ssh_from=cidr)


# --- the key pair -----------------------------------------------------------------------------------------------------


def test_the_key_pair_is_the_public_half_of_the_login_key(aws: Aws) -> None:
    access = default_access(Run(aws, "access-7"))
    found = find_key_pair(aws, "kennel-access-7-login")
    assert found is not None
    assert found["PublicKey"].split()[:2] == login_key(aws.settings.run_dir("access-7")).public.split()
    assert (access.key_name, access.login_key.name) == ("kennel-access-7-login", "login_key")


def test_a_key_pair_whose_private_half_was_lost_is_replaced(aws: Aws) -> None:
    run = Run(aws, "access-8")
    lost = default_access(run)
    lost.login_key.unlink()
    again = default_access(run)
    found = find_key_pair(aws, again.key_name)
    assert found is not None
    assert found["PublicKey"].split()[:2] == again.login_public.split() != lost.login_public.split()


def test_a_key_pair_of_that_name_without_our_tags_is_left_alone(aws: Aws, tmp_path: Path) -> None:
    public = login_key(tmp_path / "theirs").public
    aws.client("ec2").import_key_pair(KeyName="kennel-access-9-login", PublicKeyMaterial=public.encode())
    with pytest.raises(OwnershipRefused, match="key pair kennel-access-9-login"):
        default_access(Run(aws, "access-9"))
    found = find_key_pair(aws, "kennel-access-9-login")
    assert found is not None and found["PublicKey"].split()[:2] == public.split()


# --- the profile ------------------------------------------------------------------------------------------------------


def test_the_instances_role_reads_its_inputs_and_keeps_its_checkpoints_and_nothing_else(aws: Aws) -> None:
    spec = instance_role(aws, "run", DATA, None, keeps_checkpoints=True)
    granted = {(action, arn) for item in spec.statements for action in item["Action"] for arn in item["Resource"]}
    checkpoints = "arn:aws:s3:::b/runs/run/ec2/checkpoints/*"
    assert granted == {
        ("s3:GetObject", "arn:aws:s3:::b/datasets/d/*"),
        ("s3:GetObject", checkpoints),
        ("s3:PutObject", checkpoints),
        ("s3:AbortMultipartUpload", checkpoints),
        ("s3:ListBucket", "arn:aws:s3:::b"),
    }
    listed = spec.statements[-1]["Condition"]["StringLike"]["s3:prefix"]
    assert listed == ["runs/run/ec2/checkpoints/*"]
    assert spec.trust["Statement"][0]["Principal"] == {"Service": "ec2.amazonaws.com"}
    (usual,) = instance_role(aws, "run", DATA, None).statements
    assert (usual["Action"], usual["Resource"]) == (["s3:GetObject"], ["arn:aws:s3:::b/datasets/d/*"])


def roles_in(aws: Aws, name: str) -> list[str]:
    profile = find_profile(aws, name)
    assert profile is not None
    return [role["RoleName"] for role in profile["Roles"]]


def test_a_profile_holds_the_runs_role_and_another_is_taken_out(aws: Aws) -> None:
    run, spec, iam = Run(aws, "access-10"), instance_role(aws, "access-10", DATA, None), aws.client("iam")
    name = ensure_instance_profile(run, spec)
    iam.create_role(RoleName="theirs-10", AssumeRolePolicyDocument=json.dumps(spec.trust))
    iam.remove_role_from_instance_profile(InstanceProfileName=name, RoleName=spec.name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName="theirs-10")
    ensure_instance_profile(run, spec)
    assert roles_in(aws, name) == [spec.name]


def test_a_profile_of_that_name_without_our_tags_is_left_alone(aws: Aws) -> None:
    spec = instance_role(aws, "access-11", DATA, None)
    aws.client("iam").create_instance_profile(InstanceProfileName=spec.name)
    with pytest.raises(OwnershipRefused, match="instance profile kennel-access-11-instance"):
        ensure_instance_profile(Run(aws, "access-11"), spec)
    assert roles_in(aws, spec.name) == []


def test_a_role_that_iam_does_not_know_yet_is_waited_for(aws: Aws, calls: Calls) -> None:
    spec = instance_role(aws, "access-12", DATA, None)
    missing = b"<ErrorResponse><Error><Code>NoSuchEntity</Code><Message>no role</Message></Error></ErrorResponse>"
    calls.faults.append(Fault("AddRoleToInstanceProfile", instead=(404, missing)))
    ensure_instance_profile(Run(aws, "access-12"), spec)
    assert roles_in(aws, spec.name) == [spec.name]
    assert calls.seen.count("AddRoleToInstanceProfile") == 2


# --- answers that are lost --------------------------------------------------------------------------------------------

RULE = "AuthorizeSecurityGroupIngress"
MADE = ("ImportKeyPair", "CreateSecurityGroup", RULE, "CreateInstanceProfile", "AddRoleToInstanceProfile")


def everything(aws: Aws, run_id: str) -> dict[str, int]:
    """Count what carries the run's tags or name."""
    ours = [{"Name": "tag:kennel:run", "Values": [run_id]}]
    ec2, name = aws.client("ec2"), f"kennel-{run_id}-instance"
    profiles = aws.client("iam").list_instance_profiles()["InstanceProfiles"]
    return {
        "groups": len(ec2.describe_security_groups(Filters=ours)["SecurityGroups"]),
        "keys": len(ec2.describe_key_pairs(Filters=ours)["KeyPairs"]),
        "profiles": len([item for item in profiles if item["InstanceProfileName"] == name]),
        "roles": len(roles_in(aws, name)),
    }


def ensure_all(aws: Aws, run_id: str) -> Run:
    run = Run(aws, run_id)
    default_access(run)
    ensure_instance_profile(run, instance_role(aws, run_id, DATA, None))
    return run


@pytest.mark.parametrize("operation", MADE)
def test_a_lost_answer_leaves_one_of_each(aws: Aws, calls: Calls, operation: str) -> None:
    run_id = f"lost-{MADE.index(operation)}"
    calls.faults.append(Fault(operation))
    for _ in range(2):
        run = ensure_all(aws, run_id)
    assert calls.faults[0].times == 0
    assert everything(aws, run_id) == {"groups": 1, "keys": 1, "profiles": 1, "roles": 1}
    assert ports_open_to(aws, run_id) == {("127.0.0.1/32", 22, 22)}
    assert set(states(run).values()) == {"created"}


def test_a_call_that_botocore_sends_again_after_a_lost_answer_is_recognised_too(calls: Calls, tmp_path: Path) -> None:
    aws = account(calls.url, tmp_path, max_attempts=3)
    calls.faults.extend(Fault(operation) for operation in MADE)
    run = ensure_all(aws, "lost-all")
    assert [fault.times for fault in calls.faults] == [0] * len(MADE)
    assert everything(aws, "lost-all") == {"groups": 1, "keys": 1, "profiles": 1, "roles": 1}
    assert ports_open_to(aws, "lost-all") == {("127.0.0.1/32", 22, 22)}
    assert set(states(run).values()) == {"created"}


def test_access_says_nothing_of_the_private_key(aws: Aws) -> None:
    access = default_access(Run(aws, "access-13"))
    secret = access.login_key.read_text().split("\n")[1]
    assert secret not in repr(access) + json.dumps(dataclasses.asdict(access), default=str)
