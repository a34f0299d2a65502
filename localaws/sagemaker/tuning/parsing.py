"""Reads CreateHyperParameterTuningJob's parameters into a `TuningRequest`.

The constraints of botocore's own model were checked before (`localaws.inputs`), and what concerns the training jobs is
checked as CreateTrainingJob checks it. Messages of AWS's that were seen have their source beside them; the others are
localaws's own.
"""

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from moto.sagemaker.exceptions import ValidationError

from localaws.sagemaker.tuning.ranges import (
    Choice,
    NumberRange,
    Range,
    combinations,
    number_of,
    resolved_scaling,
)
from localaws.sagemaker.tuning.requests import Objective, Resource, TuningRequest

UNSUPPORTED = (
    "Autotune",
    "HyperParameterTuningJobConfig.ParameterRanges.AutoParameters",
    "TrainingJobDefinition.HyperParameterRanges",
    "TrainingJobDefinition.HyperParameterTuningResourceConfig",
    "TrainingJobDefinition.TuningObjective",
    "TrainingJobDefinitions",
)
# https://docs.aws.amazon.com/sagemaker/latest/dg/automatic-model-tuning-limits.html
MOST_RANGES, MOST_METRICS, MOST_PARALLEL, MOST_JOBS = 30, 20, 100, 750
DEFAULT_RUNTIME_SECONDS = 30 * 86_400
MOST_HYPERPARAMETERS = 100
MOST_RESOURCE = 20_000
EPOCHS = ("epochs", "numepochs", "n-epochs", "n_epochs", "num_epochs")
"""Static hyperparameters from which Hyperband's MaxResource is inferred: botocore's model, HyperbandStrategyConfig."""


def parse_tuning_request(parameters: Mapping[str, Any]) -> TuningRequest:
    """Return the request when it can be carried out.

    Raises:
        ValidationError: a value breaks one of AWS's rules, or asks for what localaws does not do; the message names it.
    """
    _check_supported(parameters)
    config, definition = parameters["HyperParameterTuningJobConfig"], parameters.get("TrainingJobDefinition")
    if not definition:
        raise ValidationError("TrainingJobDefinition is required: localaws does not support jobs without one.")
    strategy, limits = config["Strategy"], config["ResourceLimits"]
    ranges = tuple(_ranges(config.get("ParameterRanges") or {}))
    criteria = config.get("TuningJobCompletionCriteria") or {}
    request = TuningRequest(
        name=parameters["HyperParameterTuningJobName"],
        strategy=strategy,
        objective=_objective(config, definition),
        ranges=ranges,
        definition=definition,
        max_jobs=_max_jobs(strategy, ranges, limits.get("MaxNumberOfTrainingJobs")),
        max_parallel=limits["MaxParallelTrainingJobs"],
        max_runtime_seconds=limits.get("MaxRuntimeInSeconds") or DEFAULT_RUNTIME_SECONDS,
        stops_early=config.get("TrainingJobEarlyStoppingType") == "Auto",
        resource=_resource(config, definition),
        target=criteria.get("TargetObjectiveMetricValue"),
        patience=(criteria.get("BestObjectiveNotImproving") or {}).get("MaxNumberOfTrainingJobsNotImproving"),
        seed=config.get("RandomSeed"),
        parents=_parents(parameters.get("WarmStartConfig"), strategy),
        tags=tuple(dict(tag) for tag in parameters.get("Tags") or ()),
        echo=_echo(parameters),
    )
    _check_limits(request)
    return request


def _check_supported(parameters: Mapping[str, Any]) -> None:
    for field in UNSUPPORTED:
        value: Any = parameters
        for part in field.split("."):
            value = (value or {}).get(part)
        if value:
            raise ValidationError(f"localaws does not support {field} in CreateHyperParameterTuningJob.")
    config = parameters["HyperParameterTuningJobConfig"]
    criteria = config.get("TuningJobCompletionCriteria") or {}
    if (criteria.get("ConvergenceDetected") or {}).get("CompleteOnConvergence") == "Enabled":
        raise ValidationError("localaws does not support CompleteOnConvergence 'Enabled', only 'Disabled'.")
    warm_start = (parameters.get("WarmStartConfig") or {}).get("WarmStartType", "IdenticalDataAndAlgorithm")
    if warm_start != "IdenticalDataAndAlgorithm":
        raise ValidationError(
            f"localaws does not support WarmStartType {warm_start!r}, only 'IdenticalDataAndAlgorithm'."
        )


def _objective(config: Mapping[str, Any], definition: Mapping[str, Any]) -> Objective:
    found = config.get("HyperParameterTuningJobObjective")
    metrics = (definition["AlgorithmSpecification"].get("MetricDefinitions")) or ()
    if not found or found["MetricName"] not in [each["Name"] for each in metrics]:
        raise ValidationError(  # https://github.com/aws/amazon-sagemaker-examples/issues/1207
            "A metric is required for this hyperparameter tuning job objective. Provide a metric in the metric "
            "definitions."
        )
    return Objective(found["MetricName"], found["Type"] == "Maximize")


def _ranges(given: Mapping[str, Any]) -> Iterator[Range]:
    for kind, is_integer in (("IntegerParameterRanges", True), ("ContinuousParameterRanges", False)):
        for each in given.get(kind) or ():
            yield _number_range(each, kind, is_integer=is_integer)
    for each in given.get("CategoricalParameterRanges") or ():
        if len(set(each["Values"])) != len(each["Values"]):
            raise ValidationError(f"The values of the categorical range {each['Name']!r} must be distinct.")
        yield Choice(each["Name"], tuple(each["Values"]))


def _number_range(given: Mapping[str, Any], kind: str, *, is_integer: bool) -> NumberRange:
    name, asked = given["Name"], given.get("ScalingType") or "Auto"
    low, high = (_bound(given[field], f"{kind} {name!r}: {field}", is_integer) for field in ("MinValue", "MaxValue"))
    if not low < high:
        raise ValidationError(f"{kind} {name!r}: MinValue {low:g} must be less than MaxValue {high:g}.")
    if asked == "Logarithmic" and low <= 0:
        raise ValidationError(f"{kind} {name!r}: Logarithmic scaling needs values greater than 0; MinValue is {low:g}.")
    if asked == "ReverseLogarithmic" and (is_integer or low < 0 or high >= 1):
        raise ValidationError(
            f"{kind} {name!r}: ReverseLogarithmic scaling works only for continuous ranges that are entirely within "
            f"the range 0 <= x < 1.0; received {low:g} to {high:g}."
        )
    return NumberRange(name, low, high, is_integer, resolved_scaling(asked, low, high))


def _bound(text: str, where: str, is_integer: bool) -> float:
    value = number_of(text)
    if value is None or not math.isfinite(value) or (is_integer and value != int(value)):
        kind = "an integer" if is_integer else "a number"
        raise ValidationError(f"{where} {text!r} is not {kind}.")
    return value


def _max_jobs(strategy: str, ranges: Sequence[Range], asked: int | None) -> int:
    if not ranges:
        raise ValidationError("HyperParameterTuningJobConfig.ParameterRanges: at least one range is required.")
    count = combinations(ranges)
    if strategy == "Grid":
        if not all(isinstance(each, Choice) for each in ranges):
            raise ValidationError("Only categorical parameter ranges are supported with the Grid strategy.")
        if asked is not None and asked != count:
            raise ValidationError(
                f"MaxNumberOfTrainingJobs [{asked}] must equal the number of combinations of the grid, [{count:.0f}]."
            )
        return int(count)
    if asked is None:
        raise ValidationError(f"ResourceLimits.MaxNumberOfTrainingJobs is required with the {strategy} strategy.")
    if count < asked:  # https://github.com/aws/amazon-sagemaker-operator-for-k8s/issues/123
        raise ValidationError(
            "You don't have enough combinations of hyperparameter ranges. The total number of hyperparameter "
            f"combinations for the provided ranges [{count}] must be equal or greater than the value of "
            f"MaxNumberOfJobs, [{asked}]. Provide additional ranges."
        )
    return asked


def _resource(config: Mapping[str, Any], definition: Mapping[str, Any]) -> Resource | None:
    given = (config.get("StrategyConfig") or {}).get("HyperbandStrategyConfig") or {}
    if config["Strategy"] != "Hyperband":
        if given:
            raise ValidationError("HyperbandStrategyConfig is supported with the Hyperband strategy only.")
        return None
    if config.get("TrainingJobEarlyStoppingType") == "Auto":
        raise ValidationError("TrainingJobEarlyStoppingType must be Off with the Hyperband strategy.")
    least, most = given.get("MinResource") or 1, given.get("MaxResource") or _epochs(definition)
    if most is None:  # https://github.com/awslabs/graphstorm/issues/1243
        raise ValidationError(
            "MaxResource parameter is not provided and could not be inferred from provided static hyperparameters of "
            "TrainingJobDefinition."
        )
    if not least <= most <= MOST_RESOURCE:
        raise ValidationError(
            f"HyperbandStrategyConfig: MinResource {least} and MaxResource {most} must be in order and at most "
            f"{MOST_RESOURCE}."
        )
    return Resource(least, most)


def _epochs(definition: Mapping[str, Any]) -> int | None:
    static = definition.get("StaticHyperParameters") or {}
    found = next((static[name] for name in EPOCHS if name in static), "")
    return int(found) if found.isdecimal() and int(found) else None


def _parents(warm_start: Mapping[str, Any] | None, strategy: str) -> tuple[str, ...]:
    names = tuple(each.get("HyperParameterTuningJobName", "") for each in (warm_start or {}).get(_PARENTS, ()))
    if names and strategy not in ("Bayesian", "Random"):
        raise ValidationError(f"localaws does not support WarmStartConfig with the {strategy} strategy.")
    return names


_PARENTS = "ParentHyperParameterTuningJobs"


def _check_limits(request: TuningRequest) -> None:
    names = [each.name for each in request.ranges]
    twice = sorted({name for name in names if names.count(name) > 1} | (set(names) & set(request.static)))
    if twice:
        raise ValidationError(f"Hyperparameters must have one range or static value each: {', '.join(twice)}.")
    metrics = request.definition["AlgorithmSpecification"]["MetricDefinitions"]
    for what, count, most in (
        ("hyperparameters that can be searched", len(names), MOST_RANGES),
        ("hyperparameters of a training job", len(names) + len(request.static) + 1, MOST_HYPERPARAMETERS),
        ("metrics", len(metrics), MOST_METRICS),
        ("parallel training jobs (MaxParallelTrainingJobs)", request.max_parallel, MOST_PARALLEL),
        ("training jobs (MaxNumberOfTrainingJobs)", request.max_jobs, MOST_JOBS),
    ):
        if count > most:
            raise ValidationError(f"The number of {what} of a tuning job is {count}, more than the limit of {most}.")


def _echo(parameters: Mapping[str, Any]) -> dict[str, Any]:
    config = dict(parameters["HyperParameterTuningJobConfig"])
    config["TrainingJobEarlyStoppingType"] = config.get("TrainingJobEarlyStoppingType") or "Off"
    definition = dict(parameters["TrainingJobDefinition"])
    metric = config["HyperParameterTuningJobObjective"]["MetricName"]
    static = {**(definition.get("StaticHyperParameters") or {}), "_tuning_objective_metric": metric}
    definition["StaticHyperParameters"] = static
    kept = {"HyperParameterTuningJobConfig": config, "TrainingJobDefinition": definition}
    warm_start = parameters.get("WarmStartConfig")
    return {**kept, "WarmStartConfig": warm_start} if warm_start else kept
