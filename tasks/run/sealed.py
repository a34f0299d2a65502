"""Write JSON with its own sha256 in it, and check that when it is read back.

The last member, "checksum", is the sha256 of the other members in a canonical form. Content without a checksum comes
from release 0.1.0 and is read unchecked. Damage cannot make the member disappear: it makes another name of it, which
the readers refuse. JSON has no NaN and no infinity, so such a number is written as {"float": "nan"}, {"float": "inf"}
or {"float": "-inf"}, and is a float again when it is read.
"""

from __future__ import annotations

import hashlib
import json
import math
import stat
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tasks.run.escaping import valid_text

CHECKSUM = "checksum"
MOST_BYTES = 256 * 2**20
"""Of a file that kennel keeps for itself; the longest, a ledger of years, has some MB."""
_NAME = "float"
_TOO_DEEP = "its JSON is nested too deeply"
_KINDS = {
    stat.S_IFDIR: "folder",
    stat.S_IFIFO: "FIFO",
    stat.S_IFCHR: "device",
    stat.S_IFBLK: "device",
    stat.S_IFSOCK: "socket",
}


class Damaged(ValueError):
    """The content is not as it was written; the message says how that shows."""


def seal(content: Mapping[str, Any], *, indent: int | None = None) -> bytes:
    """Return the content as strict JSON that ends with its checksum and a newline."""
    plain = {valid_text(str(name)): _named(value) for name, value in content.items()}
    plain[CHECKSUM] = _digest(plain)
    return json.dumps(plain, indent=indent, allow_nan=False).encode() + b"\n"  # ASCII: any text, and safe to look at


def unseal(data: bytes) -> dict[str, Any]:
    """Return the content that `seal` made these bytes from.

    Raises:
        Damaged: the bytes are not a JSON object, or their checksum is that of another object.
    """
    content = parse_json(data)
    if not isinstance(content, dict):
        raise Damaged("it is not a JSON object")
    try:
        checksum = content.pop(CHECKSUM, None)
        if checksum is not None and checksum != _digest(content):
            raise Damaged("its checksum is that of another content: the file was damaged, or edited by hand")
        return {name: _number(value) for name, value in content.items()}
    except RecursionError as error:
        raise Damaged(_TOO_DEEP) from error


def parse_json(data: bytes | str) -> Any:
    """Return the value that a text of JSON holds.

    Raises:
        Damaged: it is not JSON, or nested deeper than Python can read.
    """
    return _parsed(data)


def parse_given_json(text: str) -> Any:
    """Return the value of a text of JSON that a person wrote, in which no object has a name twice.

    Raises:
        Damaged: it is not JSON, nested deeper than Python can read, or has a name twice, of which one would be lost.
    """
    return _parsed(text, _unique)


def _parsed(data: bytes | str, pairs: Callable[[list[tuple[str, Any]]], Any] | None = None) -> Any:
    try:
        return json.loads(data, object_pairs_hook=pairs)
    except RecursionError as error:
        raise Damaged(_TOO_DEEP) from error
    except ValueError as error:
        raise Damaged(str(error)) from error


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, value in pairs:
        if name in found:
            raise ValueError(f"{name!r} is given twice")
        found[name] = value
    return found


def read_regular(path: Path) -> bytes:
    """Return the content of a regular file; a FIFO, which could be waited for without end, is not opened.

    Raises:
        Damaged: there is a folder, a FIFO, a device or a socket in its place, or it is longer than `MOST_BYTES`.
        OSError: it cannot be read.
    """
    found = path.stat()
    kind = _KINDS.get(stat.S_IFMT(found.st_mode))
    if kind is not None:
        raise Damaged(f"a {kind} is in its place; remove or move {path}")
    if found.st_size > MOST_BYTES:
        raise Damaged(f"it has {found.st_size:,} bytes, and at most {MOST_BYTES:,} are allowed; remove or move {path}")
    return path.read_bytes()


def strict_json(content: Any) -> str:
    """Return content as JSON on one line of ASCII, for a program: a number that JSON lacks (NaN, infinity) is null."""
    return json.dumps(_mapped(content, lambda _: None), allow_nan=False)


def sha256_of(path: Path) -> str:
    """Return the hex sha256 of a file, which is read in pieces."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _digest(content: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


def _mapped(value: Any, instead: Callable[[float], Any]) -> Any:
    """Return a value with something instead of each number that JSON lacks; tuples become lists and keys strings.

    A lone surrogate, which stands for a byte that is not UTF-8 and which other programs refuse, becomes `\\udcff`.
    """
    if isinstance(value, str):
        return valid_text(value)
    if isinstance(value, float) and not math.isfinite(value):
        return instead(value)
    if isinstance(value, Mapping):
        return {valid_text(str(name)): _mapped(each, instead) for name, each in value.items()}
    return [_mapped(each, instead) for each in value] if isinstance(value, list | tuple) else value


def _named(value: Any) -> Any:
    """Return a value with the name of each number that JSON lacks."""
    return _mapped(value, lambda number: {_NAME: str(number)})


def _number(value: Any) -> Any:
    """Return a value with the numbers in place of their names."""
    if isinstance(value, dict):
        if value.keys() == {_NAME} and value[_NAME] in ("nan", "inf", "-inf"):
            return float(value[_NAME])
        return {name: _number(each) for name, each in value.items()}
    return [_number(each) for each in value] if isinstance(value, list) else value
