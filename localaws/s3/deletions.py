"""DeleteObjects: whether its caller may delete each key, which moto asks of the bucket key by key."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar

from starlette.types import Scope

from localaws.permissions.authority import Authority
from localaws.permissions.gate import CALLER
from localaws.permissions.questions import Question
from localaws.policies.context import NOTHING

May = Callable[[str, str], bool]

_MAY: ContextVar[May | None] = ContextVar("may", default=None)


def may(action: str, resource: str) -> bool:
    """Return whether the caller of DeleteObjects may do this; all that is asked elsewhere was decided before moto."""
    asked = _MAY.get()
    return asked is None or asked(action, resource)


@contextmanager
def decided_by_key(authority: Authority, scope: Scope) -> Iterator[None]:
    """Have the keys of a request decided one by one if it is DeleteObjects; meant for one thread's request."""
    caller, names = scope.get(CALLER), {each.partition(b"=")[0] for each in scope["query_string"].split(b"&")}
    if caller is None or scope["method"] != "POST" or b"delete" not in names:
        yield
        return

    def is_allowed(action: str, resource: str) -> bool:
        question = Question(action, resource, "", NOTHING)
        return authority.decide(caller, question).is_allowed or not authority.is_enforcing

    token = _MAY.set(is_allowed)
    try:
        yield
    finally:
        _MAY.reset(token)
