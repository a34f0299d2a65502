"""Finds the exact names of a run that has begun, from its records and by the code that names what is created."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory

from tasks.ec2.job import describe_job as describe_ec2_job
from tasks.ec2.result import find_model
from tasks.model.search import of_the_winner
from tasks.plan.resources import UNKNOWN, Names, unknown_names
from tasks.plan.wanted import Wanted
from tasks.registry.groups import group_of
from tasks.registry.register import package_name
from tasks.run.handle import Run
from tasks.run.records import DatasetRef, TrainedModel, WeightsRef
from tasks.sagemaker.job import find_job
from tasks.sagemaker.training import describe_training
from tasks.sagemaker.tuner import find_tuning
from tasks.sagemaker.tuning_plan import features_plan, features_uri_of, tuning_plan, with_winner
from tasks.serving.deployment import describe_endpoint


def known_names(run: Run, wanted: Wanted) -> Names:
    """Return the run's names, of which those that depend on what it has not made yet stay unknown.

    The data is taken to be what the run staged.

    Raises:
        LedgerRefused: a record of the run cannot be read.
        AwsFailed: SageMaker or S3 refused a lookup.
    """
    names, dataset, weights = unknown_names(wanted, run.aws.bucket), run.find(DatasetRef), run.find(WeightsRef)
    if weights is not None and weights.backbone == wanted.training.backbone:
        names = replace(names, weights=weights.uri)
    if dataset is None:
        return names
    names = replace(names, dataset=f"{dataset.uri}/", group=group_of(run, dataset))
    names = replace(names, package=f"{names.group}/{run.id}-{UNKNOWN}")
    with TemporaryDirectory(prefix="kennel-plan-") as folder:
        names = _with_training(run, wanted, dataset, names, Path(folder))
        if wanted.ec2 is not None:
            model = run.find(TrainedModel)
            same = of_the_winner(wanted.ec2, None if model is None else model.search)
            job = describe_ec2_job(run, same, dataset, Path(folder))
            names = replace(names, is_trained_on_ec2=find_model(run, job) is not None)
    return names


def _with_training(run: Run, wanted: Wanted, dataset: DatasetRef, names: Names, code_dir: Path) -> Names:
    """Add the names of the job and, when its model is that of the run's record, of what serves it."""
    model, plan = run.find(TrainedModel), describe_training(run, wanted.training, wanted.network, dataset, code_dir)
    if wanted.training.search == "sagemaker":
        features = find_job(run.aws, features_plan(plan))
        names = replace(names, features_job=features.name)
        if features.description is None or model is None or model.search is None:
            return names
        uri = features_uri_of(features.description)
        names = replace(names, tuning_job=find_tuning(run.aws, tuning_plan(plan, uri, wanted.training)).name)
        plan = with_winner(plan, model.search.best.parameters, uri)
    found = find_job(run.aws, plan)
    names = replace(names, training_job=found.name)
    if found.description is None or model is None or model.job_name != found.name:
        return names
    endpoint = describe_endpoint(run, wanted.deploy, wanted.network, model)
    names = replace(names, package=package_name(run, dataset, model))
    return replace(names, model=endpoint.model_name, config=endpoint.config_name)
