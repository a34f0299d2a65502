"""Tests of the choices that a run makes itself: instance type, container image and estimated cost."""

import importlib.util
import json
from pathlib import Path

import pytest

from tasks.account.container_images import inference_image, training_image
from tasks.account.prices import choose_hosting_instance, choose_training_instance, cost_usd
from tasks.run.errors import SettingsRefused


def test_a_frozen_backbone_trains_on_cpus_and_says_why() -> None:
    choice = choose_training_instance(finetune=False)
    assert (choice.instance_type, choice.has_gpu) == ("ml.m5.xlarge", False)
    assert "would idle" in choice.reason


def test_fine_tuning_gets_a_gpu() -> None:
    choice = choose_training_instance(finetune=True)
    assert choice.has_gpu
    assert "gpu" in training_image("us-east-1", has_gpu=choice.has_gpu)


def test_a_type_that_the_user_names_is_taken_with_that_as_the_reason() -> None:
    choice = choose_training_instance(finetune=False, requested="ml.g6.xlarge")
    assert (choice.instance_type, choice.has_gpu, choice.usd_per_hour) == ("ml.g6.xlarge", True, None)
    assert "named by the user" in choice.reason


def test_the_endpoint_is_not_burstable() -> None:
    assert not choose_hosting_instance().instance_type.startswith("ml.t")


def test_cost_is_price_times_instances_times_hours_and_unknown_without_a_price() -> None:
    assert cost_usd("ml.m5.xlarge", 2, 1800) == pytest.approx(0.23)
    assert cost_usd("ml.x9.huge", 1, 1800) is None


@pytest.mark.parametrize("region", ["us-east-1", "eu-west-1", "eu-central-2", "me-south-1", "ap-east-1"])
def test_image_accounts_and_versions_are_those_of_the_sdk(region: str) -> None:
    spec = importlib.util.find_spec("sagemaker")
    assert spec is not None and spec.submodule_search_locations
    table = json.loads((Path(spec.submodule_search_locations[0]) / "core/image_uri_config/pytorch.json").read_text())
    for kind, uri in (("training", training_image(region, has_gpu=False)), ("inference", inference_image(region))):
        version = table[kind]["versions"][table[kind]["version_aliases"]["2.6"]]
        account, _, tag = uri.partition(".")[0], *uri.rpartition(":")[1:]
        assert account == version["registries"][region]
        assert tag == f"2.6-cpu-{version['py_versions'][0]}"


def test_a_region_without_a_known_image_account_is_refused() -> None:
    with pytest.raises(SettingsRefused, match="region mars-north-1"):
        training_image("mars-north-1", has_gpu=False)
