"""The exception that becomes an error response; the function has no other."""

from __future__ import annotations


class Refusal(Exception):
    """An error response. Programs may rely on `code`, which is stable; `message` is for people."""

    def __init__(self, status: int, code: str, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_seconds = retry_after_seconds


def bad_request(message: str) -> Refusal:
    """Return the refusal of a malformed request."""
    return Refusal(400, "BadRequest", message)
