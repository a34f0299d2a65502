"""Lists in pages, whose tokens are opaque and sealed, as AWS's are: one that was not issued is refused.

The codes and texts are those of each service's API reference.
"""

import hmac
import secrets
from collections.abc import Sequence
from typing import Any, TypeVar

from localaws.errors import AwsError

Item = TypeVar("Item")
QUOTED = 100  # of a text's characters, in what is said of it
_KEY = secrets.token_bytes(32)
_NUMBER_BYTES, _SEAL_BYTES = 8, 16
_INVALID = {  # by signing name
    "application-autoscaling": ("InvalidNextTokenException", "The specified token is not valid."),
    "budgets": ("InvalidNextTokenException", "The pagination token is invalid."),
    "ec2": ("InvalidNextToken", "The token '{}' is invalid"),
    "iam": ("ValidationError", "Invalid Marker."),
    "kms": ("InvalidMarkerException", "The marker is not valid."),
    "lambda": ("InvalidParameterValueException", "Invalid marker: {}"),
    "logs": ("InvalidParameterException", "The specified nextToken is invalid."),
    "monitoring": ("InvalidNextToken", "The next token specified is invalid."),
    "pricing": ("InvalidNextTokenException", "The pagination token is invalid. Try again without a pagination token."),
    "s3": ("InvalidArgument", "The continuation token provided is incorrect"),
    "servicequotas": ("InvalidPaginationTokenException", "Invalid pagination token was provided."),
    "ssm": ("InvalidNextToken", "The specified token is not valid."),
    "tagging": ("PaginationTokenExpiredException", "The provided pagination token is not valid."),
}


def page_of(items: Sequence[Item], token: Any, size: Any, *, service: str) -> tuple[Sequence[Item], str | None]:
    """Return the page that a token (None: the first) leads to, and the token of the next one, None after the last.

    `service`: whose error it is, by its signing name.

    Raises:
        AwsError: this server issued no such token.
    """
    start = _start_of(token, service) if token else 0
    end = start + int(size)
    return items[start:end], _token(end) if end < len(items) else None


def token_of_name(name: str) -> str:
    """Return a token that leads behind a name, wherever that is by then; nothing has to be kept for it."""
    text = name.encode()
    return (text + hmac.digest(_KEY, text, "sha256")[:_SEAL_BYTES]).hex()


def name_in(token: str) -> str | None:
    """Return the name that a token leads behind, None if this server issued no such token."""
    try:
        text = bytes.fromhex(token)[:-_SEAL_BYTES].decode()
    except ValueError:
        return None
    return text if hmac.compare_digest(token_of_name(text).encode(), token.encode()) else None


def invalid_token(service: str, token: Any) -> AwsError:
    """Return a service's refusal of a token that is none."""
    code, text = _INVALID.get(service, ("ValidationException", "The pagination token is invalid."))
    return AwsError(code, text.format(str(token)[:QUOTED]))


def _start_of(token: Any, service: str) -> int:
    try:
        start = int.from_bytes(bytes.fromhex(token)[:_NUMBER_BYTES])
    except (TypeError, ValueError):
        raise invalid_token(service, token) from None
    if not hmac.compare_digest(_token(start).encode(), str(token).encode()):
        raise invalid_token(service, token)
    return start


def _token(start: int) -> str:
    number = start.to_bytes(_NUMBER_BYTES)
    return (number + hmac.digest(_KEY, number, "sha256")[:_SEAL_BYTES]).hex()  # which fits each service's pattern
