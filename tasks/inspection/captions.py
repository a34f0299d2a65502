"""Write names of photos so that a person can compare them: the folders of both once, and breaks between the words."""

from __future__ import annotations

import re

from markupsafe import Markup

from tasks.run.escaping import terminal_text

_ENDS_OF_WORDS = re.compile(r"(?<=[/_.\- ])")


def breakable(name: str) -> Markup:
    """Return a name as HTML that a line may break behind `/`, `_`, `.`, `-` and blanks, and in no word."""
    return Markup("<wbr>").join(_ENDS_OF_WORDS.split(terminal_text(name)))


def apart(one: str, other: str) -> tuple[str, str, str, str]:
    """Return the folder that both names begin with, "" for none, what each has behind it, and the file if it is one.

    Files of one name in two folders are told by these folders, and so is the file's name, once.
    """
    first, second = one.split("/"), other.split("/")
    depth = 0
    while depth < min(len(first), len(second)) - 1 and first[depth] == second[depth]:
        depth += 1
    is_one_name = first[-1] == second[-1] and depth < min(len(first), len(second)) - 1
    if is_one_name:
        return "/".join(first[:depth]), "/".join(first[depth:-1]) + "/", "/".join(second[depth:-1]) + "/", first[-1]
    return "/".join(first[:depth]), "/".join(first[depth:]), "/".join(second[depth:]), ""
