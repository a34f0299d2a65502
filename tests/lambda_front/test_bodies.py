"""Tests of the bodies that people send: each is read, or refused with a message that says what is wrong."""

import base64
import json
from typing import Any

import pytest
from event import ImageRequest, read_request
from refusal import Refusal

from tests.lambda_front.web_events import form, part, public, signed, version_1, version_2

PHOTO = b"\xff\xd8\xff" + bytes(range(256)) + b"\r\n--Y\r\n\n\r\x00\xfb\xef\xbe" + b"\xfb\xff" * 60
TEXT = base64.b64encode(PHOTO).decode()
URL = "https://example.org/a.jpg"
BODY = json.dumps({"url": URL})
FORM = "multipart/form-data; boundary=X"

IMAGES: dict[str, Any] = {
    "base64": {"image": TEXT},
    "base64 in lines of 76": {"image": base64.encodebytes(PHOTO).decode()},
    "base64 in lines of Windows": {"image": base64.encodebytes(PHOTO).decode().replace("\n", "\r\n")},
    "base64url": {"image": base64.urlsafe_b64encode(PHOTO).decode()},
    "base64 without padding": {"image": TEXT.rstrip("=")},
    "data URI": {"image": f"data:image/jpeg;base64,{TEXT}"},
    "data URI with parameters": {"image": f"DATA:image/jpeg;name=a.jpg;BASE64,{TEXT}"},
    "data URI percent-encoded": {"image": "data:image/jpeg;base64," + TEXT.replace("+", "%2B").replace("/", "%2F")},
    "data URI as url": {"url": f"data:image/jpeg;base64,{TEXT}"},
    "url null": {"url": None, "image": TEXT},
    "the JPEG itself": version_1(PHOTO, content_type="image/jpeg"),
    "the JPEG itself, v2": version_2(PHOTO, content_type="image/jpeg"),
    "the JPEG itself, function URL": signed(PHOTO, content_type="application/octet-stream"),
    "the JPEG itself as curl -d sends it": public(PHOTO, content_type="application/x-www-form-urlencoded"),
    "form": version_1(form(part("image", PHOTO, "dog.jpg")), Content_Type=FORM),
    "form with fields before": version_2(form(part("top", b"3"), part("f", PHOTO, "a b.jpg")), content_type=FORM),
    "form quoted boundary": version_2(
        form(part("f", PHOTO, "d.jpg"), boundary=b"a:b"), content_type='Multipart/Form-Data; boundary="a:b"'
    ),
    "form with semicolons": version_2(form(part("f", PHOTO, "a;b;" * 12 + "c.jpg")), content_type=FORM),
    "form with base64": version_2(form(part("image", TEXT.encode())), content_type=FORM),
    "form with an umlaut as file name": version_2(form(part("f", PHOTO, "h\u00fcndchen.jpg")), content_type=FORM),
}
URLS: dict[str, Any] = {
    "plain": {"url": URL},
    "extra keys": {"url": URL, "top_k": 3},
    "v1": version_1(BODY),
    "v1 as base64": version_1(BODY.encode()),
    "isBase64Encoded as text": {**version_1(BODY.encode()), "isBase64Encoded": "true"},
    "byte order mark": version_1("\ufeff" + BODY),
    "byte order mark in base64": version_1(b"\xef\xbb\xbf" + BODY.encode()),
    "as curl -d sends it": version_2(BODY, content_type="application/x-www-form-urlencoded"),
    "body is an object": {"body": {"url": URL}},
    "v2 GET": version_2(method="GET", query="url=https%3A%2F%2Fexample.org%2Fa.jpg&x=1"),
    "function URL HEAD": signed(method="HEAD", query="url=https://example.org/a.jpg"),
    "v1 GET": {**version_1(method="GET"), "queryStringParameters": {"url": URL}},
    "v1 GET, several": {**version_1(method="GET"), "multiValueQueryStringParameters": {"url": [URL]}},
    "form": version_2(form(part("url", URL.encode()), part("file", b"", "")), content_type=FORM),
}
WRONG: dict[str, tuple[Any, str]] = {
    "list": ([{"url": URL}] * 2, "a list of 2"),
    "string": (URL, "a string"),
    "nothing": (None, "empty"),
    "empty": ({}, "neither"),
    "both": ({"url": URL, "image": TEXT}, "both"),
    "SQS": ({"Records": [{"body": BODY}]}, "batch of a queue"),
    "SQS in a body": (version_1(json.dumps({"Records": []})), "batch of a queue"),
    "no body": (version_1(), "no body"),
    "list in a body": (version_2(json.dumps([URL])), "a list of 1"),
    "not JSON": (version_2("url=x"), "neither JSON nor a picture nor a form"),
    "JPEG decoded as text": (
        version_1(PHOTO.decode("utf-8", "replace"), content_type="image/jpeg"),
        "binaryMediaTypes",
    ),
    "form decoded as text": (version_1("hello", content_type=FORM), "boundaries"),
    "GET without url": (version_2(method="GET"), r"one \?url="),
    "GET with two": (version_2(method="GET", query="url=a&url=b"), "It has 2"),
    "GET with many fields": (version_2(method="GET", query="a=1&" * 99), "more than 50"),
    "form without boundary": (version_2(b"x", content_type="multipart/form-data"), "no boundary"),
    "form boundary in brackets": (version_2(b"x", content_type=FORM[:-1] + "(" * 3000), "no boundary"),
    "form boundary in many brackets": (version_2(b"x", content_type=FORM[:-1] + "(" * 9000), "at most 8192 bytes"),
    "form boundary of two lines": (version_2(b"x", content_type=FORM[:-1] + "a\nb"), "1 to 100 parts"),
    "form boundary in a second line": (
        version_2(b"x", content_type=f"multipart/form-data;\n\n{FORM[-10:]}"),
        "no bound",
    ),
    "form of many parameters": (version_2(b"x", content_type=FORM + ";a=b" * 99), "64 parameters"),
    "form part of many parameters": (
        version_2(form(part("a" + ";" * 4000, PHOTO, "d.jpg")), content_type=FORM),
        "64 parameters and lines",
    ),
    "form part of many headers": (
        version_2(form(b"a:\r\n" * 1000 + part("f", PHOTO, "d.jpg")), content_type=FORM),
        "64 parameters and lines",
    ),
    "form part of long headers": (version_2(form(part("a" * 8192, PHOTO)), content_type=FORM), "at most 8192 bytes"),
    "form part of headers only": (version_2(form(b"a:\r\n" * 500_000), content_type=FORM), "no name"),
    "form part with a long number": (
        version_2(form(b"Content-Disposition: form-data; name*" + b"9" * 5000 + b"=a\r\n\r\nb"), content_type=FORM),
        "cannot be read",
    ),
    "form cut off": (version_2(form(part("f", PHOTO, "d.jpg"))[:-6], content_type=FORM), "boundaries|cut off"),
    "form without file": (version_2(form(part("name", b"rex")), content_type=FORM), "no file"),
    "form of many parts": (version_2(form(*[part("a", b"")] * 101), content_type=FORM), "1 to 100"),
    "form part without a name": (version_2(form(b"X-A: b\r\n\r\nc"), content_type=FORM), "no name"),
    "form part in base64": (
        version_2(form(b"Content-Transfer-Encoding: base64\r\n" + part("f", b"QQ==", "d.jpg")), content_type=FORM),
        "Transfer-Encoding",
    ),
}


def read(event: Any) -> ImageRequest:
    return read_request(event, max_image_bytes=1000)


@pytest.mark.parametrize("event", IMAGES.values(), ids=IMAGES)
def test_a_picture_is_read_byte_for_byte_from_every_usual_body(event: Any) -> None:
    assert read(event) == ImageRequest(image=PHOTO)


@pytest.mark.parametrize("event", URLS.values(), ids=URLS)
def test_a_url_is_read_from_every_usual_request(event: Any) -> None:
    assert read(event) == ImageRequest(url=URL)


@pytest.mark.parametrize(("event", "why"), WRONG.values(), ids=WRONG)
def test_a_wrong_request_is_refused_with_its_reason(event: Any, why: str) -> None:
    with pytest.raises(Refusal, match=why) as caught:
        read(event)
    assert caught.value.status == 400


def test_content_of_another_kind_is_refused_by_its_type() -> None:
    with pytest.raises(Refusal, match="no picture although") as caught:
        read(version_1(b"<svg/>", content_type="image/svg+xml"))
    assert caught.value.status == 415


@pytest.mark.parametrize(
    "event",
    [
        version_1(PHOTO + bytes(1000)),
        version_2(form(part("f", PHOTO + bytes(1000), "d.jpg")), content_type=FORM),
        {"image": base64.encodebytes(bytes(1001)).decode()},
        {"url": "data:image/jpeg;base64," + "A" * 1400},
    ],
)
def test_a_picture_that_is_too_large_is_refused_however_it_comes(event: Any) -> None:
    with pytest.raises(Refusal, match="larger than 1000 bytes") as caught:
        read(event)
    assert caught.value.status == 413
