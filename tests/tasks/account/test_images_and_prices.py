"""Tests of the choices that a run makes itself: instance type, container image and estimated cost."""

import re

import pytest

from tasks.account.container_images import TRAINING, training_image
from tasks.account.prices import choose_hosting_instance, choose_training_instance, cost_usd
from tests.test_architecture import ROOT


def test_a_frozen_backbone_trains_on_cpus_and_says_why() -> None:
    choice = choose_training_instance("us-east-1", finetune=False)
    assert (choice.instance_type, choice.has_gpu) == ("ml.m5.xlarge", False)
    assert "would idle" in choice.reason


def test_the_reason_compares_prices_only_where_they_are_known() -> None:
    assert "costs 3.2 times as much (in us-east-1)" in choose_training_instance("us-east-1", finetune=False).reason
    elsewhere = choose_training_instance("eu-west-1", finetune=False).reason
    assert "its price in eu-west-1 is not known" in elsewhere and "times as much" not in elsewhere


def test_fine_tuning_gets_a_gpu() -> None:
    choice = choose_training_instance("us-east-1", finetune=True)
    assert choice.has_gpu
    assert training_image("us-east-1", has_gpu=choice.has_gpu).endswith("pytorch:2.13-cu133-amzn2023-sagemaker")


def test_a_type_that_the_user_names_is_taken_with_that_as_the_reason() -> None:
    choice = choose_training_instance("us-east-1", finetune=False, requested="ml.g6.xlarge")
    assert (choice.instance_type, choice.has_gpu, choice.usd_per_hour) == ("ml.g6.xlarge", True, None)
    assert "named by the user" in choice.reason


def test_the_endpoint_is_not_burstable() -> None:
    assert not choose_hosting_instance("us-east-1").instance_type.startswith("ml.t")


def test_a_price_is_that_of_its_region_or_unknown() -> None:
    assert choose_hosting_instance("us-east-1").usd_per_hour == 0.115
    assert choose_hosting_instance("eu-west-1").usd_per_hour is None


def test_cost_is_price_times_instances_times_hours_and_unknown_without_a_price() -> None:
    assert cost_usd(0.23, 2, 1800) == pytest.approx(0.23)
    assert cost_usd(None, 1, 1800) is None


def test_the_training_image_has_the_torch_of_the_lock() -> None:
    lock = (ROOT / "requirements.lock").read_text()
    assert re.search(rf"^torch=={re.escape(TRAINING.version)}\.\d+ ", lock, re.MULTILINE)
