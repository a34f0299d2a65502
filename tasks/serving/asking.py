"""Asks the deployed function for the class of a photo, and checks its answer."""

from __future__ import annotations

import base64
import json
import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from tasks.run.aws import Aws
from tasks.run.errors import StageFailed, aws_boundary
from tasks.run.records import FunctionRef
from tasks.run.sealed import parse_json
from tasks.run.streamed import read_streamed, read_whole

SUM_TOLERANCE = 1e-3


def event_of(photo: bytes) -> bytes:
    """Return the event that asks the function for the class of a photo."""
    return json.dumps({"image": base64.b64encode(photo).decode()}).encode()


@dataclass(frozen=True)
class Answered:
    """What a function answered through its alias, which version did, and how it failed, "" if it did not."""

    text: str
    version: str
    failure: str
    latency_ms: float


def ask_alias(aws: Aws, function: FunctionRef, payload: bytes) -> Answered:
    """Invoke the alias once; a function that raised has answered too.

    Raises:
        MalformedAnswer: the answer was cut.
        AwsFailed: Lambda refused.
    """
    begun = time.perf_counter()
    with aws_boundary(f"function {function.name}:{function.alias}"):
        asked = {"FunctionName": function.name, "Qualifier": function.alias, "InvocationType": "RequestResponse"}
        answer, reply = read_streamed(aws, "lambda", "invoke", "Payload", read_whole, **asked, Payload=payload)
    version, failure = str(answer.get("ExecutedVersion", "")), str(answer.get("FunctionError", ""))
    return Answered(reply.decode(errors="replace"), version, failure, (time.perf_counter() - begun) * 1000)


def invoke(aws: Aws, function: FunctionRef, payload: bytes, where: str) -> tuple[str, float]:
    """Invoke the alias; return the function's answer and the milliseconds that it took. `where` is for errors.

    Raises:
        StageFailed: the function raised.
        MalformedAnswer: the answer was cut.
        AwsFailed: Lambda refused.
    """
    answered = ask_alias(aws, function, payload)
    if answered.failure:
        raise _failed(where, f"the function raised ({answered.failure})", answered.text[:2000])
    return answered.text, answered.latency_ms


def scores_of(text: str, classes: Sequence[str], where: str) -> dict[str, float]:
    """Return the probability of each class, in their order, from a function's answer.

    Raises:
        StageFailed: the status is not 200, the labels are not the classes in order, or the scores do not add up to 1.
    """
    try:
        reply: Mapping[str, object] = parse_json(text)
        status = reply["statusCode"]
        if not isinstance(status, int):
            raise TypeError(f"statusCode is {status!r:.80}, a {type(status).__name__} and not an int")
        if status != 200:
            raise _failed(where, f"the function answered {status}", str(reply.get("body"))[:2000])
        body = parse_json(str(reply["body"]))
        labels, scores = list(body["labels"]), [float(score) for score in body["scores"]]
    except (KeyError, TypeError, ValueError, OverflowError) as error:
        raise _failed(where, f"the answer is malformed ({type(error).__name__}: {error})", text[:2000]) from error
    if labels != list(classes) or len(scores) != len(labels):
        what = f"the answer has {len(scores)} scores and {len(labels)} labels"
        raise _failed(where, what, f"the dataset has {len(classes)} classes")
    if not (all(0.0 <= score <= 1.0 for score in scores) and math.isclose(sum(scores), 1.0, abs_tol=SUM_TOLERANCE)):
        raise _failed(where, "the scores are not probabilities", f"they add up to {sum(scores):.6f}")
    return dict(zip(labels, scores, strict=True))


def best_of(scores: Mapping[str, float]) -> tuple[str, float]:
    """Return the class of the highest probability, the first of equals, and that probability."""
    best = max(scores, key=scores.__getitem__)
    return best, scores[best]


def _failed(where: str, what: str, why: str) -> StageFailed:
    return StageFailed(where, what, why, "kennel logs --source function")
