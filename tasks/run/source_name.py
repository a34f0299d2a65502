"""Name a source of data without the secrets in its URL: user, password, signature, and what its path may hold.

Records, messages, Prefect's parameters and everything on AWS have the name. The whole URL stays in the memory of this
process, where `whole_source` gives it to the download.
"""

from __future__ import annotations

import hashlib
import os
import re
import unicodedata
from collections.abc import Callable
from pathlib import Path
from urllib.parse import parse_qsl, unquote, urlencode

from pydantic import SecretStr

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)
_HOST = re.compile(r"(\[[0-9a-f:.]*(%[\w.-]+)?\]|[\w.~-]*)(:\d*)?", re.IGNORECASE)
_MEANT_AS_URL = re.compile(
    r"\s*[a-z][a-z0-9+.-]*:|\s*(https?|ftps?|s3|gs|file)\s*[;/\\]+.*[@?]|[^@]*:.*@|//.*@", re.IGNORECASE | re.DOTALL
)
"""What was meant as a URL and may have secrets: of any scheme, with a blank or another mark around the scheme."""

_SECRET = re.compile(
    r"\b(x-(amz|goog)-\w+|awsaccesskeyid|googleaccessid|signature|key-pair-id|policy|sig|sas|auth|(\w+[_-])?token"
    r"|(\w+[_-]?)?secret|api[_-]?key|access[_-]?key|credentials?|passw(or)?d|pwd)\s*=",
    re.IGNORECASE,
)
"""The names of parameters that hold a secret, where a URL was cut, joined or encoded so that they are in its path."""

_FILE = re.compile(r"[^/]{1,200}\.[a-z][a-z0-9]{0,4}", re.IGNORECASE)
_TOKEN = re.compile(
    r"(?i:(?=[a-z0-9]{16})[a-z0-9]*(?:[a-z][0-9]+[a-z]|[0-9][a-z]+[0-9])|[0-9a-f]{8}-[0-9a-f]{4}-)"
    r"|(?=[\w-]*[A-Z])(?=[\w-]*[a-z])(?=[\w-]*[0-9])[\w-]{32}"
)
"""What a random part of a file's name looks like: many letters among digits, or a UUID."""

_SIGNED = re.compile(
    r"x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id", re.IGNORECASE
)
"""Parameters of presigned URLs of S3, Google's storage and CloudFront; they change with each signing."""

_SIGNERS = frozenset({"x-amz-signature", "x-goog-signature", "awsaccesskeyid", "googleaccessid", "key-pair-id"})
"""The parameters of which every presigned URL has one; without it, `expires` or `policy` may say what is asked for."""

_SIGNED_BY_AZURE = re.compile(r"s[vspetr]|srt|spr|sip|sig|sk[tesv]|skoid|sktid")
_SAMPLE = "sample"

MALFORMED = "..."
UNREADABLE = "a URL that cannot be read"

_whole: dict[str, SecretStr] = {}


def is_url(source: str) -> bool:
    """Tell whether a source is an http or https URL."""
    found = _URL.match(source)
    return found is not None and found[1].lower() in {"http", "https"}


def is_s3(source: str) -> bool:
    """Tell whether a source is `s3://bucket/...`."""
    return source[:5].lower() == "s3://"


def file_path(source: str) -> str | None:
    """Return the path that a `file://` URL names, or None for another source or a file of another machine."""
    found = _URL.match(source)
    if found is None or found[1].lower() != "file" or found[2].lower() not in {"", "localhost"}:
        return None
    return unquote(found[3]) if source == found[0] and found[4] is None else None


def source_name(source: str) -> str:
    """Return a URL as scheme, host and the name of its file; a file that exists and any other source stay as they are.

    The path of an `s3://` or `file://` URL is shown whole, because it lets nobody in.

    `MALFORMED` stands for the folders of a path, because tokens of links that anybody may use are there; for a last
    part that is not the name of a file, or looks random; and for the whole path when a query or a secret is in it. It
    stands behind the scheme when the host is in doubt: an `@` behind it may end a password that has a slash, question
    mark or hash in it. What only looks like a URL is `UNREADABLE`.
    """
    is_open = is_s3(source) or file_path(source) is not None
    return _with_path(source, _plain_path if is_open else _shown_path)


def _with_path(source: str, shown: Callable[[str], str]) -> str:
    """Return a URL's scheme, host and path as `shown` makes it, and another source as it is named."""
    found = _URL.match(source)
    if found is None:
        return UNREADABLE if _may_have_secrets(source) and not _exists(source) else source
    scheme, authority, path, _ = found.groups()
    host = authority.rpartition("@")[2]
    behind = source[found.end(2) :]
    if not _HOST.fullmatch(host) or "@" in unicodedata.normalize("NFKC", behind):
        return f"{scheme}://{MALFORMED}"
    return f"{scheme}://{host}{shown(path)}"


def _plain_path(path: str) -> str:
    """Return the path of a URL, or `MALFORMED` for one that has a query or a secret in it."""
    decoded = _decoded(path)
    return f"/{MALFORMED}" if "?" in decoded or _SECRET.search(decoded) else path


def _shown_path(path: str) -> str:
    """Return the last part of a path if it is the name of a file, behind `MALFORMED` for the folders, if any."""
    folders, _, last = _plain_path(path).rpartition("/")
    if not folders and not last:
        return path
    is_shown = _FILE.fullmatch(last) and not _TOKEN.search(_decoded(last))
    return (f"/{MALFORMED}" if folders.strip("/") or not is_shown else "") + (f"/{last}" if is_shown else "")


def _may_have_secrets(source: str) -> bool:
    decoded = _decoded(source)
    return bool(_MEANT_AS_URL.match(decoded) or _SECRET.search(decoded))


def _decoded(text: str) -> str:
    """Return a text as its reader may mean it: percent-decoded twice, with wide and compatible characters plain."""
    return unicodedata.normalize("NFKC", unquote(unquote(text)))


def _exists(source: str) -> bool:
    try:
        return Path(source).expanduser().exists()
    except (OSError, ValueError, RuntimeError):  # too long, a NUL in it, or `~nobody`
        return False


def source_identity(source: str) -> str:
    """Return the text by which a source is recognised: a URL without user info and signature, or a path from the root.

    It may hold a secret, so only its hash is stored.
    """
    source = whole_source(source)
    if is_s3(source):
        return source.rstrip("/")
    if (path := _local_path(source)) is not None:
        return os.path.abspath(path)  # noqa: PTH100 Path.resolve() would follow links
    return _url_identity(source)


def earlier_identities(source: str) -> tuple[str, ...]:
    """Return what earlier releases recognised a path by, which is as it was typed.

    A URL has none: those releases left parameters such as `policy` out of it, and no record of a run tells them, so a
    run of theirs may be of another URL's data.
    """
    source = whole_source(source)
    path = None if is_s3(source) else _local_path(source)
    if path is None:
        return ()
    relative = os.path.relpath(path)
    return tuple(dict.fromkeys((source, relative, f"./{relative}")))


def _local_path(source: str) -> str | None:
    """Return the path of a source on this machine, or None for the sample, a URL, or what may be meant as one."""
    named = file_path(source)
    if named is None and (source == _SAMPLE or _URL.match(source) or source_name(source) == UNREADABLE):
        return None
    try:
        return str(Path(named or source).expanduser())
    except RuntimeError:  # `~nobody`
        return named or source


def _url_identity(source: str) -> str:
    """Return a URL without user info, and without the parameters of a signature if it is signed."""
    found = _URL.match(source)
    pairs = parse_qsl(found[4] or "", keep_blank_values=True) if found else []
    names = {name.lower() for name, _ in pairs}
    signed = [_SIGNED] if _SIGNERS & names else []
    signed += [_SIGNED_BY_AZURE] if "sig" in dict(pairs) else []
    kept = [(name, value) for name, value in pairs if not any(each.fullmatch(name) for each in signed)]
    return _with_path(source, _plain_path) + (f"?{urlencode(kept)}" if kept else "")


def keep_in_memory(source: str) -> str:
    """Remember a whole source in this process and return its name.

    Of two sources whose names would be the same, the second one's ends in a hash.
    """
    if source in _whole:
        return source
    name = source_name(source)
    if name in _whole and source_identity(name) != source_identity(source):
        name += f"#{hashlib.sha256(source_identity(source).encode()).hexdigest()[:8]}"
    if name != source:
        _whole[name] = SecretStr(source)
    return name


def whole_source(name: str) -> str:
    """Return the source that this process remembers by a name, or the name itself."""
    return _whole[name].get_secret_value() if name in _whole else name
