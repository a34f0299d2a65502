"""S3's frequent requests, which are answered without moto's HTTP: each answer is the one that moto gives.

The same requests are sent to two buckets of one server. Those to the second have one header more, which changes nothing
and is not one of those that the short way takes, so moto answers them. Moto's answers alone have `x-amzn-requestid`:
that tells which way an answer came, so no comparison is of moto with itself.
"""

import base64
import hashlib
import http.client
import json
import re
import uuid
import zlib
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote, urlsplit

import pytest
from botocore.awsrequest import AWSRequest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.conftest import RunningLocalAws
from tests.keys import signed

BY_MOTO = {"x-amz-request-payer": "requester"}
OWN = {"date", "x-amz-request-id", "x-amz-id-2", "x-amzn-requestid"}  # of one answer
CHANGING = re.compile(rb"<(LastModified|RequestId|HostId)>[^<]*</")
VERSION = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
PAGE = "list-type=2&encoding-type=url"


@dataclass(frozen=True)
class Sent:
    """A request to a bucket; `path` begins behind the bucket's name."""

    method: str
    path: str = ""
    body: bytes = b""
    headers: Mapping[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Got:
    """What an answer says but for what is its own: times, ids, and the name of the bucket."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes
    is_by_moto: bool


class Buckets:
    """Two buckets that get the same requests."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection = http.client.HTTPConnection(urlsplit(url).netloc, timeout=60)
        self.names = [f"{each}-{uuid.uuid4().hex[:12]}" for each in ("own-", "moto")]
        for name in self.names:
            assert self.one(name, Sent("PUT")).status == 200

    def close(self) -> None:
        self._connection.close()

    def both(self, sent: Sent) -> tuple[Got, Got]:
        """Return the answers of the short way, if it takes the request, and of moto."""
        own, moto = self.names
        by_moto = Sent(sent.method, sent.path, sent.body, {**sent.headers, **BY_MOTO})
        return self.one(own, sent), self.one(moto, by_moto)

    def one(self, bucket: str, sent: Sent, *, is_body_sent: bool = True) -> Got:
        """Return the answer to a request to one bucket, whose body may be signed and not sent."""
        url = f"{self._url}/{bucket}{sent.path}"
        split = urlsplit(url)
        made = AWSRequest(sent.method, url, dict(sent.headers), sent.body)
        if "x-amz-trailer" in sent.headers:
            made.context["checksum"] = {"request_algorithm": {"in": "trailer"}}
        target = split.path + (f"?{split.query}" if split.query else "")
        body_sent = sent.body or None if is_body_sent else None
        self._connection.request(sent.method, target, body_sent, signed(made, "s3"))
        response = self._connection.getresponse()
        body, headers = response.read(), [(name.lower(), value) for name, value in response.getheaders()]
        return Got(
            response.status,
            sorted((name, _same(name, value)) for name, value in headers if name not in OWN),
            VERSION.sub(
                "version", CHANGING.sub(rb"<\1/", body).replace(bucket.encode(), b"BUCKET").decode("latin1")
            ).encode(),
            is_by_moto="x-amzn-requestid" in dict(headers),
        )


def _same(name: str, value: str) -> str:
    if name == "last-modified":
        return "a time"
    return "a number" if name == "content-length" and value == "" else VERSION.sub("version", value)


@pytest.fixture(scope="module")
def server(localaws: RunningLocalAws) -> RunningLocalAws:
    return localaws


@pytest.fixture
def buckets(server: RunningLocalAws) -> Iterator[Buckets]:
    with closing(Buckets(server.url)) as both:
        yield both


def crc32(body: bytes) -> dict[str, str]:
    value = base64.b64encode(zlib.crc32(body).to_bytes(4, "big")).decode()
    return {"x-amz-sdk-checksum-algorithm": "CRC32", "x-amz-checksum-crc32": value}


def put(key: str, body: bytes = b"content", **headers: str) -> Sent:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Sent("PUT", f"/{quote(key)}", body, named)


def chunked(body: bytes, checksum: int) -> Sent:
    trailer = base64.b64encode(checksum.to_bytes(4, "big"))
    parts = b"".join(b"%x\r\n%b\r\n" % (len(each), each) for each in (body[:3], body[3:]))
    encoded = parts + b"0\r\nx-amz-checksum-crc32:" + trailer + b"\r\n\r\n"
    headers = {
        "x-amz-decoded-content-length": str(len(body)),
        "x-amz-sdk-checksum-algorithm": "CRC32",
        "x-amz-trailer": "x-amz-checksum-crc32",
        "content-encoding": "aws-chunked,gzip",
    }
    return Sent("PUT", "/chunked", encoded, headers)


SHA256 = base64.b64encode(hashlib.sha256(b"content").digest()).decode()
MD5 = base64.b64encode(hashlib.md5(b"content").digest()).decode()
ETAG = hashlib.md5(b"content").hexdigest()
ODD = ["a b/c+d", "%2F", "a//b/", "../up", "é and é", "x&y=z?#", "~._-"]
CHECKED = {"x-amz-checksum-mode": "ENABLED"}
SEQUENCES: dict[str, list[Sent]] = {
    "an object with all that it can have": [
        put("k", b"content", x_amz_meta_one="1", **crc32(b"content")),
        put("k", b"content", cache_control="no-store", content_type="image/jpeg", content_disposition="inline"),
        *(Sent(method, "/k", headers=CHECKED) for method in ("HEAD", "GET")),
        put("k", b"content", expires="Wed, 21 Oct 2026 07:28:00 GMT", content_language="de", content_encoding="gzip"),
        *(Sent(method, "/k") for method in ("HEAD", "GET")),
    ],
    "checksums of other kinds": [
        put("sha", b"content", x_amz_checksum_sha256=SHA256),
        put("sha", b"content", x_amz_checksum_sha256=SHA256, x_amz_sdk_checksum_algorithm="SHA256"),
        put("crc32c", b"content", x_amz_checksum_crc32c="AAAAAA==", x_amz_sdk_checksum_algorithm="CRC32C"),
        put("md5", b"content", content_md5=MD5),
        *(Sent(method, f"/{key}", headers=CHECKED) for key in ("sha", "crc32c", "md5") for method in ("HEAD", "GET")),
        Sent("GET", f"?{PAGE}"),
    ],
    "objects in files and empty ones": [
        *(put(f"size/{size}", b"x" * size, **crc32(b"x" * size)) for size in (0, 1, 8192, 8193, 100_000, 1 << 20)),
        *(Sent("GET", f"/size/{size}", headers=CHECKED) for size in (0, 1, 8192, 8193, 100_000, 1 << 20)),
        Sent("GET", "/size/100000", headers={"range": "bytes=99990-"}),
        Sent("GET", f"?{PAGE}&prefix=size%2F"),
    ],
    "odd keys": [
        *(put(key, key.encode()) for key in ODD),
        *(Sent(method, f"/{quote(key)}") for key in ODD for method in ("HEAD", "GET")),
        Sent("GET", f"?{PAGE}"),
        Sent("GET", f"?{PAGE}&prefix=a%20b%2F&delimiter=%2F"),
        *(Sent("DELETE", f"/{quote(key)}") for key in ODD),
        Sent("GET", f"?{PAGE}"),
    ],
    "deletions": [
        *(put("d", b"1"), Sent("DELETE", "/d"), Sent("DELETE", "/d"), Sent("DELETE", "/never")),
        *(Sent("GET", "/d"), Sent("HEAD", "/d"), put("d", b"2"), Sent("GET", "/d")),
    ],
    "tags and grants come and go with the object": [
        *(put("t", b"1", x_amz_tagging="a=1"), Sent("GET", "/t?tagging"), put("t", b"2"), Sent("GET", "/t?tagging")),
        *(put("t", b"3", x_amz_tagging="b=2"), Sent("GET", "/t"), Sent("DELETE", "/t"), put("t", b"4")),
        *(Sent("GET", "/t?tagging"), Sent("GET", "/t"), put("t", b"5", x_amz_acl="public-read"), Sent("GET", "/t?acl")),
        *(
            put("t", b"6"),
            Sent("GET", "/t?acl"),
            Sent("GET", "/t?attributes", headers={"x-amz-object-attributes": "ETag"}),
        ),
    ],
    "a bucket with versions": [
        Sent("PUT", "?versioning", b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
        *(put("v", b"1"), put("v", b"2"), Sent("GET", "/v"), Sent("HEAD", "/v"), Sent("DELETE", "/v")),
        *(
            Sent("GET", "/v"),
            Sent("HEAD", "/v"),
            Sent("DELETE", "/v"),
            Sent("GET", f"?{PAGE}"),
            Sent("GET", "?versions"),
        ),
        *(put("v", b"3"), Sent("GET", "/v", headers=CHECKED), Sent("GET", f"?{PAGE}"), Sent("GET", "?versions")),
    ],
    "a bucket whose versions are suspended": [
        Sent("PUT", "?versioning", b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"),
        *(put("v", b"1"), Sent("DELETE", "/v")),
        Sent("PUT", "?versioning", b"<VersioningConfiguration><Status>Suspended</Status></VersioningConfiguration>"),
        *(Sent("DELETE", "/v"), Sent("GET", "?versions"), put("v", b"2"), Sent("GET", "/v"), Sent("GET", "?versions")),
    ],
    "a bucket that is sealed by default": [
        Sent(
            "PUT",
            "?encryption",
            b"<ServerSideEncryptionConfiguration><Rule><ApplyServerSideEncryptionByDefault><SSEAlgorithm>AES256"
            b"</SSEAlgorithm></ApplyServerSideEncryptionByDefault></Rule></ServerSideEncryptionConfiguration>",
        ),
        *(put("s", b"1"), Sent("GET", "/s"), Sent("HEAD", "/s"), put("s", b"2", x_amz_server_side_encryption="AES256")),
        *(Sent("GET", "/s"), put("k", b"3", x_amz_server_side_encryption="no such one")),
    ],
    "bodies that arrive in chunks": [
        *(chunked(b"chunky content", zlib.crc32(b"chunky content")), Sent("GET", "/chunked", headers=CHECKED)),
        *(chunked(b"chunky content", 7), Sent("HEAD", "/chunked")),
    ],
    "what is refused": [
        put("bad", b"content", content_md5=base64.b64encode(hashlib.md5(b"x").digest()).decode()),
        put("bad", b"content", **crc32(b"other")),
        put("line\nfeed"),
        Sent("GET", "/line%0Afeed"),
        put("bad", b"content", x_amz_storage_class="COLD"),
        *(Sent("GET", "/bad"), Sent("HEAD", "/bad"), Sent("GET", f"?{PAGE}&max-keys=x")),
        Sent("GET", f"?{PAGE}&continuation-token="),
        Sent("GET", f"?{PAGE}&continuation-token=never"),
        put("bad", b"content", x_amz_expected_bucket_owner="111111111111"),
        Sent("GET", f"?{PAGE}", headers={"x-amz-expected-bucket-owner": "111111111111"}),
    ],
    "conditions": [
        *(put("c", b"content", if_match=ETAG), put("c", b"content", if_none_match="*"), Sent("GET", "/c")),
        *(put("c", b"other", if_none_match="*"), put("c", b"other", if_match="wrong"), Sent("GET", "/c")),
        *(put("c", b"next", if_match=f'"{ETAG}"'), Sent("GET", "/c"), Sent("HEAD", "/c")),
        Sent("GET", "/c", headers={"if-none-match": hashlib.md5(b"next").hexdigest()}),
        Sent("GET", "/c", headers={"if-match": "wrong"}),
        Sent("GET", "/c", headers={"if-modified-since": "Wed, 21 Oct 2015 07:28:00 GMT"}),
        *(Sent("DELETE", "/c", headers={"if-match": "wrong"}), Sent("HEAD", "/c")),
    ],
    "ranges": [
        put("r", b"0123456789", **crc32(b"0123456789")),
        *(
            Sent("GET", "/r", headers={"range": each, **CHECKED})
            for each in (
                *(
                    "bytes=0-",
                    "bytes=0-9",
                    "bytes=0-100",
                    "bytes=2-4",
                    "bytes=9-9",
                    "bytes=-3",
                    "bytes=-100",
                    "bytes=-0",
                ),
                *("bytes=5-2", "bytes=10-", "bytes=-", "bytes=a-b", "bytes=0-1,3-4", "bytes=1", "items=1-2"),
            )
        ),
        Sent("HEAD", "/r", headers={"range": "bytes=2-4"}),
    ],
    "pages": [
        *(put(key, key.encode()) for key in ("a", "b/1", "b/2", "b/c/3", "b0", "d/", "d/1", "e")),
        Sent("GET", f"?{PAGE}"),
        Sent("GET", f"?{PAGE}&fetch-owner=true"),
        Sent("GET", f"?{PAGE}&delimiter=%2F"),
        *(Sent("GET", f"?{PAGE}&delimiter=%2F&max-keys={size}") for size in range(6)),
        *(Sent("GET", f"?{PAGE}&fetch-owner={each}") for each in ("True", "false", "", "x")),
        *(
            Sent("GET", f"?{PAGE}&max-keys={each}")
            for each in ("1000", "1001", "5000", "", "-1", "x", "9" * 10, "9" * 5000)
        ),
        *(Sent("GET", f"?{PAGE}&prefix=b%2F&delimiter=%2F&max-keys={size}") for size in range(4)),
        *(Sent("GET", f"?{PAGE}&start-after={quote(each, safe='')}") for each in ("a", "b/", "b/1", "d/", "zz", "b&c")),
        *(Sent("GET", f"?{PAGE}&delimiter=%2F&start-after={quote(each, safe='')}") for each in ("a", "b/", "b/1")),
        *(
            Sent("GET", f"?{each}")
            for each in ("list-type=2", "list-type=2&delimiter=b", "", "delimiter=%2F", "versions")
        ),
    ],
}


@pytest.mark.parametrize("name", SEQUENCES)
def test_an_answer_of_the_short_way_is_that_of_moto(buckets: Buckets, name: str) -> None:
    for sent in SEQUENCES[name]:
        own, moto = buckets.both(sent)
        assert (own.status, own.headers, own.body) == (moto.status, moto.headers, moto.body), sent


def test_the_short_way_takes_what_clients_send_and_moto_what_has_one_header_more(buckets: Buckets) -> None:
    usual = [put("k", b"content", x_amz_meta_one="1", **crc32(b"content")), Sent("GET", "/k", headers=CHECKED)]
    usual += [Sent("HEAD", "/k"), Sent("GET", "/k", headers={"range": "bytes=1-2"}), Sent("GET", f"?{PAGE}")]
    usual += [put("k", b"x", if_match=ETAG), put("large", bytes(1 << 20)), Sent("DELETE", "/k")]
    for sent in usual:
        own, moto = buckets.both(sent)
        assert own.status in (200, 204, 206), own
        assert (own.is_by_moto, moto.is_by_moto) == (False, True), sent


@pytest.mark.parametrize(
    "sent",
    [
        put("k", bytes((1 << 20) + 1)),
        put("k", x_amz_tagging="a=1"),
        put("k", x_amz_acl="private"),
        put("k", x_amz_storage_class="STANDARD"),
        put("k", x_amz_website_redirect_location="/other"),
        Sent("GET", f"?{PAGE}&prefix=a&unknown=1"),
        Sent("GET", "?list-type=2"),
    ],
)
def test_what_asks_for_more_is_motos_to_answer(buckets: Buckets, sent: Sent) -> None:
    answer = buckets.one(buckets.names[0], sent)
    assert (answer.status, answer.is_by_moto) == (200, True)


def test_the_client_of_boto3_takes_the_short_way(server: RunningLocalAws, buckets: Buckets) -> None:
    s3, name = server.client("s3"), buckets.names[0]
    answers = [
        s3.put_object(Bucket=name, Key="k", Body=b"content", Metadata={"a": "1"}, ContentType="image/jpeg"),
        s3.get_object(Bucket=name, Key="k"),
        s3.head_object(Bucket=name, Key="k"),
        s3.list_objects_v2(Bucket=name, Prefix="k"),
        s3.delete_object(Bucket=name, Key="k"),
    ]
    assert [each for each in answers if "x-amzn-requestid" in each["ResponseMetadata"]["HTTPHeaders"]] == []


@pytest.mark.parametrize("page", [PAGE, "list-type=2", "encoding-type=url"])
def test_a_folder_of_delete_markers_alone_is_no_common_prefix(buckets: Buckets, page: str) -> None:
    enabled = b"<VersioningConfiguration><Status>Enabled</Status></VersioningConfiguration>"
    for sent in (
        *(Sent("PUT", "?versioning", enabled), put("a/1"), put("a/2"), put("b/1"), put("b/2"), put("c")),
        *(Sent("DELETE", "/a/1"), Sent("DELETE", "/a/2"), Sent("DELETE", "/b/1")),
    ):
        buckets.both(sent)
    for answer in buckets.both(Sent("GET", f"?{page}&delimiter=%2F")):
        assert re.findall(rb"<Prefix>([^<]+)</Prefix>", answer.body) == [b"b/"]
    for answer in buckets.both(Sent("GET", "?versions&delimiter=%2F")):
        assert re.findall(rb"<Prefix>([^<]+)</Prefix>", answer.body) == [b"a/", b"b/"]


@pytest.mark.parametrize("page", [PAGE, "list-type=2", "encoding-type=url", "versions"])
def test_the_size_of_a_page_is_a_thousand_if_more_are_asked_for(buckets: Buckets, page: str) -> None:
    for answer in buckets.both(Sent("GET", f"?{page}&max-keys=5000")):
        assert answer.status == 200 and b"<MaxKeys>1000</MaxKeys>" in answer.body


@pytest.mark.parametrize("page", [PAGE, "list-type=2", "encoding-type=url", "versions"])
@pytest.mark.parametrize(
    ("size", "told"),
    [
        ("-1", b"Argument maxKeys must be an integer between 0 and 2147483647"),
        ("2147483648", b"Argument maxKeys must be an integer between 0 and 2147483647"),
        ("9" * 4000, b"Argument maxKeys must be an integer between 0 and 2147483647"),
        ("9" * 5000, b"MaxKeys: STRING_VALUE can not be converted to an Integer"),
    ],
)
def test_a_size_of_a_page_that_is_none_is_refused(buckets: Buckets, page: str, size: str, told: bytes) -> None:
    for answer in buckets.both(Sent("GET", f"?{page}&max-keys={size}")):
        assert answer.status == 400 and b"<Code>InvalidArgument</Code>" in answer.body and told in answer.body


@pytest.mark.parametrize(("fetch_owner", "count"), [("true", 1), ("false", 0), ("", 0)])
def test_owners_are_told_only_if_they_are_asked_for(buckets: Buckets, fetch_owner: str, count: int) -> None:
    buckets.both(put("k"))
    for answer in buckets.both(Sent("GET", f"?{PAGE}&fetch-owner={fetch_owner}")):
        assert answer.body.count(b"<Owner>") == count


@pytest.mark.parametrize("method", ["PUT", "GET", "DELETE", "HEAD"])
def test_a_key_of_more_than_1024_bytes_is_refused(buckets: Buckets, method: str) -> None:
    longest = "\N{LATIN SMALL LETTER E WITH ACUTE}" * 512
    assert [each.status for each in buckets.both(put(longest))] == [200, 200]
    for answer in buckets.both(Sent(method, f"/{quote(longest + 'x')}")):
        assert answer.status == 400
        assert method == "HEAD" or b"<Code>KeyTooLongError</Code><Message>Your key is too long</Message>" in answer.body
    for answer in buckets.both(Sent("POST", f"/{quote(longest + 'x')}?uploads")):
        assert answer.status == 400 and b"<Size>1025</Size><MaxSizeAllowed>1024</MaxSizeAllowed>" in answer.body


@pytest.mark.parametrize("method", ["GET", "HEAD", "DELETE"])
def test_a_request_without_a_body_that_signs_another_hash_is_refused(buckets: Buckets, method: str) -> None:
    buckets.one(buckets.names[0], put("k"))
    assert buckets.one(buckets.names[0], Sent(method, "/k", b"other"), is_body_sent=False).status == 400
    assert buckets.one(buckets.names[0], Sent("GET", "/k")).body == b"content"


def test_an_object_is_reached_by_a_host_name_of_its_bucket(server: RunningLocalAws, buckets: Buckets) -> None:
    port, name = urlsplit(server.url).port, buckets.names[0]
    buckets.one(name, put("a/b", b"by path"))
    url = f"http://{name}.s3.localhost:{port}/a/b"
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    connection.request("GET", "/a/b", headers=signed(AWSRequest("GET", url), "s3"))
    response = connection.getresponse()
    assert (response.status, response.read(), response.getheader("x-amzn-requestid")) == (200, b"by path", None)
    connection.close()


def test_a_bucket_with_a_lock_is_motos(server: RunningLocalAws) -> None:
    s3, name = server.client("s3"), f"locked-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name, ObjectLockEnabledForBucket=True)
    default = {"ObjectLockEnabled": "Enabled", "Rule": {"DefaultRetention": {"Mode": "COMPLIANCE", "Days": 1}}}
    s3.put_object_lock_configuration(Bucket=name, ObjectLockConfiguration=default)
    s3.put_object(Bucket=name, Key="k", Body=b"1")
    assert s3.head_object(Bucket=name, Key="k")["ObjectLockMode"] == "COMPLIANCE"


def test_requests_to_a_bucket_with_logging_are_logged(server: RunningLocalAws) -> None:
    s3, name = server.client("s3"), f"logged-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    allowed = {
        "Version": "2012-10-17",
        "Statement": [
            {
                "Effect": "Allow",
                "Principal": {"Service": "logging.s3.amazonaws.com"},
                "Action": "s3:PutObject",
                "Resource": f"arn:aws:s3:::{name}/log/*",
            }
        ],
    }
    s3.put_bucket_policy(Bucket=name, Policy=json.dumps(allowed))
    s3.put_bucket_logging(
        Bucket=name, BucketLoggingStatus={"LoggingEnabled": {"TargetBucket": name, "TargetPrefix": "log/"}}
    )
    s3.put_object(Bucket=name, Key="k", Body=b"1")
    assert s3.list_objects_v2(Bucket=name, Prefix="log/")["KeyCount"] >= 1


KEYS = st.sampled_from(["a", "a/1", "a/2", "b/1", "c"])
CONTENTS = st.binary(max_size=40) | st.just(bytes(9_000))
STEPS = st.one_of(
    st.builds(lambda key, body: put(key, body, **crc32(body)), KEYS, CONTENTS),
    st.builds(lambda key, body: put(key, body, if_none_match="*", x_amz_meta_m="1"), KEYS, CONTENTS),
    st.builds(lambda key: put(key, b"", x_amz_copy_source="BUCKET/a"), KEYS),
    st.builds(lambda key: Sent("DELETE", f"/{key}"), KEYS),
    st.builds(lambda method, key: Sent(method, f"/{key}", headers=CHECKED), st.sampled_from(["GET", "HEAD"]), KEYS),
    st.builds(lambda size: Sent("GET", f"?{PAGE}&delimiter=%2F&max-keys={size}"), st.integers(0, 4)),
    st.sampled_from([Sent("GET", f"?{PAGE}"), Sent("GET", "?versions"), Sent("GET", "/a?tagging")]),
    st.builds(
        lambda status: Sent(
            "PUT",
            "?versioning",
            f"<VersioningConfiguration><Status>{status}</Status></VersioningConfiguration>".encode(),
        ),
        st.sampled_from(["Enabled", "Suspended"]),
    ),
)


@given(steps=st.lists(STEPS, min_size=4, max_size=14))
@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_mixed_requests_leave_the_same_state_whichever_way_they_go(server: RunningLocalAws, steps: list[Sent]) -> None:
    with closing(Buckets(server.url)) as buckets:
        for step in steps:
            own, moto = (_answer(buckets, name, step) for name in (False, True))
            assert (own.status, own.headers, own.body) == (moto.status, moto.headers, moto.body), step
        own, moto = buckets.both(Sent("GET", "?versions"))
        assert own.body == moto.body


def _answer(buckets: Buckets, is_by_moto: Any, step: Sent) -> Got:
    name = buckets.names[int(is_by_moto)]
    headers = {key: value.replace("BUCKET", name) for key, value in step.headers.items()}
    return buckets.one(name, Sent(step.method, step.path, step.body, {**headers, **(BY_MOTO if is_by_moto else {})}))
