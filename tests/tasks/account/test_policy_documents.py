"""Policy documents of AWS's answers: read in each form that AWS has, and refused when they are none."""

import json
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from tasks.account.policy_documents import NotAPolicy, read_policy
from tasks.account.roles import role_policy
from tasks.run.aws import Aws
from tasks.run.errors import MalformedAnswer, aws_boundary
from tasks.run.settings import Settings
from tests.keys import for_environment
from tests.tasks.run.test_bounded_answers import server, whole

GOOD: dict[str, Any] = {
    "Version": "2012-10-17",
    "Statement": {
        "Effect": "Allow",
        "Action": ["s3:Get*"],
        "Resource": "*",
        "Principal": {"AWS": ["1", "2"], "Service": "x"},
        "Condition": {"Bool": {"aws:SecureTransport": False}, "NumericLessThan": {"s3:max-keys": [1, 2]}},
    },
}
BAD = (
    "not json", "", "[]", "1", "null", "[" * 100_000, '{"Statement": "x"}',
    '{"Statement": [1]}', '{"Statement": [null]}',
    '{"Statement": [{"Effect": 5}]}', '{"Statement": [{"Action": {"a": [1]}}]}', '{"Statement": [{"Resource": [{}]}]}',
    '{"Statement": [{"Principal": [[1]]}]}', '{"Statement": [{"Principal": {"AWS": 1}}]}',
    '{"Statement": [{"Condition": "x"}]}', '{"Statement": [{"Condition": {"Bool": 1}}]}',
    '{"Statement": [{"Condition": {"Bool": {"a": [{}]}}}]}',
)  # fmt: skip


def test_a_policy_is_read_as_an_object_as_a_text_and_as_a_quoted_text() -> None:
    text = json.dumps(GOOD)
    assert read_policy(GOOD) == read_policy(text) == read_policy(quote(text)) == GOOD
    assert read_policy({}) == {}


@pytest.mark.parametrize("text", BAD, ids=lambda text: text[:40])
def test_what_is_no_policy_is_refused_by_the_reader_and_of_a_role_is_awss_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str
) -> None:
    with pytest.raises(NotAPolicy):
        read_policy(text)
    for name, value in for_environment().items():
        monkeypatch.setenv(name, value)
    names = "<RoleName>r</RoleName><PolicyName>kennel</PolicyName>"
    found = f"{names}<PolicyDocument>{quote(text)}</PolicyDocument>"
    answer = f"<R><GetRolePolicyResult>{found}</GetRolePolicyResult></R>".encode()
    with server(lambda handler, _: whole(handler, answer)) as url:
        aws = Aws(Settings(endpoint_url=url, home=tmp_path, runs=tmp_path, region="us-east-1", max_attempts=1))
        with pytest.raises(MalformedAnswer) as caught, aws_boundary("step"):
            role_policy(aws.client("iam"), "r")
    assert "GetRolePolicy" in caught.value.what and caught.value.exit_code == 5
