"""What the start does without: moto's EC2, and the sessions by which it would ask boto3 for its regions."""

import subprocess
import sys
from pathlib import Path

import boto3
import pytest

from localaws.moto_import import quick

INSTALLS = """
import importlib, pathlib, sys
from localaws.core import Core
from localaws.server import EXECUTING_SERVICES, _configure_moto
from localaws.settings import Settings

settings = Settings(home=pathlib.Path(sys.argv[1]), port=0)
_configure_moto(settings)
core = Core(settings)
for name in EXECUTING_SERVICES:
    importlib.import_module(name).install(core)
print("before", "moto.ec2.models" in sys.modules)
core.prepare("application-autoscaling")
print("after", "moto.ec2.models" in sys.modules)
"""


def test_a_start_does_not_import_ec2_and_the_first_request_that_needs_it_does(tmp_path: Path) -> None:
    command = [sys.executable, "-c", INSTALLS, str(tmp_path)]
    run = subprocess.run(command, capture_output=True, text=True, timeout=120)
    assert run.stdout.split() == ["before", "False", "after", "True"], run.stderr


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_regions_are_those_of_boto3(partition: str) -> None:
    expected = boto3.Session().get_available_regions("ec2", partition_name=partition)
    assert quick(boto3.Session)().get_available_regions("ec2", partition_name=partition) == expected


def test_moto_has_the_regions_of_all_partitions() -> None:
    from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

    partitions = ("aws", "aws-us-gov", "aws-cn")
    session = boto3.Session()
    expected = [each for name in partitions for each in session.get_available_regions("ec2", partition_name=name)]
    assert [each.name for each in RegionsAndZonesBackend.regions] == expected
