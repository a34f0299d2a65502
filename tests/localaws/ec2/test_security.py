"""Keys and groups of EC2 through boto3: who logs in, who is let in, and from when on."""

import io
from collections.abc import Iterator
from typing import Any

import paramiko
import pytest
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519, rsa

from tests.conftest import RunningLocalAws
from tests.localaws.ec2.ec2_rooms import CALLER, Ec2Room, refused, tcp
from tests.localaws.roles import make_role


@pytest.fixture
def room(localaws: RunningLocalAws) -> Iterator[Ec2Room]:
    with Ec2Room(localaws) as room:
        yield room


def public_line(key: Any) -> bytes:
    openssh = serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    line: bytes = key.public_key().public_bytes(*openssh)
    return line


def pem(key: Any) -> str:
    private = serialization.PrivateFormat.OpenSSH
    return str(key.private_bytes(serialization.Encoding.PEM, private, serialization.NoEncryption()).decode())


# --- keys -------------------------------------------------------------------------------------------------------------


def test_a_created_key_logs_in_and_another_does_not(room: Ec2Room) -> None:
    name = room.name()
    tags = [{"ResourceType": "key-pair", "Tags": [{"Key": "room", "Value": name}]}]
    made = room.ec2.create_key_pair(KeyName=name, KeyType="ed25519", TagSpecifications=tags)
    described = room.running(KeyName=name, SecurityGroupIds=[room.group(22)])
    own = paramiko.Ed25519Key.from_private_key(io.StringIO(made["KeyMaterial"]))
    with room.ssh(described["PublicIpAddress"], own) as client:
        _, stdout, _ = client.exec_command("id -un", timeout=60)
        assert stdout.read().decode().strip() == "ubuntu"
    other = paramiko.Ed25519Key.from_private_key(io.StringIO(pem(ed25519.Ed25519PrivateKey.generate())))
    with pytest.raises(paramiko.AuthenticationException), room.ssh(described["PublicIpAddress"], other):
        pass


def test_an_instances_profile_gives_it_the_credentials_of_its_role(room: Ec2Room) -> None:
    iam, name = room.server.client("iam"), room.name()
    make_role(iam, name, "ec2")
    iam.create_instance_profile(InstanceProfileName=name)
    iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    key = room.ec2.create_key_pair(KeyName=name, KeyType="ed25519")["KeyMaterial"]
    described = room.running(KeyName=name, SecurityGroupIds=[room.group(22)], IamInstanceProfile={"Name": name})
    asked = "import boto3; print(boto3.client('sts', 'us-east-1').get_caller_identity()['Arn'])"
    with room.ssh(described["PublicIpAddress"], paramiko.Ed25519Key.from_private_key(io.StringIO(key))) as client:
        _, stdout, stderr = client.exec_command(f'/opt/pytorch/bin/python -c "{asked}"', timeout=20)
        answer, errors = stdout.read().decode().strip(), stderr.read().decode()
    assert answer == f"arn:aws:sts::123456789012:assumed-role/{name}/{described['InstanceId']}", errors


def test_an_imported_rsa_key_logs_in(room: Ec2Room) -> None:
    name, key = room.name(), rsa.generate_private_key(public_exponent=65537, key_size=2048)
    room.ec2.import_key_pair(KeyName=name, PublicKeyMaterial=public_line(key))
    described = room.running(KeyName=name, SecurityGroupIds=[room.group(22)])
    with room.ssh(described["PublicIpAddress"], paramiko.RSAKey.from_private_key(io.StringIO(pem(key)))):
        pass


def test_keys_are_found_and_deleted_by_name_and_by_id(room: Ec2Room) -> None:
    name, key = room.name(), ed25519.Ed25519PrivateKey.generate()
    tags = [{"ResourceType": "key-pair", "Tags": [{"Key": "room", "Value": name}]}]
    made = room.ec2.import_key_pair(KeyName=name, PublicKeyMaterial=public_line(key), TagSpecifications=tags)
    (by_tag,) = room.ec2.describe_key_pairs(Filters=[{"Name": "tag:room", "Values": [name]}])["KeyPairs"]
    (by_id,) = room.ec2.describe_key_pairs(KeyPairIds=[made["KeyPairId"]])["KeyPairs"]
    assert by_tag["KeyName"] == by_id["KeyName"] == name
    with refused("InvalidKeyPair.Duplicate", f"'{name}' already exists"):
        room.ec2.import_key_pair(KeyName=name, PublicKeyMaterial=public_line(key))
    room.ec2.delete_key_pair(KeyPairId=made["KeyPairId"])
    with refused("InvalidKeyPair.NotFound", f"The key pair '{name}' does not exist"):
        room.ec2.describe_key_pairs(KeyNames=[name])
    room.ec2.delete_key_pair(KeyName=name)  # once more is no error, as on AWS


def test_what_is_no_public_key_is_refused(room: Ec2Room) -> None:
    with refused("InvalidKeyPair.Format", "valid OpenSSH public key"):
        room.ec2.import_key_pair(KeyName=room.name(), PublicKeyMaterial=b"nonsense")


# --- rules ------------------------------------------------------------------------------------------------------------


def test_a_port_is_closed_until_a_rule_opens_it_and_after_the_rule_is_revoked(room: Ec2Room) -> None:
    group = room.group()
    described = room.running(SecurityGroupIds=[group])
    address = described["PublicIpAddress"]
    assert not room.is_open(address)
    room.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(22, cidr=CALLER)])
    assert room.is_open(address)
    room.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[tcp(22, cidr=CALLER)])
    assert not room.is_open(address)


def test_a_rule_for_others_does_not_let_the_caller_in(room: Ec2Room) -> None:
    group = room.group()
    room.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(22, cidr="203.0.113.7/32")])
    described = room.running(SecurityGroupIds=[group])
    assert not room.is_open(described["PublicIpAddress"])


def test_an_instance_can_be_moved_to_another_group(room: Ec2Room) -> None:
    described = room.running(SecurityGroupIds=[room.group()])
    opened = room.group(22)
    room.ec2.modify_instance_attribute(InstanceId=described["InstanceId"], Groups=[opened])
    assert room.is_open(described["PublicIpAddress"])
    assert room.describe(described["InstanceId"])["SecurityGroups"][0]["GroupId"] == opened


def test_rules_can_be_changed_in_place(room: Ec2Room) -> None:
    group = room.group(22)
    described = room.running(SecurityGroupIds=[group])
    rules = room.ec2.describe_security_group_rules(Filters=[{"Name": "group-id", "Values": [group]}])
    (rule,) = [each for each in rules["SecurityGroupRules"] if not each["IsEgress"]]
    changed = {"IpProtocol": "tcp", "FromPort": 22, "ToPort": 22, "CidrIpv4": "203.0.113.7/32"}
    room.ec2.modify_security_group_rules(
        GroupId=group,
        SecurityGroupRules=[{"SecurityGroupRuleId": rule["SecurityGroupRuleId"], "SecurityGroupRule": changed}],
    )
    assert not room.is_open(described["PublicIpAddress"])


def test_a_group_that_refers_to_itself_joins_its_instances_and_no_others(room: Ec2Room) -> None:
    name = room.name()
    key = room.ec2.create_key_pair(KeyName=name, KeyType="ed25519")["KeyMaterial"]
    login = paramiko.Ed25519Key.from_private_key(io.StringIO(key))
    front, cluster = room.group(22), room.group()
    room.ec2.authorize_security_group_ingress(
        GroupId=cluster, IpPermissions=[{"IpProtocol": "-1", "UserIdGroupPairs": [{"GroupId": cluster}]}]
    )
    members = room.launch_all(MinCount=2, MaxCount=2, KeyName=name, SecurityGroupIds=[front, cluster])
    stranger = room.launch(KeyName=name, SecurityGroupIds=[front])
    first, second = (room.until(each, "running") for each in members)
    outside = room.until(stranger, "running")
    probe = f"timeout 5 bash -c 'head -c 4 < /dev/tcp/{second['PrivateIpAddress']}/22'"

    def answer(described: dict[str, Any]) -> str:
        with room.ssh(described["PublicIpAddress"], login) as client:
            _, stdout, _ = client.exec_command(probe, timeout=60)
            return str(stdout.read().decode())

    assert answer(first) == "SSH-"
    assert answer(outside) == ""
    room.ec2.modify_instance_attribute(InstanceId=stranger, Groups=[front, cluster])
    assert answer(outside) == "SSH-"


def test_what_is_no_rule_is_refused(room: Ec2Room) -> None:
    group = room.group(22)
    with refused("InvalidPermission.Duplicate", "already exists"):
        room.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(22, cidr=CALLER)])
    with refused("InvalidPermission.NotFound", "does not exist"):
        room.ec2.revoke_security_group_ingress(GroupId=group, IpPermissions=[tcp(80, cidr=CALLER)])
    with refused("InvalidGroup.NotFound", "The security group 'sg-lost' does not exist"):
        room.ec2.describe_security_groups(GroupIds=["sg-lost"])
    with refused("InvalidParameterValue", "Must specify both from and to ports"):
        room.ec2.authorize_security_group_ingress(
            GroupId=group, IpPermissions=[{"IpProtocol": "tcp", "IpRanges": [{"CidrIp": CALLER}]}]
        )
    with refused("UnsupportedOperation", "PrefixListIds"):
        room.ec2.authorize_security_group_ingress(
            GroupId=group,
            IpPermissions=[
                {"IpProtocol": "tcp", "FromPort": 1, "ToPort": 2, "PrefixListIds": [{"PrefixListId": "pl-1"}]}
            ],
        )


# --- deletion ---------------------------------------------------------------------------------------------------------


def test_a_group_is_deleted_only_when_no_instance_uses_it(room: Ec2Room) -> None:
    group = room.group(22)
    instance_id = room.running(SecurityGroupIds=[group])["InstanceId"]
    with refused("DependencyViolation", f"resource {group} has a dependent object"):
        room.ec2.delete_security_group(GroupId=group)
    room.ec2.terminate_instances(InstanceIds=[instance_id])
    room.until(instance_id, "terminated")
    room.ec2.delete_security_group(GroupId=group)
    with refused("InvalidGroup.NotFound", group):
        room.ec2.delete_security_group(GroupId=group)


def test_a_group_that_a_rule_refers_to_is_not_deleted(room: Ec2Room) -> None:
    group, other = room.group(), room.group()
    room.ec2.authorize_security_group_ingress(GroupId=other, IpPermissions=[tcp(22, group=group)])
    with refused("DependencyViolation", f"resource {group} has a dependent object"):
        room.ec2.delete_security_group(GroupId=group)
    room.ec2.delete_security_group(GroupId=other)
    room.ec2.delete_security_group(GroupId=group)


def test_the_default_group_is_not_deleted(room: Ec2Room) -> None:
    default, *_ = room.ec2.describe_security_groups(GroupNames=["default"])["SecurityGroups"]  # one for each VPC
    with refused("CannotDelete", "cannot be deleted by a user"):
        room.ec2.delete_security_group(GroupId=default["GroupId"])
