"""The examples that AWS publishes, with the signatures that its pages give.

Sources: https://docs.aws.amazon.com/AmazonS3/latest/API/sig-v4-header-based-auth.html, sigv4-query-string-auth.html,
sigv4-streaming.html and sigv4-streaming-trailers.html.
"""

import hashlib
import io
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from localaws.auth.keys import Key
from localaws.auth.verifier import Signed, Unverified, Verifier
from localaws.errors import AwsError
from localaws.object_contents import Staged, Store
from localaws.s3.incoming import receive

KEY = Key("wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY")
NOON = datetime(2013, 5, 24, tzinfo=UTC).timestamp()
HOST = ("host", "examplebucket.s3.amazonaws.com")
DATE = ("x-amz-date", "20130524T000000Z")
EMPTY = ("x-amz-content-sha256", "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855")
SCOPE = "AKIAIOSFODNN7EXAMPLE/20130524/us-east-1/s3/aws4_request"
DATA = b"a" * 66560

Headers = Sequence[tuple[str, str]]


def authorization(signed: str, signature: str) -> tuple[str, str]:
    return "authorization", f"AWS4-HMAC-SHA256 Credential={SCOPE},SignedHeaders={signed},Signature={signature}"


def scope_of(method: str, target: str, headers: Headers) -> dict[str, Any]:
    path, _, query = target.partition("?")
    return {
        "method": method,
        "path": path,
        "raw_path": path.encode(),
        "query_string": query.encode(),
        "headers": [(name.encode(), value.encode()) for name, value in headers],
    }


def verify(scope: dict[str, Any], now: float = NOON) -> Signed:
    found = Verifier(lambda _: KEY, clock=lambda: now).read(scope)
    assert isinstance(found, Unverified) and found.payload is not None
    return found.verify(found.payload)


PLAIN = "host;x-amz-content-sha256;x-amz-date"
PUT_NAMES = "date;host;x-amz-content-sha256;x-amz-date;x-amz-storage-class"
PUT_HASH = "44ce7dd67c959e0d3524ffac1771dfbba87d2b6b4b4e99e42034a8b803f8b072"
EXAMPLES: dict[str, tuple[str, str, Headers]] = {
    "GET Object": (
        "GET",
        "/test.txt",
        [
            HOST,
            ("range", "bytes=0-9"),
            EMPTY,
            DATE,
            authorization(
                "host;range;x-amz-content-sha256;x-amz-date",
                "f0e8bdb87c964420e857bd35b5d6ed310bd44f0170aba48dd91039c6036bdb41",
            ),
        ],
    ),
    "PUT Object": (
        "PUT",
        "/test%24file.text",
        [
            HOST,
            ("date", "Fri, 24 May 2013 00:00:00 GMT"),
            DATE,
            ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
            ("x-amz-content-sha256", PUT_HASH),
            authorization(PUT_NAMES, "98ad721746da40c64f1a55b78f14c238d841ea1380cd77a1b5971af0ece108bd"),
        ],
    ),
    "GET Bucket Lifecycle": (
        "GET",
        "/?lifecycle",
        [
            HOST,
            DATE,
            EMPTY,
            authorization(PLAIN, "fea454ca298b7da1c68078a5d1bdbfbbe0d65c699e0f91ac7a200a0136783543"),
        ],
    ),
    "GET Bucket (List Objects)": (
        "GET",
        "/?max-keys=2&prefix=J",
        [
            HOST,
            DATE,
            EMPTY,
            authorization(PLAIN, "34b48302e7b5fa45bde8084f4b7868a86f0a534bc59db6670ed5711ef69dc6f7"),
        ],
    ),
    "presigned": (
        "GET",
        "/test.txt?X-Amz-Algorithm=AWS4-HMAC-SHA256&X-Amz-Credential=AKIAIOSFODNN7EXAMPLE%2F20130524%2Fus-east-1%2Fs3%2F"
        "aws4_request&X-Amz-Date=20130524T000000Z&X-Amz-Expires=86400&X-Amz-SignedHeaders=host&X-Amz-Signature="
        "aeeed9bbccd4d02ee5c0109b86d86835f995330da4c265957d157751f604d404",
        [HOST],
    ),
}


@pytest.mark.parametrize("name", EXAMPLES)
def test_a_published_example_holds_on_its_day_and_on_no_other(name: str) -> None:
    scope = scope_of(*EXAMPLES[name])
    assert verify(scope).service == "s3"
    with pytest.raises(AwsError, match=r"RequestTimeTooSkewed|Request has expired"):
        verify(scope, NOON + 2 * 24 * 3600)


STREAM = [
    ("host", "s3.amazonaws.com"),
    DATE,
    ("x-amz-storage-class", "REDUCED_REDUNDANCY"),
    ("content-encoding", "aws-chunked"),
    ("x-amz-decoded-content-length", "66560"),
]
CHUNKED = [
    *STREAM,
    ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD"),
    ("content-length", "66824"),
    authorization(
        "content-encoding;content-length;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;"
        "x-amz-storage-class",
        "4f232c4386841ef735655705268965c44a0e4690baa4adea153f7db9fa80a0a9",
    ),
]
TRAILED = [
    *STREAM,
    ("x-amz-content-sha256", "STREAMING-AWS4-HMAC-SHA256-PAYLOAD-TRAILER"),
    ("x-amz-trailer", "x-amz-checksum-crc32c"),
    authorization(
        "content-encoding;host;x-amz-content-sha256;x-amz-date;x-amz-decoded-content-length;x-amz-storage-class;"
        "x-amz-trailer",
        "106e2a8a18243abcf37539882f36619c00e2dfc72633413f02d3b74544bfeb8e",
    ),
]
CHUNKS = {
    "chunked": (
        CHUNKED,
        [
            b"ad80c730a21e5b8d04586a2213dd63b9a0e99e0e2307b0ade35a65485a288648",
            b"0055627c9e194cb4542bae2aa5492e3c1575bbb81b612b7d234b86a503ef5497",
            b"b6c6ea8a5354eaf15b3cb7646744f4275b71ea724fed81ceb9323e279d449df9",
        ],
        b"\r\n",
    ),
    "chunked with a trailer": (
        TRAILED,
        [
            b"b474d8862b1487a5145d686f57f013e54db672cee1c953b3010fb58501ef5aa2",
            b"1c1344b170168f8e65b41376b44b20fe354e373826ccbbe2c1d40a8cae51e5c7",
            b"2ca2aba2005185cf7159c6277faf83795951dd77a3a99e6e65d5c9f85863f992",
        ],
        b"x-amz-checksum-crc32c:sOO8/Q==\r\n"
        b"x-amz-trailer-signature:d81f82fc3505edab99d459891051a732e8730629a2e4a59689829ca17fe2e435\r\n\r\n",
    ),
}


def chunked(signatures: Sequence[bytes], end: bytes) -> bytes:
    parts = [DATA[:65536], DATA[65536:], b""]
    lines = [b"%x;chunk-signature=%b\r\n" % (len(part), each) for part, each in zip(parts, signatures, strict=True)]
    return lines[0] + parts[0] + b"\r\n" + lines[1] + parts[1] + b"\r\n" + lines[2] + end


def content_of(body: bytes | Staged) -> bytes:
    return body if isinstance(body, bytes) else b"".join(body.whole())


@pytest.mark.parametrize("name", CHUNKS)
def test_a_published_chunked_upload_holds_and_any_change_of_it_is_refused(name: str, tmp_path: Path) -> None:
    headers, signatures, end = CHUNKS[name]
    scope = scope_of("PUT", "/examplebucket/chunkObject.txt", headers)
    store, good = Store(tmp_path), chunked(signatures, end)
    store.clear()
    received = receive(io.BytesIO(good), dict(headers), store, verify(scope).chunks)
    assert hashlib.sha256(content_of(received.body)).digest() == hashlib.sha256(DATA).digest()
    bad = [
        good.replace(b"aaaa", b"aaba", 1),
        good.replace(signatures[1], signatures[0], 1),
        good.replace(b";chunk-signature=" + signatures[2], b"", 1),
        *([good.replace(b"sOO8", b"sOO9")] if b"sOO8" in end else []),
        *([good.replace(b"x-amz-trailer-signature:d", b"x-amz-trailer-signature:e")] if b"sOO8" in end else []),
    ]
    for each in bad:
        with pytest.raises(AwsError, match="SignatureDoesNotMatch"):
            receive(io.BytesIO(each), dict(headers), store, verify(scope).chunks)
    assert len(list(tmp_path.rglob("*"))) == 1, "what was refused left a file"
