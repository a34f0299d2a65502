"""Tests of the option records: values out of bounds and unknown names are refused, and records are immutable."""

from typing import Any

import pytest
from pydantic import ValidationError

from tasks.load.options import LoadOptions, PipelineLoadOptions
from tasks.run.errors import SettingsRefused
from tasks.run.naming import training_run_id
from tasks.run.options import DeployOptions, Ec2TrainingOptions, ModelOptions, Options, TrainingOptions

TRAFFIC = {
    "baseline_rps": 5,
    "peak_rps": 40,
    "spike_rps": 60,
    "ramp_seconds": 0,
    "slo_p95_ms": 500,
    "max_error_rate": 0.01,
    "max_throttle_rate": 0.01,
    "monthly_budget_usd": 100,
}


@pytest.mark.parametrize(
    ("kind", "values"),
    [
        (TrainingOptions, {"epochs": 0}),
        (TrainingOptions, {"learning_rate": 0}),
        (TrainingOptions, {"backbone": "Res Net"}),
        (TrainingOptions, {"instances": 21}),
        (TrainingOptions, {"instance_type": "c7i.xlarge"}),
        (TrainingOptions, {"max_runtime_seconds": 59}),
        (Ec2TrainingOptions, {"keep_on_failure_minutes": 241}),
        (DeployOptions, {"instances": 0}),
        (DeployOptions, {"allowed_hosts": ["a/b"]}),
        (DeployOptions, {"capture": 1.5}),
        (DeployOptions, {"capture": 0.125}),
        (DeployOptions, {"capture_days": 0}),
        (DeployOptions, {"allowed_hosts": ["127.0.0.1:*"]}),
        (DeployOptions, {"allowed_hosts": ["localhost"]}),
        (LoadOptions, {"mode": "sideways"}),
        (LoadOptions, {"through": "neither"}),
        (LoadOptions, {"seconds": 0.5}),
        (LoadOptions, {"safety_factor": 1}),
        (LoadOptions, {"traffic": {"baseline_rps": 5}}),
        (LoadOptions, {"traffic": {**TRAFFIC, "slo_p95_ms": 0}}),
        (LoadOptions, {"traffic": {**TRAFFIC, "color": 1}}),
    ],
)
def test_a_value_out_of_bounds_makes_no_record(kind: type[Options], values: dict[str, Any]) -> None:
    with pytest.raises(ValidationError, match=next(iter(values))):
        kind(**values)


@pytest.mark.parametrize("kind", [TrainingOptions, Ec2TrainingOptions, DeployOptions, LoadOptions, PipelineLoadOptions])
def test_an_unknown_name_makes_no_record(kind: type[Options]) -> None:
    with pytest.raises(ValidationError, match="bakcbone"):
        kind(bakcbone="resnet50")  # type: ignore[call-arg]


@pytest.mark.parametrize("kind", [TrainingOptions, Ec2TrainingOptions, DeployOptions, LoadOptions, PipelineLoadOptions])
def test_every_field_is_described_and_has_a_default(kind: type[Options]) -> None:
    assert [name for name, field in kind.model_fields.items() if not field.description or field.is_required()] == []


def test_a_record_stays_as_it_is() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        TrainingOptions().epochs = 3


def test_rates_that_are_not_in_order_make_no_statement() -> None:
    with pytest.raises(SettingsRefused, match="baseline ≤ peak ≤ spike"):
        LoadOptions(traffic={**TRAFFIC, "peak_rps": 1})  # type: ignore[arg-type]


def test_a_record_is_made_of_the_fields_that_others_share_with_it() -> None:
    training = TrainingOptions(backbone="resnet50", epochs=3, instances=2, spot=True)
    same = Ec2TrainingOptions.of(ModelOptions.of(training), instances=4)
    assert (same.backbone, same.epochs, same.instances, same.spot) == ("resnet50", 3, 4, False)
    with pytest.raises(ValidationError, match="instanses"):
        Ec2TrainingOptions.of(training, instanses=4)


def test_the_weights_are_a_channel_and_no_hyperparameter() -> None:
    chosen = ModelOptions(backbone="resnet50", weights="w.safetensors", finetune=True, epochs=3)
    assert chosen.hyperparameters.arguments == {"backbone": "resnet50", "epochs": 3, "seed": 0, "finetune": True}


def test_what_changes_neither_model_nor_request_keeps_the_run_id() -> None:
    assert training_run_id("a.zip", TrainingOptions(max_runtime_seconds=60)) == training_run_id(
        "a.zip", TrainingOptions()
    )
    assert training_run_id("a.zip", TrainingOptions(spot=True)) != training_run_id("a.zip", TrainingOptions())


def test_a_pipelines_load_test_is_the_shorter_one() -> None:
    assert (PipelineLoadOptions().seconds, LoadOptions().seconds) == (10.0, 30.0)
