"""What scripts rely on, as release 0.1.0 has it: run ids of commands, exit codes of errors, and the printed JSON.

`interface.json` was written from that release's own answers. An entry changes only together with the changelog.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

_KEPT: Mapping[str, Any] = json.loads(Path(__file__).with_name("interface.json").read_text())
RUN_IDS: Mapping[str, str] = _KEPT["run_ids"]
EXIT_CODES: Mapping[str, int] = _KEPT["exit_codes"]
RECORDS: Mapping[str, str] = _KEPT["records"]
"""The files of a run with the name of the record in each."""
_KINDS = {bool: "boolean", int: "number", float: "number", str: "string"}


def differences(command: str, answer: Any) -> list[str]:
    """Name each member of a command's JSON that is missing, new or of another kind than before; null fits any kind."""
    return list(_compare(command, _KEPT["json"][command], answer))


def _compare(where: str, kept: Any, found: Any) -> Iterator[str]:
    if kept is None or found is None:
        return
    if isinstance(kept, dict) and isinstance(found, dict):
        names = dict.fromkeys(found, kept["*"]) if "*" in kept else kept
        yield from (f"{where}.{name} is {'new' if name in found else 'missing'}" for name in {*names} ^ {*found})
        for name in {*names} & {*found}:
            yield from _compare(f"{where}.{name}", names[name], found[name])
    elif isinstance(kept, list) and isinstance(found, list):
        for each in found:
            yield from _compare(f"{where}[]", kept[0], each)
    elif kept != _KINDS.get(type(found)):
        yield f"{where} is {found!r}, it was {kept if isinstance(kept, str) else type(kept).__name__}"
