"""Test of the deployed function: zipped, created in localaws, run by awslambdaric and invoked with boto3."""

import io
import json
import zipfile
from typing import Any

import pytest

from tests.conftest import RunningLocalAws
from tests.lambda_front.conftest import CLASSIFY
from tests.lambda_front.scripted_server import answer, scripted
from tests.lambda_front.web_events import authorized, form, part, public, version_1, version_2
from tests.localaws.functions.functions_kit import Functions
from tests.localaws.functions.url_kit import Url, open_url


def folder_zipped() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        for path in sorted(CLASSIFY.glob("*.py")):
            file.write(path, path.name)
    return buffer.getvalue()


@pytest.fixture(scope="module")
def functions(localaws: Any) -> Functions:
    return Functions.of(localaws)


def told(reply: Any) -> tuple[int, str]:
    assert reply.get("FunctionError") is None
    return reply["Payload"]["statusCode"], json.loads(reply["Payload"]["body"])["error"]["code"]


def photos(request: bytes, _number: int) -> list[bytes]:
    is_photo = b"photo.jpg" in request.partition(b"\r\n")[0]
    return [answer("200 OK", b"\xff\xd8\xff" + bytes(99) if is_photo else b"just text")]


def test_the_deployed_function_answers_with_the_right_status_codes(functions: Functions) -> None:
    with scripted(photos) as server:
        variables = {"ENDPOINT_NAME": "no-such-endpoint", "ALLOWED_HOSTS": server.netloc}
        name = functions.make(Code={"ZipFile": folder_zipped()}, Environment={"Variables": variables})
        events = [
            {"url": server.url("/photo.jpg")},
            {"url": server.url("/notes.txt")},
            {"url": "http://169.254.169.254/latest/meta-data/"},
            {"url": "not a url"},
            {"nothing": 1},
            [{"url": server.url("/photo.jpg")}],
            version_1(b"\xff\xd8\xff" + bytes(99), content_type="image/jpeg"),
            version_2(form(part("f", b"\xff\xd8\xff", "a.jpg")), content_type="multipart/form-data; boundary=X"),
            authorized(method="GET", query=f"url={server.url('/photo.jpg')}"),
            public(method="GET", query=f"url={server.url('/photo.jpg')}"),
            version_1(method="OPTIONS", Origin="https://app.example"),
        ]
        replies = [functions.invoke(name, event) for event in events]
    assert [told(reply) for reply in replies] == [
        (503, "EndpointMissing"),
        (415, "UnsupportedImage"),
        (400, "UrlNotAllowed"),
        (400, "BadUrl"),
        (400, "BadRequest"),
        (400, "BadRequest"),
        (503, "EndpointMissing"),
        (503, "EndpointMissing"),
        (503, "EndpointMissing"),
        (403, "UrlsNotFetched"),
        (403, "OriginNotAllowed"),
    ]
    assert replies[0]["Payload"]["headers"] == {"Content-Type": "application/json", "Retry-After": "30"}


def test_the_deployed_function_fetches_from_no_port_of_localaws_and_from_loopback_only_what_is_named(
    functions: Functions, localaws: RunningLocalAws
) -> None:
    with scripted(photos) as named, scripted(photos) as other:
        urls = [named.url(), other.url(), f"{localaws.url}/photo.jpg", "http://localhost/photo.jpg"]
        for allowed, fetched in (("", 0), (named.netloc, 1), (f"127.0.0.1:*,{named.netloc}", 1)):
            variables = {"ENDPOINT_NAME": "no-such-endpoint", "ALLOWED_HOSTS": allowed}
            name = functions.make(Code={"ZipFile": folder_zipped()}, Environment={"Variables": variables})
            codes = [told(functions.invoke(name, {"url": url}))[0] for url in urls]
            assert codes == [503] * fetched + [400] * (len(urls) - fetched)
        assert (named.connections, other.connections) == (2, 0)


def test_a_public_url_of_the_deployed_function_takes_pictures_and_fetches_nothing(functions: Functions) -> None:
    app, photo = "https://app.example", b"\xff\xd8\xff" + bytes(99)
    with scripted(photos) as server:
        variables = {
            "ENDPOINT_NAME": "no-such-endpoint",
            "ALLOWED_HOSTS": server.netloc,
            "ALLOWED_ORIGINS": app,
        }
        name = functions.make(Code={"ZipFile": folder_zipped()}, Environment={"Variables": variables})
        made = functions.aws.create_function_url_config(
            FunctionName=name, AuthType="NONE", Cors={"AllowOrigins": [app], "AllowMethods": ["POST"]}
        )
        open_url(functions, name)
        url, of_form = Url(name, made["FunctionUrl"]), {"Content-Type": "multipart/form-data; boundary=X"}
        picture = url.send("/", "POST", photo, {"Content-Type": "image/jpeg", "Origin": app})
        uploaded = url.send("/", "POST", form(part("f", photo, "dog.jpg")), of_form)
        fetched = url.send(f"/?url={server.url('/photo.jpg')}")
        posted = url.send("/", "POST", json.dumps({"url": server.url("/photo.jpg")}).encode())
        foreign = url.send("/", "POST", photo, {"Content-Type": "image/jpeg", "Origin": "https://evil.example"})
    codes = [answer.status for answer in (picture, uploaded, fetched, posted, foreign)]
    assert codes == [503, 503, 403, 403, 403]
    assert json.loads(fetched.body)["error"]["code"] == "UrlsNotFetched"
    assert picture.headers["access-control-allow-origin"] == app
    assert server.connections == 0
