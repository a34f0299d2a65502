"""Defines the flags that several commands share, their groups, and how an option record becomes flags.

This module is imported before the first line that a person sees, so it does not import pydantic, which is slow.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import TYPE_CHECKING, Annotated, Literal, get_args

from cyclopts import CycloptsError, Group, Parameter, default_name_transform
from cyclopts import ValidationError as OutOfBounds
from cyclopts.validators import Number

if TYPE_CHECKING:
    from cyclopts.argument import Argument
    from pydantic_core import ErrorDetails

    from tasks.run.errors import SettingsRefused

_BOUNDS = {"gt": "more than", "ge": "at least", "le": "at most"}
_SHOWN_CHARACTERS = 80
_OUT_OF_BOUNDS = {"greater_than", "greater_than_equal", "less_than_equal"}

DATA = Group("Data and model")
MACHINES = Group("Machines")
NETWORK = Group("Network and encryption")
LOAD = Group("Load test")
TRAFFIC = Group("Traffic to plan for (checked)")
PLAN = Group("Scaling plan (checked)")
COSTS = Group("Costs")
EMBEDDED = Group("The embedded AWS")

NETWORK_NAMES = {"subnets": "subnet", "security_groups": "security-group"}

KmsKey = Annotated[
    str | None,
    Parameter(
        name="--kms-key",
        group=NETWORK,
        help="A key of KMS (ARN or alias) for objects and volumes; default KENNEL_KMS_KEY, else the bucket's default.",
    ),
]
Data = Annotated[
    str | None,
    Parameter(
        group=DATA,
        allow_leading_hyphen=True,  # for `-`
        help="A URL, an archive, a folder, s3://BUCKET/PREFIX/, `sample`, or `-` to read it from standard input; "
        "default `sample`, on real AWS the reference dataset.",
    ),
]
Quiet = Annotated[bool, Parameter(name=["--quiet", "-q"], negative="", help="Print only the result and errors.")]
Verbose = Annotated[
    bool, Parameter(name=["--verbose", "-v"], negative="", help="Print every line, as in runs/<id>/kennel.log.")
]
Json = Annotated[bool, Parameter(name="--json", negative="", help="Print the result as one JSON object on stdout.")]
Account = Annotated[
    Literal["old", "new"] | None,
    Parameter(
        group=EMBEDDED,
        help="Whose quotas the embedded AWS has: those of an old account, or of one that was just opened; default old.",
    ),
]
Strict = Annotated[
    bool | None,
    Parameter(
        group=EMBEDDED,
        help="Have the embedded AWS delay and refuse what AWS does: new roles, metrics and logs come late, fast "
        "polling is throttled, an endpoint is in service before its model has loaded; default no-strict.",
    ),
]
Budget = Annotated[
    float | None,
    Parameter(
        name="--budget",
        group=COSTS,
        validator=Number(gt=0, lte=1_000_000),
        help="USD. A run that may cost more does not begin (exit code 13), and one that has cost more ends.",
    ),
]
BudgetAlarm = Annotated[
    str | None,
    Parameter(
        name="--budget-alarm",
        group=COSTS,
        help="An address to which AWS Budgets sends mail when 80 % and all of `--budget` are spent.",
    ),
]
TimeToLive = Annotated[
    str | None,
    Parameter(
        name="--ttl",
        group=COSTS,
        help="30m, 4h or 2d from now on: then `kennel down --expired` removes what the run made.",
    ),
]


def _known_runs(_: object) -> list[str]:
    """Return the ids of this machine's runs, for the completion of a shell."""
    from kennel.commands.known_runs import all_runs
    from kennel.servers.environment import home_and_runs

    return [path.name for path in all_runs(home_and_runs()[1])]


KnownRun = Annotated[str, Parameter(help="A run id; `kennel status` lists them.", completer=_known_runs)]
RunName = Annotated[str | None, Parameter(help="A run id; `kennel status` lists them.", completer=_known_runs)]


def flags_of(
    group: Group, *, names: Mapping[str, str] | None = None, without: tuple[str, ...] = (), has_no: bool = False
) -> Parameter:
    """Return the parameter that turns each field of a record into a flag of `group`, with its description and default.

    The flag has the name of the field, or the one in `names`. The fields in `without` get no flag and keep their
    defaults. A boolean has a `--no-` form only if `has_no`.
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
    """Return our error for a flag whose value a record or a bound refused, or None for any other error."""
    from pydantic import ValidationError

    from tasks.run.errors import SettingsRefused

    refused, argument = error.__cause__, error.argument
    if not isinstance(error, OutOfBounds) or not isinstance(refused, ValidationError) or argument is None:
        return None
    detail = refused.errors()[0]
    flag = next((child for child in argument.children if child.keys[-1] in detail["loc"]), argument)
    command = " ".join(["kennel", *(error.command_chain or ())])
    shown = f"{flag.name} {_beginning(str(detail['input']))}"
    return SettingsRefused(command, shown, _allowed(flag, detail), f"{command} --help")


def _beginning(value: str) -> str:
    """Return a value, or as much of a long one as tells it."""
    return value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"


def _allowed(flag: Argument, detail: ErrorDetails) -> str:
    """Return which values a flag accepts: both bounds when one was exceeded, otherwise pydantic's message."""
    if detail["type"] not in _OUT_OF_BOUNDS:
        return re.sub("^(Input|String) should", "it has to", detail["msg"].removeprefix("Value error, "))
    annotated = get_args(flag.field_info.annotation)[1:]
    constraints = [each for part in annotated for each in getattr(part, "metadata", [part])]
    words = [
        f"{word} {getattr(each, name):,g}"
        for each in constraints
        for name, word in _BOUNDS.items()
        if hasattr(each, name)
    ]
    return f"it has to be {' and '.join(words)}"
