"""Turn image bytes into the (H, W, 3) uint8 crop that a model takes; training, evaluation and serving share this code.

It uses numpy, Pillow and simplejpeg, but not torch, so that a serving process starts fast. JPEGs are decoded at the
smallest DCT scale that still covers the crop, so a large photo is not held at full size. Covered: RGB, grey, palette,
alpha (over white), CMYK, 16-bit and EXIF-rotated pictures in JPEG, PNG and WebP. Not covered: colour profiles (pixels
are taken as sRGB) and animation (the first frame is taken). Normalisation (mean, standard deviation) is part of the
network.
"""

import io
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import simplejpeg
from PIL import Image

if __package__:
    from training.graphs import require_allowed
else:  # code/preprocess.py of a model imports the file beside it, even where this package is installed
    from graphs import require_allowed  # type: ignore[import-not-found, no-redef]

Pixels = npt.NDArray[np.uint8]

MAX_PIXELS = 50_000_000  # Pillow itself only warns at 89 MP
SHORTEST_CROP, LONGEST_SIDE = 16, 2048
"""Bounds in pixels of what a file states: no published network takes pictures beyond 600."""
_FORMATS = ("JPEG", "PNG", "WEBP")
_INTERPOLATIONS = tuple(each.name.lower() for each in Image.Resampling)
_ORIENTATION_TAG = 0x0112
_WIDE_MODES = ("I", "I;16", "I;16B", "I;16L", "F")


class BadImage(ValueError):
    """The bytes are not a usable picture; `is_too_large` is true when it has too many pixels."""

    def __init__(self, message: str, *, is_too_large: bool = False) -> None:
        super().__init__(message)
        self.is_too_large = is_too_large


@dataclass(frozen=True)
class Preprocessing:
    """A backbone's preprocessing: shortest side and crop in pixels, mean and deviation of RGB in [0, 1]."""

    resize: int = 256
    crop: int = 224
    interpolation: str = "bilinear"
    mean: tuple[float, float, float] = (0.485, 0.456, 0.406)
    deviation: tuple[float, float, float] = (0.229, 0.224, 0.225)

    @staticmethod
    def from_json(fields: Any) -> "Preprocessing":
        """Build it from the fields that `dataclasses.asdict` wrote into meta.json or a file of weights.

        Raises:
            ValueError: a field is missing, or has a value that is not allowed; the message names it.
        """
        names = list(Preprocessing.__dataclass_fields__)
        has_all = isinstance(fields, dict) and set(names) <= fields.keys()
        require_allowed(has_all, "preprocessing", fields, f"an object with {', '.join(names)}")
        resize = _side("resize", fields["resize"], SHORTEST_CROP, LONGEST_SIDE)
        crop = _side("crop", fields["crop"], SHORTEST_CROP, resize)
        kind = fields["interpolation"]
        require_allowed(kind in _INTERPOLATIONS, "interpolation", kind, f"one of {', '.join(_INTERPOLATIONS)}")
        mean, deviation = (_of_channels(name, fields[name]) for name in ("mean", "deviation"))
        require_allowed(all(deviation), "deviation", fields["deviation"], "no 0: pixels are divided by it")
        return Preprocessing(resize, crop, kind, mean, deviation)

    @property
    def filter(self) -> Image.Resampling:
        """Pillow's filter of this interpolation."""
        return Image.Resampling[self.interpolation.upper()]


def _side(name: str, given: object, least: int, most: int) -> int:
    is_whole = isinstance(given, int) and not isinstance(given, bool)
    require_allowed(is_whole and least <= given <= most, name, given, f"a whole number of px from {least} to {most}")  # type: ignore[operator]
    return given  # type: ignore[return-value]


def _of_channels(name: str, given: Any) -> tuple[float, float, float]:
    """Return three numbers from 0 to 1; neither NaN nor infinity is one."""
    numbers = [each for each in given if type(each) in (int, float)] if isinstance(given, list | tuple) else []
    is_fit = len(numbers) == 3 == len(given) and all(0 <= each <= 1 for each in numbers)
    require_allowed(is_fit, name, given, "three numbers from 0 to 1")
    red, green, blue = (float(each) for each in numbers)
    return red, green, blue


# --- decoding ---------------------------------------------------------------------------------------------------------


def decode(data: bytes, *, minimum_side: int, max_pixels: int = MAX_PIXELS) -> Pixels:
    """Decode a picture to upright RGB, (H, W, 3) uint8.

    A JPEG may be decoded at a smaller scale, at which no side is shorter than `minimum_side` px.

    Raises:
        BadImage: it is not JPEG, PNG or WebP, is truncated or damaged, or its header states over `max_pixels` pixels.
    """
    image = _open(data, max_pixels)
    try:
        orientation = image.getexif().get(_ORIENTATION_TAG, 1)
        pixels = _decode_pixels(data, image, minimum_side)
    except (OSError, ValueError, SyntaxError, EOFError, IndexError, KeyError, TypeError, MemoryError) as error:
        raise BadImage(f"the picture is truncated or damaged: {error}") from error
    return _upright(pixels, orientation)


def _open(data: bytes, max_pixels: int) -> Image.Image:
    try:
        image = Image.open(io.BytesIO(data), formats=_FORMATS)  # reads the header only
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        raise BadImage(f"the picture is too large: {error}", is_too_large=True) from error
    except (OSError, ValueError, SyntaxError) as error:
        raise BadImage(f"not a JPEG, PNG or WebP picture ({len(data)} bytes)") from error
    width, height = image.size
    if width * height > max_pixels:
        raise BadImage(
            f"the picture is {width}×{height} px; at most {max_pixels} pixels are accepted", is_too_large=True
        )
    return image


def _decode_pixels(data: bytes, image: Image.Image, minimum_side: int) -> Pixels:
    if image.format == "JPEG" and image.mode in ("RGB", "L"):
        try:
            return np.asarray(simplejpeg.decode_jpeg(data, "RGB", min_height=minimum_side, min_width=minimum_side))
        except ValueError:
            pass  # legal files with stray bytes between markers: Pillow reads them, and raises for damaged files
    image.load()
    return np.asarray(_to_rgb(image))


def _to_rgb(image: Image.Image) -> Image.Image:
    if image.mode in _WIDE_MODES:
        wide = np.asarray(image).astype(np.float64)
        scale = 257.0 if wide.max(initial=0) > 255 else 1.0  # 16 bits to 8 bits
        return Image.fromarray(np.clip(wide / scale, 0, 255).astype(np.uint8)).convert("RGB")
    if image.mode in ("RGBA", "LA", "PA", "La", "RGBa") or "transparency" in image.info:
        opaque = image.convert("RGBA")
        white = Image.new("RGBA", opaque.size, (255, 255, 255, 255))
        return Image.alpha_composite(white, opaque).convert("RGB")
    return image.convert("RGB")


def _upright(pixels: Pixels, orientation: int) -> Pixels:
    """Undo the camera's rotation and mirroring: EXIF orientations 2 to 8 (TIFF 6.0, tag 274)."""
    if orientation in (5, 6, 7, 8):
        pixels = pixels.transpose(1, 0, 2)
    if orientation in (3, 4, 7, 8):
        pixels = pixels[::-1]
    if orientation in (2, 3, 6, 7):
        pixels = pixels[:, ::-1]
    return np.ascontiguousarray(pixels)


# --- views ------------------------------------------------------------------------------------------------------------


def evaluation_view(pixels: Pixels, preprocessing: Preprocessing) -> Pixels:
    """Resize the shortest side and crop the centre in one resampling: (H, W, 3) -> (crop, crop, 3)."""
    height, width = pixels.shape[:2]
    side = min(height, width) * preprocessing.crop / preprocessing.resize  # side of the crop in source pixels
    left, top = (width - side) / 2, (height - side) / 2
    return _resample(pixels, (left, top, left + side, top + side), preprocessing)


def augmented_view(pixels: Pixels, preprocessing: Preprocessing, *, random: np.random.Generator) -> Pixels:
    """Cut a random view: (H, W, 3) -> (crop, crop, 3).

    It takes 35 to 100 % of the area at an aspect of 3:4 to 4:3, mirrored half of the time: a milder form of the
    augmentation of Szegedy et al. 2015.
    """
    height, width = pixels.shape[:2]
    area = height * width * random.uniform(0.35, 1.0)
    aspect = float(np.exp(random.uniform(np.log(3 / 4), np.log(4 / 3))))
    crop_width, crop_height = min(width, (area * aspect) ** 0.5), min(height, (area / aspect) ** 0.5)
    left, top = random.uniform(0, width - crop_width), random.uniform(0, height - crop_height)
    view = _resample(pixels, (left, top, left + crop_width, top + crop_height), preprocessing)
    return np.ascontiguousarray(view[:, ::-1]) if random.random() < 0.5 else view


def load_for_evaluation(data: bytes, preprocessing: Preprocessing) -> Pixels:
    """Decode a picture and return the crop that evaluation and serving use, (crop, crop, 3) uint8.

    Raises:
        BadImage: as `decode`.
    """
    return evaluation_view(decode(data, minimum_side=preprocessing.resize), preprocessing)


def _resample(pixels: Pixels, box: tuple[float, float, float, float], preprocessing: Preprocessing) -> Pixels:
    size = (preprocessing.crop, preprocessing.crop)
    return np.asarray(Image.fromarray(pixels).resize(size, preprocessing.filter, box=box))
