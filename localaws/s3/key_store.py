"""The keys of a bucket in moto's store, whose names are kept in order, so that a page of a listing costs a page.

moto's own store is a dict: each listing would copy and sort all of it.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from typing import Any

from moto.s3.utils import _VersionedKeyStore
from sortedcontainers import SortedSet

from localaws.errors import AwsError

MOST_NAME_BYTES = 1024
_LAST = "\U0010ffff"
_FINISHING: ContextVar[tuple[Callable[[Any], None], ...]] = ContextVar("finishing", default=())


def require_length(key: str) -> None:
    """Return if a key is as long as one may be in S3.

    Raises:
        AwsError: KeyTooLongError.
    """
    size = len(key.encode(errors="surrogateescape"))
    if size > MOST_NAME_BYTES:
        told = {"Size": str(size), "MaxSizeAllowed": str(MOST_NAME_BYTES)}
        raise AwsError("KeyTooLongError", "Your key is too long", details=told)


@contextmanager
def finished_by(finish: Callable[[Any], None]) -> Iterator[None]:
    """Have `finish` complete each new version that is stored meanwhile, before anyone can find it."""
    token = _FINISHING.set((*_FINISHING.get(), finish))
    try:
        yield
    finally:
        _FINISHING.reset(token)


class OrderedKeyStore(_VersionedKeyStore):
    """moto's store of the versions of each key, whose names can be read in order from any place. Thread-safe."""

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._names = SortedSet()

    def setlist(self, key: str, list_: Any) -> Any:
        """Set the versions of a key; the last one is the new one, if one is being stored."""
        for finish in _FINISHING.get():
            finish(list_[-1])
        super().setlist(key, list_)
        self._order(key)

    def __setitem__(self, key: str, value: Any) -> None:
        """Add a version of a key."""
        super().__setitem__(key, value)
        self._order(key)

    def pop(self, key: str) -> None:  # type: ignore[override]  # as moto's own override of its base
        """Remove a key with all its versions; of these moto's own pop does not expect delete markers.

        Raises:
            KeyError: there is no such key.
        """
        removed = dict.pop(self, key)
        self._order(key)
        for version in removed:
            if hasattr(version, "dispose"):
                version.dispose()

    def names_from(
        self, prefix: str, after: str, delimiter: str, is_shown: Callable[[str], bool] | None = None
    ) -> Iterator[str]:
        """Return the names that begin with `prefix` and come after `after`, in order, of those that are shown.

        With a delimiter, all that have it after the prefix are one name: their beginning to the end of it. `is_shown`
        tells of a key whether it counts; the default counts all that are in the store.
        """
        is_shown = is_shown or self.__contains__
        last = after
        name = self._next(max(prefix, after), is_after=after >= prefix and after != "")
        while name is not None and name.startswith(prefix):
            behind, cut = name, name.find(delimiter, len(prefix)) if delimiter else -1
            if not is_shown(name):
                pass
            elif cut < 0:
                yield name
            else:
                folder = name[: cut + len(delimiter)]
                behind = max(name, folder + _LAST)
                if folder > last:
                    last = folder
                    yield folder
            name = self._next(behind, is_after=True)

    def _order(self, key: str) -> None:
        """Have a name in its place if the store has the key, and nowhere if it has not."""
        with self._lock:
            if key in self:
                self._names.add(key)
            else:
                self._names.discard(key)

    def _next(self, bound: str, *, is_after: bool) -> str | None:
        """Return the first name that is a bound or comes after it, or only what comes after it."""
        with self._lock:
            found: str | None = next(self._names.irange(bound, inclusive=(not is_after, True)), None)
        return found
