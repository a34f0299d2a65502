"""The keys of a bucket in moto's store, whose names are kept in order, so that a page of a listing costs a page.

moto's own store is a dict: each listing would copy and sort all of it.
"""

import threading
from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator
from typing import Any

from moto.s3.utils import _VersionedKeyStore

_LAST = "\U0010ffff"


class OrderedKeyStore(_VersionedKeyStore):
    """moto's store of the versions of each key, whose names can be read in order from any place. Thread-safe.

    New names are appended and put in order at the next reading, which costs one pass over the names.
    """

    def __init__(self) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._names: list[str] = []
        self._is_ordered, self._is_complete = True, True

    def setlist(self, key: str, list_: Any) -> Any:
        """Set the versions of a key."""
        is_new = key not in self
        super().setlist(key, list_)
        if is_new:
            self._note(key)

    def __setitem__(self, key: str, value: Any) -> None:
        """Add a version of a key."""
        is_new = key not in self
        super().__setitem__(key, value)
        if is_new:
            self._note(key)

    def pop(self, key: str) -> None:  # type: ignore[override]  # as moto's own override of its base
        """Remove a key with all its versions; of these moto's own pop does not expect delete markers.

        Raises:
            KeyError: there is no such key.
        """
        for version in dict.pop(self, key):
            if hasattr(version, "dispose"):
                version.dispose()
        with self._lock:
            self._is_complete = False

    def names_from(
        self, prefix: str, after: str, delimiter: str, is_shown: Callable[[str], bool] | None = None
    ) -> Iterator[str]:
        """Return the names that begin with `prefix` and come after `after`, in order, of those that are shown.

        With a delimiter, all that have it after the prefix are one name: their beginning to the end of it. `is_shown`
        tells of a key whether it counts; the default counts all that are in the store.
        """
        is_shown = is_shown or self.__contains__
        names, end = self._ordered()
        at = max(bisect_left(names, prefix, hi=end), bisect_right(names, after, hi=end) if after else 0)
        last = after
        while at < end and names[at].startswith(prefix):
            name = names[at]
            if not is_shown(name):
                at += 1
                continue
            cut = name.find(delimiter, len(prefix)) if delimiter else -1
            if cut < 0:
                at += 1
                yield name
                continue
            folder = name[: cut + len(delimiter)]
            at = bisect_right(names, folder + _LAST, at + 1, end)
            if folder > last:
                last = folder
                yield folder

    def _note(self, key: str) -> None:
        """Take note of a new name, which is in the store already: it would be dropped from the order otherwise."""
        with self._lock:
            self._is_ordered = self._is_ordered and (not self._names or self._names[-1] < key)
            self._names.append(key)

    def _ordered(self) -> tuple[list[str], int]:
        """Return names in order, and how many are: the list is changed by nothing but appending to its end."""
        with self._lock:
            if not (self._is_ordered and self._is_complete):
                self._names = sorted({each for each in self._names if each in self})
                self._is_ordered, self._is_complete = True, True
            return self._names, len(self._names)
