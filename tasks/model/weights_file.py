"""The file that `--weights` names: its absolute path, and whether it can be weights, before anything is made."""

from __future__ import annotations

import os
from pathlib import Path

from tasks.run.command_line import path_argument
from tasks.run.errors import DataRefused, SettingsRefused
from tasks.run.options import ModelOptions
from tasks.run.sealed import parse_json

WHERE = "weights"
_MAX_HEADER_BYTES = 100 * 2**20


def with_weights_file(model: ModelOptions) -> ModelOptions:
    """Return the options with a weights file's path made absolute, because the run id depends on that path.

    Raises:
        SettingsRefused, DataRefused: as `named_file`.
    """
    path = named_file(model)
    return model if path is None else model.model_copy(update={"weights": os.path.realpath(path)})


def named_file(model: ModelOptions) -> Path | None:
    """Return the weights file that the options name, or None if they name a version, random weights or nothing.

    Raises:
        SettingsRefused: there is no such file, or this user may not read it.
        DataRefused: it is not a safetensors file.
    """
    path = model.weights_file
    if path is None:
        return None
    if not os.path.isfile(path):  # noqa: PTH113 Path.is_file() raises for a name that is too long
        instead = "name a .safetensors file, or leave --weights out for the ImageNet weights"
        raise SettingsRefused(WHERE, str(path), "there is no such file", instead)
    if not os.access(path, os.R_OK):
        raise SettingsRefused(WHERE, str(path), "this user may not read it", f"ls -l {path_argument(path)}")
    check_safetensors(path)
    return path


def check_safetensors(path: Path) -> None:
    """Refuse a file without a safetensors header (format: huggingface.co/docs/safetensors).

    Raises:
        DataRefused: the header is not a length followed by a JSON object within the file.
    """
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= min(_MAX_HEADER_BYTES, path.stat().st_size - 8):
                raise ValueError(f"its header claims a length of {length} bytes")
            if not isinstance(parse_json(file.read(length)), dict):
                raise ValueError("its header is not a JSON object")
    except ValueError as error:
        convert = "convert it: safetensors.torch.save_file(model.state_dict(), 'backbone.safetensors')"
        raise DataRefused(WHERE, f"{path} is not a safetensors file", str(error), convert) from error
