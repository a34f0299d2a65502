"""Tests of reading events: any event becomes a request or an error response of one schema."""

import base64
import json
from typing import Any

import pytest
from event import ImageRequest, read_request
from handler import handler
from hypothesis import given, settings
from hypothesis import strategies as st
from refusal import Refusal

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(["url", "image", "body", "x"]), inner),
    max_leaves=8,
)


def refused(event: Any, max_image_bytes: int = 1000) -> tuple[int, str]:
    with pytest.raises(Refusal) as caught:
        read_request(event, max_image_bytes=max_image_bytes)
    return caught.value.status, caught.value.message


def test_a_url_and_an_image_are_read_directly_and_from_both_api_gateway_versions() -> None:
    wanted = ImageRequest(url="https://example.org/a.jpg")
    body = json.dumps({"url": wanted.url})
    encoded = base64.b64encode(body.encode()).decode()
    for event in (
        {"url": wanted.url},
        {"httpMethod": "POST", "body": body, "isBase64Encoded": False},
        {"version": "2.0", "requestContext": {"http": {}}, "body": encoded, "isBase64Encoded": True},
    ):
        assert read_request(event, max_image_bytes=10) == wanted
    assert read_request({"image": base64.b64encode(b"abc").decode()}, max_image_bytes=10) == ImageRequest(image=b"abc")


@pytest.mark.parametrize(
    "event",
    [
        None,
        [],
        "url",
        7,
        {},
        {"url": "https://a.example/", "image": "QQ=="},
        {"url": ""},
        {"url": 5},
        {"url": None},
        {"image": ""},
        {"image": "not base64!"},
        {"image": "Q"},
        {"image": "QQ=Q"},
        {"image": "data:image/jpeg,QQ=="},
        {"image": "data:image/jpeg;base64"},
        {"url": None, "image": None},
        {"url": "data:image/jpeg;base64,@"},
        {"image": ["QQ=="]},
        {"body": None},
        {"body": ""},
        {"body": "{"},
        {"body": "[]"},
        {"body": '{"url": "https://a.example/", "url": "https://b.example/"}'},
        {"body": "[" * 100_000},
        {"body": '{"url": ' + "9" * 5000 + "}"},
        {"body": "@@@", "isBase64Encoded": True},
        {"body": base64.b64encode(b"\xff\xfe").decode(), "isBase64Encoded": True},
    ],
)
def test_an_event_that_is_no_request_is_refused_with_400(event: Any) -> None:
    assert refused(event)[0] == 400


def test_an_image_that_is_too_large_is_refused_before_and_after_decoding() -> None:
    assert refused({"image": "A" * 2000}) == (413, "The image is larger than 1000 bytes.")
    exactly, over = (base64.b64encode(bytes(size)).decode() for size in (1000, 1001))
    assert read_request({"image": exactly}, max_image_bytes=1000) == ImageRequest(image=bytes(1000))
    assert refused({"image": over})[0] == 413


@settings(max_examples=150, deadline=None)
@given(JSON)
def test_any_json_gets_a_response_of_the_one_schema(event: Any) -> None:
    for given_event in (event, {"body": json.dumps(event)}):
        reply = handler(given_event, None)
        assert reply["headers"]["Content-Type"] == "application/json"
        assert reply["statusCode"] in (400, 413, 415)
        error = json.loads(reply["body"])["error"]
        assert set(error) == {"code", "message"}
        assert "Traceback" not in error["message"]


@settings(max_examples=100, deadline=None)
@given(st.text(max_size=200))
def test_any_text_as_a_body_gets_a_response_of_the_one_schema(body: str) -> None:
    reply = handler({"body": body}, None)
    assert reply["statusCode"] == 400
    assert set(json.loads(reply["body"])["error"]) == {"code", "message"}
