"""AWS's answer to a request that its caller may not make: each service's code and status, and the usual sentence.

Source: https://docs.aws.amazon.com/IAM/latest/UserGuide/troubleshoot_access-denied.html
"""

from localaws.errors import AwsError
from localaws.policies.decision import EXPLICIT_DENY, Decision, Kind, Principal
from localaws.policies.trust import TRUSTED

_CODES = {  # by signing name; JSON services answer AccessDeniedException
    "s3": ("AccessDenied", 403),
    "iam": ("AccessDenied", 403),
    "sts": ("AccessDenied", 403),
    "ec2": ("UnauthorizedOperation", 403),
    "lambda": ("AccessDeniedException", 403),
}
_EC2_BEGINS = "You are not authorized to perform this operation. "


def denial(service: str, message: str, *, is_form: bool = False) -> AwsError:
    """Return a service's refusal with this message."""
    code, status = _CODES.get(service, ("AccessDenied", 403) if is_form else ("AccessDeniedException", 400))
    return AwsError(code, (_EC2_BEGINS if service == "ec2" else "") + message, status=status)


def foreign_role(service: str) -> AwsError:
    """Return a service's refusal to be given another account's role.

    Sources: moto's `CrossAccountNotAllowed` for Lambda; for SageMaker AWS's knowledge center, "CreateProcessingJob …
    RoleArn: Cross-account pass role is not allowed."
    """
    if service == "sagemaker":
        return AwsError("ValidationException", "RoleArn: Cross-account pass role is not allowed.")
    return denial(service, "Cross-account pass role is not allowed.")


def sentence(who: Principal, action: str, resource: str, decision: Decision) -> str:
    """Return AWS's sentence: who may not do what on which resource, and which kind of policy decided."""
    shown = f'"{resource}"' if action.startswith("s3:") else resource
    on = "" if action.startswith("ec2:") and resource == "*" else f" on resource: {shown}"
    return f"User: {who.arn or 'Anonymous'} is not authorized to perform: {action}{on}{_because(action, decision)}"


def s3_sentence(resource: str) -> str:
    """Return Lambda's sentence on an object that its caller may not read.

    Source: https://github.com/awslabs/lambda-streams-to-firehose/issues/21
    """
    return (
        "Your access has been denied by S3, please make sure your request credentials have permission to GetObject for "
        f"{resource.rpartition(':::')[2]}. S3 Error Code: AccessDenied. S3 Error Message: Access Denied"
    )


def _because(action: str, decision: Decision) -> str:
    if action in TRUSTED or decision.kind is None:
        return ""  # AWS does not tell a role's trust policy
    if decision.effect == EXPLICIT_DENY:
        article = "an" if decision.kind is Kind.IDENTITY else "a"
        return f" with an explicit deny in {article} {decision.kind.value}"
    return f" because no {decision.kind.value} allows the {action} action"
