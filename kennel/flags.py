"""The flags that several commands have, their groups, and how a record of options becomes flags.

Imported before the first line that a person sees, so pydantic is not imported here.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, get_args

from cyclopts import CycloptsError, Group, Parameter, default_name_transform
from cyclopts import ValidationError as OutOfBounds

if TYPE_CHECKING:
    from cyclopts.argument import Argument
    from pydantic_core import ErrorDetails

    from tasks.run.errors import SettingsRefused

_BOUNDS = {"gt": "more than", "ge": "at least", "le": "at most"}
_OUT_OF_BOUNDS = {"greater_than", "greater_than_equal", "less_than_equal"}

DATA = Group("Data and model")
MACHINES = Group("Machines")
LOAD = Group("Load test")
TRAFFIC = Group("Traffic to plan for (checked)")
PLAN = Group("Scaling plan (checked)")
EMBEDDED = Group("The embedded AWS")

Data = Annotated[
    str | None,
    Parameter(
        group=DATA, help="A URL, a .zip, a folder, or `sample`; default `sample`, on real AWS the reference dataset."
    ),
]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative="", help="Nothing but the result and errors.")]
Verbose = Annotated[
    bool, Parameter(name=["--verbose", "-v"], negative="", help="Every line, as runs/<id>/kennel.log has it.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="End with one JSON object on stdout.")]
RunName = Annotated[str | None, Parameter(help="A run id, as `kennel status` lists them.")]


def flags_of(
    group: Group, *, names: Mapping[str, str] | None = None, without: tuple[str, ...] = (), has_no: bool = False
) -> Parameter:
    """Return what makes each field of a record a flag of `group`, with the field's description and default.

    A field has its own name as a flag, or that in `names`; one `without` a flag keeps its default. A boolean has a
    `--no-` form only if `has_no`.
    """
    renamed = names or {}
    return Parameter(
        name="*",
        group=group,
        name_transform=lambda name: renamed.get(name) or default_name_transform(name),
        parse=re.compile(f"^(?!({'|'.join(without)})$)"),
        negative=None if has_no else "",
    )


def refusal_of(error: CycloptsError) -> SettingsRefused | None:
    """Return the error to show where a record or a bounded value refused what a flag was given, else None."""
    from pydantic import ValidationError

    from tasks.run.errors import SettingsRefused

    refused, argument = error.__cause__, error.argument
    if not isinstance(error, OutOfBounds) or not isinstance(refused, ValidationError) or argument is None:
        return None
    detail = refused.errors()[0]
    flag = next((child for child in argument.children if child.keys[-1] in detail["loc"]), argument)
    command = " ".join(["kennel", *(error.command_chain or ())])
    return SettingsRefused(command, f"{flag.name} {detail['input']}", _allowed(flag, detail), f"{command} --help")


def _allowed(flag: Argument, detail: ErrorDetails) -> str:
    """Say what a flag takes: both its bounds where one was passed, else what pydantic says."""
    if detail["type"] not in _OUT_OF_BOUNDS:
        return re.sub("^(Input|String) should", "it has to", detail["msg"])
    annotated = get_args(flag.field_info.annotation)[1:]
    constraints = [each for part in annotated for each in getattr(part, "metadata", [part])]
    words = [
        f"{word} {getattr(each, name):,g}"
        for each in constraints
        for name, word in _BOUNDS.items()
        if hasattr(each, name)
    ]
    return f"it has to be {' and '.join(words)}"
