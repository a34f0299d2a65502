"""Lambda events as API Gateway and function URLs make them."""

import base64
from typing import Any


def version_1(body: str | bytes | None = None, method: str = "POST", **headers: str) -> dict[str, Any]:
    """Return an event of a REST API; a body of bytes is base64, as for a type in binaryMediaTypes."""
    text, is_base64 = encoded(body)
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return {"resource": "/", "httpMethod": method, "headers": named, "body": text, "isBase64Encoded": is_base64}


def version_2(body: str | bytes | None = None, method: str = "POST", query: str = "", **headers: str) -> dict[str, Any]:
    """Return an event of an HTTP API that authenticates nobody."""
    text, is_base64 = encoded(body)
    return {
        "version": "2.0",
        "rawPath": "/",
        "rawQueryString": query,
        "headers": {name.replace("_", "-"): value for name, value in headers.items()},
        "requestContext": {"domainName": "abc.execute-api.us-east-1.amazonaws.com", "http": {"method": method}},
        "isBase64Encoded": is_base64,
        **({} if text is None else {"body": text}),
    }


def public(*args: Any, **named: Any) -> dict[str, Any]:
    """Return an event of a function URL whose AuthType is NONE."""
    event = version_2(*args, **named)
    event["requestContext"].update(accountId="anonymous", domainName="abc123.lambda-url.us-east-1.on.aws")
    return event


def signed(*args: Any, **named: Any) -> dict[str, Any]:
    """Return an event of a function URL whose AuthType is AWS_IAM."""
    event = public(*args, **named)
    event["requestContext"]["authorizer"] = {"iam": {"userArn": "arn:aws:iam::123456789012:user/ann"}}
    return event


def authorized(*args: Any, **named: Any) -> dict[str, Any]:
    """Return an event of an HTTP API whose authorizer read a token (JWT)."""
    event = version_2(*args, **named)
    event["requestContext"]["authorizer"] = {"jwt": {"claims": {"sub": "ann"}, "scopes": None}}
    return event


def form(*parts: bytes, boundary: bytes = b"X") -> bytes:
    """Return a multipart/form-data body of parts that have their own headers."""
    return b"".join(b"--" + boundary + b"\r\n" + part + b"\r\n" for part in parts) + b"--" + boundary + b"--\r\n"


def part(name: str, content: bytes, filename: str | None = None) -> bytes:
    named = f'; filename="{filename}"' if filename is not None else ""
    kind = "\r\nContent-Type: image/jpeg" if filename is not None else ""
    return f'Content-Disposition: form-data; name="{name}"{named}{kind}\r\n\r\n'.encode() + content


def encoded(body: str | bytes | None) -> tuple[str | None, bool]:
    return (base64.b64encode(body).decode(), True) if isinstance(body, bytes) else (body, False)
