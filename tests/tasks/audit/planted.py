"""An account of 30 roles, planted through boto3: 12 have a defect, 18 look as if they had one."""

import io
import json
import zipfile
from collections.abc import Mapping
from typing import Any

from tests.conftest import RunningLocalAws

OWN, FOREIGN = "123456789012", "999988887777"
GITHUB = f"arn:aws:iam::{OWN}:oidc-provider/token.actions.githubusercontent.com"
ORGANIZATION = {"aws:PrincipalOrgID": "o-abcdefghij"}

Raw = dict[str, Any]


def document(*statements: Raw) -> Raw:
    return {"Version": "2012-10-17", "Statement": list(statements)}


def allow(action: Any, resource: Any = "*", **more: Any) -> Raw:
    return {"Effect": "Allow", "Action": action, "Resource": resource, **more}


def deny(action: Any, resource: Any = "*", **more: Any) -> Raw:
    return {**allow(action, resource, **more), "Effect": "Deny"}


def trust(principal: Any, **more: Any) -> Raw:
    return {"Effect": "Allow", "Principal": principal, "Action": "sts:AssumeRole", **more}


def service(name: str, **more: Any) -> Raw:
    return trust({"Service": f"{name}.amazonaws.com"}, **more)


def github(conditions: Mapping[str, str]) -> Raw:
    keys = {f"token.actions.githubusercontent.com:{name}": value for name, value in conditions.items()}
    web = {"Action": "sts:AssumeRoleWithWebIdentity", "Condition": {"StringLike": keys}}
    return {**trust({"Federated": GITHUB}), **web}


LAMBDA_ROLE = f"arn:aws:iam::{OWN}:role/function-in-use"
MAKE_FUNCTIONS = allow(["lambda:CreateFunction", "lambda:InvokeFunction"])
TASKS = service("ecs-tasks")

PERMISSIONS: dict[str, tuple[Raw, ...]] = {
    "everything": (allow("*"),),
    "passes-any-role": (allow("iam:PassRole"), MAKE_FUNCTIONS),
    "edits-policies": (allow("iam:CreatePolicyVersion", f"arn:aws:iam::{OWN}:policy/*"),),
    "whole-s3": (allow("s3:*"),),
    "reads-every-secret": (allow(["secretsmanager:Get*", "secretsmanager:ListSecrets"]),),
    "admin-bounded": (allow("*"),),
    "admin-denied": (allow("*"), deny("*")),
    "passes-one-role": (allow("iam:PassRole", LAMBDA_ROLE), MAKE_FUNCTIONS),
    "passes-to-another-service": (
        allow("iam:PassRole", Condition={"StringEquals": {"iam:PassedToService": "sagemaker.amazonaws.com"}}),
        MAKE_FUNCTIONS,
    ),
    "own-keys": (allow("iam:*AccessKey*", "arn:aws:iam::*:user/${aws:username}"),),
    "escalation-denied": (allow("iam:CreatePolicyVersion"), deny("iam:*")),
    "whole-s3-of-one-bucket": (allow("s3:*", ["arn:aws:s3:::photos", "arn:aws:s3:::photos/*"]),),
    "reads-one-secret": (
        allow("secretsmanager:GetSecretValue", f"arn:aws:secretsmanager:us-east-1:{OWN}:secret:one-*"),
    ),
}
"""The inline policies of the roles that ECS tasks have."""

TRUSTS: dict[str, tuple[Raw, ...]] = {
    "anyone": (trust("*"),),
    "any-github": (github({"aud": "sts.amazonaws.com"}),),
    "foreign": (trust({"AWS": f"arn:aws:iam::{FOREIGN}:root"}),),
    "deputy": (service("sagemaker"),),
    "orphan-of-a-function": (service("lambda"),),
    "orphan-of-an-instance": (service("ec2"),),
    "anyone-of-the-organization": (trust("*", Condition={"StringEquals": ORGANIZATION}),),
    "outsiders-denied": (
        trust({"AWS": "*"}),
        {**trust("*", Condition={"StringNotEquals": ORGANIZATION}), "Effect": "Deny"},
    ),
    "one-github-repository": (github({"aud": "sts.amazonaws.com", "sub": "repo:kennel/kennel:*"}),),
    "foreign-with-external-id": (
        trust({"AWS": f"arn:aws:iam::{FOREIGN}:root"}, Condition={"StringEquals": {"sts:ExternalId": "4711"}}),
    ),
    "own-account": (trust({"AWS": f"arn:aws:iam::{OWN}:root"}),),
    "deputy-for-this-account": (service("sagemaker", Condition={"StringEquals": {"aws:SourceAccount": OWN}}),),
    "instance-in-a-template": (service("ec2"),),
    "function-in-use": (service("lambda"),),
    "version-in-use": (service("lambda"),),
}
"""The trust policies of the roles that have one object to read."""

MANAGED = {
    "named-read-only": ("ReadOnlyThings", {"Effect": "Allow", "NotAction": "s3:DeleteBucket", "Resource": "*"}),
    "named-full-access": ("PhotosFullAccess", allow("s3:GetObject", "arn:aws:s3:::photos/*")),
}
"""The roles with a managed policy, by its name and its only statement."""

DEFECTS = {
    ("everything", "full-access"),
    ("named-read-only", "full-access"),
    ("passes-any-role", "privilege-escalation"),
    ("edits-policies", "privilege-escalation"),
    ("whole-s3", "service-full-access"),
    ("reads-every-secret", "data-exfiltration"),
    ("anyone", "trust-anyone"),
    ("any-github", "trust-anyone"),
    ("foreign", "trust-foreign"),
    ("deputy", "confused-deputy"),
    ("orphan-of-a-function", "role-orphaned"),
    ("orphan-of-an-instance", "role-orphaned"),
}


def plant(server: RunningLocalAws) -> None:
    """Make the roles, a service-linked one, and what uses those that are in use."""
    iam = server.client("iam")
    for name, statements in PERMISSIONS.items():
        _role(iam, name, (TASKS,), document(*statements))
    for name, statements in TRUSTS.items():
        _role(iam, name, statements, document(allow("s3:GetObject", "arn:aws:s3:::photos/one.jpg")))
    for name, (policy, statement) in MANAGED.items():
        _role(iam, name, (TASKS,), None)
        made = iam.create_policy(PolicyName=policy, PolicyDocument=json.dumps(document(statement)))
        iam.attach_role_policy(RoleName=name, PolicyArn=made["Policy"]["Arn"])
    bounds = json.dumps(document(allow("s3:GetObject", "arn:aws:s3:::photos/*")))
    bound = iam.create_policy(PolicyName="Bounds", PolicyDocument=bounds)["Policy"]["Arn"]
    iam.put_role_permissions_boundary(RoleName="admin-bounded", PermissionsBoundary=bound)
    iam.create_service_linked_role(AWSServiceName="autoscaling.amazonaws.com")
    for name in ("orphan-of-an-instance", "instance-in-a-template"):
        iam.create_instance_profile(InstanceProfileName=name)
        iam.add_role_to_instance_profile(InstanceProfileName=name, RoleName=name)
    data = {"IamInstanceProfile": {"Name": "instance-in-a-template"}, "InstanceType": "t3.micro"}
    server.client("ec2").create_launch_template(LaunchTemplateName="fleet", LaunchTemplateData=data)
    _functions(server.client("lambda"))


def _role(iam: Any, name: str, trusts: tuple[Raw, ...], policy: Raw | None) -> None:
    iam.create_role(RoleName=name, AssumeRolePolicyDocument=json.dumps(document(*trusts)))
    if policy is not None:
        iam.put_role_policy(RoleName=name, PolicyName="inline", PolicyDocument=json.dumps(policy))


def _functions(client: Any) -> None:
    """Make a function that had another role when its version was published."""
    make_function(client, "classify", f"arn:aws:iam::{OWN}:role/version-in-use")
    client.publish_version(FunctionName="classify")
    client.update_function_configuration(FunctionName="classify", Role=LAMBDA_ROLE)


def make_function(client: Any, name: str, role: str) -> None:
    code = io.BytesIO()
    with zipfile.ZipFile(code, "w") as archive:
        archive.writestr("handler.py", "def handle(event, context): return 1")
    client.create_function(
        FunctionName=name, Runtime="python3.11", Role=role, Handler="handler.handle", Code={"ZipFile": code.getvalue()}
    )
