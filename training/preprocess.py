"""Turn image bytes into the (H, W, 3) uint8 crop that a model takes; training, evaluation and serving share this code.

It uses no torch, so that a serving process starts fast. Decoding is in `pictures`. Normalisation (mean, standard
deviation) is part of the network.
"""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image

if __package__:
    from training.graphs import require_allowed
    from training.pictures import DEFAULT_LIMITS, PictureLimits, decode
else:  # code/preprocess.py of a model imports what is beside it, even where this package is installed
    from graphs import require_allowed  # type: ignore[import-not-found, no-redef]
    from pictures import DEFAULT_LIMITS, PictureLimits, decode  # type: ignore[import-not-found, no-redef]

Pixels = npt.NDArray[np.uint8]

SHORTEST_CROP, LONGEST_SIDE = 16, 2048
"""Bounds in pixels of what a file states: no published network takes pictures beyond 600."""
_INTERPOLATIONS = tuple(each.name.lower() for each in Image.Resampling)


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


def load_for_evaluation(data: bytes, preprocessing: Preprocessing, limits: PictureLimits = DEFAULT_LIMITS) -> Pixels:
    """Decode a picture and return the crop that evaluation and serving use, (crop, crop, 3) uint8.

    Raises:
        BadPicture: as `decode`.
    """
    return evaluation_view(decode(data, minimum_side=preprocessing.resize, limits=limits).pixels, preprocessing)


def _resample(pixels: Pixels, box: tuple[float, float, float, float], preprocessing: Preprocessing) -> Pixels:
    size = (preprocessing.crop, preprocessing.crop)
    return np.asarray(Image.fromarray(pixels).resize(size, preprocessing.filter, box=box))
