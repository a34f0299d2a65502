"""What the start does without: EC2's regions are those that boto3 tells, though no session of its own is asked."""

import boto3
import pytest

from localaws.moto_import import _Regions


@pytest.mark.parametrize("partition", ["aws", "aws-cn", "aws-us-gov"])
def test_the_regions_are_those_of_boto3(partition: str) -> None:
    expected = boto3.Session().get_available_regions("ec2", partition_name=partition)
    assert _Regions().get_available_regions("ec2", partition_name=partition) == expected


def test_moto_has_the_regions_of_all_partitions() -> None:
    from moto.ec2.models.availability_zones_and_regions import RegionsAndZonesBackend

    partitions = ("aws", "aws-us-gov", "aws-cn")
    expected = [each for name in partitions for each in _Regions().get_available_regions("ec2", partition_name=name)]
    assert [each.name for each in RegionsAndZonesBackend.regions] == expected
