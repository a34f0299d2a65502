"""What a picture may have at most, and the refusal of one that cannot be used."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

MAX_PIXELS = 64_000_000
MAX_BYTES = 20 * 2**20
PIXELS_VARIABLE, BYTES_VARIABLE = "KENNEL_MAX_IMAGE_PIXELS", "KENNEL_MAX_IMAGE_BYTES"
LONGEST_SIDE = 65_500
"""The longest side in px that libjpeg can write."""


class BadPicture(ValueError):
    """The bytes are not a usable picture; the message is the reason, and `is_too_large` tells of which kind it is."""

    def __init__(self, reason: str, *, is_too_large: bool = False) -> None:
        super().__init__(reason)
        self.is_too_large = is_too_large


@dataclass(frozen=True)
class PictureLimits:
    """The most pixels and bytes that a picture may have; both have the name of a setting, which messages tell."""

    max_pixels: int = MAX_PIXELS
    max_bytes: int = MAX_BYTES

    @staticmethod
    def from_environment(environment: Mapping[str, str]) -> PictureLimits:
        """Return the limits of the environment's variables; what is missing is the default.

        Raises:
            ValueError: a variable is no whole number above 0; the message names it.
        """
        return PictureLimits(
            _whole(environment, PIXELS_VARIABLE, MAX_PIXELS), _whole(environment, BYTES_VARIABLE, MAX_BYTES)
        )

    def variables(self) -> dict[str, str]:
        """Return the environment's variables from which `from_environment` makes these limits."""
        return {PIXELS_VARIABLE: str(self.max_pixels), BYTES_VARIABLE: str(self.max_bytes)}

    def require_bytes(self, size_bytes: int) -> None:
        """Refuse a file of too many bytes, and one of none.

        Raises:
            BadPicture: it is empty or too large.
        """
        if size_bytes == 0:
            raise BadPicture("it is empty (0 bytes)")
        if size_bytes > self.max_bytes:
            why = f"it has {size_bytes} bytes; at most {BYTES_VARIABLE}={self.max_bytes} are allowed"
            raise BadPicture(why, is_too_large=True)

    def require_pixels(self, width: int, height: int) -> None:
        """Refuse a picture of too many pixels, before it is decoded.

        Raises:
            BadPicture: it is too large.
        """
        if width * height > self.max_pixels:
            why = f"it has {width} x {height} px; at most {PIXELS_VARIABLE}={self.max_pixels} pixels are allowed"
            raise BadPicture(why, is_too_large=True)
        if max(width, height) > LONGEST_SIDE:
            why = f"it has {width} x {height} px; at most {LONGEST_SIDE} px a side are allowed"
            raise BadPicture(why, is_too_large=True)


DEFAULT_LIMITS = PictureLimits()


def _whole(environment: Mapping[str, str], name: str, default: int) -> int:
    given = environment.get(name, str(default))
    if not (given.isascii() and given.isdigit() and len(given) < 16 and int(given) > 0):
        raise ValueError(f"{name}={given!r:.40} is no whole number above 0")
    return int(given)
