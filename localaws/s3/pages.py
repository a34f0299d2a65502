"""What a bucket's listings show, in order and from any place: objects, versions, and common prefixes as text."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice
from typing import Any

from localaws.s3.key_store import OrderedKeyStore


def objects_in(keys: OrderedKeyStore, prefix: str, delimiter: str, after: str) -> Iterator[Any]:
    """Return the newest version of each object that has one, and common prefixes, by their names in order.

    A common prefix has such an object below it: delete markers alone make none.
    """

    def is_object(name: str) -> bool:
        key = keys.get(name)
        return key is not None and not is_marker(key)

    for name in keys.names_from(prefix, after, delimiter, is_object):
        if _is_common(name, prefix, delimiter):
            yield name
        elif (key := keys.get(name)) is not None and not is_marker(key):  # it may be gone since it was looked at
            yield key


def versions_in(
    keys: OrderedKeyStore, prefix: str, delimiter: str, after: str, after_version: str | None
) -> Iterator[Any]:
    """Return all versions and delete markers, the newest of a name first, and common prefixes.

    `after_version`: of the name `after`, whose older versions come first.
    """
    if after_version and after.startswith(prefix) and not _is_common(after, prefix, delimiter):
        yield from _older(keys, after, after_version)
    for name in keys.names_from(prefix, after, delimiter):
        if _is_common(name, prefix, delimiter):
            yield name
        else:
            yield from _newest_first(keys, name)


def taken(every: Iterator[Any], size: int | None) -> tuple[list[Any], bool]:
    """Return so many (None: all), and whether there are more; of none at all there are no more."""
    if size is None:
        return list(every), False
    found = list(islice(every, size + 1 if size else 0))
    return found[:size], len(found) > size


def is_marker(version: Any) -> bool:
    """Return whether a version is a delete marker."""
    return type(version).__name__ == "FakeDeleteMarker"


def _is_common(name: str, prefix: str, delimiter: str) -> bool:
    return delimiter != "" and delimiter in name[len(prefix) :]


def _older(keys: OrderedKeyStore, name: str, version_id: str) -> Iterator[Any]:
    is_behind = False
    for each in _newest_first(keys, name):
        if is_behind:
            yield each
        is_behind = is_behind or str(each.version_id) == version_id


def _newest_first(keys: OrderedKeyStore, name: str) -> Iterator[Any]:
    for number, each in enumerate(reversed(keys.getlist(name, []))):
        each.is_latest = number == 0
        yield each
