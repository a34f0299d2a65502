"""S3: contents on disk, digests checked, conditions atomic, odd keys exact."""

import base64
import hashlib
import http.client
import io
import json
import threading
import urllib.request
import uuid
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import psutil
import pytest
from boto3.s3.transfer import TransferConfig
from botocore.awsrequest import AWSRequest
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.conftest import RunningLocalAws
from tests.keys import for_boto3, signed

MIB = 1 << 20


@pytest.fixture(scope="module")
def s3(localaws: RunningLocalAws) -> Any:
    return localaws.client("s3")


@pytest.fixture(scope="module")
def bucket(s3: Any) -> str:
    name = f"s3-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    return name


def error_of(call: Any, **parameters: Any) -> tuple[str, int]:
    with pytest.raises(ClientError) as caught:
        call(**parameters)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


KEYS = st.text(
    st.characters(exclude_categories=["Cs", "Cc"]) | st.sampled_from("%/+?#&=. ~"), min_size=1, max_size=40
).filter(lambda key: len(key.encode()) <= 300 and key.strip("/") != "")


@given(key=KEYS)
@example(key="a%2Fb")
@example(key="x%20y+z")
@example(key="../up")
@example(key="a//b/")
@example(key="-lead")
@example(key="e\u0301 and \u00e9")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_printable_key_comes_back_exactly(s3: Any, bucket: str, key: str) -> None:
    body = key.encode()
    s3.put_object(Bucket=bucket, Key=f"k{key}", Body=body, Metadata={"under_score": "kept"})
    got = s3.get_object(Bucket=bucket, Key=f"k{key}")
    assert (got["Body"].read(), got["Metadata"]) == (body, {"under_score": "kept"})
    assert f"k{key}" in {item["Key"] for item in s3.list_objects_v2(Bucket=bucket, Prefix=f"k{key}")["Contents"]}


@pytest.mark.parametrize("size", [0, 1, 8 * 1024, 8 * 1024 + 1, MIB, 3 * MIB + 17])
def test_an_object_of_any_size_comes_back_whole_and_in_ranges(s3: Any, bucket: str, size: int) -> None:
    body = bytes(range(256)) * (size // 256) + b"\x01" * (size % 256)
    etag = s3.put_object(Bucket=bucket, Key="sized", Body=body)["ETag"]
    assert etag == f'"{hashlib.md5(body).hexdigest()}"'
    assert s3.get_object(Bucket=bucket, Key="sized")["Body"].read() == body
    if size > 1:
        part = s3.get_object(Bucket=bucket, Key="sized", Range=f"bytes=1-{size - 1}")
        assert (part["ContentRange"], part["Body"].read()) == (f"bytes 1-{size - 1}/{size}", body[1:])
        assert s3.get_object(Bucket=bucket, Key="sized", Range="bytes=-1")["Body"].read() == body[-1:]


def test_a_new_bucket_does_not_have_the_tags_of_a_deleted_one(s3: Any) -> None:
    name = f"s3-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "owner", "Value": "first"}]})
    s3.delete_bucket(Bucket=name)
    s3.create_bucket(Bucket=name)
    assert error_of(s3.get_bucket_tagging, Bucket=name) == ("NoSuchTagSet", 404)


def test_a_multipart_upload_is_joined_on_disk_with_awss_etag_and_leaves_no_parts(
    s3: Any, bucket: str, localaws: RunningLocalAws, tmp_path: Path
) -> None:
    body = b"".join(hashlib.sha512(str(i).encode()).digest() for i in range(20 * MIB // 64))
    (tmp_path / "big").write_bytes(body)
    before = len(list((localaws.home / "objects").iterdir()))
    chunk = 8 * MIB
    s3.upload_file(str(tmp_path / "big"), bucket, "joined", Config=TransferConfig(multipart_chunksize=chunk))
    parts = [hashlib.md5(body[at : at + chunk]).digest() for at in range(0, len(body), chunk)]
    found = s3.head_object(Bucket=bucket, Key="joined")
    assert found["ETag"] == f'"{hashlib.md5(b"".join(parts)).hexdigest()}-{len(parts)}"'
    s3.download_file(bucket, "joined", str(tmp_path / "back"))
    assert (tmp_path / "back").read_bytes() == body
    assert len(list((localaws.home / "objects").iterdir())) == before + 1
    assert error_of(s3.get_object, Bucket=bucket, Key="joined", PartNumber=2)[0] == "NotImplemented"
    s3.copy_object(Bucket=bucket, Key="copied", CopySource={"Bucket": bucket, "Key": "joined"})
    s3.delete_object(Bucket=bucket, Key="joined")
    assert s3.get_object(Bucket=bucket, Key="copied")["Body"].read() == body
    s3.delete_object(Bucket=bucket, Key="copied")
    assert len(list((localaws.home / "objects").iterdir())) == before


def test_large_objects_do_not_live_in_memory(s3: Any, bucket: str, localaws: RunningLocalAws) -> None:
    server = psutil.Process(localaws.pid)
    block = bytes(MIB)
    before = server.memory_info().rss
    s3.upload_fileobj(Repeated(block, 200), bucket, "large")
    pieces = s3.get_object(Bucket=bucket, Key="large")["Body"].iter_chunks(MIB)
    assert sum(len(piece) for piece in pieces) == 200 * MIB
    assert server.memory_info().rss - before < 100 * MIB
    s3.delete_object(Bucket=bucket, Key="large")


def test_of_many_conditional_puts_exactly_one_wins(s3: Any, bucket: str) -> None:
    def put(number: int) -> bool:
        try:
            s3.put_object(Bucket=bucket, Key="once", Body=str(number).encode() * 20_000, IfNoneMatch="*")
        except ClientError as error:
            assert error.response["Error"]["Code"] == "PreconditionFailed"
            return False
        return True

    with ThreadPoolExecutor(8) as pool:
        won = list(pool.map(put, range(8)))
    assert sum(won) == 1
    assert s3.get_object(Bucket=bucket, Key="once")["Body"].read()[:1] == str(won.index(True)).encode()


def test_a_body_that_is_not_what_the_client_said_is_refused_and_nothing_is_stored(s3: Any, bucket: str) -> None:
    wrong = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    assert error_of(s3.put_object, Bucket=bucket, Key="bad", Body=b"x" * 50_000, ContentMD5=wrong) == ("BadDigest", 400)
    crc = base64.b64encode(zlib.crc32(b"other").to_bytes(4, "big")).decode()
    assert error_of(s3.put_object, Bucket=bucket, Key="bad", Body=b"x", ChecksumCRC32=crc) == ("BadDigest", 400)
    assert error_of(s3.head_object, Bucket=bucket, Key="bad") == ("404", 404)


def test_a_body_cut_off_on_the_way_is_not_an_object(localaws: RunningLocalAws, s3: Any, bucket: str) -> None:
    host, port = str(urlsplit(localaws.url).hostname), urlsplit(localaws.url).port
    connection = http.client.HTTPConnection(host, port, timeout=60)
    connection.putrequest("PUT", f"/{bucket}/cut", skip_host=True)
    made = AWSRequest("PUT", f"{localaws.url}/{bucket}/cut", {"Content-Length": "100000"}, b"x" * 100_000)
    for name, value in signed(made, "s3").items():
        connection.putheader(name, value)
    connection.endheaders(b"x" * 60_000)
    connection.close()
    assert s3.put_object(Bucket=bucket, Key="after", Body=b"y")["ETag"]
    assert error_of(s3.head_object, Bucket=bucket, Key="cut") == ("404", 404)


def test_a_streamed_body_with_its_checksum_behind_it_is_decoded_and_checked(
    localaws: RunningLocalAws, s3: Any, bucket: str
) -> None:
    body = b"0123456789" * 5_000
    for checksum, status in ((zlib.crc32(body), 200), (zlib.crc32(b"other"), 400)):
        trailer = base64.b64encode(checksum.to_bytes(4, "big"))
        chunks = b"".join(b"%x\r\n%s\r\n" % (len(part), part) for part in (body[:30_000], body[30_000:]))
        encoded = chunks + b"0\r\nx-amz-checksum-crc32:" + trailer + b"\r\n\r\n"
        headers = {
            "x-amz-decoded-content-length": str(len(body)),
            "x-amz-trailer": "x-amz-checksum-crc32",
            "content-encoding": "aws-chunked",
        }
        url = f"{localaws.url}/{bucket}/streamed-{status}"
        made = AWSRequest("PUT", url, headers, encoded)
        made.context["checksum"] = {"request_algorithm": {"in": "trailer"}}  # STREAMING-UNSIGNED-PAYLOAD-TRAILER
        request = urllib.request.Request(url, encoded, signed(made, "s3"), method="PUT")
        try:
            with urllib.request.urlopen(request) as response:
                assert response.status == status
        except urllib.error.HTTPError as error:
            assert (error.code, b"<Code>BadDigest</Code>" in error.read()) == (status, True)
    assert s3.get_object(Bucket=bucket, Key="streamed-200")["Body"].read() == body


def test_a_presigned_url_puts_and_gets(s3: Any, bucket: str) -> None:
    form = "application/x-www-form-urlencoded"  # urllib's own, which is signed too
    put = s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "signed", "ContentType": form})
    with urllib.request.urlopen(urllib.request.Request(put, data=b"q" * 20_000, method="PUT")) as response:
        assert response.status == 200
    get = s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "signed"})
    with urllib.request.urlopen(get) as response:
        assert response.read() == b"q" * 20_000


def test_virtual_host_and_path_style_reach_the_same_object(localaws: RunningLocalAws, s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="styled/key", Body=b"z" * 10_000)
    port = urlsplit(localaws.url).port
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=60)
    host = f"{bucket}.s3.localhost:{port}"
    connection.request("GET", "/styled/key", headers=signed(AWSRequest("GET", f"http://{host}/styled/key"), "s3"))
    assert connection.getresponse().read() == b"z" * 10_000
    connection.close()
    virtual = boto3.client(
        "s3",
        endpoint_url=localaws.url,
        region_name="us-east-1",
        **for_boto3(),
        config=Config(s3={"addressing_style": "virtual"}),
    )
    assert virtual.get_object(Bucket=bucket, Key="styled/key")["ContentLength"] == 10_000


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"Effect": "deny"}, "Invalid effect: deny"),
        ({"principal": "*"}, "Unknown field principal"),
        ({"Principal": None}, "Missing required field Principal"),
        ({"Action": None}, "Missing required field Action"),
        ({"Resource": None}, "Missing required field Resource"),
    ],
)
def test_a_policy_that_would_be_read_otherwise_than_meant_is_refused(s3: Any, changes: Any, text: str) -> None:
    name = f"s3-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    changed = {**statement("Deny", "s3:GetObject", f"arn:aws:s3:::{name}/*"), **changes}
    with pytest.raises(ClientError, match=text) as caught:
        s3.put_bucket_policy(Bucket=name, Policy=policy({key: value for key, value in changed.items() if value}))
    assert caught.value.response["Error"]["Code"] == "MalformedPolicy"


@pytest.mark.parametrize("text", ["no JSON", "[]", '"x"'])
def test_a_policy_that_is_no_document_is_refused(s3: Any, text: str) -> None:
    name = f"s3-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    with pytest.raises(ClientError, match="MalformedPolicy"):
        s3.put_bucket_policy(Bucket=name, Policy=text)


@pytest.mark.parametrize("source", ["b", "b/", "/b/"])
def test_a_copy_whose_source_names_no_object_is_refused(s3: Any, source: str) -> None:
    name = f"s3-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    with pytest.raises(ClientError, match="Copy Source must mention the source bucket and key"):
        s3.copy_object(Bucket=name, Key="k", CopySource=source)


def test_a_tls_only_policy_lets_loopback_pass_and_a_denial_denies(s3: Any, localaws: RunningLocalAws) -> None:
    name = f"s3-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="open", Body=b"1")
    s3.put_object(Bucket=name, Key="secret/1", Body=b"1")
    everything = [f"arn:aws:s3:::{name}", f"arn:aws:s3:::{name}/*"]
    tls_only = statement("Deny", "s3:*", everything, Condition={"Bool": {"aws:SecureTransport": "false"}})
    s3.put_bucket_policy(Bucket=name, Policy=policy(tls_only))
    assert s3.get_object(Bucket=name, Key="secret/1")["ContentLength"] == 1
    closed = statement("Deny", "s3:GetObject", f"arn:aws:s3:::{name}/secret/*")
    s3.put_bucket_policy(Bucket=name, Policy=policy(tls_only, closed))
    assert error_of(s3.get_object, Bucket=name, Key="secret/1")[1] == 403
    assert s3.get_object(Bucket=name, Key="open")["ContentLength"] == 1
    odd = statement("Deny", "s3:*", everything, Condition={"DateResembles": {"aws:CurrentTime": "2030-01-01"}})
    with pytest.raises(ClientError, match="does not evaluate the condition operator DateResembles"):
        s3.put_bucket_policy(Bucket=name, Policy=policy(odd))
    but_root = statement("Deny", "s3:*", everything)
    but_root["NotPrincipal"] = {"AWS": "arn:aws:iam::123456789012:root"}
    del but_root["Principal"]
    s3.put_bucket_policy(Bucket=name, Policy=policy(but_root))
    assert s3.get_object(Bucket=name, Key="secret/1")["ContentLength"] == 1


def test_a_bucket_of_another_owner_than_expected_is_refused(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="owned", Body=b"1", ExpectedBucketOwner="123456789012")
    parameters = {"Bucket": bucket, "Key": "owned", "ExpectedBucketOwner": "111111111111"}
    assert error_of(s3.get_object, **parameters) == ("AccessDenied", 403)
    assert error_of(s3.list_objects_v2, Bucket=bucket, ExpectedBucketOwner="111111111111") == ("AccessDenied", 403)


def test_pages_of_either_listing_are_all_objects_and_prefixes_once(s3: Any) -> None:
    name = f"s3-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    for key in ("a", "b/1", "b/2", "c/1", "d", "e/1"):
        s3.put_object(Bucket=name, Key=key, Body=b"1")
    for listing in ("list_objects", "list_objects_v2"):
        pages = s3.get_paginator(listing).paginate(Bucket=name, Delimiter="/", PaginationConfig={"PageSize": 2})
        found = [
            [each.get("Key") or each["Prefix"] for each in (*page.get("Contents", ()), *page.get("CommonPrefixes", ()))]
            for page in pages
        ]
        assert found == [["a", "b/"], ["d", "c/"], ["e/"]], listing
    assert error_of(s3.list_objects_v2, Bucket=name, ContinuationToken="never")[0] == "InvalidArgument"


def test_pages_of_versions_are_all_versions_once_the_newest_first(s3: Any) -> None:
    name = f"s3-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    s3.put_bucket_versioning(Bucket=name, VersioningConfiguration={"Status": "Enabled"})
    made = [s3.put_object(Bucket=name, Key=key, Body=b"1")["VersionId"] for key in ("a", "a", "a", "b/1", "c", "c")]
    marker = s3.delete_object(Bucket=name, Key="c")["VersionId"]
    expected = [made[2], made[1], made[0], "b/", marker, made[5], made[4]]
    for size in range(1, 8):
        pages = s3.get_paginator("list_object_versions").paginate(
            Bucket=name, Delimiter="/", PaginationConfig={"PageSize": size}
        )
        found = [
            (each.get("Key") or each["Prefix"], each.get("VersionId") or each["Prefix"], each.get("IsLatest"))
            for page in pages
            for kind in ("Versions", "DeleteMarkers", "CommonPrefixes")
            for each in page.get(kind, ())
        ]
        assert sorted(version for _, version, _ in found) == sorted(expected), size
        assert {version for _, version, is_latest in found if is_latest} == {made[2], marker}
        if size == 1:
            assert [version for _, version, _ in found] == expected


def test_what_secures_a_bucket_is_kept(s3: Any) -> None:
    name = f"s3-{uuid.uuid4().hex[:12]}"
    s3.create_bucket(Bucket=name)
    rule = {"ApplyServerSideEncryptionByDefault": {"SSEAlgorithm": "AES256"}, "BucketKeyEnabled": False}
    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    abort = {"ID": "abort", "Status": "Enabled", "Filter": {"Prefix": ""}}
    abort["AbortIncompleteMultipartUpload"] = {"DaysAfterInitiation": 1}
    s3.put_bucket_encryption(Bucket=name, ServerSideEncryptionConfiguration={"Rules": [rule]})
    s3.put_public_access_block(Bucket=name, PublicAccessBlockConfiguration=block)
    s3.put_bucket_lifecycle_configuration(Bucket=name, LifecycleConfiguration={"Rules": [abort]})
    s3.put_bucket_tagging(Bucket=name, Tagging={"TagSet": [{"Key": "kennel:run", "Value": "1"}]})
    s3.put_bucket_ownership_controls(
        Bucket=name, OwnershipControls={"Rules": [{"ObjectOwnership": "BucketOwnerEnforced"}]}
    )
    assert s3.get_bucket_encryption(Bucket=name)["ServerSideEncryptionConfiguration"]["Rules"] == [rule]
    assert s3.get_public_access_block(Bucket=name)["PublicAccessBlockConfiguration"] == block
    assert s3.get_bucket_lifecycle_configuration(Bucket=name)["Rules"] == [abort]
    assert s3.get_bucket_tagging(Bucket=name)["TagSet"] == [{"Key": "kennel:run", "Value": "1"}]
    assert s3.put_object(Bucket=name, Key="k", Body=b"1")["ServerSideEncryption"] == "AES256"


def test_an_upload_is_known_by_the_key_that_it_was_begun_for_and_no_other(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="source", Body=b"x")
    upload = {"Bucket": bucket, "UploadId": s3.create_multipart_upload(Bucket=bucket, Key="own")["UploadId"]}
    part, source = {"PartNumber": 1}, {"Bucket": bucket, "Key": "source"}
    etag = s3.upload_part(Key="own", Body=b"x", **part, **upload)["ETag"]
    finished = {"MultipartUpload": {"Parts": [{"ETag": etag, **part}]}}
    for call, more in (
        (s3.upload_part, {**part, "Body": b"y"}),
        (s3.upload_part_copy, {**part, "CopySource": source}),
        (s3.list_parts, {}),
        (s3.complete_multipart_upload, finished),
        (s3.abort_multipart_upload, {}),
    ):
        with pytest.raises(ClientError, match="NoSuchUpload"):
            call(Key="other", **more, **upload)
    s3.complete_multipart_upload(Key="own", **finished, **upload)
    assert s3.get_object(Bucket=bucket, Key="own")["Body"].read() == b"x"


def test_an_upload_that_is_unknown_or_aborted_is_no_such_upload(s3: Any, bucket: str) -> None:
    upload = s3.create_multipart_upload(Bucket=bucket, Key="never")["UploadId"]
    part = {"Bucket": bucket, "Key": "never", "UploadId": upload, "PartNumber": 1}
    s3.upload_part(**part, Body=b"x" * 20_000)
    s3.abort_multipart_upload(Bucket=bucket, Key="never", UploadId=upload)
    assert error_of(s3.upload_part, **part, Body=b"x") == ("NoSuchUpload", 404)
    assert "Uploads" not in s3.list_multipart_uploads(Bucket=bucket)


def test_readers_see_the_old_or_the_new_object_whole_while_it_is_replaced(s3: Any, bucket: str) -> None:
    s3.put_object(Bucket=bucket, Key="replaced", Body=b"0" * 100_000)
    stop = threading.Event()

    def replace() -> None:
        number = 0
        while not stop.is_set():
            number = (number + 1) % 10
            s3.put_object(Bucket=bucket, Key="replaced", Body=str(number).encode() * 100_000)

    writer = threading.Thread(target=replace)
    writer.start()
    try:
        for _ in range(30):
            body = s3.get_object(Bucket=bucket, Key="replaced")["Body"].read()
            assert len(body) == 100_000
            assert len(set(body)) == 1
    finally:
        stop.set()
        writer.join()


class Repeated(io.RawIOBase):
    """A file of `count` times `block` that is never whole in memory."""

    def __init__(self, block: bytes, count: int) -> None:
        self._block = block
        self._left = len(block) * count

    def read(self, size: int = -1) -> bytes:
        size = min(self._left, len(self._block) if size < 0 else size)
        self._left -= size
        return (self._block * (size // len(self._block) + 1))[:size]

    def readable(self) -> bool:
        return True


def statement(effect: str, action: str, resource: str | list[str], **more: Any) -> dict[str, Any]:
    return {"Effect": effect, "Principal": "*", "Action": action, "Resource": resource, **more}


def policy(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def test_a_policy_that_is_nested_too_deeply_is_refused_and_the_server_goes_on(localaws: RunningLocalAws) -> None:
    s3 = localaws.client("s3")
    s3.create_bucket(Bucket="deep-policy")
    with pytest.raises(ClientError, match="nested too deeply") as caught:
        s3.put_bucket_policy(Bucket="deep-policy", Policy="[" * 100_000)
    assert caught.value.response["ResponseMetadata"]["HTTPStatusCode"] == 400
    s3.delete_bucket(Bucket="deep-policy")


@pytest.mark.parametrize("is_in_parts", [False, True], ids=["whole", "in parts"])
def test_an_object_that_was_damaged_on_the_disk_is_not_served_and_is_gone(
    own_localaws: RunningLocalAws, is_in_parts: bool
) -> None:
    s3, name, key = own_localaws.client("s3"), f"damaged-{uuid.uuid4().hex[:8]}", "folder/photos.tar"
    s3.create_bucket(Bucket=name)
    s3.put_object(Bucket=name, Key="other", Body=bytes(100_000))
    before = set((own_localaws.home / "objects").iterdir())
    parts = TransferConfig(multipart_threshold=5 * MIB if is_in_parts else 1024 * MIB, multipart_chunksize=5 * MIB)
    s3.upload_fileobj(io.BytesIO(bytes(6 * MIB)), name, key, Config=parts)
    (path,) = set((own_localaws.home / "objects").iterdir()) - before
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)
    assert s3.get_object(Bucket=name, Key=key, Range="bytes=0-9")["Body"].read() == bytes(10), "a part is not checked"

    with pytest.raises((BotoCoreError, ClientError)):
        s3.get_object(Bucket=name, Key=key)["Body"].read()

    assert error_of(s3.head_object, Bucket=name, Key=key) == ("404", 404)
    assert [each["Key"] for each in s3.list_objects_v2(Bucket=name)["Contents"]] == ["other"]
    assert not path.exists()
    s3.put_object(Bucket=name, Key=key, Body=bytes(100_000))
    assert s3.get_object(Bucket=name, Key=key)["Body"].read() == bytes(100_000)
    assert f"s3://{name}/{key} was damaged on the disk, and is gone" in (own_localaws.home / "output.txt").read_text()
