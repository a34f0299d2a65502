"""Runs the commands of a query over records and writes the rows of its result."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from localaws.insights.expressions import aggregate, evaluate, number
from localaws.insights.language import Column, Command, Expression
from localaws.insights.records import Record

MOST_ROWS = 10_000
_MOMENTS = ("@timestamp", "@ingestionTime")
_DEFAULT = ("@timestamp", "@message")
Row = list[dict[str, str]]


@dataclass(frozen=True)
class Result:
    """The rows of a result, and how many events passed the filters."""

    rows: list[Row]
    matched: int


def execute(commands: Sequence[Command], records: Iterable[Record], limit: int | None) -> Result:
    """Return the result, the newest events first unless the query sorts. `limit`: StartQuery's, if given.

    Raises: AwsError as `evaluate` and `aggregate` do.
    """
    found = sorted(records, key=lambda each: int(each["@timestamp"]), reverse=True)
    shown: list[str] = []
    moments = set(_MOMENTS)
    is_of_events, matched = True, len(found)
    for command in commands:
        if command.name == "filter" and is_of_events:
            matched = len(found := _applied(command, found))
        elif command.name == "stats":
            found, is_of_events = _stats(command, found), False
            shown = [each.name for each in (*command.groups, *command.columns)]
            moments |= {each.name for each in command.groups if each.expression.text == "bin"}
        else:
            found = _applied(command, found)
        if command.name in ("fields", "display"):
            names = [each.name for each in command.columns]
            shown = names if command.name == "display" else list(dict.fromkeys([*shown, *names]))
    most = min(limit or MOST_ROWS, MOST_ROWS)
    return Result([_row(each, shown or list(_DEFAULT), moments, is_of_events) for each in found[:most]], matched)


def _applied(command: Command, records: list[Record]) -> list[Record]:
    if command.name == "filter":
        return [each for each in records if evaluate(command.columns[0].expression, each)]
    if command.name == "limit":
        return records[: command.count]
    if command.name == "dedup":
        kept: dict[tuple[str, ...], Record] = {}
        for each in records:
            kept.setdefault(tuple(str(evaluate(column.expression, each)) for column in command.columns), each)
        return list(kept.values())
    if command.name == "sort":
        for column in reversed(command.columns):
            records = sorted(records, key=lambda each: _order(_found(column, each)), reverse=column.is_reversed)
        return records
    made = [each for each in command.columns if each.expression != Expression("field", each.name)]
    return [{**each, **{column.name: evaluate(column.expression, each) for column in made}} for each in records]


def _found(column: Column, record: Record) -> Any:
    """Return what is sorted by: a field that a command made, as `count(*)`, or an expression's value."""
    return record[column.name] if column.name in record else evaluate(column.expression, record)


def _order(value: Any) -> tuple[int, float, str]:
    as_number = number(value)
    if value is None:
        return 0, 0.0, ""
    return (1, as_number, "") if as_number is not None else (2, 0.0, str(value))


def _stats(command: Command, records: list[Record]) -> list[Record]:
    groups: dict[tuple[Any, ...], list[Record]] = {} if command.groups else {(): records}
    for each in records if command.groups else ():
        groups.setdefault(tuple(evaluate(column.expression, each) for column in command.groups), []).append(each)
    return [
        {
            **dict(zip((column.name for column in command.groups), key, strict=True)),
            **{column.name: aggregate(column.expression, members) for column in command.columns},
        }
        for key, members in groups.items()
    ]


def _row(record: Record, names: Sequence[str], moments: set[str], is_of_event: bool) -> Row:
    row = [
        {"field": name, "value": _written(record[name], is_moment=name in moments)}
        for name in names
        if record.get(name) is not None
    ]
    return [*row, {"field": "@ptr", "value": record["@ptr"]}] if is_of_event and "@ptr" not in names else row


def _written(value: Any, *, is_moment: bool) -> str:
    if is_moment:
        return datetime.fromtimestamp(int(value) / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S.%f")[:-3]
    if isinstance(value, bool):
        return str(int(value))
    if isinstance(value, float):
        return str(int(value)) if value.is_integer() else f"{value:.4f}".rstrip("0")
    return str(value)
