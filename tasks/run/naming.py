"""Names and tags: decided by the run id, so that a repeated command finds what the first one made.

Pure functions; no clock, no randomness, no I/O.
"""

from __future__ import annotations

import hashlib
import json
import re
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from pydantic import StringConstraints

if TYPE_CHECKING:
    from tasks.run.options import TrainingOptions

PROJECT = "kennel"
RESOURCE_PREFIX = f"{PROJECT}-"
"""What every resource name of ours begins with."""

PROJECT_TAG = "kennel:project"
RUN_TAG = "kennel:run"
REGION_TAG = "kennel:region"
"""On roles, which IAM has once for all regions."""

NUMBER_TAG = "kennel:number"
SPEC_TAG = "kennel:spec"
"""On EC2 instances: which of the run's instances it is, and the digest of the plan that it was made from."""

RUN_ID_PATTERN = r"^[a-z0-9](?:[a-z0-9-]{0,22}[a-z0-9])?$"
"""At most 24 characters, so that every name made from a run id fits AWS's limits (63 for SageMaker, 64 for IAM)."""

RunId = Annotated[str, StringConstraints(pattern=RUN_ID_PATTERN)]


def run_id_for(source: str, **choices: object) -> str:
    """Return the run id of a command: the same source and choices give the same id.

    `choices` are whatever makes the outcome another one (backbone, epochs, instances, ...), JSON-serialisable;
    None values are left out, so that adding an option later keeps the ids of commands that do not use it.
    """
    chosen = {name: value for name, value in sorted(choices.items()) if value is not None}
    text = json.dumps([source, chosen], sort_keys=True, default=str)
    return f"{_slug(source)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def training_run_id(source: str, training: TrainingOptions) -> str:
    """Return the run id of a command that trains: what changes the model, or what SageMaker is asked for, changes it.

    A training on EC2 of the same choices belongs to the same run, so that the two can be compared.
    """
    return run_id_for(
        source,
        backbone=training.backbone,
        instances=training.instances,
        instance_type=training.instance_type,
        epochs=training.epochs,
        views=training.views,
        batch_size=training.batch_size,
        learning_rate=training.learning_rate,
        seed=training.seed,
        finetune=training.finetune or None,
        weights=training.weights,
        spot=training.spot or None,
    )


def _slug(source: str) -> str:
    stem = PurePosixPath(urlsplit(source).path).stem or "data"
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:15].strip("-") or "data"


def resource_name(run_id: str, *parts: str, limit: int = 63) -> str:
    """Return `kennel-<run id>-<parts>`, letters, digits and hyphens, at most `limit` characters.

    A name that is too long keeps its head and ends in a hash of the whole, so that two long names stay two names.
    """
    name = re.sub(r"[^A-Za-z0-9-]+", "-", "-".join([PROJECT, run_id, *parts])).strip("-")
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: limit - 9].rstrip('-')}-{digest}"


def name_prefix(run_id: str) -> str:
    """Return the prefix that every resource name of a run begins with."""
    return f"{PROJECT}-{run_id}-"


def bucket_name(account_id: str, region: str) -> str:
    """Return the project's bucket in an account and region."""
    return f"{PROJECT}-{account_id}-{region}"


def tags(run_id: str) -> dict[str, str]:
    """Return the tags that everything made by a run carries."""
    return {RUN_TAG: run_id, PROJECT_TAG: PROJECT}


def tag_list(run_id: str) -> list[dict[str, str]]:
    """Return the run's tags in the `[{"Key", "Value"}]` form that IAM, S3 and SageMaker take."""
    return [{"Key": key, "Value": value} for key, value in tags(run_id).items()]
