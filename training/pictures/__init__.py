"""Decode a picture: the one place where staging, training and serving decide format, orientation, colour and depth.

A model carries this folder as `code/pictures`, so it imports nothing of the rest and works under either name. It uses
numpy, Pillow, simplejpeg and, for HEIC, pi-heif.
"""

from .decode import Picture, decode
from .headers import SUFFIXES, end_of_jpeg
from .limits import DEFAULT_LIMITS, BadPicture, PictureLimits

__all__ = ["DEFAULT_LIMITS", "SUFFIXES", "BadPicture", "Picture", "PictureLimits", "decode", "end_of_jpeg"]
