"""Tests of answers of functions that are no HTTP responses: each is refused, and none breaks the server."""

import pytest

from localaws.functions.url_reply import MalformedAnswer, reply_of

WRONG = {
    "a superscript digit": '{"statusCode": "\u00b2"}',
    "a digit of another script": '{"statusCode": "\u0662\u0660\u0660"}',
    "a text of 5,000 digits": '{"statusCode": "' + "1" * 5000 + '"}',
    "a number of 4,000 digits": '{"statusCode": ' + "2" * 4000 + "}",
    "a number of 5,000 digits": '{"statusCode": ' + "2" * 5000 + "}",
    "a truth value": '{"statusCode": true}',
    "a list": '{"statusCode": [200]}',
    "nothing": '{"statusCode": null}',
    "deep JSON": "[" * 200_000,
    "deep headers": '{"statusCode": 200, "headers": ' + '{"a":' * 100_000,
}


@pytest.mark.parametrize("payload", WRONG.values(), ids=WRONG)
def test_an_answer_that_is_no_response_is_refused(payload: str) -> None:
    with pytest.raises(MalformedAnswer):
        reply_of(payload.encode())


@pytest.mark.parametrize("status", ["200", '"200"', "599"])
def test_a_status_may_be_a_number_or_a_text(status: str) -> None:
    assert str(reply_of(f'{{"statusCode": {status}}}'.encode()).status) == status.strip('"')
