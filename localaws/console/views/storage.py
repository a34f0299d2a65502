"""S3's buckets, and the objects of one, in pages."""

from collections.abc import Iterator, Mapping
from typing import Any

from localaws.console.account import Account
from localaws.console.rendering import paged
from localaws.console.views.missing import Missing

OBJECTS_A_PAGE = 200


def buckets(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of the buckets by name, with how many objects each has and of what size."""
    page = paged(sorted(account.buckets), query)
    page["items"] = [_bucket(account.buckets[name]) for name in page["items"]]
    return {"buckets": page}


def bucket(account: Account, query: Mapping[str, str]) -> dict[str, Any]:
    """Return a page of a bucket's objects by key, of those whose key begins with `prefix`.

    Raises:
        Missing: there is none of that name.
    """
    name, prefix = query.get("name", ""), query.get("prefix", "")
    found = account.buckets.get(name)
    if found is None:
        raise Missing(f"bucket {name}")
    keys = sorted((each for each in _objects(found) if each.name.startswith(prefix)), key=lambda each: each.name)
    policy = found.policy.decode("utf-8", "replace") if found.policy else ""
    page = paged(keys, query, OBJECTS_A_PAGE)
    return {"bucket": _bucket(found), "policy": policy, "prefix": prefix, "objects": page}


def _bucket(found: Any) -> dict[str, Any]:
    sizes = [each.contentsize for each in _objects(found)]
    return {
        "name": found.name,
        "created": found.creation_date,
        "objects": len(sizes),
        "bytes": sum(sizes),
        "uploads": len(found.multiparts),
        "is_versioned": found.is_versioned,
        "is_encrypted": bool(found.encryption),
        "is_closed": found.public_access_block is not None,
    }


def _objects(found: Any) -> Iterator[Any]:
    """Yield the newest version of each object that is there; others may store and delete objects meanwhile."""
    newest = (found.keys.get(name) for name in list(found.keys))
    return (each for each in newest if hasattr(each, "contentsize"))  # no marker of a deletion
