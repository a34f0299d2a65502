"""Makes harmless what a flow's errors say, before Prefect logs it and stores it in its database.

Prefect logs the traceback of whatever a flow raises, with the text of each cause, and prints its database's logs and
states as they are. It has many loggers, and a filter holds for one only, so the records are escaped where they are
made.
"""

from __future__ import annotations

import functools
import inspect
import logging
from collections.abc import Callable, Coroutine
from typing import Any, ParamSpec, TypeVar

from flows.runner import watch_aws
from tasks.run.errors import KennelError, unexpected
from tasks.run.escaping import terminal_text
from tasks.run.progress import escape_record

Arguments = ParamSpec("Arguments")
Result = TypeVar("Result")
Work = Callable[Arguments, Coroutine[Any, Any, Result]]


class EscapedRecord(logging.LogRecord):
    """A record that is escaped if it is one of Prefect's."""

    def __init__(self, name: str, *rest: Any, **more: Any) -> None:
        super().__init__(name, *rest, **more)
        if name.partition(".")[0] == "prefect":
            escape_record(self)


def escape_prefects_records() -> None:
    """Let every later log record of this process be an `EscapedRecord`."""
    logging.setLogRecordFactory(EscapedRecord)


def harmless_errors(work: Work[Arguments, Result]) -> Work[Arguments, Result]:
    """Let a flow raise only errors whose text is harmless on a terminal; a `KennelError` escapes its own.

    In a worker's process the embedded AWS is watched from here on.

    Raises:
        Unexpected: the flow raised another error whose text is not; it is the cause.
    """

    @functools.wraps(work)
    async def call(*args: Arguments.args, **kwargs: Arguments.kwargs) -> Result:
        try:
            watch_aws()
            return await work(*args, **kwargs)
        except Exception as error:
            if isinstance(error, KennelError) or terminal_text(str(error)) == str(error):
                raise
            raise unexpected(error, f"flow {work.__name__!r}") from error

    # Prefect checks a flow's parameters, and would look for the names of their types in this module.
    call.__signature__ = inspect.signature(work, eval_str=True)  # type: ignore[attr-defined]
    return call
