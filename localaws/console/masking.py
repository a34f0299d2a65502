"""Hides what is secret in what the console shows. Every value that a template writes goes through `Mask`.

What is known to be secret (keys and tokens that this server issued) is hidden wherever it stands; of the rest, what
looks like a secret: values of names such as `password=`, signatures of presigned URLs, bearer tokens, private keys,
session tokens. The values of environment variables are never given to a template.
"""

import re
from collections.abc import Callable, Iterable
from typing import Any

from markupsafe import Markup

HIDDEN = "•••"
KEY_CHARACTERS = 40  # of a secret access key
_LONG = re.compile(r"[A-Za-z0-9/+]{40,}")
_FIRST_WORD, _LAST_WORD = re.compile(r"\A\S*\s?"), re.compile(r"\s?\S*\Z")
_NAMES = r"(?:secret|passw(?:or)?d|passphrase|token|api[_-]?key|access[_-]?key|private[_-]?key|credential|signature)"
_PATTERNS = (  # each is linear in the text, which others wrote
    (re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.S), HIDDEN),
    (re.compile(r"\b((?:A3T|AKIA|ASIA|AGPA|AIDA|AROA)[A-Z2-7])[A-Z0-9]{11,}([A-Z0-9]{4})\b"), rf"\1{HIDDEN}\2"),
    (re.compile(r"(?i)(\bbearer\s+|\bbasic\s+(?=\S{12})|\bAWS4-HMAC-SHA256\s+)[^\s\"'<>]+"), rf"\1{HIDDEN}"),
    (re.compile(r"\b(?:FwoGZXIvYXdzE|IQoJb3JpZ2lu|FQoGZXIvYXdzE|AQoEXAMPLE)[\w+/=%-]+"), HIDDEN),
    (re.compile(r"(://)[^/\s:@]+:[^/\s@]+@"), rf"\1{HIDDEN}@"),
    (
        re.compile(
            rf"(?i)({_NAMES}[\w-]{{0,40}}(?:\\?[\"']\s*[=:]|\s*(?:=|:\s))\s*(?:\\?[\"'])?)"
            rf"(?![\s\"'\\\[{{]|{HIDDEN}|AWS4-HMAC)[^\s&\"',;<>}}\\]+"
        ),
        rf"\1{HIDDEN}",
    ),
)
_IS_SUSPECT = re.compile(
    r"(?i)secret|passw|passp|token|key|credential|signature|bearer|basic|AWS4|://|A[A-Z]IA|A3T|AROA|QoG|QoJ|woG|QoE"
)


class Mask:
    """The one function that hides secrets. `known`: returns the secrets that this server issued."""

    def __init__(self, known: Callable[[], Iterable[str]]) -> None:
        self._find_known = known
        self._known: tuple[str, ...] = ()
        self._keys: frozenset[str] = frozenset()

    def renew(self) -> None:
        """Learn the secrets that were issued since; called once a page."""
        known = {each for each in self._find_known() if len(each) >= 16}
        self._keys = frozenset(each for each in known if _LONG.fullmatch(each) and len(each) == KEY_CHARACTERS)
        self._known = tuple(known - self._keys)

    def __call__(self, value: Any) -> Any:
        """Return what may be shown of a value; what is no text, or HTML that templates made, is as it was."""
        if not isinstance(value, str) or isinstance(value, Markup):
            return value
        for each in self._known:
            if each in value:
                value = value.replace(each, HIDDEN)
        if self._keys:
            value = _LONG.sub(self._without_keys, value)
        if _IS_SUSPECT.search(value):
            for pattern, shown in _PATTERNS:
                value = pattern.sub(shown, value)
        return value

    def _without_keys(self, found: re.Match[str]) -> str:
        """Return a run of characters that a secret key may have, without the keys in it; there may be thousands."""
        text, shown, at = found[0], [], 0
        while at < len(text):
            is_key = text[at : at + KEY_CHARACTERS] in self._keys
            shown.append(HIDDEN if is_key else text[at])
            at += KEY_CHARACTERS if is_key else 1
        return "".join(shown)


def whole_words(text: str, most: int, *, is_end: bool = False) -> str:
    """Return the beginning, or the end, of a text, cut where a word ends, so that no part of a secret is left."""
    if len(text) <= most:
        return text
    kept = text[-most:] if is_end else text[:most]
    return _FIRST_WORD.sub("… ", kept, count=1) if is_end else _LAST_WORD.sub(" …", kept, count=1)
