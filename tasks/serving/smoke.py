"""Invokes the deployed function once with a real photo of the test split and checks its answer."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.run.aws import Aws
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.record_store import Amount, Count, Record, Share
from tasks.run.records import DatasetRef, FunctionRef
from tasks.run.sealed import parse_json
from tasks.run.streamed import read_streamed, read_whole
from tasks.run.waiting import REAL_TIME, ROLE_PROPAGATION_SECONDS, Patience, Waiting
from tasks.serving.answering import ANSWER_SECONDS
from tasks.serving.staged_images import read_test_image

SUM_TOLERANCE = 1e-3
RETRY_SECONDS = 5.0
NOT_SERVING = {502, 503, 504}
"""What the function answers while its endpoint fails, is not available or is too slow."""


@dataclass(frozen=True)
class SmokeResult(Record, file="smoke.json", called="smoke test", made_by="deploy"):
    """The answer of the deployed function. A wrong label is not a failure; a malformed answer is."""

    image: str
    true_label: str
    predicted_label: str
    score: Share
    labels: Count
    latency_ms: Amount


def smoke_test(
    aws: Aws,
    function: FunctionRef,
    dataset: DatasetRef,
    *,
    waiting: Waiting = REAL_TIME,
) -> SmokeResult:
    """Invoke the alias with a test image and check the answer's status, labels and probabilities.

    The call is repeated for minutes while the function answers that its endpoint does not serve (502, 503, 504), and
    while IAM does not know the function's new role everywhere yet, so that SageMaker refuses it.

    Raises:
        StageFailed: the test split has no image, the function failed, or its answer does not follow the contract.
        MalformedAnswer: a shard is not what was staged, or the function's answer was cut.
        AwsFailed: S3 or Lambda refused.
    """
    image = read_test_image(aws, dataset)
    payload = json.dumps({"image": base64.b64encode(image.content).decode()}).encode()
    patience = Patience("smoke test", aws.target, waiting)
    while True:
        text, latency_ms = _invoke(aws, function, payload)
        obstacle = _obstacle(text)
        if obstacle is None or patience.spent_seconds >= obstacle.patience_seconds:
            break
        waiting.say(f"smoke test: {obstacle.text}; the test is repeated")
        patience.pause(obstacle.text, RETRY_SECONDS)
    label, score = check_answer(text, dataset.classes)
    return SmokeResult(image.name, image.label, label, score, len(dataset.classes), round(latency_ms, 1))


def _invoke(aws: Aws, function: FunctionRef, payload: bytes) -> tuple[str, float]:
    """Return the function's answer and the milliseconds that it took."""
    begun = time.perf_counter()
    with aws_boundary(f"function {function.name}:{function.alias}"):
        asked = {"FunctionName": function.name, "Qualifier": function.alias, "InvocationType": "RequestResponse"}
        answer, reply = read_streamed(aws, "lambda", "invoke", "Payload", read_whole, **asked, Payload=payload)
    text, latency_ms = reply.decode(errors="replace"), (time.perf_counter() - begun) * 1000
    if answer.get("FunctionError"):
        raise _failed(f"the function raised ({answer['FunctionError']})", text[:2000])
    return text, latency_ms


@dataclass(frozen=True)
class _Obstacle:
    """Why an answer may become good by itself, and how long that may take."""

    text: str
    patience_seconds: float


def _obstacle(text: str) -> _Obstacle | None:
    """Return what an answer says that time may change, or None."""
    try:
        reply = parse_json(text)
        if reply["statusCode"] in NOT_SERVING:
            return _Obstacle(f"the endpoint does not serve yet (status {reply['statusCode']})", ANSWER_SECONDS)
        if parse_json(reply["body"])["error"]["code"] == "Misconfigured":
            return _Obstacle("the function's new role may not invoke the endpoint yet", ROLE_PROPAGATION_SECONDS)
    except (KeyError, TypeError, ValueError):
        pass
    return None


def check_answer(text: str, classes: tuple[str, ...]) -> tuple[str, float]:
    """Return (best label, its probability) of a function's answer.

    Raises:
        StageFailed: the status is not 200, the labels are not the classes in order, or the scores do not add up to 1.
    """
    try:
        reply: Mapping[str, Any] = parse_json(text)
        status = reply["statusCode"]
        if not isinstance(status, int):
            raise TypeError(f"statusCode is {status!r:.80}, a {type(status).__name__} and not an int")
        if status != 200:
            raise _failed(f"the function answered {status}", str(reply.get("body"))[:2000])
        body = parse_json(reply["body"])
        labels, scores = list(body["labels"]), [float(score) for score in body["scores"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _failed(f"the answer is malformed ({type(error).__name__}: {error})", text[:2000]) from error
    if labels != list(classes) or len(scores) != len(labels):
        what = f"the answer has {len(scores)} scores and {len(labels)} labels"
        raise _failed(what, f"the dataset has {len(classes)} classes")
    if not (all(0.0 <= score <= 1.0 for score in scores) and math.isclose(sum(scores), 1.0, abs_tol=SUM_TOLERANCE)):
        raise _failed("the scores are not probabilities", f"they add up to {sum(scores):.6f}")
    best = max(range(len(scores)), key=scores.__getitem__)
    return labels[best], scores[best]


def _failed(what: str, why: str) -> StageFailed:
    return StageFailed("deploy: smoke test", what, why, "kennel logs --source function")
