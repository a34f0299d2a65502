"""Whether the images that a run starts from exist, how old they are, and until when their owners patch them."""

from __future__ import annotations

import re
from collections.abc import Iterator
from datetime import date

from tasks.account.container_images import INFERENCE, TRAINING, Release, inference_image, training_image
from tasks.account.prices import choose_hosting_instance, choose_training_instance
from tasks.doctor.findings import Finding, fail, ok, warn
from tasks.ec2.plan import find_image
from tasks.run.aws import Aws
from tasks.run.errors import NotFound, SettingsRefused, aws_boundary
from tasks.run.options import DeployOptions, TrainingOptions

CHECK = "images"
_URI = re.compile(r"(?P<registry>\d{12})\.dkr\.ecr\.[^/]+/(?P<repository>[^:@]+)(?:@(?P<digest>.+)|:(?P<tag>.+))?")


def training_findings(aws: Aws, training: TrainingOptions, today: date) -> Iterator[Finding]:
    """Yield whether the training job's image exists.

    Raises:
        AwsFailed: ECR refused, or did not answer.
    """
    chosen = choose_training_instance(aws.region, finetune=training.finetune, requested=training.instance_type)
    try:
        uri = training_image(aws.region, has_gpu=chosen.has_gpu)
    except SettingsRefused as error:
        yield fail(CHECK, error.what, error.next_command)
        return
    yield _container_finding(aws, "training", uri, TRAINING, today)


def serving_findings(aws: Aws, deploy: DeployOptions, today: date) -> Iterator[Finding]:
    """Yield whether the endpoint's image exists.

    Raises:
        AwsFailed: ECR refused, or did not answer.
    """
    chosen = choose_hosting_instance(aws.region, deploy.instance_type)
    try:
        uri = inference_image(aws.settings, has_gpu=chosen.has_gpu)
    except SettingsRefused as error:
        yield fail(CHECK, error.what, error.next_command)
        return
    yield _container_finding(aws, "serving", uri, None if aws.settings.serving_image else INFERENCE, today)


def machine_image_findings(aws: Aws) -> Iterator[Finding]:
    """Yield whether the image of EC2 instances exists, and its age.

    Raises:
        AwsFailed: SSM or EC2 refused, or did not answer.
    """
    try:
        about = find_image(aws).about
    except NotFound as error:
        yield fail(CHECK, f"EC2: {error.what}: {error.why}", error.next_command)
        return
    cure = "export KENNEL_EC2_IMAGE_PARAMETER=<the SSM parameter of a newer image>"
    yield warn(CHECK, f"EC2: {about}", cure) if "WARNING" in about else ok(CHECK, f"EC2: {about}")


def patch_finding(what: str, name: str, release: Release | None, today: date) -> Finding:
    """Return how long an image that exists is patched; a release of None is the user's own."""
    if release is None:
        return ok(CHECK, f"{what}: {name} exists; its patches are yours")
    if release.patched_until < today:
        cure = "build an image of your own (docs/aws.md), then export KENNEL_SERVING_IMAGE=<its URI>"
        return warn(CHECK, f"{what}: {name} exists; AWS's patches for it ended on {release.patched_until}", cure)
    return ok(CHECK, f"{what}: {name} exists, patched until {release.patched_until}")


def _container_finding(aws: Aws, what: str, uri: str, release: Release | None, today: date) -> Finding:
    """Ask ECR for the image's manifest, as whoever pulls it does.

    Raises:
        AwsFailed: ECR refused, or did not answer.
    """
    parts = _URI.fullmatch(uri)
    if parts is None:
        return fail(CHECK, f"{what}: {uri} is no image of ECR", "unset KENNEL_SERVING_IMAGE, or name an image of ECR")
    wanted = {"imageDigest": parts["digest"]} if parts["digest"] else {"imageTag": parts["tag"] or "latest"}
    name = uri.partition("/")[2]
    cure = "upgrade kennel, whose table names it" if release else "push the image, or unset KENNEL_SERVING_IMAGE"
    try:
        with aws_boundary(CHECK, cure):
            answer = aws.client("ecr").batch_get_image(
                registryId=parts["registry"], repositoryName=parts["repository"], imageIds=[wanted]
            )
    except NotFound as error:
        return fail(CHECK, f"{what}: {uri}: {error.why}", cure)
    if not answer.get("images"):
        why = "; ".join(str(each.get("failureReason", each)) for each in answer.get("failures", []))
        return fail(CHECK, f"{what}: {uri} does not exist ({why})", cure)
    return patch_finding(what, name, release, today)
