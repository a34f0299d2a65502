"""IAM's patterns: `*` stands for any run of characters, `?` for any one, `${key}` for a value of the request."""

import functools
import re
from collections.abc import Callable, Iterable

from localaws.policies.context import Context

Matcher = Callable[[str, Context], bool]

ARN_PARTS = 6
_VARIABLE = re.compile(r"\$\{([^}]*)\}")
_LITERALS = {"*", "?", "$"}
_PARTS = re.compile(r"\0.|[*?]|[^*?\0]+", re.DOTALL)
_QUOTED = re.compile(r"\0.", re.DOTALL)
_SPECIAL = "*?\0"  # NUL: it makes the character after it stand for itself


def matches_pattern(pattern: str, value: str, *, ignore_case: bool = False) -> bool:
    """Return whether `value` matches a pattern without variables."""
    return compiled((pattern,), ignore_case=ignore_case)(value)


@functools.lru_cache(maxsize=4096)
def compiled(patterns: tuple[str, ...], *, ignore_case: bool = False) -> Callable[[str], bool]:
    """Return what tells whether a value matches any of the patterns, which have no variables."""
    if "*" in patterns:
        return lambda _: True
    flags = re.DOTALL | (re.IGNORECASE if ignore_case else 0)
    match = re.compile("|".join(f"(?:{_translated(each)})" for each in patterns) or r"(?!)", flags).fullmatch
    return lambda value: match(value) is not None


def matcher(patterns: Iterable[str], *, has_variables: bool) -> Matcher:
    """Return what tells whether a value matches any of the patterns, in a request's circumstances.

    A pattern with a variable that the request has no value for matches nothing.
    """
    every = tuple(patterns)
    dynamic = [each for each in every if has_variables and "${" in each]
    fixed = compiled(tuple(each for each in every if each not in dynamic))
    if not dynamic:
        return lambda value, _: fixed(value)
    return lambda value, context: fixed(value) or any(_matches_filled(each, value, context) for each in dynamic)


def variables_of(patterns: Iterable[str]) -> frozenset[str]:
    """Return the context keys, in lower case, that the patterns ask for."""
    names = (found.group(1) for each in patterns for found in _VARIABLE.finditer(each))
    return frozenset(_key_and_default(name)[0] for name in names if name not in _LITERALS)


def filled(pattern: str, context: Context) -> str | None:
    """Return the pattern with the request's values, in which no character is special; None without a value."""
    parts, end = [], 0
    for found in _VARIABLE.finditer(pattern):
        value = _value_of(found.group(1), context)
        if value is None:
            return None
        parts += [pattern[end : found.start()], _quoted(value)]
        end = found.end()
    return "".join([*parts, pattern[end:]])


def matches_arn(pattern: str, arn: str) -> bool:
    """Return whether an ARN matches a pattern, each of its six parts by itself, as `ArnLike` does."""
    wanted, given = pattern.split(":", ARN_PARTS - 1), arn.split(":", ARN_PARTS - 1)
    return len(wanted) == len(given) and all(map(matches_pattern, wanted, given))


def _matches_filled(pattern: str, value: str, context: Context) -> bool:
    text = filled(pattern, context)
    return text is not None and matches_pattern(text, value)


def _value_of(name: str, context: Context) -> str | None:
    if name in _LITERALS:
        return name
    key, default = _key_and_default(name)
    values = context.get(key)
    return values[0] if values and len(values) == 1 else default


def _key_and_default(name: str) -> tuple[str, str | None]:
    key, comma, default = name.partition(",")
    return key.strip().lower(), default.strip().strip("'") if comma else None


def _quoted(value: str) -> str:
    return "".join(f"\0{each}" if each in _SPECIAL else each for each in value)


def plain(pattern: str) -> str:
    """Return a filled pattern as the text that it stands for where `*` and `?` are not special."""
    return _QUOTED.sub(lambda found: found.group()[1], pattern)


def _translated(pattern: str) -> str:
    """Return the regular expression of a pattern; a character after NUL stands for itself.

    What stands between two `*` is taken where it occurs first, and that is not tried again elsewhere: a pattern of many
    `*` would otherwise take exponential time for a value that it does not match.
    """
    pieces = [""]
    for found in _PARTS.finditer(pattern):
        if found.group() == "*":
            pieces.append("")
        else:
            pieces[-1] += "." if found.group() == "?" else re.escape(plain(found.group()))
    first, *others = pieces
    middle = "".join(f"(?>.*?{each})" for each in others[:-1] if each)
    return f"{first}{middle}.*{others[-1]}" if others else first
