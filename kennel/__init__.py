"""The `kennel` command: it parses arguments, starts the local servers, runs the flows and prints their results.

`kennel.load_model(path)` loads a trained model in this process.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from kennel.local_model import load_model

__all__ = ["load_model"]
__version__ = "0.1.0"

REFERENCE_DATA = "https://s3-us-west-1.amazonaws.com/udacity-aind/dog-project/dogImages.zip"
"""The default dataset of a run on real AWS: 133 dog breeds, 8,351 images."""
SAMPLE = "sample"
"""The default of `--data` on the embedded AWS."""


def __getattr__(name: str) -> Any:
    """Import what is asked for, and only then: the command line does without it."""
    if name == "load_model":
        from kennel.local_model import load_model

        return load_model
    raise AttributeError(f"module 'kennel' has no attribute {name!r}")
