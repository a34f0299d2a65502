"""Checks what the requests of all kinds of jobs ask for as AWS checks it: the role, the VPC, buckets and objects.

Reads S3 and IAM, changes nothing.
"""

import re
from collections.abc import Mapping, Sequence
from typing import Any

from moto.sagemaker.exceptions import ValidationError

from localaws.core import Core
from localaws.errors import AwsError, NoSuchBucket, NoSuchRole
from localaws.partition import partition
from localaws.permissions.roles import Role
from localaws.sagemaker.jobs.requests import Channel, JobRequest, Location
from localaws.sagemaker.roles import PRINCIPAL, cannot_assume
from localaws.vpc import members, vpc_of

IMAGE = re.compile(r"(^|/)pytorch(-training)?:[\w.\-]+$")


def refuse_unsupported(parameters: Mapping[str, Any], fields: Sequence[str], operation: str) -> None:
    """Refuse what localaws does not carry out: any of the fields, written with dots, that has a value.

    Raises:
        ValidationError: naming the parameter.
    """
    for field in fields:
        value: Any = parameters
        for part in field.split("."):
            value = (value or {}).get(part)
        if value:
            raise ValidationError(f"localaws does not support {field} in {operation}.")


def check_image(image: str, kind: str) -> None:
    """Check that localaws can stand for the image of a `kind` of job.

    Raises:
        ValidationError: naming the image.
    """
    if not IMAGE.search(image):
        raise ValidationError(
            f"localaws cannot run the {kind} image {image!r}: it emulates images named pytorch and pytorch-training."
        )


def check_places(request: JobRequest, resource: str, outputs: Sequence[Location], core: Core) -> None:
    """Check the role, VPC, buckets and objects of a request for a job, by its ARN's `resource`, as `training-job`.

    Raises:
        ValidationError: naming what cannot be used.
    """
    where = f"{core.settings.region}:{core.settings.account_id}"
    _check_role(request.role_arn, f"arn:{partition()}:sagemaker:{where}:{resource}/{request.name.lower()}", core)
    _check_vpc(request, core)
    _check_outputs(outputs, core)
    _check_channels(request, core)


def _check_role(role_arn: str, job_arn: str, core: Core) -> None:
    try:
        core.credentials.require(role_arn, PRINCIPAL, job_arn)
    except NoSuchRole as error:
        raise ValidationError(cannot_assume(role_arn)) from error


def _check_vpc(request: JobRequest, core: Core) -> None:
    """Check that the subnets and groups exist and are of one VPC, in EC2's words: SageMaker's own are not known."""
    if request.vpc is not None:
        try:
            vpc_of(core, core.settings.region, *members(request.vpc, "Subnets"))
        except AwsError as error:
            raise ValidationError(error.message) from error


def _check_outputs(outputs: Sequence[Location], core: Core) -> None:
    for location in outputs:
        try:
            core.objects.exists(location.bucket, "")
        except NoSuchBucket as error:
            raise ValidationError(f"S3 bucket '{location.bucket}' of {location.uri} does not exist.") from error


def _check_channels(request: JobRequest, core: Core) -> None:
    objects = core.objects_of(Role(core.authority, request.role_arn, "SageMaker"))
    for channel in request.channels:
        try:
            found = objects.list(channel.source.bucket, channel.source.prefix)
        except AwsError:  # there is no bucket, or the role may not list it: AWS has one answer
            found = []
        if not found:
            raise ValidationError(_no_objects(channel, request.role_arn, core.settings.region))


def _no_objects(channel: Channel, role_arn: str, region: str) -> str:
    kind = "S3 URL" if not channel.manifest else "the S3 manifest file"
    return (
        f'No S3 objects found under {kind} "{channel.source.uri}" given in input data source. Please ensure that the '
        f"bucket exists in the selected region ({region}), that objects exist under that S3 prefix, and that the role "
        f'"{role_arn}" has "s3:ListBucket" permissions on bucket "{channel.source.bucket}".'
    )
