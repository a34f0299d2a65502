"""DeleteObjects: moto asks of the bucket, object by object, whether it may be deleted; it was decided before."""

from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar

_DECISIONS: ContextVar[Iterator[bool] | None] = ContextVar("decisions", default=None)


def may() -> bool:
    """Return whether the next object may be deleted; all that is asked elsewhere was decided before moto."""
    decisions = _DECISIONS.get()
    return True if decisions is None else next(decisions, False)


@contextmanager
def decided(decisions: Iterator[bool]) -> Iterator[None]:
    """Have moto get these answers in turn; an object without one is not deleted."""
    token = _DECISIONS.set(decisions)
    try:
        yield
    finally:
        _DECISIONS.reset(token)
