"""OpenVINO, as training and serving both use it: no telemetry, no torch, bf16 where the processor has it, digests
checked.

This file travels into model.tar.gz beside the serving script.
"""

import hashlib
import importlib
import sys
from pathlib import Path
from typing import Any

_CHUNK_BYTES = 1 << 20


def import_openvino() -> Any:
    """Import OpenVINO with its telemetry switched off: `import openvino` alone would report to Google Analytics.

    Raises:
        ImportError: openvino is not installed.
    """
    sys.modules.setdefault("openvino_telemetry", None)  # type: ignore[arg-type]  # None = "not installed" (importlib)
    return importlib.import_module("openvino")


def has_bf16(core: Any) -> bool:
    """Whether this processor multiplies bfloat16 natively (AMX or AVX-512 BF16)."""
    return "BF16" in core.get_property("CPU", "OPTIMIZATION_CAPABILITIES")


def sha256_of(path: Path) -> str:
    """Hex digest of a file, read in 1 MiB pieces."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK_BYTES):
            digest.update(chunk)
    return digest.hexdigest()
