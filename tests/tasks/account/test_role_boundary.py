"""The operator's policies make nobody administrator: roles are made within a boundary, which has what runs need."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from localaws.policies.context import Context
from localaws.policies.documents import policy_of
from tasks.account.container_images import inference_image
from tasks.account.operator_policy import Account, operator_policies
from tasks.account.role_boundary import NAME
from tasks.account.role_policies import endpoint_role, function_role, instance_role, load_role, training_role
from tasks.account.roles import ensure_role
from tasks.notebook.role import notebook_role
from tasks.run.aws import Aws
from tasks.run.handle import Run
from tasks.run.records import DatasetRef, EndpointRef, FunctionRef, WeightsRef
from tasks.run.settings import Settings
from tests.conftest import running_localaws
from tests.keys import OPERATOR, give_keys
from tests.localaws.callers import ACCOUNT, Somebody, allow, assume, document, refusal

BOUNDARY = f"arn:aws:iam::{ACCOUNT}:policy/{NAME}"
EVERYTHING = document(allow("*"))
BUCKET = f"kennel-{ACCOUNT}-us-east-1"
DATA = DatasetRef(BUCKET, "datasets/d", "d", "dogs", ("x", "y"), {"train": {"x": 1, "y": 1}}, 10, 0, "sample")
WEIGHTS = WeightsRef(BUCKET, "weights/resnet50/0", "resnet50", "0" * 64, 10)
ENDPOINT = f"arn:aws:sagemaker:us-east-1:{ACCOUNT}:endpoint/kennel-r-classify"


@pytest.fixture(scope="module")
def operator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Somebody]:
    """The operator of a localaws, as kennel's embedded AWS has one."""
    home = tmp_path_factory.mktemp("localaws")
    with running_localaws("--operator", str(give_keys(home))) as server:
        keys = {"aws_access_key_id": OPERATOR.access_key_id, "aws_secret_access_key": OPERATOR.secret_access_key}
        yield Somebody(f"arn:aws:iam::{ACCOUNT}:user/operator", server.url, keys)


def trusting(somebody: Somebody) -> str:
    trust = {"Effect": "Allow", "Principal": {"AWS": somebody.arn}, "Action": "sts:AssumeRole"}
    return document(trust)


@pytest.mark.parametrize("given", [{}, {"PermissionsBoundary": "arn:aws:iam::aws:policy/AdministratorAccess"}])
def test_the_operator_makes_no_role_without_the_boundary(operator: Somebody, given: dict[str, str]) -> None:
    wanted = {"RoleName": "kennel-evil-classify", "AssumeRolePolicyDocument": trusting(operator), **given}
    assert refusal(operator.client("iam").create_role, **wanted)[0] == "AccessDenied"


def test_a_role_that_the_operator_makes_and_assumes_gives_no_more_than_runs_need(operator: Somebody) -> None:
    iam = operator.client("iam")
    name = "kennel-wide-classify"
    made = iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusting(operator), PermissionsBoundary=BOUNDARY)
    iam.put_role_policy(RoleName=name, PolicyName="all", PolicyDocument=EVERYTHING)
    session = assume(operator, made["Role"]["Arn"])
    for service, operation, wanted in (
        ("iam", "list_users", {}),
        ("iam", "put_user_policy", {"UserName": "operator", "PolicyName": "p", "PolicyDocument": EVERYTHING}),
        ("iam", "delete_role_permissions_boundary", {"RoleName": name}),
        ("s3", "get_object", {"Bucket": "somebodys", "Key": "k"}),
        ("ec2", "describe_instances", {}),
    ):
        assert "no permissions boundary allows" in refusal(getattr(session.client(service), operation), **wanted)[1]


def test_the_operator_cannot_take_the_boundary_away_or_widen_it(operator: Somebody) -> None:
    iam, name = operator.client("iam"), "kennel-bound-classify"
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=trusting(operator), PermissionsBoundary=BOUNDARY)
    other = "arn:aws:iam::aws:policy/AdministratorAccess"
    for operation, wanted in (
        ("delete_role_permissions_boundary", {"RoleName": name}),
        ("put_role_permissions_boundary", {"RoleName": name, "PermissionsBoundary": other}),
        ("create_policy_version", {"PolicyArn": BOUNDARY, "PolicyDocument": EVERYTHING, "SetAsDefault": True}),
        ("delete_policy", {"PolicyArn": BOUNDARY}),
        ("attach_role_policy", {"RoleName": name, "PolicyArn": other}),
    ):
        assert refusal(getattr(iam, operation), **wanted)[0] == "AccessDenied", operation


def test_a_role_without_the_boundary_is_not_changed_before_it_has_it(operator: Somebody) -> None:
    root = Aws(Settings(endpoint_url=operator.url, region="us-east-1")).client("iam")
    iam, name = operator.client("iam"), "kennel-older-classify"
    root.create_role(RoleName=name, AssumeRolePolicyDocument=trusting(operator))
    policy = {"RoleName": name, "PolicyName": "p", "PolicyDocument": EVERYTHING}
    assert refusal(iam.put_role_policy, **policy)[0] == "AccessDenied"
    assert refusal(iam.update_assume_role_policy, RoleName=name, PolicyDocument=trusting(operator))[0] == "AccessDenied"
    iam.put_role_permissions_boundary(RoleName=name, PermissionsBoundary=BOUNDARY)
    iam.put_role_policy(**policy)


def test_kennel_puts_the_boundary_on_roles_that_it_makes_and_adopts(operator: Somebody, tmp_path: Path) -> None:
    aws = Aws(Settings(endpoint_url=operator.url, runs=tmp_path, region="us-east-1"))
    spec, iam, run = function_role(aws, "bound-1", ENDPOINT, "/aws/lambda/kennel-f"), aws.client("iam"), None
    for _ in range(2):
        run = run or Run(aws, "bound-1")
        ensure_role(run, spec)
        assert iam.get_role(RoleName=spec.name)["Role"]["PermissionsBoundary"]["PermissionsBoundaryArn"] == BOUNDARY
        iam.delete_role_permissions_boundary(RoleName=spec.name)


def test_the_boundary_has_all_that_kennel_gives_to_roles(operator: Somebody, tmp_path: Path) -> None:
    aws = Aws(Settings(endpoint_url=operator.url, runs=tmp_path, region="us-east-1"))
    bound = policy_of(NAME, operator_policies(Account(ACCOUNT, "us-east-1"))["boundary"])
    endpoint = EndpointRef("kennel-r", ENDPOINT, "c", "m", "AllTraffic", "ml.m5.large", 1, "s3://b/k", 1.0)
    of = f"arn:aws:lambda:us-east-1:{ACCOUNT}:function:kennel-r-classify"
    function = FunctionRef("kennel-r-classify", of, "1", "live", f"{of}:live", "role", "role-arn", "sha", "e")
    specs = (
        training_role(aws, "r", DATA, WEIGHTS, keeps_checkpoints=True),
        instance_role(aws, "r", DATA, WEIGHTS, keeps_checkpoints=True),
        endpoint_role(
            aws,
            "r",
            [f"s3://{BUCKET}/m.tar.gz"],
            "/aws/sagemaker/Endpoints/kennel-r",
            image=inference_image(aws.settings),
            captures=True,
        ),
        function_role(aws, "r", ENDPOINT, "/aws/lambda/kennel-r-classify"),
        notebook_role(aws, "r", DATA),
        load_role("r", function),
        load_role("r", endpoint),
    )
    for action, resource, context in (each for spec in specs for each in granted(spec.policy)):
        assert any(each.applies(action, resource, context) for each in bound.statements), (action, resource)


def granted(policy: Any) -> Iterator[tuple[str, str, Context]]:
    """Return each action and resource of a policy, with the values that its conditions ask for."""
    for each in json.loads(json.dumps(policy))["Statement"]:
        values = {
            key: [str(one).replace("*", "x") for one in ([wanted] if isinstance(wanted, str) else wanted)]
            for keys in each.get("Condition", {}).values()
            for key, wanted in keys.items()
        }
        for action in each["Action"]:
            yield from (
                (action, one if one == "*" else one.replace("*", "x"), Context(values)) for one in each["Resource"]
            )
