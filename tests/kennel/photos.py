"""A tiny labelled dataset of noise in three colours, which any backbone can learn."""

import io
import random
from pathlib import Path

from PIL import Image

COLOURS = {"blue": (40, 60, 200), "green": (40, 190, 70), "red": (200, 50, 40)}
COUNTS = {"train": 8, "valid": 4, "test": 4}


def make_photos(folder: Path, *, seed: int = 0) -> Path:
    """Write train|valid|test/<colour>/<n>.jpg, 48 images of 64 × 64 pixels, all different."""
    generator = random.Random(seed)
    for split, count in COUNTS.items():
        for name, colour in COLOURS.items():
            for number in range(count):
                path = folder / split / name / f"{number}.jpg"
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(_noise(generator, colour))
    return folder


def _noise(generator: random.Random, colour: tuple[int, int, int]) -> bytes:
    pixels = bytearray()
    for _ in range(64 * 64):
        pixels += bytes(max(0, min(255, channel + generator.randint(-35, 35))) for channel in colour)
    content = io.BytesIO()
    Image.frombytes("RGB", (64, 64), bytes(pixels)).save(content, "JPEG", quality=90)
    return content.getvalue()
