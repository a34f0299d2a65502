"""Treat an answer of AWS that cannot be read, or that lacks what kennel needs, like one that was lost.

botocore raises an error of no family for a body that is cut, returns a body that is `{}` as a reply without fields, and
takes the page of a captive portal for an object. Here each of them is an answer that AWS is asked for again, as often
as botocore repeats a call without an answer, and then a `MalformedAnswerError`. A changing call may have been carried
out; what looks again after a lost answer does so after this error, which is one of botocore's.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from botocore.exceptions import HTTPClientError

from tasks.run.needed_fields import what_is_wrong
from tasks.run.progress import LOGGER

SHOWN_BYTES = 120
MOST_OF_A_CODE = 100
MOST_OF_A_MESSAGE = 800
MOST_LINES = 12
"""How much of an error's words is shown; AWS's own are shorter, but for an encoded authorization message of EC2."""

_MARK = "KennelFoundMalformed"
_OPERATION = "kennel_operation"  # in the context of an answer: its service and operation
_REPEATED = "RequestTimeout"  # a code of botocore's that means "repeat"; `raise_if_malformed` replaces it
_REDIRECTS = (301, 302, 307)
_READING = ("Describe", "Get", "List", "Head", "Filter")


class MalformedAnswerError(HTTPClientError):  # type: ignore[misc]
    """AWS's answer to a call, and to its repetitions, cannot be used. The call may have been carried out."""

    fmt = "{operation} at {endpoint_url} was answered with HTTP {status} and something that is not AWS's: {problem}"

    @property
    def is_reading(self) -> bool:
        """Whether the call changes nothing."""
        return str(self.kwargs["operation"]).startswith(_READING)


TOO_LONG = "x-kennel-longer-than"
"""The header of an answer that was not read to its end: it is longer than these bytes."""

IDS = ("x-amzn-requestid", "x-amzn-request-id", "x-amz-request-id", "x-amz-id-2")
"""AWS sends one of these with each answer: S3 `x-amz-request-id` and `x-amz-id-2`, all other services the first."""


class CheckedParsers:
    """botocore's factory of parsers, whose parsers mark a malformed answer as one that is to be asked for again."""

    def __init__(self, factory: Any) -> None:
        self._factory = factory

    def create_parser(self, protocol: str) -> Any:
        """Return the parser of a protocol."""
        return _CheckedParser(self._factory.create_parser(protocol), is_s3=protocol == "rest-xml")


class _CheckedParser:
    """A parser. S3's answer to HEAD, which has no body, tells an error by its status, and is S3's by its id."""

    def __init__(self, parser: Any, *, is_s3: bool) -> None:
        self._parser = parser
        self._is_s3 = is_s3

    def parse(self, response: Mapping[str, Any], shape: Any) -> Any:
        """Return the parsed reply, or one with a mark if it is malformed."""
        foreign = _what_is_foreign(response)
        if foreign is not None:
            return _malformed(response, foreign)
        try:
            parsed = self._parser.parse(response, shape)
            if shape is not None and shape.metadata.get("exception"):
                return parsed  # botocore reads an error a second time for the members of its kind
            problem = self._problem(response, parsed, shape)
        except Exception as error:  # noqa: BLE001  botocore's own, and what a wrong type makes its parsers raise
            return _malformed(response, f"it cannot be read ({type(error).__name__})")
        return parsed if problem is None else _malformed(response, problem)

    def _problem(self, response: Mapping[str, Any], parsed: Any, shape: Any) -> str | None:
        if not isinstance(parsed, dict):
            return "it is no reply"
        if response["status_code"] in _REDIRECTS and self._is_s3 and _names_no_region(parsed):
            return "it is a redirect that names no region"
        if response["status_code"] >= 300:
            is_told = bool(response.get("body")) or not self._is_s3
            if is_told and _is_nameless(parsed, response["status_code"]):
                return "it names no error"
            wrong = _what_is_no_text(parsed.get("Error", {}))
            if wrong is None:
                _shorten(parsed.get("Error", {}))
            return wrong
        if shape is None:
            return None
        return what_is_wrong(str(response.get("context", {}).get(_OPERATION)), parsed, shape)


def name_operation(operation_model: Any, response_dict: Any, **_: Any) -> None:
    """Tell the parser of an answer whose operation it answers: a hook ("before-parse")."""
    name = f"{operation_model.service_model.service_name}.{operation_model.name}"
    response_dict.setdefault("context", {})[_OPERATION] = name


def raise_if_malformed(http_response: Any, parsed: Mapping[str, Any], model: Any, **_: Any) -> None:
    """Raise the error of a reply that still has a mark when botocore stops to repeat the call: a hook ("after-call").

    Raises:
        MalformedAnswerError: the reply has a mark.
    """
    if _MARK in parsed:
        endpoint = str(http_response.url).partition("?")[0]
        status, problem = http_response.status_code, parsed[_MARK]
        raise MalformedAnswerError(operation=model.name, endpoint_url=endpoint, status=status, problem=problem)


def ask_for_no_region(request_dict: Mapping[str, Any], response: Any, **_: Any) -> None:
    """Keep botocore from asking HeadBucket, which may be redirected too, for the region of a redirect: a hook.

    It is called ("needs-retry.s3") before botocore's own.
    """
    if response is not None and response[0].status_code in _REDIRECTS and _names_no_region(response[1]):
        request_dict["context"].setdefault("s3_redirect", {})["redirected"] = True


def _names_no_region(parsed: Mapping[str, Any]) -> bool:
    headers = parsed.get("ResponseMetadata", {}).get("HTTPHeaders", {})
    return not headers.get("x-amz-bucket-region") and not parsed.get("Error", {}).get("Region")


def _what_is_foreign(response: Mapping[str, Any]) -> str | None:
    """Return why an answer that lacks AWS's id is not AWS's; an object in S3 may be a page too, and has the id."""
    headers = response["headers"]
    if TOO_LONG in headers:
        return f"it is longer than {headers[TOO_LONG]} bytes"
    if any(headers.get(name) for name in IDS):
        return None
    if str(headers.get("content-type", "")).lower().startswith("text/html"):
        return "it is an HTML page"
    return None if response.get("body") else "it has neither a body nor AWS's request id"


def _is_nameless(parsed: Mapping[str, Any], status: int) -> bool:
    """Tell whether an error has no code; botocore takes the status for one, and a proxy's 404 is not "not found"."""
    error = parsed.get("Error", {})
    return not error.get("Code") or error["Code"] == str(status)


def _what_is_no_text(error: Mapping[str, Any]) -> str | None:
    """Return which word of an error is no text, or None."""
    wrong = [name for name in ("Code", "Message") if not isinstance(error.get(name) or "", str)]
    return f"the {wrong[0]} of its error is {error[wrong[0]]!r:.80}, not a text" if wrong else None


def _shorten(error: dict[str, Any]) -> None:
    """Cut the words of an error that are too long to be shown; the run's log gets the whole."""
    for name, most_characters in (("Code", MOST_OF_A_CODE), ("Message", MOST_OF_A_MESSAGE)):
        text = error.get(name) or ""
        shown = "\n".join(text.split("\n")[:MOST_LINES])[:most_characters]
        if shown != text:
            LOGGER.debug("the whole %s of AWS's error: %s", name, text)
            error[name] = (
                f"{shown}… ({len(text) - len(shown):,} characters are left out; the run's kennel.log has them)"
            )


def _malformed(response: Mapping[str, Any], problem: str) -> dict[str, Any]:
    text = f"{problem}; received: {_shown(response)}"
    metadata = {"HTTPStatusCode": response["status_code"], "HTTPHeaders": {}}
    return {"Error": {"Code": _REPEATED, "Message": text}, "ResponseMetadata": metadata, _MARK: text}


def _shown(response: Mapping[str, Any]) -> str:
    """Return the first bytes of a body, escaped."""
    body = response.get("body") or b""
    if hasattr(body, "read"):  # what is streamed is not in memory
        body = body.read(SHOWN_BYTES + 1)
    return f"{bytes(body[:SHOWN_BYTES])!r}{'…' if len(body) > SHOWN_BYTES else ''}" if body else "an empty body"
