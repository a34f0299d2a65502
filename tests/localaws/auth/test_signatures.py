"""A signature holds for the request that was signed, the key that signed it and its time, and for nothing else."""

import hashlib
import importlib
import sys
import time
from datetime import UTC, datetime
from typing import Any
from urllib.parse import parse_qs, quote, urlsplit

import pytest
from botocore.awsrequest import AWSRequest
from botocore.credentials import ReadOnlyCredentials
from hypothesis import assume, example, given, settings
from hypothesis import strategies as st

from loadtest.signing import Payload, Route, Signer
from localaws.auth import version2, version4
from localaws.auth.claims import UNSIGNED, claim_of, headers_of
from localaws.auth.keys import Key
from localaws.auth.verifier import ANYONE
from localaws.auth.version4 import Line
from localaws.errors import AwsError
from tests.aws_requests import service_model
from tests.conftest import ROOT
from tests.localaws.auth.requests import HOST, ID, SECRET, SIGNERS, TOKEN, request, scope_of, sign, verify

KEY, SESSION = Key(SECRET), Key(SECRET, TOKEN, time.time() + 3600)
PATHS = st.text(min_size=0, max_size=12).map(lambda text: "/" + quote(text, safe="/-_.~", errors="replace"))
WORDS = st.text(min_size=1, max_size=8)
QUERIES = st.lists(st.tuples(WORDS, st.text(max_size=8)), max_size=3).map(
    lambda pairs: "&".join(f"{_quoted(name)}={_quoted(value)}" for name, value in pairs)
)


def _quoted(text: str) -> str:
    return quote(text, safe="-_.~", errors="replace")


def target_of(path: str, query: str) -> str:
    return f"{path}?{query}" if query else path


@pytest.mark.parametrize("token", [None, TOKEN], ids=["key", "session"])
@pytest.mark.parametrize("signer", SIGNERS)
@given(path=PATHS, query=QUERIES, body=st.binary(max_size=40))
@settings(max_examples=40, deadline=None)
def test_what_botocore_signs_holds(signer: str, token: str | None, path: str, query: str, body: bytes) -> None:
    body = b"" if "presigned" in signer else body
    made = sign(request("GET" if not body else "PUT", target_of(path, query), body), signer, token=token)
    signed = verify(scope_of(made), body, SESSION if token else KEY)
    assert (signed.access_key_id, signed.service) == (ID, SIGNERS[signer][0])


CHANGES = st.sampled_from(["method", "path", "query", "header", "body", "signature", "date", "token", "secret"])


@pytest.mark.parametrize("signer", ["json", "s3", "presigned s3", "presigned sts", "old presigned s3"])
@given(path=PATHS, query=QUERIES, body=st.binary(min_size=1, max_size=40), change=CHANGES, more=st.characters())
@example(path="/", query="", body=b"x", change="path", more=".")
@settings(max_examples=120, deadline=None)
def test_any_change_of_what_was_signed_is_refused(
    signer: str, path: str, query: str, body: bytes, change: str, more: str
) -> None:
    is_body_signed = "presigned s3" not in signer
    body = body if is_body_signed and signer != "presigned sts" else b""
    headers = {"x-amz-meta-a": "value", "content-md5": "1B2M2Y8AsgTpgAmY7PhCfg=="}
    made = request("PUT", target_of(path, query), body, headers)
    scope = scope_of(sign(made, signer, token=TOKEN))
    verify(scope, body, SESSION)
    key, changed = SESSION, dict(scope, headers=list(scope["headers"]))
    if change == "method":
        changed["method"] = "DELETE"
    elif change == "path":
        assume(more != "." or "s3" in signer)  # a last segment "." stands for none, except in S3's keys
        changed["raw_path"] += quote(more, safe="", errors="replace").encode()
    elif change == "query":
        assume("old" not in signer)  # version 2 signs only the parameters that S3 knows
        changed["query_string"] += b"&" + quote(more, safe="", errors="replace").encode() + b"=1"
    elif change == "header":
        change_header(changed)
    elif change == "body":
        assume(signer == "json")  # S3's is declared in a header; it is checked where it is received
        body += b"x"
    elif change == "secret":
        key = Key(SECRET + "x", TOKEN, SESSION.ends_at)
    elif change == "token":
        key = Key(SECRET, TOKEN + "x", SESSION.ends_at)
    else:
        change_claim(changed, change)
    with pytest.raises(AwsError):
        verify(changed, body, key)


def change_header(scope: dict[str, Any]) -> None:
    """Change a header that was signed."""
    scope["headers"] = [(name, b"other" if name == b"x-amz-meta-a" else value) for name, value in scope["headers"]]


def change_claim(scope: dict[str, Any], change: str) -> None:
    """Change a letter of the signature, or the time by a second."""
    marks = {"signature": (b"Signature=",), "date": (b"X-Amz-Date=", b"Expires=")}[change]
    query: bytes = scope["query_string"]
    for mark in marks:
        if mark in query:
            start = query.rindex(mark) + len(mark) + (0 if change == "signature" else 8)
            scope["query_string"] = _other_letter(query, start)
            return
    name = b"authorization" if change == "signature" else b"x-amz-date"
    old = dict(scope["headers"])[name]
    at = old.index(b"Signature=") + 10 if change == "signature" else len(old) - 2
    scope["headers"] = [(each, _other_letter(old, at) if each == name else value) for each, value in scope["headers"]]


def _other_letter(text: bytes, at: int) -> bytes:
    other = b"1" if text[at : at + 1] != b"1" else b"2"
    return text[:at] + other + text[at + 1 :]


def test_a_header_that_amazon_reads_must_be_signed_and_so_must_the_host() -> None:
    scope = scope_of(sign(request("PUT", "/b/k", b"x"), "s3"))
    added = dict(scope, headers=[*scope["headers"], (b"x-amz-acl", b"public-read")])
    with pytest.raises(AwsError, match="AccessDenied: There were headers present in the request which were not signed"):
        verify(added, b"x", KEY)
    bare = AWSRequest("POST", f"http://{HOST}/", {}, b"x")
    headers = scope_of(sign(bare, "json"))["headers"]
    unnamed = [(name, value.replace(b"host;", b"")) for name, value in headers] + [(b"host", HOST.encode())]
    with pytest.raises(AwsError, match="not signed"):
        verify(dict(scope_of(bare), headers=unnamed), b"x", KEY)


def test_a_header_beside_an_old_url_counts_even_if_the_url_names_another_value() -> None:
    made = sign(request("PUT", "/b/k", headers={"x-amz-acl": "private"}), "old presigned s3")
    scope = scope_of(made)
    assert b"x-amz-acl=private" in scope["query_string"]
    scope["headers"] = [(name, value) for name, value in scope["headers"] if name == b"host"]
    assert verify(scope, b"", KEY).access_key_id == ID
    scope["headers"] += [(b"x-amz-acl", b"public-read")]
    with pytest.raises(AwsError, match="SignatureDoesNotMatch"):
        verify(scope, b"", KEY)


SUBRESOURCES = sorted(
    {name for names in (version2.SUBRESOURCES, version2.LATER_SUBRESOURCES) for name in names}, key=bytes.decode
)


@pytest.mark.parametrize("name", [name.decode() for name in SUBRESOURCES])
def test_nobody_adds_a_subresource_to_an_old_presigned_url(name: str) -> None:
    for written in (name, f"{name}=1", f"%{ord(name[0]):02x}{name[1:]}", f"{name[:-1]}%{ord(name[-1]):02X}=1"):
        made = sign(request("GET", "/b/k"), "old presigned s3")
        made.url += f"&{written}"
        with pytest.raises(AwsError, match="SignatureDoesNotMatch"):
            verify(scope_of(made), b"", KEY)


@pytest.mark.parametrize("name", [name.decode() for name in sorted(version2.SUBRESOURCES)])
@pytest.mark.parametrize("signer", ["old s3", "old presigned s3"])
def test_a_subresource_that_botocore_signs_holds(signer: str, name: str) -> None:
    for written in (name, f"{name}=a%2Fb"):
        assert verify(scope_of(sign(request("GET", f"/b/k?{written}"), signer)), b"", KEY).access_key_id == ID


def test_every_subresource_of_s3_must_be_in_an_old_signature() -> None:
    model = service_model("s3")
    uris = (urlsplit(model.operation_model(name).http["requestUri"]) for name in model.operation_names)
    names = {name.encode() for uri in uris for name in parse_qs(uri.query, keep_blank_values=True)}
    listing = {b"list-type"}
    assert names - listing <= version2.SUBRESOURCES | version2.LATER_SUBRESOURCES


def test_whoever_asks_without_a_signature_may_at_most_read_from_s3() -> None:
    assert verify(scope_of(request("GET", "/bucket/key")), b"", KEY) == ANYONE
    for method, target in (("PUT", "/b/k"), ("POST", "/b"), ("DELETE", "/b/k")):
        with pytest.raises(AwsError, match="AccessDenied"):
            verify(scope_of(request(method, target)), b"", KEY)
    for method, target in (("GET", "/2015-03-31/functions/"), ("POST", "/endpoints/e/invocations")):
        with pytest.raises(AwsError, match="MissingAuthenticationTokenException"):
            verify(scope_of(request(method, target)), b"", KEY)
    for authorization in ("", "Basic YTpi", "Bearer x", "AWS4-HMAC-SHA256 Credential=x", "AWS x"):
        with pytest.raises(AwsError, match="AuthorizationHeaderMalformed"):
            verify(scope_of(request("GET", "/b/k", headers={"Authorization": authorization})), b"", KEY)


@pytest.mark.parametrize("signer", SIGNERS)
def test_a_key_that_was_not_issued_and_an_ended_session_are_refused(signer: str) -> None:
    scope = scope_of(sign(request("GET", "/"), signer, token=TOKEN))
    with pytest.raises(AwsError, match=r"InvalidAccessKeyId|UnrecognizedClientException|InvalidClientTokenId"):
        verify(scope, b"", None)
    for key in (KEY, Key(SECRET, TOKEN + "x", time.time() + 60)):
        with pytest.raises(AwsError, match=r"InvalidToken|UnrecognizedClientException|InvalidClientTokenId"):
            verify(scope, b"", key)
    with pytest.raises(AwsError, match="ExpiredToken"):
        verify(scope, b"", Key(SECRET, TOKEN, time.time() - 1))
    untold = scope_of(sign(request("GET", "/"), signer))
    with pytest.raises(AwsError, match=r"InvalidToken|UnrecognizedClientException|InvalidClientTokenId"):
        verify(untold, b"", SESSION)


@pytest.mark.parametrize(
    ("signer", "minutes", "message"),
    [
        ("s3", 16, "RequestTimeTooSkewed: The difference between the request time and the current time is too large."),
        ("s3", -16, "RequestTimeTooSkewed"),
        ("old s3", 16, "RequestTimeTooSkewed"),
        ("json", 16, r"InvalidSignatureException: Signature expired: \d{8}T\d{6}Z is now earlier than .* - 15 min"),
        ("json", -16, r"InvalidSignatureException: Signature not yet current: .* is still later than .* \+ 15 min"),
        ("presigned s3", 2, "AccessDenied: Request has expired"),
        ("presigned s3", -16, "AccessDenied: Request is not yet valid"),
        ("old presigned s3", 2, "AccessDenied: Request has expired"),
        ("presigned sts", 2, "SignatureDoesNotMatch: Signature expired"),
        ("presigned sts", -16, "SignatureDoesNotMatch: Signature not yet current"),
    ],
)
def test_the_time_of_a_signature_is_judged_by_the_servers_clock(signer: str, minutes: int, message: str) -> None:
    scope = scope_of(sign(request("GET", "/b/k"), signer))
    assert verify(scope, b"", KEY).access_key_id == ID
    with pytest.raises(AwsError, match=message):
        verify(scope, b"", KEY, clock=lambda: time.time() + 60 * minutes)


@pytest.mark.parametrize(
    ("signer", "message"),
    [
        ("json", "InvalidSignatureException: Date in Credential scope does not match"),
        ("presigned sts", "SignatureDoesNotMatch: Date in Credential scope does not match"),
        ("s3", 'AuthorizationHeaderMalformed: Invalid credential date "20200101"'),
        ("presigned s3", 'AuthorizationQueryParametersError: Invalid credential date "20200101"'),
    ],
)
def test_the_key_of_a_day_signs_nothing_on_another(signer: str, message: str) -> None:
    scope = scope_of(sign(request("GET", "/b/k"), signer))
    right = claim_of(headers_of(scope), scope["query_string"])
    assert right is not None

    def change(old: bytes, new: bytes) -> None:
        scope["query_string"] = scope["query_string"].replace(old, new)
        scope["headers"] = [(name, value.replace(old, new)) for name, value in scope["headers"]]

    for slash in (b"/", b"%2F"):
        change(slash + right.date + slash, slash + b"20200101" + slash)
    claim, headers = claim_of(headers_of(scope), scope["query_string"]), headers_of(scope)
    assert claim is not None and claim.date == b"20200101"
    payload = UNSIGNED if signer == "presigned s3" else hashlib.sha256(b"").hexdigest().encode()
    line = Line(scope["method"], scope["raw_path"], scope["query_string"])
    asked = version4.canonical_request(claim, line, headers, payload)
    assert asked is not None
    change(right.signature, version4.signature(claim, SECRET, version4.string_to_sign(claim, asked)))
    with pytest.raises(AwsError, match=message):
        verify(scope, b"", KEY)


@pytest.mark.parametrize(
    "stamp",
    [
        "Fri, 31 Dec 9999 23:59:59 -2359",
        f"Sat, 28 Nov 2026 {'9' * 20}:00:00 GMT",
        "99999999T999999Z",
        "é",
    ],
)
def test_a_time_that_there_is_not_is_refused(stamp: str) -> None:
    scope = scope_of(sign(request("GET", "/"), "json"))
    scope["headers"] = [
        (name, stamp.encode("latin1") if name == b"x-amz-date" else value) for name, value in scope["headers"]
    ]
    with pytest.raises(AwsError, match="IncompleteSignatureException"):
        verify(scope, b"", KEY)


@pytest.mark.parametrize("seconds", [0, 7 * 24 * 3600 + 1, "x", "", -5])
def test_a_url_is_presigned_for_one_second_to_a_week(seconds: object) -> None:
    scope = scope_of(sign(request("GET", "/b/k"), "presigned s3"))
    query = scope["query_string"].replace(b"X-Amz-Expires=60", f"X-Amz-Expires={seconds}".encode())
    with pytest.raises(AwsError, match="AuthorizationQueryParametersError: X-Amz-Expires"):
        verify(dict(scope, query_string=query), b"", KEY)


def test_the_load_generators_signature_holds() -> None:
    route = Route(HOST, "/endpoints/e/invocations", "", "sagemaker", "us-east-1")
    payload = Payload.of("one", b"\xff\xd8image", "image/jpeg")
    sent = Signer(route, lambda: ReadOnlyCredentials(ID, SECRET, None)).request(payload)
    head, _, body = sent.partition(b"\r\n\r\n")
    lines = [line.split(b": ", 1) for line in head.split(b"\r\n")[1:]]
    scope = scope_of(request("POST", route.path))
    scope["headers"] = [(name.lower(), value) for name, value in lines]
    assert verify(scope, body, KEY).service == "sagemaker"


def test_the_functions_own_signature_holds() -> None:
    sys.path.insert(0, str(ROOT / "lambda" / "classify"))
    try:
        own = importlib.import_module("signature")
    finally:
        sys.path.pop(0)
    signer = own.Signer(own.Credentials(ID, SECRET, TOKEN), "us-east-1", "sagemaker")
    path, headers = "/endpoints/kennel-a/invocations", {"Host": HOST, "Content-Type": "image/jpeg"}
    signed = signer.sign(path, headers, b"image", datetime.now(UTC))
    scope = scope_of(request("POST", path))
    scope["headers"] = [(name.lower().encode(), value.encode()) for name, value in signed.items()]
    assert verify(scope, b"image", SESSION).service == "sagemaker"
