"""Call SageMaker's InvokeEndpoint with the standard library, and turn each failure into a `Refusal`.

The client keeps one connection open, signs its requests and retries only a few times. It does not use boto3, because
importing boto3 and making a client takes longer than the rest of a cold start.
"""

from __future__ import annotations

import http.client
import json
import random
import re
import time
from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from typing import Any, NamedTuple
from urllib.parse import urlsplit

from refusal import Refusal
from signature import Credentials, Signer
from timing import Budget

MAX_ATTEMPTS = 3
FIRST_PAUSE_SECONDS = 0.1
MIN_ATTEMPT_SECONDS = 0.2  # with less time left, another attempt could not finish
RETRY_AFTER_SECONDS = 1
MISSING_RETRY_SECONDS = 30
FORWARDED_STATUSES = frozenset({400, 413, 415, 422})  # the container's errors that concern the image
_SUFFIXES = {
    "cn": "amazonaws.com.cn",
    "eusc": "amazonaws.eu",
    "us-iso": "c2s.ic.gov",
    "us-isob": "sc2s.sgov.gov",
    "eu-isoe": "cloud.adc-e.uk",
    "us-isof": "csp.hci.ic.gov",
}  # of botocore's partitions, where it is not amazonaws.com, by the first words of a region
_NAME = re.compile(r"[a-zA-Z0-9](-*[a-zA-Z0-9]){0,62}")
_THROTTLED = frozenset(
    {"ThrottlingException", "ThrottledException", "TooManyRequestsException", "ModelNotReadyException"}
)


class Reply(NamedTuple):
    """The parts of an HTTP response that decide its outcome."""

    status: int
    error_code: str
    content_type: str
    body: bytes


class Endpoint:
    """A client of one SageMaker endpoint; the constructor does not connect."""

    def __init__(self, name: str, url: str, signer: Signer, *, sleep: Callable[[float], None] = time.sleep) -> None:
        parts = urlsplit(url)
        if not _NAME.fullmatch(name) or parts.scheme not in ("http", "https") or not parts.hostname:
            raise Refusal(500, "Misconfigured", "The function's endpoint name or address is not valid.")
        self._is_encrypted = parts.scheme == "https"
        self._host, self._port = parts.hostname, parts.port
        self._netloc = parts.netloc
        self._path = f"{parts.path.rstrip('/')}/endpoints/{name}/invocations"
        self._signer = signer
        self._sleep = sleep
        self._connection: http.client.HTTPConnection | None = None

    @classmethod
    def from_environment(cls, name: str, environ: Mapping[str, str]) -> Endpoint:
        """Build a client from Lambda's environment, AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME and AWS_ENDPOINT_URL.

        Raises:
            Refusal: the region or the credentials are missing, or the name or URL is invalid (500).
        """
        region = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
        key, secret = environ.get("AWS_ACCESS_KEY_ID"), environ.get("AWS_SECRET_ACCESS_KEY")
        if not (region and key and secret):
            raise Refusal(500, "Misconfigured", "The function has no region or no credentials.")
        url = environ.get("AWS_ENDPOINT_URL_SAGEMAKER_RUNTIME") or environ.get("AWS_ENDPOINT_URL")
        signer = Signer(Credentials(key, secret, environ.get("AWS_SESSION_TOKEN")), region, "sagemaker")
        return cls(name, url or f"https://runtime.sagemaker.{region}.{dns_suffix(region)}", signer)

    def invoke(self, image: bytes, content_type: str, budget: Budget) -> str:
        """Return the endpoint's JSON for an image; retry temporary failures while there is time.

        Raises:
            Refusal: the model refuses the image (400, 413, 415, 422), the model fails (502), the endpoint is
                unavailable (503) or too slow (504), or this function is misconfigured (500).
        """
        for attempt in range(1, MAX_ATTEMPTS + 1):
            try:
                return self._attempt(image, content_type, budget)
            except Refusal as refusal:
                pause = FIRST_PAUSE_SECONDS * 2 ** (attempt - 1) * (1 + random.random())
                is_last = attempt == MAX_ATTEMPTS or budget.left() < pause + MIN_ATTEMPT_SECONDS
                if refusal.code != "EndpointUnavailable" or is_last:
                    raise
                self._sleep(pause)
        raise AssertionError("the last attempt returns or raises")

    def _attempt(self, image: bytes, content_type: str, budget: Budget) -> str:
        try:
            reply = self._exchange(image, content_type, budget)
        except TimeoutError as error:
            self._close()
            raise Refusal(504, "EndpointTimeout", "The model took too long.") from error
        except (OSError, http.client.HTTPException) as error:
            self._close()
            raise unavailable("The model cannot be reached.") from error
        if reply.status == 200 and reply.content_type.startswith("application/json"):
            return reply.body.decode("utf-8", "replace")
        raise refusal_for(reply)

    def _exchange(self, image: bytes, content_type: str, budget: Budget) -> Reply:
        """Send the request on the open connection; if the server has closed that, send it once on a new one."""
        is_reused = self._connection is not None
        try:
            return self._send(image, content_type, budget)
        except TimeoutError:
            raise
        except (OSError, http.client.HTTPException):
            if not is_reused:
                raise
            self._close()
            return self._send(image, content_type, budget)

    def _send(self, image: bytes, content_type: str, budget: Budget) -> Reply:
        seconds = budget.left()
        if not seconds:
            raise TimeoutError
        connection = self._open(seconds)
        headers = {"Host": self._netloc, "Content-Type": content_type, "Accept": "application/json"}
        signed = self._signer.sign(self._path, headers, image, datetime.now(UTC))
        connection.request("POST", self._path, body=image, headers=signed)
        response = connection.getresponse()
        body = response.read()
        code = response.getheader("x-amzn-errortype", "").partition(":")[0]
        return Reply(response.status, code or error_code(body), response.getheader("Content-Type", ""), body)

    def _open(self, seconds: float) -> http.client.HTTPConnection:
        if self._connection is None:
            kind = http.client.HTTPSConnection if self._is_encrypted else http.client.HTTPConnection
            self._connection = kind(self._host, self._port, timeout=seconds)
        self._connection.timeout = seconds
        if self._connection.sock is not None:
            self._connection.sock.settimeout(seconds)
        return self._connection

    def _close(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


def dns_suffix(region: str) -> str:
    """Return the end of the names of AWS's hosts in a region."""
    return next((_SUFFIXES[name] for name in _SUFFIXES if region.startswith(f"{name}-")), "amazonaws.com")


def refusal_for(reply: Reply) -> Refusal:
    """Translate an error response of SageMaker into one that the caller of this function can act on."""
    if reply.error_code == "ModelError" or reply.status == 424:
        return refusal_for_model_error(json_object(reply.body))
    if reply.status == 429 or reply.error_code in _THROTTLED:
        return unavailable("The model is busy.")
    if reply.status >= 500:
        return unavailable("The model is not available.")
    if reply.error_code in ("ValidationError", "ValidationException"):  # the code for a missing endpoint
        return Refusal(503, "EndpointMissing", "The model is not deployed.", retry_after_seconds=MISSING_RETRY_SECONDS)
    if reply.status == 403:
        return Refusal(500, "Misconfigured", "The function is not allowed to call its endpoint.")
    return Refusal(502, "EndpointError", "The model's response cannot be used.")


def refusal_for_model_error(fields: Mapping[str, Any]) -> Refusal:
    """Translate an error of the model's container: errors about the image are forwarded, other failures are not."""
    status = fields.get("OriginalStatusCode")
    if status == 429:
        return unavailable("The model is busy.")
    if not isinstance(status, int) or status not in FORWARDED_STATUSES:
        return Refusal(502, "ModelFailed", "The model failed on the image.")
    error = json_object(str(fields.get("OriginalMessage", "")).encode()).get("error")
    code, message = (error.get("code"), error.get("message")) if isinstance(error, dict) else (None, None)
    if isinstance(code, str) and isinstance(message, str):
        return Refusal(status, code, message)
    return Refusal(status, "ImageRefused", "The model does not accept the image.")


def unavailable(message: str) -> Refusal:
    """Return the refusal for a temporary failure, with the time after which to retry."""
    return Refusal(503, "EndpointUnavailable", message, retry_after_seconds=RETRY_AFTER_SECONDS)


def error_code(body: bytes) -> str:
    """Return the error code in a JSON body, or an empty string."""
    fields = json_object(body)
    return str(fields.get("__type") or fields.get("code") or "").rpartition("#")[2]


def json_object(body: bytes) -> dict[str, Any]:
    """Return the JSON object in a body, or an empty one if there is none."""
    try:
        fields = json.loads(body)
    except (ValueError, RecursionError):
        return {}
    return fields if isinstance(fields, dict) else {}
