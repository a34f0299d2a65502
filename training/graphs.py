"""What training and serving share without torch: OpenVINO with its telemetry off, and the checks of files and values.

This file is copied into model.tar.gz beside the serving script. A JSON file that is kept carries, as its member
"checksum", the sha256 of its other members.
"""

import hashlib
import importlib
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20
_SHOWN_CHARACTERS = 60


def import_openvino() -> Any:
    """Import OpenVINO with its telemetry off: a plain `import openvino` reports to Google Analytics.

    Raises:
        ImportError: openvino is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None makes importlib treat it as not installed
    return importlib.import_module("openvino")


def has_bf16(core: Any) -> bool:
    """Return whether this processor multiplies bfloat16 natively (AMX or AVX-512 BF16)."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def sha256_of(path: Path) -> str:
    """Return the sha256 of a file in hex; the file is read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()


def checksum_of(content: Mapping[str, Any]) -> str:
    """Return the sha256 of the members of a JSON object, without its member "checksum" and whatever its layout."""
    members = {name: value for name, value in content.items() if name != "checksum"}
    return hashlib.sha256(json.dumps(members, sort_keys=True).encode()).hexdigest()


def require_allowed(is_allowed: bool, name: str, value: object, allowed: str) -> None:
    """Refuse a value of a file that others may have written; the message has its beginning, and what is allowed.

    Raises:
        ValueError: it is not allowed.
    """
    if not is_allowed:
        shown = ascii(value)
        cut = shown if len(shown) <= _SHOWN_CHARACTERS else f"{shown[:_SHOWN_CHARACTERS]}…"
        raise ValueError(f"{name} is {cut}; allowed is {allowed}")
