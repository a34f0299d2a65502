"""The roles that AWS makes for its services, and the boundary of kennel's own roles."""

from __future__ import annotations

from collections.abc import Iterator

from tasks.account.lookup import none_if_missing
from tasks.account.role_boundary import NAME, find_boundary
from tasks.doctor.findings import Finding, ok, warn
from tasks.run.aws import Aws

CHECK = "roles"
SCALING = "AWSServiceRoleForApplicationAutoScaling_SageMakerEndpoint"
SPOT = "AWSServiceRoleForEC2Spot"


def role_findings(aws: Aws, *, spot: bool) -> Iterator[Finding]:
    """Yield which service-linked roles there are (`spot`: EC2's spot service is used), and whether the boundary is.

    Raises:
        ClientError, BotoCoreError: IAM refused, or did not answer; the caller translates it.
    """
    if _exists(aws, SCALING):
        yield ok(CHECK, f"{SCALING} is there")
    else:
        yield ok(CHECK, "Application Auto Scaling has no role yet; AWS makes it, which may take the first run a minute")
    if spot and not _exists(aws, SPOT):
        cure = aws.cli("iam create-service-linked-role", aws_service_name="spot.amazonaws.com")
        yield warn(CHECK, "EC2's spot service has no role, so instances would be on demand", cure)
    if find_boundary(aws) is None:
        what = f"the account has no policy {NAME}, so kennel's roles get no boundary"
        cure = f"kennel iam operator-policy boundary --account {aws.account_id}, and make a policy {NAME} of it"
        yield warn(CHECK, what, cure)
    else:
        yield ok(CHECK, f"{NAME} bounds kennel's roles")


def _exists(aws: Aws, name: str) -> bool:
    return none_if_missing(lambda: aws.client("iam").get_role(RoleName=name)) is not None
