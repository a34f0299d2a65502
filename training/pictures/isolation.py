"""Decode a picture of a rare format in a process of its own, with limits of memory and time.

The decoders of TIFF, JPEG 2000, HEIC and the like are large, and a hostile file may crash them or keep them busy. The
process reads the bytes from standard input, and writes a line of JSON and the pixels to standard output.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import threading
from pathlib import Path

import numpy as np

from .decode import Picture, decode
from .limits import BadPicture, PictureLimits

MAX_MEMORY_BYTES = 2 * 2**30
CPU_SECONDS, WALL_SECONDS = 20, 60
AT_ONCE = 2
"""So many are decoded at a time: each may take all of its memory."""

CRASHED = "decoding it crashed or stalled the decoder"
_PASSED_ON = ("PATH", "PYTHONPATH", "LD_LIBRARY_PATH", "LANG")
_MODULE = __spec__.name if __spec__ is not None else __name__
_ROOT = Path(__file__).resolve().parents[len(_MODULE.split(".")) - 1]
_free = threading.BoundedSemaphore(AT_ONCE)


def decode_isolated(data: bytes, limits: PictureLimits) -> Picture:
    """Decode a picture in a new process, at its full size; it sees no credentials of this one.

    Raises:
        BadPicture: as `decode`, or the picture crashed the process or kept it too long.
        RuntimeError: the process could not do its work, whatever the picture.
    """
    command = [sys.executable, "-P", "-m", _MODULE, str(limits.max_pixels), str(limits.max_bytes)]
    passed_on = {name: os.environ[name] for name in _PASSED_ON if name in os.environ}
    path = os.pathsep.join(filter(None, (str(_ROOT), passed_on.get("PYTHONPATH"))))
    environment = {**passed_on, "PYTHONPATH": path, "OPENBLAS_NUM_THREADS": "1", "OMP_NUM_THREADS": "1"}
    try:
        with _free:
            ended = subprocess.run(command, input=data, env=environment, capture_output=True, timeout=WALL_SECONDS)
    except subprocess.TimeoutExpired as error:
        raise BadPicture(CRASHED) from error
    if ended.returncode > 0:
        raise RuntimeError(f"the picture decoder does not work: {ended.stderr.decode(errors='replace').strip()[-400:]}")
    line, _, pixels = ended.stdout.partition(b"\n")
    if ended.returncode != 0 or not line:
        raise BadPicture(CRASHED)
    answer = json.loads(line)
    if "reason" in answer:
        raise BadPicture(answer["reason"], is_too_large=answer["is_too_large"])
    width, height = answer["size"]
    shown = np.frombuffer(pixels, np.uint8).reshape((height, width, 3))
    return Picture(shown, answer["format"], (width, height), tuple(answer["notes"]))


def main() -> None:
    """Answer for one picture, within limits that the kernel holds."""
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY_BYTES, MAX_MEMORY_BYTES))
    resource.setrlimit(resource.RLIMIT_CPU, (CPU_SECONDS, CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    limits = PictureLimits(int(sys.argv[1]), int(sys.argv[2]))
    try:
        picture = decode(sys.stdin.buffer.read(), minimum_side=1, limits=limits, is_isolated=True)
    except BadPicture as refusal:
        answer: dict[str, object] = {"reason": str(refusal), "is_too_large": refusal.is_too_large}
        pixels = b""
    else:
        answer = {"size": picture.size, "format": picture.format, "notes": picture.notes}
        pixels = picture.pixels.tobytes()
    sys.stdout.buffer.write(json.dumps(answer).encode() + b"\n" + pixels)


if __name__ == "__main__":
    main()
