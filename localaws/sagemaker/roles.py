"""What SageMaker says of a role that it cannot assume."""

PRINCIPAL = "sagemaker.amazonaws.com"


def cannot_assume(role_arn: str | None) -> str:
    """Return AWS's message."""
    return (
        f"Could not assume role {role_arn}. Please ensure that the role exists and allows principal "
        f"'{PRINCIPAL}' to assume the role."
    )
