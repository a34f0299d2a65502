"""Tests of targets: only allowed hosts, only real images, and functions only through an alias."""

import base64
import json
from pathlib import Path

import pytest

from loadtest.targets import ForeignTargetError, ImageError, LoadTarget, TargetKind

LOCAL = "http://127.0.0.1:4577"


def endpoint(base_url: str = LOCAL) -> LoadTarget:
    return LoadTarget("endpoint", "kennel-e", None, base_url, "eu-west-1")


@pytest.mark.parametrize(
    "base_url",
    [
        "http://example.com",
        "http://127.0.0.1.example.com:4577",
        "http://127.0.0.1@example.com",
        "http://user@127.0.0.1:4577",
        "http://10.0.0.1:4577",
        "https://runtime.sagemaker.us-east-1.amazonaws.com",  # another region
        "https://lambda.eu-west-1.amazonaws.com",  # another service
        "http://runtime.sagemaker.eu-west-1.amazonaws.com",  # not encrypted
        "https://runtime.sagemaker.eu-west-1.amazonaws.com.example.com",
        "https://x@runtime.sagemaker.eu-west-1.amazonaws.com",
        "ftp://127.0.0.1",
        "",
    ],
)
def test_a_host_that_is_not_allowed_is_refused(base_url: str) -> None:
    with pytest.raises(ForeignTargetError, match="a load test goes to loopback or to https://"):
        endpoint(base_url)


@pytest.mark.parametrize(
    "base_url", [LOCAL, "http://localhost:1", "http://[::1]:5", "https://runtime.sagemaker.eu-west-1.amazonaws.com"]
)
def test_loopback_and_awss_own_host_are_accepted(base_url: str) -> None:
    assert endpoint(base_url).host in base_url


def test_a_function_is_called_through_its_alias_and_never_without() -> None:
    target = LoadTarget("function", "classify", "live", LOCAL, "eu-west-1")
    assert (target.route.path, target.route.query) == ("/2015-03-31/functions/classify/invocations", "Qualifier=live")
    with pytest.raises(ValueError, match="needs an alias"):
        LoadTarget("function", "classify", None, LOCAL, "eu-west-1")


@pytest.mark.parametrize("kind", ["endpoint", "function"])
@pytest.mark.parametrize("name", ["a/b", "a?b", "a b", "", "-a", "a\r\nx: y"])
def test_a_name_that_could_change_the_request_is_refused(kind: TargetKind, name: str) -> None:
    with pytest.raises(ValueError, match="must be letters, digits"):
        LoadTarget(kind, name, "live", LOCAL, "eu-west-1")


def test_an_endpoint_gets_the_file_and_a_function_json(image: Path) -> None:
    (direct,) = endpoint().payloads([str(image)])
    assert (direct.body, direct.content_type) == (image.read_bytes(), "image/jpeg")
    function = LoadTarget("function", "classify", "live", LOCAL, "eu-west-1")
    from_file, from_url = function.payloads([str(image), "http://127.0.0.1:8/a.jpg"])
    assert base64.b64decode(json.loads(from_file.body)["image"]) == image.read_bytes()
    assert json.loads(from_url.body) == {"url": "http://127.0.0.1:8/a.jpg"}


@pytest.mark.parametrize(
    ("images", "why"),
    [
        ([], "no images"),
        (["http://127.0.0.1/a.jpg"], "an endpoint takes the image itself"),
        (["missing.jpg"], "No such file"),
        (["/etc/passwd"], "must end in"),
    ],
)
def test_a_file_that_is_not_an_image_is_refused(images: list[str], why: str) -> None:
    with pytest.raises(ImageError, match=why):
        endpoint().payloads(images)
