r"""The regular expressions of AWS's models, which are Java's, as Python's."""

import functools
import re
import unicodedata

from localaws.timed_regex import BadPattern, TimedRegex

_CLASS = re.compile(r"\\p\{(\w+)\}")
_SURROGATES = r"\uD800\uDC00-\uDBFF\uDFFF"  # Java's way to write all characters beyond 16 bits
_BEYOND = r"\U00010000-\U0010FFFF"
_NAMED = {"Print": r"\x20-\x7E", "Alnum": "a-zA-Z0-9", "Alpha": "a-zA-Z"}


@functools.lru_cache(maxsize=4096)
def compiled(pattern: str) -> TimedRegex | None:
    """Return one of the model's patterns, None for those that Python cannot read."""
    try:
        return TimedRegex(_in_python(pattern), is_java=True)
    except BadPattern:
        return None


def _in_python(pattern: str) -> str:
    plain = pattern.replace(_SURROGATES, _BEYOND)
    parts, is_in_class, last = [], False, 0
    for found in _CLASS.finditer(plain):
        before = plain[last : found.start()]
        is_in_class = _ends_in_class(before, is_in_class)
        ranges = _ranges(found[1])
        parts += [before, ranges if is_in_class else f"[{ranges}]"]
        last = found.end()
    return "".join([*parts, plain[last:]])


def _ends_in_class(text: str, is_in_class: bool) -> bool:
    for bracket in re.findall(r"\\.|[\[\]]", text):
        if bracket in "[]":
            is_in_class = bracket == "["
    return is_in_class


@functools.cache
def _ranges(name: str) -> str:
    """Return the characters of a category of Unicode (`L`, `Zs`) or of one of Java's names, to stand in a class.

    All characters beyond 16 bits count as members of every category, which saves a second of looking at each.
    """
    if name in _NAMED:
        return _NAMED[name]
    members = [each for each in range(0x10000) if unicodedata.category(chr(each)).startswith(name)]
    return "".join(f"\\u{first:04X}-\\u{last:04X}" for first, last in _runs(members)) + _BEYOND


def _runs(members: list[int]) -> list[tuple[int, int]]:
    runs: list[tuple[int, int]] = []
    for each in members:
        if runs and runs[-1][1] == each - 1:
            runs[-1] = (runs[-1][0], each)
        else:
            runs.append((each, each))
    return runs
