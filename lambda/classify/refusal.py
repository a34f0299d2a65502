"""The one exception of this function: what the caller is told instead of scores."""

from __future__ import annotations


class Refusal(Exception):
    """An answer other than 200. `code` is stable and meant for programs, `message` for people."""

    def __init__(self, status: int, code: str, message: str, *, retry_after_seconds: int | None = None) -> None:
        super().__init__(message)
        self.status = status
        self.code = code
        self.message = message
        self.retry_after_seconds = retry_after_seconds
