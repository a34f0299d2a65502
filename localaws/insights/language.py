"""Reads a query of Logs Insights into commands whose expressions are trees.

Read are `fields`, `display`, `filter`, `stats … by`, `sort`, `limit` and `dedup`; in them comparisons, `and`, `or`,
`not`, `in`, `like`, `=~`, arithmetic and calls of functions.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass

from localaws.errors import AwsError

COMMANDS = ("fields", "display", "filter", "stats", "sort", "limit", "dedup")
NOT_EXECUTED = ("parse", "pattern", "diff", "unmask", "unnest", "anomaly", "join", "lookup", "addtotals", "filterindex")
AGGREGATES = ("count", "count_distinct", "sum", "avg", "min", "max", "pct", "median", "stddev", "earliest", "latest")
_OF_NUMBERS, _OF_TEXTS = ("abs", "ceil", "floor"), ("tolower", "toupper", "trim", "strlen")
FUNCTIONS = {*AGGREGATES, *_OF_NUMBERS, *_OF_TEXTS, "bin", "ispresent", "coalesce", "concat"}
_TOKEN = re.compile(
    r"""\s+|\#[^\n]*|(?P<regex>/(?:\\.|[^/\\\n])+/i?)|(?P<string>"(?:\\.|[^"\\])*"|'(?:\\.|[^'\\])*')"""
    r"""|(?P<number>\d+(?:\.\d+)?(?:ms|s|m|h|d|w)?\b)|(?P<name>@?[A-Za-z_][\w.@]*|`[^`]+`)"""
    r"""|(?P<mark>=~|!=|<=|>=|[|,()\[\]=<>+\-*/%^])"""
)
_BEFORE_REGEX = ("like", "=~", "|")


@dataclass(frozen=True)
class Token:
    """A piece of a query. `kind`: regex, string, number, name, mark or end; `text`: as written."""

    kind: str
    text: str
    begin: int


@dataclass(frozen=True)
class Expression:
    """A tree. `kind`: number, string, regex, field, list, call or an operator; `text`: its name or value."""

    kind: str
    text: str = ""
    parts: tuple[Expression, ...] = ()


@dataclass(frozen=True)
class Column:
    """An expression and the name of the field that it makes; `is_reversed` where it is sorted by."""

    expression: Expression
    name: str
    is_reversed: bool = False


@dataclass(frozen=True)
class Command:
    """A command. `columns`: what it makes, sorts by or, of `filter`, demands; `groups`: after `by`; `count`: rows."""

    name: str
    columns: tuple[Column, ...] = ()
    groups: tuple[Column, ...] = ()
    count: int = 0


def malformed(message: str) -> AwsError:
    """Return the service's error for a query that is none."""
    return AwsError("MalformedQueryException", message)


def unsupported(what: str) -> AwsError:
    """Return the error for what AWS has and localaws has not."""
    return AwsError(
        "UnsupportedOperation", f"localaws does not execute {what} of CloudWatch Logs Insights.", status=501
    )


def read_query(text: str) -> list[Command]:
    """Return the commands of a query.

    Raises: AwsError MalformedQueryException, or UnsupportedOperation that names what localaws does not execute.
    """
    return _Reader(text).commands()


def _tokens(text: str) -> list[Token]:
    found: list[Token] = []
    at = 0
    while at < len(text):
        match = _TOKEN.match(text, at)
        if match and match.lastgroup == "regex" and not (found and found[-1].text.lower() in _BEFORE_REGEX):
            match = re.compile(r"(?P<mark>/)").match(text, at)  # a division
        if match is None:
            raise malformed(f"unexpected symbol found {text[at]} at line 1 and position {at}")
        if match.lastgroup:
            found.append(Token(match.lastgroup, match[0], at))
        at = match.end()
    return [*found, Token("end", "", len(text))]


class _Reader:
    """Reads the tokens from left to right."""

    def __init__(self, text: str) -> None:
        self._text, self._tokens, self._at = text, _tokens(text), 0

    def commands(self) -> list[Command]:
        found = [self._command()]
        while self._takes("|"):
            found.append(self._command())
        if self._next.kind != "end":
            raise self._unexpected()
        return found

    def _command(self) -> Command:
        name = self._take("name").text.lower()
        if name in NOT_EXECUTED:
            raise unsupported(f"the command {name}")
        if name not in COMMANDS:
            raise malformed(f"unexpected symbol found {name}: no command of Logs Insights")
        if name == "limit":
            return Command(name, count=int(self._take("number").text))
        if name == "filter":
            return Command(name, (Column(self._expression(), ""),))
        columns = self._listed(self._sorted_column if name == "sort" else self._column)
        groups = self._listed(self._column) if name == "stats" and self._takes("by") else ()
        return Command(name, columns, groups)

    def _listed(self, read: Callable[[], Column]) -> tuple[Column, ...]:
        found = [read()]
        while self._takes(","):
            found.append(read())
        return tuple(found)

    def _column(self) -> Column:
        begin = self._next.begin
        expression = self._expression()
        written = self._text[begin : self._next.begin].strip()
        return Column(expression, self._field_name() if self._takes("as") else written.strip("`"))

    def _sorted_column(self) -> Column:
        column = self._column()
        is_reversed = self._takes("desc")
        if not is_reversed:
            self._takes("asc")
        return Column(column.expression, column.name, is_reversed)

    def _field_name(self) -> str:
        return self._take("name").text.strip("`")

    def _expression(self) -> Expression:
        return self._chain(("or",), lambda: self._chain(("and",), self._negation))

    def _negation(self) -> Expression:
        return Expression("not", parts=(self._negation(),)) if self._takes("not") else self._comparison()

    def _comparison(self) -> Expression:
        left = self._sum()
        is_negated = self._takes("not")
        for mark in ("=", "!=", "<=", ">=", "<", ">", "like", "=~", "in"):
            if self._takes(mark):
                right = self._list() if mark == "in" else self._sum()
                found = Expression({"=~": "like"}.get(mark, mark), parts=(left, right))
                return Expression("not", parts=(found,)) if is_negated else found
        if is_negated:
            raise self._unexpected()
        return left

    def _list(self) -> Expression:
        self._require("[")
        found = [self._sum()]
        while self._takes(","):
            found.append(self._sum())
        self._require("]")
        return Expression("list", parts=tuple(found))

    def _sum(self) -> Expression:
        return self._chain(("+", "-"), lambda: self._chain(("*", "/", "%"), self._primary))

    def _chain(self, marks: tuple[str, ...], read: Callable[[], Expression]) -> Expression:
        left = read()
        while mark := next((each for each in marks if self._takes(each)), None):
            left = Expression(mark, parts=(left, read()))
        return left

    def _primary(self) -> Expression:
        if self._takes("("):
            inner = self._expression()
            self._require(")")
            return inner
        if self._takes("-"):
            return Expression("-", parts=(Expression("number", "0"), self._primary()))
        token = self._next
        if token.kind not in ("number", "string", "regex", "name"):
            raise self._unexpected()
        self._at += 1
        if token.kind == "string":
            return Expression("string", re.sub(r"\\(.)", r"\1", token.text[1:-1]))
        if token.kind == "name" and self._takes("("):
            if token.text.lower() not in FUNCTIONS:
                raise unsupported(f"the function {token.text}")
            return Expression("call", token.text.lower(), self._arguments())
        return Expression("field" if token.kind == "name" else token.kind, token.text.strip("`"))

    def _arguments(self) -> tuple[Expression, ...]:
        if self._takes(")"):
            return ()
        if self._next.text == "*":
            self._at += 1
            found = [Expression("field", "*")]
        else:
            found = [self._expression()]
        while self._takes(","):
            found.append(self._expression())
        self._require(")")
        return tuple(found)

    @property
    def _next(self) -> Token:
        return self._tokens[self._at]

    def _takes(self, text: str) -> bool:
        is_there = self._next.kind in ("name", "mark") and self._next.text.lower() == text
        self._at += is_there
        return is_there

    def _require(self, text: str) -> None:
        if not self._takes(text):
            raise self._unexpected()

    def _take(self, kind: str) -> Token:
        token = self._next
        if token.kind != kind:
            raise self._unexpected()
        self._at += 1
        return token

    def _unexpected(self) -> AwsError:
        token = self._next
        return malformed(f"unexpected symbol found {token.text or 'end of query'} at line 1 and position {token.begin}")
