"""Writes command lines that a reader can paste into a shell, whatever characters the names in them have.

A name may begin with a hyphen (a role's, a policy's, a function's, a file's), and a program would take it for an
option. So a value always stands behind its option and an equals sign.
"""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from pathlib import Path


def option(name: str, value: object) -> str:
    """Return `--name=value`; `name` is spelt as in Python, and the value is quoted where a shell needs it."""
    return f"--{name.replace('_', '-')}={shlex.quote(str(value))}"


def path_argument(path: Path | str) -> str:
    """Return a path as an argument that is no option."""
    text = str(path)
    return shlex.quote(f"./{text}" if text.startswith("-") else text)


def aws_command(operation: str, **parameters: str | Sequence[str]) -> str:
    """Return a command of the aws CLI without `aws`: the operation and its parameters; a list is written as JSON."""
    words = [option(name, each if isinstance(each, str) else json.dumps(each)) for name, each in parameters.items()]
    return " ".join([operation, *words])
