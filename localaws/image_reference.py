"""Images that a launch names by a parameter of SSM: `resolve:ssm:NAME`, `…:VERSION`, `…:LABEL`, or the parameter's ARN.

Source: ImageId of RunInstances in botocore's model; the refusal of another data type:
https://github.com/aws/aws-cdk/issues/26712. Only launches take it: to DescribeImages it is a malformed id.
"""

from localaws.errors import AwsError

PREFIX = "resolve:ssm:"
_IMAGE = "aws:ec2:image"


def parameter_name(reference: str) -> str:
    """Return the name in a reference, with its version or label."""
    name = reference.removeprefix(PREFIX)
    return name.partition(":parameter")[2] if name.startswith("arn:") else name


def resolve(reference: str, account_id: str, region: str) -> str:
    """Return the id that the parameter holds.

    Raises: AwsError InvalidParameterValue if there is no such parameter, SsmInvalidParameter if it holds no image.
    """
    from moto.ssm.models import ssm_backends

    name = parameter_name(reference)
    found = ssm_backends[account_id][region].get_parameters([name])
    if not found:
        raise AwsError("InvalidParameterValue", f"The Systems Manager parameter {name} does not exist.")
    (parameter,) = found.values()
    if parameter.data_type != _IMAGE:
        text = f"Unsupported data type. The following parameter data types are supported: {_IMAGE}"
        raise AwsError("SsmInvalidParameter", text)
    return str(parameter.value)
