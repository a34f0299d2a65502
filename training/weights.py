"""Load backbone weights from the input channel, and read from them how their pictures are prepared.

Weights are safetensors files, and no pickle is read here. Those that kennel fetched say in their header which
preprocessing they were trained with (`training.imagenet` writes it).
"""

import json
from collections import OrderedDict
from pathlib import Path

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import load_file

from training.failures import TrainingFailure
from training.graphs import sha256_of
from training.model import Backbone
from training.preprocess import Preprocessing

WEIGHTS_FILE = "backbone.safetensors"
METADATA_KEY = "kennel"
"""The name in the file's header of a JSON object with `backbone`, `name`, `url` and `preprocessing` of the weights."""


def stated_preprocessing(folder: Path | None) -> Preprocessing | None:
    """Return the preprocessing that the weights of the channel state; None if they, or the channel, state none.

    Raises:
        TrainingFailure: the file states one that cannot be read.
    """
    path = None if folder is None else folder / WEIGHTS_FILE
    if path is None or not path.is_file():
        return None
    try:
        with safe_open(path, "pt") as file:
            stated = (file.metadata() or {}).get(METADATA_KEY)
    except SafetensorError:
        return None  # load_weights says what is wrong with it
    try:
        return None if stated is None else Preprocessing.from_json(json.loads(stated)["preprocessing"])
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise TrainingFailure(f"{path} states a preprocessing that cannot be read: {error!r}") from error


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
        backbone.network.load_state_dict(_of_current_version(backbone.network, kept), strict=True)
    except (SafetensorError, RuntimeError) as error:
        raise TrainingFailure(f"{path} does not fit {backbone.name}: {error}") from error
    return digest


def _of_current_version(network: torch.nn.Module, state: dict[str, torch.Tensor]) -> OrderedDict[str, torch.Tensor]:
    """Return a state that says of which version its modules are; safetensors has no place for it, MNASNet needs it."""
    versioned = OrderedDict(state)
    versioned._metadata = network.state_dict()._metadata  # type: ignore[attr-defined]
    return versioned
