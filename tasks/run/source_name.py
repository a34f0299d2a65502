"""Name a source of data without the secrets in its URL: user, password and the signature of a presigned URL.

Records, messages, Prefect's parameters and everything on AWS have the name. The whole URL stays in the memory of this
process, where `whole_source` gives it to the download.
"""

from __future__ import annotations

import re
from urllib.parse import parse_qsl, urlencode

from pydantic import SecretStr

_URL = re.compile(r"([a-z][a-z0-9+.-]*)://([^/?#]*)([^?#]*)(?:\?([^#]*))?", re.IGNORECASE)
_LIKE_URL = re.compile(r"[a-z][a-z0-9+.-]*:/+(?=.*[@?])", re.IGNORECASE | re.DOTALL)
"""What was meant as a URL and may have secrets: with a blank before it, or with one slash."""

_HOST = re.compile(r"(\[[^\]]*\]|[^:\[\]]*)(:\d*)?")
_SIGNED = re.compile(
    r"x-(amz|goog)-.*|awsaccesskeyid|googleaccessid|signature|expires|policy|key-pair-id", re.IGNORECASE
)
"""Parameters of presigned URLs of S3, Google's storage and CloudFront; they change with each signing."""

_SIGNED_BY_AZURE = re.compile(r"s[vspetr]|srt|spr|sip|sig|sk[tesv]|skoid|sktid")

MALFORMED = "..."

_whole: dict[str, SecretStr] = {}


def is_url(source: str) -> bool:
    """Tell whether a source is an http or https URL."""
    found = _URL.match(source)
    return found is not None and found[1].lower() in {"http", "https"}


def source_name(source: str) -> str:
    """Return a URL without user info, query and fragment; any other source stays as it is.

    Behind the scheme of a malformed URL stands `MALFORMED`: a password with a slash in it ends there too.
    """
    found = _URL.match(source)
    if found is None:
        like = _LIKE_URL.search(source)
        return source if like is None else like.group() + MALFORMED
    scheme, authority, path, _ = found.groups()
    host = authority.rpartition("@")[2]
    is_named = _HOST.fullmatch(host) and not (":" in authority and "@" in path)
    return f"{scheme}://{host}{path}" if is_named else f"{scheme}://{MALFORMED}"


def source_identity(source: str) -> str:
    """Return the text by which a source is recognised: its name and the part of its query that is no signature.

    It may hold a secret, so only its hash is stored.
    """
    found = _URL.match(source)
    pairs = parse_qsl(found[4] or "", keep_blank_values=True) if found else []
    signed = [_SIGNED, *([_SIGNED_BY_AZURE] if "sig" in dict(pairs) else [])]
    kept = [(name, value) for name, value in pairs if not any(each.fullmatch(name) for each in signed)]
    return source_name(source) + (f"?{urlencode(kept)}" if kept else "")


def keep_in_memory(source: str) -> str:
    """Remember a whole source in this process and return its name."""
    name = source_name(source)
    if name != source:
        _whole[name] = SecretStr(source)
    return name


def whole_source(name: str) -> str:
    """Return the source that this process remembers by a name, or the name itself."""
    return _whole[name].get_secret_value() if name in _whole else name
