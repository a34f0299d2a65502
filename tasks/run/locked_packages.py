"""Names the packages that code of ours needs on another machine, with the versions and hashes of the lock.

The lock is requirements.lock of the checkout, or its copy in an installed package. Nothing else is read, and nothing is
installed here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from importlib.metadata import PackageNotFoundError, requires
from pathlib import Path

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tasks.run.errors import SettingsRefused

PYTHONS = ("3.11", "3.12", "3.13")
"""The Python of a machine is one of these: a package that one of them needs is named."""

_TASKS = Path(__file__).resolve().parents[1]
_LOCKS = (_TASKS.parent / "requirements.lock", _TASKS / "requirements.lock")
_NAME = re.compile(r"[A-Za-z0-9._-]+")


def locked_requirements(roots: Iterable[str]) -> str:
    """Return the content of a requirements file for `pip install --require-hashes`: packages, and what they require.

    Raises:
        SettingsRefused: the lock is not there, or does not name a package that is needed.
    """
    locked = _locked(_lock_text())
    entries = []
    for name in sorted(_needed(roots, locked)):
        if name not in locked:
            why = "it is needed, and only packages with a known hash are installed on other machines"
            raise SettingsRefused("packages", f"requirements.lock does not name {name}", why, "make lock")
        entries.append(locked[name])
    return "".join(entries)


def _lock_text() -> str:
    found = next((path for path in _LOCKS if path.is_file()), None)
    if found is None:
        why = "the packages of other machines are those of the lock"
        raise SettingsRefused("packages", "requirements.lock is not there", why, "install kennel again")
    return found.read_text()


def _locked(text: str) -> dict[str, str]:
    """Return the entries of a lock by name: a line `name==version`, and its hashes on the lines that follow."""
    entries: dict[str, str] = {}
    name = ""
    for line in text.splitlines(keepends=True):
        begins = _NAME.match(line)
        if begins:
            name = canonicalize_name(begins[0])
            entries[name] = line
        elif name and line.startswith(" "):
            entries[name] += line
    return entries


def _needed(roots: Iterable[str], locked: dict[str, str]) -> set[str]:
    """Return the names of packages and of everything that they require, for any of `PYTHONS` on Linux."""
    found: set[tuple[str, str]] = set()
    waiting: list[tuple[str, str]] = [(canonicalize_name(root), "") for root in roots]
    while waiting:
        each = waiting.pop()
        if each not in found:
            found.add(each)
            waiting += [more for more in _required_by(*each) if more[0] in locked or not more[1]]
    return {name for name, _ in found}


def _required_by(name: str, extra: str) -> Iterator[tuple[str, str]]:
    """Yield the names, with the extras, that an installed package or one of its extras requires."""
    try:
        texts = requires(name) or []
    except PackageNotFoundError:
        return
    for wanted in map(Requirement, texts):
        environments = (
            {"python_version": python, "python_full_version": f"{python}.0", "extra": extra} for python in PYTHONS
        )
        if wanted.marker is None or any(map(wanted.marker.evaluate, environments)):
            yield from ((canonicalize_name(wanted.name), each) for each in ("", *wanted.extras))
