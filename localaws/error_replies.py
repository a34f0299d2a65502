"""Formats errors as each service's clients expect them: JSON, or one of AWS's three kinds of XML."""

import base64
import json
import re
import secrets
from dataclasses import dataclass, replace
from xml.sax.saxutils import escape

from localaws.errors import AwsError

_NOT_IN_XML = re.compile("[^\t\n\r -\ud7ff\ue000-\ufffd]")


@dataclass(frozen=True)
class Reply:
    """A whole HTTP reply."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


def error_reply(service: str, error: AwsError, *, is_form: bool = False) -> Reply:
    """Return `error` as clients of `service` (its signing name) expect it; `is_form`: the request was form-encoded."""
    code, message = escape(error.code), escape(error.message)
    if service == "s3":
        return _of_s3(error, f"<Code>{code}</Code><Message>{message}</Message>")
    if service == "ec2":
        inner = f"<Errors><Error><Code>{code}</Code><Message>{message}</Message></Error></Errors>"
        return _xml(error, f"<Response>{inner}<RequestID>localaws</RequestID></Response>")
    if service in ("iam", "sts") or is_form:
        inner = f"<Error><Type>Sender</Type><Code>{code}</Code><Message>{message}</Message></Error>"
        return _xml(error, f"<ErrorResponse>{inner}<RequestId>localaws</RequestId></ErrorResponse>")
    body = json.dumps({"__type": error.code, "message": error.message, "Message": error.message}).encode()
    return Reply(error.status, [("content-type", "application/x-amz-json-1.1"), ("x-amzn-errortype", error.code)], body)


def _of_s3(error: AwsError, inner: str) -> Reply:
    """Return an error with its details and the two ids that each of S3's answers has, also in its header."""
    ids = {"RequestId": secrets.token_hex(8).upper(), "HostId": base64.b64encode(secrets.token_bytes(56)).decode()}
    more = "".join(f"<{name}>{_escaped(text)}</{name}>" for name, text in (error.details | ids).items())
    reply = _xml(error, f"<Error>{inner}{more}</Error>")
    named = [("x-amz-request-id", ids["RequestId"]), ("x-amz-id-2", ids["HostId"])]
    return replace(reply, headers=[*reply.headers, *named])


def _escaped(text: str) -> str:
    return escape(_NOT_IN_XML.sub("?", text))


def _xml(error: AwsError, content: str) -> Reply:
    body = f'<?xml version="1.0" encoding="UTF-8"?>\n{content}'.encode()
    return Reply(error.status, [("content-type", "application/xml")], body)
