"""Sends a real photo to an endpoint until each of its instances has classified one.

"InService" says less: the `/ping` of AWS's serving image answers 200 while its model still loads, and after the model
has failed to load (github.com/aws/deep-learning-containers/issues/2917, github.com/pytorch/serve/issues/1899).
"""

from __future__ import annotations

import math
from typing import Any

from botocore.exceptions import ClientError

from tasks.run.aws import Aws
from tasks.run.error_codes import THROTTLED
from tasks.run.errors import aws_boundary
from tasks.run.records import EndpointRef
from tasks.run.streamed import read_streamed, read_whole
from tasks.run.waiting import REAL_TIME, Waiting, wait_for

ANSWER_SECONDS = 300.0
"""How long instances that are in service may take until they classify a photo."""
MISSED_INSTANCE_PROBABILITY = 0.001
PHOTO_TYPE = "application/x-image"
_NOT_READY = THROTTLED | {"InternalDependencyException", "InternalFailure", "ModelNotReadyException"}


def wait_until_each_answers(
    aws: Aws,
    endpoint: EndpointRef,
    photo: bytes,
    *,
    instances: int,
    deadline_seconds: float = ANSWER_SECONDS,
    waiting: Waiting = REAL_TIME,
) -> float:
    """Send a photo (JPEG, PNG or WebP) until all instances answer; return the real seconds until the last failure.

    An answer does not tell which instance gave it, and the endpoint routes each request to a random one. So there have
    to be as many good answers in a row as leave no instance out with a probability of 99.9 %.

    Raises:
        WaitTimedOut: an instance still answered with an error of the server's after `deadline_seconds`.
        AwsFailed: SageMaker refused, or the model does not accept the photo.
    """
    begun = waiting.clock()
    unready_seconds = 0.0

    def probe() -> tuple[bool | None, str]:
        nonlocal unready_seconds
        for _ in range(answers_needed(instances)):
            refusal = _refusal(aws, endpoint, photo)
            if refusal is not None:
                unready_seconds = waiting.clock() - begun
                return None, f"in service, but a photo was answered with {refusal}"
        return True, "answering"

    where = f"endpoint {endpoint.name}"
    with aws_boundary(where):
        wait_for(
            aws.target,
            where,
            probe,
            deadline_seconds=deadline_seconds,
            next_command="kennel logs --source endpoint, which has the model's own error",
            waiting=waiting,
        )
    return unready_seconds


def answers_needed(instances: int) -> int:
    """Return how many random answers leave out none of the instances with a probability of 99.9 %.

    n × (1 − 1/n)^k bounds the probability that k answers leave out one of n instances.
    """
    if instances <= 1:
        return 1
    return math.ceil(math.log(instances / MISSED_INSTANCE_PROBABILITY) / -math.log1p(-1 / instances))


def ask_once(aws: Aws, endpoint: EndpointRef, photo: bytes) -> str | None:
    """Send a photo; return the server's error, or None for an answer.

    Raises:
        AwsFailed: an error that is none of the server's.
    """
    with aws_boundary(f"endpoint {endpoint.name}"):
        return _refusal(aws, endpoint, photo)


def _refusal(aws: Aws, endpoint: EndpointRef, photo: bytes) -> str | None:
    """Return why the endpoint could not answer yet, or None for an answer.

    Raises:
        ClientError: an error that waiting does not change.
    """
    try:
        read_streamed(
            aws,
            "sagemaker-runtime",
            "invoke_endpoint",
            "Body",
            read_whole,
            EndpointName=endpoint.name,
            TargetVariant=endpoint.variant,
            ContentType=PHOTO_TYPE,
            Body=photo,
        )
    except ClientError as error:
        if not _is_not_ready(error.response):
            raise
        return str(error)
    return None


def _is_not_ready(response: Any) -> bool:
    """Tell whether an error is of an instance that does not serve yet: the server's, or its container's."""
    status = response.get("OriginalStatusCode") or response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
    return response.get("Error", {}).get("Code") in _NOT_READY or int(status) >= 500 or int(status) == 429
