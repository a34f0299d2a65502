"""Derive resource names and tags from the run id, so that a repeated command finds what the first one created.

These are pure functions without clock, randomness or I/O, except that a relative path is one of the current folder.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from pathlib import PurePosixPath
from typing import TYPE_CHECKING, Annotated
from urllib.parse import urlsplit

from tasks.run.source_name import earlier_identities, file_path, is_url, source_identity, source_name
from tasks.run.text_form import TextForm

if TYPE_CHECKING:
    from tasks.run.options import DataOptions, TrainingOptions

PROJECT = "kennel"
RESOURCE_PREFIX = f"{PROJECT}-"
"""The prefix of the name of every resource that kennel creates."""

PROJECT_TAG = "kennel:project"
RUN_TAG = "kennel:run"
REGION_TAG = "kennel:region"
"""The tag on roles that names the run's region, because IAM has one namespace for all regions."""

NUMBER_TAG = "kennel:number"
SPEC_TAG = "kennel:spec"
"""Tags on EC2 instances: the instance's number within the run, and the digest of the plan that it was launched from."""

RUN_ID = TextForm(
    r"[a-z0-9](?:[a-z0-9-]{0,22}[a-z0-9])?",
    "1 to 24 lower-case letters, digits and hyphens, with a letter or digit at both ends",
)
"""A run id is short, so that names made from it fit AWS's limits (63 for SageMaker, 64 for IAM)."""

RunId = Annotated[str, RUN_ID]


def run_id_for(source: str, **choices: object) -> str:
    """Return the run id of a command; the same source and choices always give the same id.

    `choices` are the options that change the outcome (backbone, epochs, instances, ...) and must be JSON-serialisable.
    None values are left out, so that a new option does not change the ids of commands that do not use it. A URL that is
    signed anew, or has another user, gives the same id, and so do all paths of one file.
    """
    return _run_id(source, source_identity(source), choices)


def earlier_run_ids(source: str, **choices: object) -> tuple[str, ...]:
    """Return the run ids that earlier releases derived from the same source and choices."""
    return tuple(_run_id(source, identity, choices) for identity in earlier_identities(source))


def _run_id(source: str, identity: str, choices: Mapping[str, object]) -> str:
    chosen = {name: value for name, value in sorted(choices.items()) if value is not None}
    text = json.dumps([identity, chosen], sort_keys=True, default=str)
    return f"{_slug(source)}-{hashlib.sha256(text.encode()).hexdigest()[:8]}"


def training_run_id(source: str, training: TrainingOptions, data_options: DataOptions | None = None) -> str:
    """Return the run id of a command that trains; it depends on the options that change the data, model or job.

    A training on EC2 with the same options has the same run id, so that the two can be compared.
    """
    return run_id_for(source, **training_choices(training, data_options))


def training_choices(training: TrainingOptions, data_options: DataOptions | None = None) -> dict[str, object]:
    """Return the options that change the data, the model or the job, by name."""
    return {
        "data_options": None if data_options is None else data_options.chosen,
        "backbone": training.backbone,
        "instances": training.instances,
        "instance_type": training.instance_type,
        "epochs": training.epochs,
        "views": training.views,
        "batch_size": training.batch_size,
        "learning_rate": training.learning_rate,
        "weight_decay": training.weight_decay,
        "dropout": training.dropout,
        "label_smoothing": training.label_smoothing,
        "head_width": training.head_width,
        "seed": training.seed,
        "finetune": training.finetune or None,
        "finetune_learning_rate": training.finetune_learning_rate,
        "trials": training.trials,
        "search_space": training.search_space,
        "search": None if training.search == "job" else _search(training),
        "weights": training.weights,
        "spot": training.spot or None,
    }


def _search(training: TrainingOptions) -> list[object]:
    return [training.search, training.parallel_trials, training.warm_start]


def _path_of(source: str) -> str:
    try:
        return urlsplit(source).path
    except ValueError:  # it is refused when it is to be downloaded
        return source


def _slug(source: str) -> str:
    name = file_path(source) or source_name(source)
    path = name.split("/", 3)[3:] if is_url(source) else [_path_of(name)]
    stem = PurePosixPath(*path).stem or "data"
    return re.sub(r"[^a-z0-9]+", "-", stem.lower()).strip("-")[:15].strip("-") or "data"


def resource_name(run_id: str, *parts: str, limit: int = 63) -> str:
    """Return `kennel-<run id>-<parts>` in letters, digits and hyphens, with at most `limit` characters.

    A name that is too long is cut and ends in a hash of the whole, so that two long names stay different.
    """
    name = re.sub(r"[^A-Za-z0-9-]+", "-", "-".join([PROJECT, run_id, *parts])).strip("-")
    if len(name) <= limit:
        return name
    digest = hashlib.sha256(name.encode()).hexdigest()[:8]
    return f"{name[: limit - 9].rstrip('-')}-{digest}"


def name_prefix(run_id: str) -> str:
    """Return the prefix of the name of every resource of a run."""
    return f"{PROJECT}-{run_id}-"


def bucket_name(account_id: str, region: str) -> str:
    """Return the name of the project's bucket in an account and region."""
    return f"{PROJECT}-{account_id}-{region}"


def tags(run_id: str) -> dict[str, str]:
    """Return the tags of every resource that a run creates."""
    return {RUN_TAG: run_id, PROJECT_TAG: PROJECT}


def has_tags_of(run_id: str, found: Mapping[str, str]) -> bool:
    """Tell whether a resource's tags say that the run created it."""
    return all(found.get(key) == value for key, value in tags(run_id).items())


def tag_list(run_id: str) -> list[dict[str, str]]:
    """Return the run's tags as the `[{"Key", "Value"}]` list that IAM, S3 and SageMaker take."""
    return [{"Key": key, "Value": value} for key, value in tags(run_id).items()]
