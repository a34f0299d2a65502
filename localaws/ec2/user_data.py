"""Takes user data apart as cloud-init does: `#cloud-config`, `#!` scripts, and MIME messages of those, gzipped or not.

Of cloud-config, `ssh_keys`, `ssh_deletekeys`, `ssh_authorized_keys`, `write_files`, `bootcmd` and `runcmd` are
emulated. Everything else is listed in `notices`, which the instance prints on its console. Touches no file.
"""

import base64
import binascii
import email
import email.policy
import gzip
import shlex
import zlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from email.message import EmailMessage
from typing import Any

import yaml

CLOUD_CONFIG, SCRIPT = "text/cloud-config", "text/x-shellscript"
LARGEST_BYTES = 1 << 20  # of what gzip unpacks; EC2 takes 16 KiB packed
OLD_KEY_TYPES = ("dsa",)
IGNORED = ("ssh_deletekeys",)  # the instance's disk begins without host keys: there is never one to delete


class _Malformed(Exception):
    """A part of the user data is not what it says it is."""


@dataclass(frozen=True)
class File:
    """A file to write. `permissions` is octal."""

    path: str
    content: bytes
    permissions: str
    append: bool


@dataclass
class UserData:
    """What user data asks for. `host_keys`: private keys' texts; `scripts`: names and texts, in order."""

    host_keys: list[str] = field(default_factory=list)
    authorized_keys: list[str] = field(default_factory=list)
    files: list[File] = field(default_factory=list)
    bootcmd: str = ""
    scripts: list[tuple[str, str]] = field(default_factory=list)
    notices: list[str] = field(default_factory=list)


def take_apart(data: bytes) -> UserData:
    """Return what `data` asks for; what cannot be read or is not emulated is in `notices`."""
    found = UserData()
    config: dict[str, Any] = {}
    try:
        parts = list(_parts(_unpack(data)))
    except _Malformed as error:
        found.notices.append(str(error))
        return found
    for number, (kind, text) in enumerate(parts, 1):
        if kind == SCRIPT:
            found.scripts.append((f"part-{number:03d}", text))
        elif kind == CLOUD_CONFIG:
            config |= _read_config(text, found.notices)  # as cloud-init merges: the later part's key wins
        else:
            found.notices.append(f"user data part {number} ({kind}) is not emulated and was not run")
    _apply(config, found)
    return found


def _unpack(data: bytes) -> bytes:
    if not data.startswith(b"\x1f\x8b"):
        return data
    try:
        unpacked = zlib.decompressobj(wbits=31).decompress(data, LARGEST_BYTES)
    except zlib.error as error:
        raise _Malformed(f"user data begins as gzip but cannot be decompressed: {error}") from error
    return unpacked


def _parts(data: bytes) -> Iterator[tuple[str, str]]:
    text = data.decode("utf-8", "replace")
    if not text.strip():
        return
    first = text.split("\n", 1)[0].rstrip()
    if first.startswith("#!"):
        yield SCRIPT, text
    elif first == "#cloud-config":
        yield CLOUD_CONFIG, text
    elif first.lower().startswith(("content-type:", "mime-version:")):
        yield from _parts_of_message(data)
    else:
        yield f"it begins with {first[:40]!r}", text


def _parts_of_message(data: bytes) -> Iterator[tuple[str, str]]:
    message = email.message_from_bytes(data, policy=email.policy.default)
    assert isinstance(message, EmailMessage)
    for part in message.walk():
        if part.is_multipart():
            continue
        content = part.get_payload(decode=True)
        text = _unpack(content if isinstance(content, bytes) else b"").decode("utf-8", "replace")
        kind = part.get_content_type()
        if kind in ("text/plain", "text/x-not-multipart"):
            yield from _parts(text.encode())
        else:
            yield kind, text


def _read_config(text: str, notices: list[str]) -> Mapping[str, Any]:
    try:
        config = yaml.safe_load(text)
    except yaml.YAMLError as error:
        notices.append(f"Failed loading yaml blob: {error}")
        return {}
    if config is None:
        return {}
    if not isinstance(config, dict):
        notices.append(f"Failed loading yaml blob: cloud-config is a {type(config).__name__}, not a mapping")
        return {}
    return config


def _apply(config: Mapping[str, Any], found: UserData) -> None:
    for key, value in config.items():
        apply = _APPLY.get(key)
        if apply is None:
            if key not in IGNORED:
                found.notices.append(f"cloud-config key {key!r} is not emulated and was ignored")
            continue
        try:
            apply(value, found)
        except _Malformed as error:
            found.notices.append(f"cloud-config key {key!r}: {error}")


def _apply_keys(value: Any, found: UserData) -> None:
    if not isinstance(value, dict):
        raise _Malformed("must be a mapping such as {ed25519_private: …, ed25519_public: …}")
    for name, text in value.items():
        kind, _, half = str(name).rpartition("_")
        if half == "private" and kind not in OLD_KEY_TYPES:
            found.host_keys.append(str(text))
        elif half != "public":  # made from the private key
            raise _Malformed(f"{name} is not emulated")


def _apply_authorized_keys(value: Any, found: UserData) -> None:
    found.authorized_keys += [str(each).strip() for each in _list_of(value)]


def _apply_files(value: Any, found: UserData) -> None:
    for each in _list_of(value):
        if not isinstance(each, dict) or "path" not in each:
            raise _Malformed(f"an entry has no path: {each!r}")
        if unknown := set(each) - {"path", "content", "permissions", "append", "encoding", "owner", "defer"}:
            raise _Malformed(f"{each['path']}: {sorted(unknown)} not emulated")
        content = _decode(str(each.get("content") or ""), str(each.get("encoding") or "text/plain"))
        permissions = _permissions(each.get("permissions", "0644"))
        found.files.append(File(str(each["path"]), content, permissions, bool(each.get("append", False))))


def _apply_bootcmd(value: Any, found: UserData) -> None:
    found.bootcmd = _shell_script(value)


def _apply_runcmd(value: Any, found: UserData) -> None:
    found.scripts.append(("runcmd", _shell_script(value)))  # last: cloud-init runs scripts in the order of their names


_APPLY = {
    "ssh_keys": _apply_keys,
    "ssh_authorized_keys": _apply_authorized_keys,
    "write_files": _apply_files,
    "bootcmd": _apply_bootcmd,
    "runcmd": _apply_runcmd,
}


def _list_of(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise _Malformed(f"must be a list, not a {type(value).__name__}")
    return value


def _shell_script(value: Any) -> str:
    lines = [shlex.join(map(str, each)) if isinstance(each, list) else str(each) for each in _list_of(value)]
    return "#!/bin/sh\n" + "\n".join(lines) + "\n"


def _permissions(value: Any) -> str:
    text = f"{value:o}" if isinstance(value, int) else str(value)  # YAML reads 0644 as an octal number
    if not text or set(text) - set("01234567"):
        raise _Malformed(f"permissions {value!r} are not octal")
    return text


def _decode(content: str, encoding: str) -> bytes:
    data = content.encode()
    kinds = encoding.lower().split("+")
    try:
        if kinds[-1] in ("b64", "base64"):
            data = base64.b64decode(data)
        elif encoding != "text/plain" and kinds != ["gz"] and kinds != ["gzip"]:
            raise _Malformed(f"encoding {encoding!r} is not emulated")
        return gzip.decompress(data) if kinds[0] in ("gz", "gzip") else data
    except (binascii.Error, OSError, EOFError, zlib.error) as error:
        raise _Malformed(f"content is not {encoding}: {error}") from error
