"""Which image instances are launched from, what is said of its age, and how large their volume is."""

import json
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from localaws.ec2.images import PUBLISHED
from tasks.ec2.plan import IMAGES_PATH, _about, find_image
from tasks.run.aws import Aws
from tasks.run.errors import NotFound
from tasks.run.settings import Settings
from tests.counting_proxy import Calls, Fault

NOW = datetime(2026, 11, 28, tzinfo=UTC)
NEWEST = next(each for each in PUBLISHED if "pytorch-2.12-ubuntu-24.04" in each.parameter)


@pytest.fixture
def counted_aws(calls: Calls, tmp_path: Path) -> Aws:
    return Aws(Settings(endpoint_url=calls.url, runs=tmp_path, region="us-east-1"))


def listed(*names: str) -> tuple[int, bytes]:
    """Return GetParametersByPath's answer with these images."""
    rows = [{"Name": f"{IMAGES_PATH}/{name}/latest/ami-id", "Type": "String", "Value": NEWEST.ami_id} for name in names]
    return 200, json.dumps({"Parameters": rows}).encode()


def test_the_newest_pytorch_on_ubuntu_is_chosen_by_its_number(counted_aws: Aws) -> None:
    """2.12 is newer than 2.9, and what is on another system is not looked at."""
    assert find_image(counted_aws).image_id == NEWEST.ami_id


def test_a_parameter_that_the_user_names_is_taken(counted_aws: Aws) -> None:
    named = next(each for each in PUBLISHED if "pytorch-2.7" in each.parameter)
    settings = counted_aws.settings.model_copy(update={"ec2_image_parameter": named.parameter})
    assert find_image(Aws(settings)).image_id == named.ami_id


def test_a_region_without_such_an_image_says_how_to_name_one(counted_aws: Aws, calls: Calls) -> None:
    others = listed("oss-nvidia-driver-gpu-pytorch-2.12-amazon-linux-2023", "base-oss-nvidia-driver-gpu-ubuntu-24.04")
    calls.faults.append(Fault("AmazonSSM.GetParametersByPath", instead=others))
    with pytest.raises(NotFound, match=r"(?s)no Deep Learning AMI with PyTorch.*KENNEL_EC2_IMAGE_PARAMETER"):
        find_image(counted_aws)


def test_a_deprecated_image_is_found_too(counted_aws: Aws, calls: Calls) -> None:
    """EC2 leaves it out of its answer otherwise, while the parameter still names it."""
    asked = Fault("DescribeImages", holding=b"IncludeDeprecated=true", change=lambda body: body)
    calls.faults.append(asked)
    find_image(counted_aws)
    assert asked.times == 0


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"CreationDate": "2026-10-09T00:00:00.000Z"}, "image ami-1: dl, 50 days old"),
        ({"CreationDate": "2025-11-28T00:00:00.000Z", "DeprecationTime": "2027-01-01T00:00:00.000Z"}, "365 days old"),
        ({"DeprecationTime": "2026-06-30T00:00:00.000Z"}, "WARNING: its owner deprecated it on 2026-06-30"),
    ],
)
def test_its_age_is_told_and_that_it_gets_no_more_patches(given: dict[str, Any], said: str) -> None:
    about = _about("ami-1", {"Name": "dl", **given}, NOW)
    assert said in about
    assert ("WARNING" in about) == ("WARNING" in said)


def test_the_volume_has_room_for_the_data_twice(counted_aws: Aws) -> None:
    assert find_image(counted_aws, data_bytes=2**30).volume_gib == NEWEST.root_gib + 2
    assert find_image(counted_aws, data_bytes=100 * 2**30).volume_gib == NEWEST.root_gib + 200
