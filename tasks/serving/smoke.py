"""Invokes the deployed function once with a real photo of the test split and checks its answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from tasks.run.aws import Aws
from tasks.run.record_store import Amount, Count, Record, Share
from tasks.run.records import DatasetRef, FunctionRef
from tasks.run.sealed import parse_json
from tasks.run.waiting import REAL_TIME, ROLE_PROPAGATION_SECONDS, Patience, Waiting
from tasks.serving.answering import ANSWER_SECONDS
from tasks.serving.asking import best_of, event_of, invoke, scores_of
from tasks.serving.staged_images import read_test_image

WHERE = "deploy: smoke test"
RETRY_SECONDS = 5.0
NOT_SERVING = {502, 503, 504}
"""What the function answers while its endpoint fails, is not available or is too slow."""


@dataclass(frozen=True)
class SmokeResult(Record, file="smoke.json", called="smoke test", made_by="deploy"):
    """The answer of the deployed function. A wrong label is not a failure; a malformed answer is.

    `scores` has the probability of each class; it is empty in records of older releases.
    """

    image: str
    true_label: str
    predicted_label: str
    score: Share
    labels: Count
    latency_ms: Amount
    scores: Mapping[str, Share] = field(default_factory=dict)


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
    payload = event_of(image.content)
    patience = Patience("smoke test", aws.target, waiting)
    while True:
        text, latency_ms = invoke(aws, function, payload, WHERE)
        obstacle = _obstacle(text)
        if obstacle is None or patience.spent_seconds >= obstacle.patience_seconds:
            break
        waiting.say(f"smoke test: {obstacle.text}; the test is repeated")
        patience.pause(obstacle.text, RETRY_SECONDS)
    scores = scores_of(text, dataset.classes, WHERE)
    label, score = best_of(scores)
    return SmokeResult(image.name, image.label, label, score, len(scores), round(latency_ms, 1), scores)


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
