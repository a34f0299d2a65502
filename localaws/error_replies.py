"""Formats errors as each service's clients expect them: JSON, or one of AWS's three kinds of XML.

XML has no characters of control but three, not even escaped; where a reply repeats what was sent, each is a `?`.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from localaws.errors import AwsError
from localaws.request_ids import new_ids

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")


@dataclass(frozen=True)
class Reply:
    """A whole HTTP reply."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def error_reply(service: str, error: AwsError, *, is_form: bool = False) -> Reply:
    """Return `error` as clients of `service` (its signing name) expect it; `is_form`: the request was form-encoded."""
    ids = new_ids(service)
    reply = _without_ids(service, error, [value for _, value in ids], is_form=is_form)
    return replace(reply, headers=[*reply.headers, *ids])


def is_own_xml(service: str, status: str, headers: Sequence[tuple[str, str]]) -> bool:
    """Return whether a reply is XML that the service wrote; S3's objects and lists of them are as they are stored."""
    kind = next((value for name, value in headers if name.lower() == "content-type"), "")
    return "xml" in kind and (service != "s3" or status[0] not in "23")


def legible(xml: bytes) -> bytes:
    """Return XML that was written with whatever was sent, without the characters that XML has not."""
    return _NOT_IN_XML.sub("?", xml.decode("utf-8", "replace")).encode()


def _without_ids(service: str, error: AwsError, ids: list[str], *, is_form: bool) -> Reply:
    """Return the reply with the ids in its body alone."""
    code, message = _escaped(error.code), _escaped(error.message)
    if service == "s3":
        details = error.details | {"RequestId": ids[0], "HostId": ids[1]}
        more = "".join(f"<{name}>{_escaped(text)}</{name}>" for name, text in details.items())
        return _xml(error, f"<Error><Code>{code}</Code><Message>{message}</Message>{more}</Error>")
    if service == "ec2":
        inner = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        return _xml(error, f"<Response>{inner}<RequestID>{ids[0]}</RequestID></Response>")
    if service in ("iam", "sts") or is_form:
        inner = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        return _xml(error, f"<ErrorResponse>{inner}<RequestId>{ids[0]}</RequestId></ErrorResponse>")
    body = json.dumps({"__type": error.code, "message": error.message, "Message": error.message}).encode()
    return Reply(error.status, [("content-type", "application/x-amz-json-1.1"), ("x-amzn-errortype", error.code)], body)


def _escaped(text: str) -> str:
    return escape(_NOT_IN_XML.sub("?", text))


def _xml(error: AwsError, content: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{content}'.encode()
    return Reply(error.status, [("content-type", "application/xml")], body)
