"""Embeds pictures in the page as `data:` URIs: PNG files as they are, photos as small JPEGs."""

from __future__ import annotations

import base64
import io
from pathlib import Path

from tasks.run.sealed import read_regular

MAX_PICTURE_BYTES = 1_000_000
THUMBNAIL_SIDE, THUMBNAIL_QUALITY = 224, 70


def png_uri(path: Path) -> str | None:
    """Return a PNG file as a `data:` URI; None when it is missing or larger than `MAX_PICTURE_BYTES`."""
    try:
        if path.stat().st_size > MAX_PICTURE_BYTES:
            return None
        return _uri("image/png", read_regular(path))
    except (OSError, ValueError):
        return None


def thumbnail_uri(path: Path) -> str | None:
    """Return a photo as a `data:` URI of a JPEG whose longer side has 224 pixels at most; None if it is no photo."""
    from PIL import Image

    try:
        with Image.open(io.BytesIO(read_regular(path))) as photo:
            small = photo.convert("RGB")
        small.thumbnail((THUMBNAIL_SIDE, THUMBNAIL_SIDE))
        content = io.BytesIO()
        small.save(content, "JPEG", quality=THUMBNAIL_QUALITY, optimize=True)
    except (OSError, ValueError, Image.DecompressionBombError):
        return None
    return _uri("image/jpeg", content.getvalue())


def _uri(kind: str, content: bytes) -> str:
    return f"data:{kind};base64,{base64.b64encode(content).decode()}"
