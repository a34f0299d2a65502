"""The inputs of a training, which are the same on SageMaker and on EC2: dataset, weights, arguments and code."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.run.records import DatasetRef, Hyperparameters, WeightsRef

FILE_NAME = "backbone.safetensors"
"""The name of the file of weights, in the bucket and on an instance."""

LEAST_VOLUME_GIB = 30
"""What the SageMaker SDK asks for when nobody names a size."""


@dataclass(frozen=True)
class TrainingInputs:
    """What a run trains, and with which code; `code_dir` holds `training/` and nothing else."""

    run_id: str
    hyperparameters: Hyperparameters
    dataset: DatasetRef
    weights: WeightsRef | None
    code_dir: Path
    code_digest: str
    git_commit: str | None

    @property
    def volume_gib(self) -> int:
        """The disk that a training machine needs for data, code, checkpoints and model: twice the data and 20 GiB."""
        return max(LEAST_VOLUME_GIB, 20 + math.ceil(2 * self.dataset.size_bytes / 2**30))

    def digest_with(self, machines: Mapping[str, Any]) -> str:
        """Return the sha256 of these inputs and of the settings of the machines; the git commit is left out."""
        spec = {
            **machines,
            "arguments": self.hyperparameters.arguments,
            "data": self.dataset.uri,
            "weights": self.weights.uri if self.weights else None,
            "code": self.code_digest,
        }
        return hashlib.sha256(json.dumps(spec, sort_keys=True).encode()).hexdigest()
