"""What Prefect's page shows of each flow's parameters: a description of each, and the choices where there are some."""

from pathlib import Path
from typing import Any

import pytest
import yaml
from prefect import Flow
from prefect.utilities.callables import parameter_schema
from prefect.utilities.importtools import import_object

from flows.run_name import named_run, staged_run, trained_run
from tasks.run import naming
from tasks.run.options import DataOptions, TrainingOptions
from tests.conftest import ROOT

DEPLOYMENTS = yaml.safe_load((ROOT / "prefect.yaml").read_text())["deployments"]
FLOWS = {each["name"]: each["entrypoint"] for each in DEPLOYMENTS}


def flow_of(name: str) -> "Flow[..., Any]":
    path, _, function = FLOWS[name].partition(":")
    found = import_object(f"{Path(path).with_suffix('').as_posix().replace('/', '.')}.{function}")
    assert isinstance(found, Flow)
    return found


@pytest.mark.parametrize("name", FLOWS)
def test_each_parameter_and_each_field_of_its_records_has_a_description(name: str) -> None:
    schema = parameter_schema(flow_of(name)).model_dump()
    groups = {name: schema, **schema.get("definitions", {})}
    fields = [(group, *item) for group, each in groups.items() for item in each["properties"].items()]
    assert [f"{group}.{field}" for group, field, about in fields if not about.get("description")] == []


def test_what_has_choices_is_a_list_of_them() -> None:
    definitions = parameter_schema(flow_of("pipeline")).model_dump()["definitions"]
    assert definitions["PipelineLoadOptions"]["properties"]["mode"]["enum"] == ["steady", "checked"]
    assert definitions["TrainingOptions"]["properties"]["search"]["enum"] == ["job", "sagemaker"]


def test_a_flow_run_is_named_by_the_run_that_it_will_work_on() -> None:
    training = TrainingOptions(epochs=3)
    derived = naming.training_run_id("dogs.zip", training)
    assert trained_run({"data": "dogs.zip", "training": {"epochs": 3}, "run_id": None}) == derived
    assert trained_run({"data": "dogs.zip", "training": training}) == derived
    assert trained_run({}) == naming.training_run_id("sample", TrainingOptions())
    kept = naming.training_run_id("dogs.zip", training, DataOptions(keep_duplicates=True))
    given = {"data": "dogs.zip", "training": training, "data_options": {"keep_duplicates": True}}
    assert trained_run(given) == kept != derived == naming.training_run_id("dogs.zip", training, DataOptions())
    assert staged_run({"source": "dogs.zip"}) == naming.run_id_for("dogs.zip")
    assert {read({"run_id": "dogs-1"}) for read in (trained_run, staged_run, named_run)} == {"dogs-1"}
    assert named_run({"run_id": None}) == "all-runs"
