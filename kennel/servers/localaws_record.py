"""Reads what a running localaws wrote about itself: `server.json` in its folder of a kennel home."""

from __future__ import annotations

import contextlib
from pathlib import Path
from typing import Any

import psutil

from kennel.servers import processes
from tasks.run.process_mark import is_running
from tasks.run.sealed import CHECKSUM, Damaged, parse_json, read_regular, unseal

NAME = "localaws"
_NUMBER = (int, float)
_FIELDS: dict[str, tuple[type, ...]] = {
    **dict.fromkeys(("pid", "port", "ssh_port"), (int,)),
    **dict.fromkeys(("time_scale", "started", "instance_startup_seconds"), _NUMBER),
    **dict.fromkeys(("region", "generation", "access_key_id", "secret_access_key", "home"), (str,)),
    "console_token": (str,),
    "created": (str, *_NUMBER),
    "capacity": (list,),
    "strict": (bool,),
}
"""The fields of `server.json` that are used here, with their types."""

_DEFAULTS: dict[str, object] = {
    **dict.fromkeys(("generation", "access_key_id", "secret_access_key", "home"), ""),
    "console_token": "",
    "instance_startup_seconds": 0.0,
    "capacity": [],
    "strict": False,
}
"""What stands for a field that an older release did not write."""


def localaws_home(home: Path) -> Path:
    """Return localaws's folder in a kennel home."""
    return home.resolve() / "localaws"


def running_record(home: Path) -> dict[str, Any] | None:
    """Return the record that the running server of this home wrote, or None when there is none."""
    record = written_record(home)
    if record is None or not is_running(record["pid"], record["created"]):
        return None
    return record if _is_own_server(home, record["pid"]) else None


def _is_own_server(home: Path, pid: int) -> bool:
    """Tell whether a process is localaws with this home: a damaged or copied record may name another.

    One that a person started has no owner in its environment, but the home among its arguments.
    """
    with contextlib.suppress(psutil.Error):
        arguments = psutil.Process(pid).cmdline()
        is_of_home = str(localaws_home(home)) in arguments or processes.is_owned(home, pid)
        return is_of_home and any("localaws" in argument for argument in arguments)
    return False


def record_path(home: Path) -> Path:
    """Return the path of the record."""
    return localaws_home(home) / "server.json"


def written_record(home: Path) -> dict[str, Any] | None:
    """Return what the server wrote, whether or not it runs; None when there is nothing readable.

    Raises:
        PermissionError: the home is another user's.
    """
    try:
        return read_record(home)
    except PermissionError:  # a server may run in a home that this user may not read
        raise
    except (OSError, Damaged):
        return None


def read_record(home: Path) -> dict[str, Any]:
    """Return what the server wrote.

    Raises:
        OSError, Damaged: the file cannot be read or is not as it was written, a field is missing or of another type, or
            it is the record of another home, whose server is not this one's to use and to end.
    """
    content = read_regular(record_path(home))
    record = unseal(content)
    if "home" in record and CHECKSUM not in parse_json(content):
        raise Damaged("it has no checksum")
    for name, kinds in _FIELDS.items():
        if not isinstance(record.get(name, _DEFAULTS.get(name)), kinds):
            raise Damaged(f"{name} is {record.get(name)!r:.80}")
    if record.get("home", "") not in ("", str(localaws_home(home).resolve())):
        raise Damaged(f"it was copied from {record['home']}, whose server it names")
    return record
