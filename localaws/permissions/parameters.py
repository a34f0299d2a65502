"""Parameters as AWS's protocols write them: forms with dotted names, JSON, and names and values of a path or query."""

from __future__ import annotations

import functools
import json
from collections.abc import Iterable, Mapping
from typing import Any

Node = str | dict[str, Any]


class Unreadable(ValueError):
    """Parameters that have no one meaning; the message says why."""


def from_pairs(pairs: Mapping[str, str], shape: Any, is_ec2: bool) -> dict[str, Any]:
    """Return the parameters of a form, by the names of the input shape.

    Raises:
        Unreadable: a name is both a value and a structure, or a list is not numbered from 1.
    """
    tree: dict[str, Any] = {}
    for name, value in pairs.items():
        _insert(tree, name.split("."), value)
    read = _read(tree, shape, is_ec2) if shape is not None else {}
    return read if isinstance(read, dict) else {}


def read_document(body: bytes) -> dict[str, Any]:
    """Return the object of a JSON body, an empty one for none.

    Raises:
        Unreadable: it is none.
    """
    if not body:
        return {}
    try:
        found = json.loads(body)
    except ValueError:
        raise Unreadable("its body is no JSON") from None
    except RecursionError:
        raise Unreadable("its body is nested too deeply") from None
    if not isinstance(found, dict):
        raise Unreadable("its body is no JSON object")
    return found


def merged(given: Iterable[tuple[str, str]], members: Mapping[str, str], lists: frozenset[str]) -> dict[str, Any]:
    """Return values by the names of an input shape. `members`: these names by those in `given`.

    Raises:
        Unreadable: what is no list is given twice, with different values.
    """
    found: dict[str, Any] = {}
    for name, value in given:
        if (member := members.get(name)) is None:
            continue
        if name in lists:
            found.setdefault(member, []).append(value)
        elif found.get(member, value) != value:
            raise Unreadable(f"{member} is given twice")
        else:
            found[member] = value
    return found


def items_of(value: Any) -> list[Any]:
    """Return a list as it is, and no items of what is none."""
    return value if isinstance(value, list) else []


def structures_of(value: Any) -> list[Mapping[str, Any]]:
    """Return the structures in a list."""
    return [each for each in items_of(value) if isinstance(each, dict)]


def _insert(tree: dict[str, Any], parts: list[str], value: str) -> None:
    for each in parts[:-1]:
        tree = tree.setdefault(each, {})
        if not isinstance(tree, dict):
            raise Unreadable(f"{'.'.join(parts)} is in a value")
    if parts[-1] in tree:
        raise Unreadable(f"{'.'.join(parts)} is a structure")
    tree[parts[-1]] = value


def _read(node: Node, shape: Any, is_ec2: bool) -> Any:
    if isinstance(node, str):
        return [] if shape.type_name == "list" and not node else node
    if shape.type_name == "structure":
        names = _members(shape, is_ec2)
        return {names[name][0]: _read(each, names[name][1], is_ec2) for name, each in node.items() if name in names}
    if shape.type_name == "list":
        return [_read(each, shape.member, is_ec2) for each in _items(node, shape, is_ec2)]
    return node


def _items(node: dict[str, Any], shape: Any, is_ec2: bool) -> list[Node]:
    """Return the items of a list in order, which are numbered from 1."""
    inner = "" if is_ec2 or shape.serialization.get("flattened") else shape.member.serialization.get("name", "member")
    items = node.get(inner, {}) if inner else node
    if (inner and set(node) - {inner}) or not isinstance(items, dict):
        raise Unreadable("a list has other members than its items")
    numbers = [str(each) for each in range(1, len(items) + 1)]
    if set(items) != set(numbers):
        raise Unreadable("the items of a list are not numbered from 1")
    return [items[each] for each in numbers]


@functools.cache
def _members(shape: Any, is_ec2: bool) -> dict[str, tuple[str, Any]]:
    return {wire_name(name, member, is_ec2): (name, member) for name, member in shape.members.items()}


def wire_name(name: str, shape: Any, is_ec2: bool) -> str:
    """Return a member's name in a form."""
    given = shape.serialization.get("name", name)
    if not is_ec2:
        return str(shape.serialization.get("locationNameForQueryCompatibility", given))
    capital = given[0].upper() + given[1:] if "name" in shape.serialization else name
    return str(shape.serialization.get("queryName", capital))
