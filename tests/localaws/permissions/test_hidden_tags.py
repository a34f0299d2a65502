"""GetFunction has the tags only for whom may list them, as Lambda does it."""

import pytest

from tests.conftest import RunningLocalAws
from tests.localaws.callers import allow, deny, make_user
from tests.localaws.functions.functions_kit import Functions

TAGS = {"kennel:project": "kennel", "kennel:run": "r"}


@pytest.fixture(scope="module")
def function(localaws: RunningLocalAws) -> str:
    return Functions.of(localaws).make(Tags=TAGS)


def test_who_may_list_them_sees_the_tags(localaws: RunningLocalAws, function: str) -> None:
    user = make_user(localaws, allow(["lambda:GetFunction", "lambda:ListTags"]))
    answer = user.client("lambda").get_function(FunctionName=function)
    assert answer["Tags"] == TAGS and "TagsError" not in answer


@pytest.mark.parametrize("statements", [(), (allow("lambda:*"), deny("lambda:ListTags"))])
def test_who_may_not_gets_the_rest_and_an_error_in_their_place(
    localaws: RunningLocalAws, function: str, statements: tuple[dict[str, object], ...]
) -> None:
    user = make_user(localaws, allow("lambda:GetFunction"), *statements)
    answer = user.client("lambda").get_function(FunctionName=function)
    assert answer["Configuration"]["FunctionName"] == function
    assert "Tags" not in answer
    assert answer["TagsError"]["ErrorCode"] == "AccessDeniedException"
    assert "lambda:ListTags" in answer["TagsError"]["Message"]
