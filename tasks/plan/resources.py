"""Lists the resources of a run in the order in which they are created, by the names that the creating code uses.

A test compares the list with the ledger of a real run. A name that ends in the digest of something that does not exist
yet (the data, a model) has `UNKNOWN` in place of the digest.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from tasks.account.budget_alarm import KIND, budget_name
from tasks.account.role_policies import role_name, run_prefix
from tasks.ec2.access import group_name, key_pair_name
from tasks.plan.wanted import Limits, Wanted
from tasks.run import naming
from tasks.run.options import RANDOM_WEIGHTS, DeployOptions
from tasks.sagemaker.tuning_plan import tuning_prefix
from tasks.serving.autoscaling import resource_id
from tasks.serving.endpoint_plan import VARIANT, endpoint_log_group, endpoint_name
from tasks.serving.function import ALIAS, function_log_group, function_name
from tasks.serving.public_url import KIND as URL

UNKNOWN = "…"


@dataclass(frozen=True)
class Planned:
    """A resource that a stage of the run needs; `note` says on what its creation depends."""

    stage: str
    kind: str
    name: str
    note: str = ""

    @property
    def is_named(self) -> bool:
        """Whether the whole name is known."""
        return UNKNOWN not in self.name

    def fits(self, kind: str, name: str) -> bool:
        """Tell whether a row of a ledger is this resource."""
        begin, _, end = self.name.partition(UNKNOWN)
        return kind == self.kind and (name == self.name or (not self.is_named and _is_around(name, begin, end)))


@dataclass(frozen=True)
class Names:
    """The names that end in digests, and whether EC2 has trained already; the defaults are those of a new run."""

    dataset: str
    weights: str
    training_job: str
    model: str
    config: str
    is_trained_on_ec2: bool = False
    features_job: str = ""
    tuning_job: str = ""
    group: str = ""
    package: str = ""
    staging_job: str = ""


def unknown_names(wanted: Wanted, bucket: str) -> Names:
    """Return the names of a run of which nothing is known yet."""
    stem = naming.name_prefix(wanted.run_id)
    return Names(
        dataset=f"s3://{bucket}/datasets/{UNKNOWN}/",
        weights=f"s3://{bucket}/weights/{wanted.training.backbone}/{UNKNOWN}/",
        training_job=f"{stem}train-{UNKNOWN}",
        features_job=f"{stem}train-features-{UNKNOWN}",
        tuning_job=f"{tuning_prefix(wanted.run_id)}{UNKNOWN}",
        model=f"{stem}model-{UNKNOWN}",
        config=f"{stem}config-{UNKNOWN}",
        group=f"{naming.RESOURCE_PREFIX}{UNKNOWN}",
        package=f"{naming.RESOURCE_PREFIX}{UNKNOWN}",
        staging_job=f"{stem}stage-{UNKNOWN}",
    )


def planned_resources(
    wanted: Wanted, bucket: str, names: Names, limits: Limits | None = None, region: str = ""
) -> list[Planned]:
    """Return everything that the run creates or adopts, in order, each resource once."""
    every = [
        *_stage_data(wanted, bucket, names),
        *_alarm(wanted, limits, region),
        *_train_sagemaker(wanted, bucket, names),
        *(() if wanted.ec2 is None or names.is_trained_on_ec2 else _train_ec2(wanted, wanted.ec2.instances)),
        *_deploy(wanted, names),
        *(_loadtest(wanted) if wanted.is_checked else ()),
    ]
    first: dict[tuple[str, str], Planned] = {}
    for each in every:
        first.setdefault((each.kind, each.name), each)
    return list(first.values())


def _stage_data(wanted: Wanted, bucket: str, names: Names) -> Iterator[Planned]:
    yield Planned("stage_data", "bucket", bucket)
    if wanted.staging.is_remote and UNKNOWN in names.dataset:
        yield Planned("stage_data", "role", role_name(wanted.run_id, "staging"))
        yield Planned("stage_data", "s3-prefix", f"s3://{bucket}/{run_prefix(wanted.run_id)}/")
        yield Planned("stage_data", "processing-job", names.staging_job, "unless the data is staged already")
    yield Planned("stage_data", "s3-prefix", names.dataset)


def _alarm(wanted: Wanted, limits: Limits | None, region: str) -> Iterator[Planned]:
    if limits is not None and limits.alarm_email is not None:
        yield Planned("pipeline", KIND, budget_name(wanted.run_id, region))


def _train_sagemaker(wanted: Wanted, bucket: str, names: Names) -> Iterator[Planned]:
    stage = "train_sagemaker"
    if wanted.training.weights != RANDOM_WEIGHTS:
        yield Planned(stage, "s3-prefix", names.weights)
    yield Planned(stage, "role", role_name(wanted.run_id, "training"))
    yield Planned(stage, "s3-prefix", f"s3://{bucket}/{run_prefix(wanted.run_id)}/")
    if wanted.training.search == "sagemaker":
        yield Planned(stage, "training-job", names.features_job, "it embeds the pictures for all trials")
        yield Planned(stage, "tuning-job", names.tuning_job, f"{wanted.training.trials} training jobs")
    yield Planned(stage, "training-job", names.training_job)
    yield Planned(stage, "model-package-group", names.group)
    yield Planned(stage, "model-package", names.package)


def _train_ec2(wanted: Wanted, instances: int) -> Iterator[Planned]:
    stage, run_id = "train_ec2", wanted.run_id
    yield Planned(stage, "key-pair", key_pair_name(run_id))
    yield Planned(stage, "security-group", group_name(run_id))
    yield Planned(stage, "role", role_name(run_id, "instance"))
    yield Planned(stage, "instance-profile", role_name(run_id, "instance"))
    for number in range(1, instances + 1):
        yield Planned(stage, "instance", f"{naming.resource_name(run_id, 'ec2', str(number))}-{UNKNOWN}")


def _deploy(wanted: Wanted, names: Names) -> Iterator[Planned]:
    stage, run_id = "deploy", wanted.run_id
    yield Planned(stage, "log-group", endpoint_log_group(run_id))
    yield Planned(stage, "role", role_name(run_id, "endpoint"))
    yield Planned(stage, "model", names.model)
    yield Planned(stage, "endpoint-config", names.config, _kept(wanted.deploy))
    yield Planned(stage, "endpoint", endpoint_name(run_id))
    yield Planned(stage, "log-group", function_log_group(run_id))
    yield Planned(stage, "role", role_name(run_id, "classify"))
    yield Planned(stage, "function", function_name(run_id))
    yield Planned(stage, "function-alias", f"{function_name(run_id)}:{ALIAS}", _shift(wanted))
    if wanted.deploy.public_url is not None:
        yield Planned(stage, URL, f"{function_name(run_id)}:{ALIAS}", _callers(wanted.deploy))


def _callers(deploy: DeployOptions) -> str:
    """Return who may call the function's URL."""
    if deploy.public_url == "iam":
        return "it takes signed requests only"
    return f"anybody on the internet may call it, {deploy.public_concurrency} at once at most"


def _shift(wanted: Wanted) -> str:
    """Return how a later version gets the calls."""
    share, minutes = wanted.deploy.canary, wanted.deploy.canary_minutes
    return (
        f"a later version first gets {share:.0%} of the calls, for {minutes:g} min, watched by 3 alarms"
        if share
        else ""
    )


def _kept(deploy: DeployOptions) -> str:
    kept = f"{deploy.capture:.0%} of the photos and answers are kept for {deploy.capture_days} days"
    return kept if deploy.capture else ""


def _loadtest(wanted: Wanted) -> Iterator[Planned]:
    target = resource_id(endpoint_name(wanted.run_id), VARIANT)
    yield Planned("loadtest", "scalable-target", target)
    name, note = f"{function_name(wanted.run_id)}:{ALIAS}", "if the measurement asks for any"
    yield Planned("loadtest", "provisioned-concurrency", name, note)


def _is_around(name: str, begin: str, end: str) -> bool:
    return len(name) > len(begin) + len(end) and name.startswith(begin) and name.endswith(end)
