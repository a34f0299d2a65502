"""Tags of something new of SageMaker or Lambda are shown late; kennel looks again before it calls it foreign."""

import uuid
from typing import Any

import pytest

from tasks.account.lookup import function_tags, shown_tags, tags_to_dict
from tasks.run.aws import Aws
from tasks.run.settings import Settings
from tasks.run.waiting import Waiting
from tests.localaws.functions.functions_kit import Functions
from tests.localaws.scaled_server import ScaledServer
from tests.localaws.strict.conftest import SLOW, wait_for_roles
from tests.scripted import Scripted

pytestmark = pytest.mark.strict

TAGS = {"kennel": "r"}


@pytest.fixture(scope="module")
def aws(slow: ScaledServer) -> Aws:
    clock = slow.clock()
    url = slow.localaws.url
    return Aws(Settings(endpoint_url=url, strict=True, time_scale=clock["scale"], clock_origin=clock["origin"]))


def lifecycle(slow: ScaledServer) -> str:
    """Make a configuration of notebooks with tags; return its ARN."""
    name = f"late-{uuid.uuid4().hex[:8]}"
    tags = [{"Key": key, "Value": value} for key, value in TAGS.items()]
    create = slow.client("sagemaker").create_notebook_instance_lifecycle_config
    arn: str = create(NotebookInstanceLifecycleConfigName=name, Tags=tags)["NotebookInstanceLifecycleConfigArn"]
    return arn


def test_the_tags_of_a_new_resource_of_sagemaker_are_waited_for(slow: ScaledServer, aws: Aws) -> None:
    arn, list_tags = lifecycle(slow), aws.client("sagemaker").list_tags

    assert list_tags(ResourceArn=arn)["Tags"] == []
    assert shown_tags(aws, "the configuration", lambda: tags_to_dict(list_tags(ResourceArn=arn)["Tags"])) == TAGS


def test_the_tags_of_a_new_function_are_waited_for(slow: ScaledServer, aws: Aws) -> None:
    functions = Functions.of(slow.localaws)
    wait_for_roles(slow)
    name = functions.make(Tags=TAGS)

    found = aws.client("lambda").get_function(FunctionName=name)
    assert "Tags" not in found
    assert aws.client("lambda").list_tags(Resource=found["Configuration"]["FunctionArn"])["Tags"] == {}
    assert function_tags(aws, found) == TAGS


def scripted(answers: list[dict[str, str]], late_seconds: float) -> tuple[Any, list[int]]:
    """Return what `shown_tags` says of something whose tags are read one after the other, and how often."""
    aws, now, looks = Scripted(), [0.0], [0]

    def read() -> dict[str, str]:
        looks[0] += 1
        return answers[min(looks[0], len(answers)) - 1]

    def sleep(seconds: float) -> None:
        now[0] += seconds

    aws.target = aws.target.model_copy(update={"tag_delay_seconds": late_seconds})
    waiting = Waiting(lambda _: None, clock=lambda: now[0], sleep=sleep)
    return shown_tags(aws.aws, "x", read, waiting=waiting), looks


def test_tags_of_somebody_else_are_not_waited_for() -> None:
    assert scripted([{"team": "others"}], 60.0) == ({"team": "others"}, [1])


def test_what_has_no_tag_after_the_longest_delay_has_none() -> None:
    found, looks = scripted([{}], 60.0)
    assert found == {} and looks[0] > 10


def test_where_tags_are_shown_at_once_nothing_is_waited_for() -> None:
    assert scripted([{}, TAGS], 0.0) == ({}, [1])


def test_the_delay_is_in_awss_time(aws: Aws) -> None:
    assert aws.target.tag_delay_seconds * SLOW == 60.0
