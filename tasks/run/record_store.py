"""Write records to JSON files and read them back, one file for each kind of record.

Files are written atomically and carry their checksum (`tasks.run.sealed`). A record class says in its class statement
which file it is stored in, what messages call it, and which flow writes it.
"""

from __future__ import annotations

import dataclasses
import json
import os
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar, TypeVar

from pydantic import Field, TypeAdapter, ValidationError

from tasks.run.disk import disk_boundary
from tasks.run.errors import LedgerRefused, SettingsRefused, StageFailed
from tasks.run.own_files import replacing
from tasks.run.sealed import read_regular, seal, unseal

Count = Annotated[int, Field(ge=0, le=10**15)]
"""How many there are of something; a larger number is none that kennel wrote, and no float holds it exactly."""
Amount = Annotated[float, Field(ge=0, allow_inf_nan=False)]
"""A measurement that is at least 0: seconds, bytes, USD, requests a second."""
Share = Annotated[float, Field(ge=0, le=1, allow_inf_nan=False)]
"""A fraction of a whole, such as an accuracy."""


@dataclass(frozen=True)
class Record:
    """The base class of every record that is stored in a file of its own.

    `file` is the path of that file in the run's folder and may contain fields ("ec2/instance-{number}.json"). `called`
    is the name of the record in messages ("trained model"), and `made_by` is the flow that writes it. `stored_as` is
    the value of "record" in the file, so that a class can be renamed while older files are still read.
    """

    file: ClassVar[str]
    called: ClassVar[str]
    made_by: ClassVar[str]
    stored_as: ClassVar[str]

    @property
    def resources(self) -> tuple[tuple[str, str], ...]:
        """The resources that the record names, as (kind, name) in the ledger; it is of no use without them."""
        return ()

    def __init_subclass__(cls, *, file: str, called: str, made_by: str, stored_as: str | None = None) -> None:
        """Set the class attributes from the arguments of the class statement; `stored_as` is by default its name."""
        super().__init_subclass__()
        cls.file, cls.called, cls.made_by, cls.stored_as = file, called, made_by, stored_as or cls.__name__


AnyRecord = TypeVar("AnyRecord", bound=Record)


def record_path(folder: Path, kind: type[Record], /, **fields: object) -> Path:
    """Return the path of the file of a kind of record in a folder; `fields` are the fields that the name contains."""
    return folder / kind.file.format(**fields)


def save_record(folder: Path, record: Record) -> Path:
    """Write a record to its file in a folder, atomically and with mode 0600, and return the path.

    Raises:
        StageFailed: it has a value with which it could not be read again, as AWS may have answered it.
        DiskFailed: the file cannot be written.
    """
    content = {"record": record.stored_as, **dataclasses.asdict(record)}
    path = record_path(folder, type(record), **vars(record))
    sealed = seal(content, indent=2)
    try:
        _parsed(sealed, type(record))
    except ValueError as error:
        why = _problems(error) if isinstance(error, ValidationError) else str(error)
        what = f"the record of the {record.called} was not kept"
        raise StageFailed("records", what, why, "run the same command again") from error
    write_atomically(path, sealed)
    return path


def load_record(folder: Path, kind: type[AnyRecord], /, **fields: object) -> AnyRecord | None:
    """Read the record of a kind from its file in a folder; return None when there is no such file.

    A field that has a default may be missing, because an older release may have written the file. Types are checked
    without conversion, except that an integer is accepted for a float, and so are the bounds of `Count` and its like.

    Raises:
        LedgerRefused: the file is damaged, not JSON or holds another kind of record, or a field is missing, unknown,
            of the wrong type or out of bounds.
    """
    path = record_path(folder, kind, **fields)
    if not path.exists():
        return None
    try:
        content = read_regular(path)
    except ValueError as error:
        raise _refused(path, kind, str(error)) from error
    return parse_record(content, kind, path)


def parse_record(content: bytes, kind: type[AnyRecord], path: Path) -> AnyRecord:
    """Return the record of a kind that the content of a file is; `path` is for messages.

    Raises:
        LedgerRefused: as `load_record`.
    """
    try:
        return _parsed(content, kind)
    except ValidationError as error:
        raise _refused(path, kind, _problems(error)) from error
    except ValueError as error:
        raise _refused(path, kind, str(error)) from error
    except SettingsRefused as error:
        raise _refused(path, kind, f"{error.what}: {error.why}") from error


def _parsed(data: bytes, kind: type[AnyRecord]) -> AnyRecord:
    content = unseal(data)
    if content.pop("record", None) != kind.stored_as:
        raise ValueError(f"it is not the record of a {kind.stored_as}")
    return _adapter(kind).validate_json(json.dumps(content), strict=True, extra="forbid")


def forget_record(folder: Path, kind: type[Record], /, **fields: object) -> None:
    """Delete the file of a kind of record from a folder, if there is one."""
    record_path(folder, kind, **fields).unlink(missing_ok=True)


def write_atomically(path: Path, content: bytes) -> None:
    """Replace a file atomically, with mode 0600: write a temporary file, fsync it, rename it.

    Raises:
        DiskFailed: the disk is full or read-only, or the folder refuses this user; the file stays as it was.
    """
    with disk_boundary("disk", path, len(content)):
        path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        _replace(path, content)


def _replace(path: Path, content: bytes) -> None:
    with replacing(path) as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())


_adapters: dict[str, TypeAdapter[Any]] = {}


def _adapter(kind: type[AnyRecord]) -> TypeAdapter[AnyRecord]:
    """Return the validator of a kind of record; building one takes up to 20 ms, so it is cached."""
    name = f"{kind.__module__}.{kind.__qualname__}"
    if name not in _adapters:
        _adapters[name] = TypeAdapter(kind)
    return _adapters[name]


def damaged_records(folder: Path) -> list[LedgerRefused]:
    """Return the error of each record in a folder that cannot be read, so that all of them can be told at once."""
    found = []
    for kind in (each for each in Record.__subclasses__() if "{" not in each.file):
        try:
            load_record(folder, kind)
        except LedgerRefused as error:
            found.append(error)
    return found


_SHOWN = 5


def _problems(error: ValidationError) -> str:
    """Return the wrong fields, at most `_SHOWN`, with what is allowed and the values that were read."""
    found = error.errors(include_url=False)
    more = f"; and {len(found) - _SHOWN} more" if len(found) > _SHOWN else ""
    return "; ".join(map(_problem, found[:_SHOWN])) + more


def _problem(found: Any) -> str:
    field = ".".join(str(part) for part in found["loc"]) or "the record"
    received = "" if found["type"] == "missing" else f", not {found['input']!r:.80}"
    return f"{field}: {found['msg']}{received}"


def _refused(path: Path, kind: type[Record], why: str) -> LedgerRefused:
    again = f"remove or move {path} and run the same command again"
    return LedgerRefused("records", f"{path} does not hold a {kind.__name__}", why, again)
