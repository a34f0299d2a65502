"""Flips single bits of a file, seeded, so that a test can show that none of the damaged contents is used silently."""

import random
from collections.abc import Iterator
from pathlib import Path

FLIPS = 300


def flipped(path: Path, *, flips: int = FLIPS) -> Iterator[str]:
    """Write contents to a file, each with one other bit flipped, and yield where; at last write the whole one again."""
    whole = path.read_bytes()
    positions = random.Random(0)
    try:
        for _ in range(flips):
            bit = positions.randrange(8 * len(whole))
            content = bytearray(whole)
            content[bit // 8] ^= 1 << bit % 8
            path.write_bytes(content)
            yield f"{path.name}, bit {bit}"
    finally:
        path.write_bytes(whole)
