"""Asks AWS for things that may not exist, and reads the tags that it answers with."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from typing import Any

from botocore.exceptions import ClientError

from tasks.run.errors import is_not_found


def none_if_missing(call: Callable[[], Any]) -> Any:
    """Return what a describing call answers, or None when AWS says that the thing does not exist.

    Raises:
        ClientError: AWS refused for another reason.
    """
    try:
        return call()
    except ClientError as error:
        if is_not_found(error):
            return None
        raise


def tags_to_dict(tags: Iterable[Mapping[str, str]]) -> dict[str, str]:
    """Return a `[{"Key", "Value"}]` list, as most services answer with, as a dictionary."""
    return {tag["Key"]: tag["Value"] for tag in tags}
