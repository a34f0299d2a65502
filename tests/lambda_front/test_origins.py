"""Tests of web pages that call the function, and of a URL that authenticates nobody, which must be no open proxy."""

import base64
import json
from typing import Any

import pytest
from handler import handler
from origins import ALLOWED_HEADERS, PREFLIGHT
from web import WebRequest

from tasks.serving.public_url import UrlPlan
from tests.lambda_front.scripted_server import answer, scripted
from tests.lambda_front.test_handler import JPEG, SCORES, code_of, environment, run
from tests.lambda_front.web_events import authorized, public, signed, version_1, version_2

APP = "https://app.example"
OTHER = "https://evil.example"


@pytest.mark.parametrize("make", [version_1, version_2, signed, public])
@pytest.mark.parametrize(("allowed", "status"), [(f"http://localhost:3000, {APP}/", 204), ("*", 204), ("", 403)])
def test_a_preflight_is_answered_for_an_allowed_origin_only(
    make: Any, allowed: str, status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", allowed)
    reply = handler(make(method="OPTIONS", origin=APP), None)
    assert reply["statusCode"] == status
    assert reply["headers"].get("Access-Control-Allow-Origin") == (APP if status == 204 else None)
    if status == 204:
        assert reply["headers"]["Access-Control-Allow-Methods"] == "GET, POST"
        assert reply["body"] == ""


def test_a_preflight_of_another_origin_or_of_none_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", APP)
    for headers in ({"origin": OTHER}, {"origin": APP + ".evil.example"}, {"origin": "null"}, {}):
        reply = handler(version_1(method="OPTIONS", **headers), None)
        assert code_of(reply) == (403, "OriginNotAllowed")
        assert "Access-Control-Allow-Origin" not in reply["headers"]


def test_errors_too_can_be_read_by_the_page_of_an_allowed_origin(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ALLOWED_ORIGINS", APP)
    reply = handler(authorized("{}", origin=APP), None)
    assert (code_of(reply), reply["headers"]["Access-Control-Allow-Origin"]) == ((400, "BadRequest"), APP)
    assert reply["headers"]["Vary"] == "Origin"
    foreign = handler(authorized("{}", origin=OTHER), None)
    assert code_of(foreign) == (400, "BadRequest")
    assert "Access-Control-Allow-Origin" not in foreign["headers"]


def test_a_public_url_refuses_a_foreign_origin_and_fetches_nothing_unless_asked() -> None:
    ok = answer("200 OK", json.dumps(SCORES).encode(), Content_Type="application/json")
    with scripted(lambda _r, _n: [ok]) as runtime, scripted(lambda _r, _n: [answer("200 OK", JPEG)]) as photos:
        environ = {**environment(runtime, photos), "ALLOWED_ORIGINS": APP}
        by_url = json.dumps({"url": photos.url()})
        photo = JPEG
        events = [
            public(photo),
            public(photo, origin=APP),
            public(photo, origin=OTHER),
            public(by_url),
            public(method="GET", query=f"url={photos.url()}"),
            signed(by_url),
            {"url": photos.url()},
        ]
        unset, off, on = (
            run({**environ, **more}, *events) for more in ({}, {"FETCH_URLS": "off"}, {"FETCH_URLS": "on"})
        )
        fetched = photos.connections
    assert [reply["statusCode"] for reply in unset] == [200, 200, 403, 403, 403, 200, 200]
    assert [reply["statusCode"] for reply in off] == [200, 200, 403, 403, 403, 403, 403]
    assert [reply["statusCode"] for reply in on] == [200, 200, 403, 400, 400, 200, 200]  # loopback is not public
    assert [code_of(unset[2]), code_of(unset[3])] == [(403, "OriginNotAllowed"), (403, "UrlsNotFetched")]
    assert fetched == 4
    assert unset[1]["headers"]["Access-Control-Allow-Origin"] == APP


@pytest.mark.parametrize("site", ["cross-site", "Cross-Site", "same-site"])
def test_a_page_without_an_origin_header_makes_a_public_url_fetch_nothing(
    site: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FETCH_URLS", "on")
    monkeypatch.setenv("ALLOWED_ORIGINS", APP)
    query = "url=http://127.0.0.1:9000/dog.jpg"
    picture = public(method="GET", query=query, Sec_Fetch_Site=site, Sec_Fetch_Dest="image")
    assert code_of(handler(picture, None)) == (403, "OriginNotAllowed")
    for own in ("none", "same-origin"):
        typed = public(method="GET", query=query, Sec_Fetch_Site=own)
        assert code_of(handler(typed, None))[0] == 400  # loopback
    of_an_app = public(method="GET", query=query, Sec_Fetch_Site=site, Origin=APP)
    assert code_of(handler(of_an_app, None))[0] == 400
    monkeypatch.setenv("ALLOWED_ORIGINS", "*")
    assert code_of(handler(picture, None))[0] == 400


def test_the_function_and_its_url_allow_the_same_headers_methods_and_seconds() -> None:
    cors = UrlPlan("NONE", (APP,)).cors
    assert tuple(cors["AllowHeaders"]) == ALLOWED_HEADERS
    assert ", ".join(cors["AllowMethods"]) == PREFLIGHT["Access-Control-Allow-Methods"]
    assert str(cors["MaxAge"]) == PREFLIGHT["Access-Control-Max-Age"]


def test_a_wrong_setting_fetches_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("FETCH_URLS", "yes")
    assert code_of(handler({"url": "https://example.org/"}, None)) == (500, "Misconfigured")


def test_a_public_caller_cannot_name_an_authorizer_in_a_body() -> None:
    body = json.dumps({"url": "https://example.org/", "requestContext": {"authorizer": {"iam": {"userArn": "x"}}}})
    assert code_of(handler(public(body), None)) == (403, "UrlsNotFetched")
    encoded = base64.b64encode(body.encode()).decode()
    assert code_of(handler({**public(), "body": encoded, "isBase64Encoded": True}, None)) == (403, "UrlsNotFetched")


def of_host(host: str) -> dict[str, Any]:
    event = public(json.dumps({"url": "https://example.org/"}))
    event["requestContext"]["domainName"] = host
    return event


def without(member: str) -> dict[str, Any]:
    event = of_host("abc.lambda-url.us-east-1.on.aws")
    del event["requestContext"][member]
    return event


BY_URL = json.dumps({"url": "https://example.org/"})
NOBODY: dict[str, Any] = {
    "a host in capitals": of_host("ABC.LAMBDA-URL.us-east-1.on.aws"),
    "a host of its owner": of_host("photos.example"),
    "no host": without("domainName"),
    "no method": without("http"),
    "no context": {**public(BY_URL), "requestContext": None},
    "an empty authorizer": {**public(BY_URL), "requestContext": {"authorizer": {"iam": {}}}},
    "an authorizer of no kind": {**public(BY_URL), "requestContext": {"authorizer": {"userArn": "x"}}},
    "CloudFront's own signature": signed(BY_URL, X_Amz_Cf_Id="abc"),
    "an HTTP API without an authorizer": version_2(BY_URL),
}


@pytest.mark.parametrize("event", NOBODY.values(), ids=NOBODY)
def test_an_event_that_names_no_authenticated_caller_is_public(event: dict[str, Any]) -> None:
    assert code_of(handler(event, None)) == (403, "UrlsNotFetched")
    foreign = {**event, "headers": {**event["headers"], "Origin": OTHER}}
    assert code_of(handler(foreign, None)) == (403, "OriginNotAllowed")


@pytest.mark.parametrize("event", [signed("{}"), authorized("{}"), version_1("{}"), {"body": "{}"}])
def test_an_event_of_an_authenticated_caller_is_not_public(event: dict[str, Any]) -> None:
    web = WebRequest.of(event)
    assert web is not None and not web.is_public
