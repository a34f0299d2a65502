"""What a server lets in: its own keys, links that end, and objects that are public; and nothing that only looks so."""

import hashlib
import json
import os
import subprocess
import sys
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import boto3
import pytest
from botocore.awsrequest import AWSRequest
from botocore.exceptions import ClientError

from localaws.auth.keys import Key, Keys
from localaws.auth.links import LINK_SECONDS, Links
from tests.conftest import ROOT, RunningLocalAws
from tests.keys import KEY, bearer, signed, token_of
from tests.localaws.auth.wire import Answer, send
from tests.localaws.callers import ACCOUNT, allow, make_role, make_user
from tests.localaws.roles import EVERYTHING


def client(localaws: RunningLocalAws, service: str, key: str, secret: str, token: str = "") -> Any:
    return boto3.client(
        service,
        endpoint_url=localaws.url,
        region_name="us-east-1",
        aws_access_key_id=key,
        aws_secret_access_key=secret,
        aws_session_token=token,
    )


def code_of(call: Callable[[], Any]) -> str:
    with pytest.raises(ClientError) as refused:
        call()
    return str(refused.value.response["Error"]["Code"])


def ask(localaws: RunningLocalAws, method: str, target: str, service: str, body: bytes = b"", **headers: str) -> Answer:
    """Send a request that is signed for a service."""
    made = AWSRequest(method, localaws.url + target, {k.replace("_", "-"): v for k, v in headers.items()}, body)
    return send(localaws.url, method, target, signed(made, service), body)


def test_the_root_key_is_the_accounts_root_user(localaws: RunningLocalAws) -> None:
    identity = localaws.client("sts").get_caller_identity()
    assert identity["Arn"] == "arn:aws:iam::123456789012:root" and identity["UserId"] == "123456789012"


def test_an_iam_users_key_holds_while_it_is_active_and_no_longer(localaws: RunningLocalAws) -> None:
    iam, name = localaws.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    iam.put_user_policy(UserName=name, PolicyName="everything", PolicyDocument=EVERYTHING)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    sts = client(localaws, "sts", made["AccessKeyId"], made["SecretAccessKey"])
    assert sts.get_caller_identity()["Arn"].endswith(f":user/{name}")
    s3 = client(localaws, "s3", made["AccessKeyId"], made["SecretAccessKey"])
    assert "Buckets" in s3.list_buckets()
    iam.update_access_key(UserName=name, AccessKeyId=made["AccessKeyId"], Status="Inactive")
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"
    assert code_of(s3.list_buckets) == "InvalidAccessKeyId"
    iam.update_access_key(UserName=name, AccessKeyId=made["AccessKeyId"], Status="Active")
    assert sts.get_caller_identity()
    iam.delete_access_key(UserName=name, AccessKeyId=made["AccessKeyId"])
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"


def test_the_keys_of_a_deleted_user_end_with_it_even_if_another_one_has_its_name(localaws: RunningLocalAws) -> None:
    iam, name = localaws.client("iam"), f"user-{uuid.uuid4().hex[:8]}"
    iam.create_user(UserName=name)
    made = iam.create_access_key(UserName=name)["AccessKey"]
    sts = client(localaws, "sts", made["AccessKeyId"], made["SecretAccessKey"])
    assert sts.get_caller_identity()
    iam.delete_user(UserName=name)
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"
    iam.create_user(UserName=name)
    assert code_of(sts.get_caller_identity) == "InvalidClientTokenId"


def test_a_session_holds_with_its_token_only(localaws: RunningLocalAws) -> None:
    user, role = make_user(localaws, allow("sts:AssumeRole")), make_role(localaws, {"AWS": ACCOUNT})
    asked = {"RoleArn": role, "RoleSessionName": "held", "DurationSeconds": 900}
    given = user.client("sts").assume_role(**asked)["Credentials"]
    keys = (given["AccessKeyId"], given["SecretAccessKey"])
    session = client(localaws, "sts", *keys, given["SessionToken"])
    assert session.get_caller_identity()["Arn"].endswith("/held")
    assert code_of(client(localaws, "sts", *keys).get_caller_identity) == "InvalidClientTokenId"
    bogus = client(localaws, "sagemaker", *keys, given["SessionToken"][:-4] + "AAAA")
    assert code_of(bogus.list_endpoints) == "UnrecognizedClientException"
    assert given["Expiration"].timestamp() - time.time() == pytest.approx(900, abs=60)


def test_the_end_of_a_session_is_known_by_the_real_clock_and_keys_are_found_as_they_come() -> None:
    from moto.iam.models import iam_backends
    from moto.sts.models import sts_backends

    account = "210987654321"
    keys = Keys(KEY, account)

    def session(seconds: int) -> Any:
        role = f"arn:aws:iam::{account}:role/r"
        return sts_backends[account]["aws"].assume_role("us-east-1", "s", role, "", seconds, "")

    for seconds in (-1, 900):
        made = session(seconds)
        key = keys.find(made.access_key_id)
        assert key is not None and key.ends_at == pytest.approx(time.time() + seconds, abs=60)
        assert (key.secret, key.token) == (made.secret_access_key, made.session_token)
    untracked = iam_backends[account]["aws"].create_temp_access_key()
    assert keys.find(untracked.access_key_id) is None and keys.find("AKIANOBODY") is None
    assert keys.find(KEY.access_key_id) == Key(KEY.secret_access_key)


def test_operations_whose_keys_would_open_nothing_are_not_emulated(localaws: RunningLocalAws) -> None:
    sts = localaws.client("sts")
    assert code_of(sts.get_session_token) == "UnsupportedOperation"
    assert code_of(lambda: sts.get_federation_token(Name="name")) == "UnsupportedOperation"


def test_a_fast_path_is_taken_only_by_requests_for_its_service(localaws: RunningLocalAws) -> None:
    invoked = ask(localaws, "POST", "/endpoints/none/invocations", "sagemaker", b"{}")
    assert invoked.headers["x-amzn-errortype"] == "ValidationError"
    for service in ("s3", "lambda"):
        passed = ask(localaws, "POST", "/endpoints/none/invocations", service, b"{}")
        assert passed.headers.get("x-amzn-errortype") != "ValidationError"
    assert b"<Error>" in ask(localaws, "POST", "/2015-03-31/functions/f/invocations", "s3", b"{}").body
    unsigned = send(localaws.url, "POST", "/2015-03-31/functions/f/invocations", {}, b"{}")
    assert (unsigned.status, unsigned.headers["x-amzn-errortype"]) == (403, "MissingAuthenticationTokenException")


def test_a_body_that_is_not_the_signed_one_is_refused_by_every_kind_of_operation(localaws: RunningLocalAws) -> None:
    s3, bucket = localaws.client("s3"), f"body-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    for method, target in (("PUT", f"/{bucket}/key"), ("PUT", f"/{bucket}?policy"), ("POST", f"/{bucket}?delete")):
        made = AWSRequest(method, localaws.url + target, {}, b"signed")
        answer = send(localaws.url, method, target, signed(made, "s3"), b"other!")
        assert answer.status == 400 and b"XAmzContentSHA256Mismatch" in answer.body, target
    assert s3.list_objects_v2(Bucket=bucket)["KeyCount"] == 0
    sent = {"X-Amz-Target": "SageMaker.ListEndpoints", "Content-Type": "application/x-amz-json-1.1"}
    answer = send(localaws.url, "POST", "/", signed(AWSRequest("POST", localaws.url, sent, b"{}"), "sagemaker"), b"[]")
    assert (answer.status, answer.headers["x-amzn-errortype"]) == (400, "InvalidSignatureException")


def test_unsigned_and_streamed_payloads_are_taken(localaws: RunningLocalAws) -> None:
    s3, bucket = localaws.client("s3"), f"stream-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    made = AWSRequest("PUT", f"{localaws.url}/{bucket}/unsigned", {}, b"x")
    made.context["client_config"] = type("Config", (), {"s3": {"payload_signing_enabled": False}})
    headers = signed(made, "s3")
    assert headers["X-Amz-Content-SHA256"] == "UNSIGNED-PAYLOAD"
    assert send(localaws.url, "PUT", f"/{bucket}/unsigned", headers, b"anything").status == 200
    s3.put_object(Bucket=bucket, Key="trailed", Body=b"y" * 9000, ChecksumAlgorithm="SHA256")
    assert s3.get_object(Bucket=bucket, Key="trailed")["ContentLength"] == 9000
    with pytest.raises(ClientError, match="BadDigest"):
        s3.put_object(Bucket=bucket, Key="wrong", Body=b"y", ChecksumSHA256="A" * 43 + "=")


# --- objects for everyone ---------------------------------------------------------------------------------------------


def test_an_object_is_read_without_a_signature_only_if_a_policy_or_its_acl_is_for_everyone(
    localaws: RunningLocalAws,
) -> None:
    s3, bucket = localaws.client("s3"), f"public-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    for key in ("open/a", "closed", "acl"):
        s3.put_object(Bucket=bucket, Key=key, Body=b"content")

    def status(target: str, method: str = "GET") -> int:
        return send(localaws.url, method, f"/{bucket}{target}").status

    assert {status(f"/{key}") for key in ("open/a", "closed", "acl", "none")} == {403}
    assert (status(""), status("?list-type=2"), status("/open/a?tagging")) == (403, 403, 403)
    allow = {"Effect": "Allow", "Action": "s3:GetObject", "Resource": f"arn:aws:s3:::{bucket}/open/*"}
    own = {**allow, "Principal": {"AWS": "123456789012"}}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [own]}))
    assert status("/open/a") == 403, "it is for the account, not for everyone"
    everyone = {**allow, "Principal": "*"}
    s3.put_bucket_policy(Bucket=bucket, Policy=json.dumps({"Version": "2012-10-17", "Statement": [everyone]}))
    assert (status("/open/a"), status("/open/a", "HEAD"), status("/closed")) == (200, 200, 403)
    assert send(localaws.url, "GET", f"/{bucket}/open/a").body == b"content"
    assert (status("/open/a", "PUT"), status("/open/a", "DELETE"), status("/open/a?acl")) == (403, 403, 403)
    s3.put_object_acl(Bucket=bucket, Key="acl", ACL="public-read")
    assert status("/acl") == 200
    block = dict.fromkeys(("BlockPublicAcls", "IgnorePublicAcls", "BlockPublicPolicy", "RestrictPublicBuckets"), True)
    s3.put_public_access_block(Bucket=bucket, PublicAccessBlockConfiguration=block)
    assert (status("/open/a"), status("/acl")) == (403, 403)


def test_a_header_with_an_underscore_is_no_header_that_a_signature_would_cover(localaws: RunningLocalAws) -> None:
    s3, bucket = localaws.client("s3", signature_version="s3v4"), f"underscores-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="secret", Body=b"secret")
    url = urlsplit(s3.generate_presigned_url("put_object", Params={"Bucket": bucket, "Key": "key"}))
    target = f"{url.path}?{url.query}"
    for added in (
        {"x_amz_copy_source": f"/{bucket}/secret"},
        {"x_amz_acl": "public-read"},
        {"x-amz_acl": "public-read"},
    ):
        assert send(localaws.url, "PUT", target, added, b"mine").status == 200
        assert s3.get_object(Bucket=bucket, Key="key")["Body"].read() == b"mine"
        assert send(localaws.url, "GET", url.path).status == 403
    asked = ask(localaws, "POST", "/", "sagemaker", b"{}", x_amz_target="SageMaker.ListModels")
    assert asked.status == 200
    made = AWSRequest("POST", localaws.url + "/", {"X-Amz-Target": "SageMaker.ListModels"}, b"{}")
    headers = {**signed(made, "sagemaker"), "x_amz_target": "SageMaker.CreateModel"}
    assert json.loads(send(localaws.url, "POST", "/", headers, b"{}").body) == json.loads(asked.body)


def test_a_presigned_url_is_for_its_method_and_its_time(localaws: RunningLocalAws) -> None:
    s3, bucket = localaws.client("s3", signature_version="s3v4"), f"presigned-{uuid.uuid4().hex[:8]}"
    s3.create_bucket(Bucket=bucket)
    s3.put_object(Bucket=bucket, Key="key", Body=b"content")
    url = urlsplit(s3.generate_presigned_url("get_object", Params={"Bucket": bucket, "Key": "key"}, ExpiresIn=60))
    target = f"{url.path}?{url.query}"
    assert send(localaws.url, "GET", target).body == b"content"
    assert send(localaws.url, "PUT", target, {}, b"other").status == 403
    late = target.replace("X-Amz-Expires=60", "X-Amz-Expires=6000")
    refused = send(localaws.url, "GET", late)
    assert refused.status == 403 and b"SignatureDoesNotMatch" in refused.body


# --- localaws's own paths ---------------------------------------------------------------------------------------------


def test_of_localawss_own_paths_only_those_declared_here_are_read_without_its_token(tmp_path: Path) -> None:
    program = """
import importlib, json, sys
from pathlib import Path
from localaws.auth.routes import OpenRoute
from localaws.core import Core
from localaws.server import EXECUTING_SERVICES
from localaws.settings import Settings
core = Core(Settings(Path(sys.argv[1]), port=1))
routes = [route for name in EXECUTING_SERVICES for route in importlib.import_module(name).install(core)]
print(json.dumps([[route.path, route.admits_pages] for route in routes if isinstance(route, OpenRoute)]))
core.shutdown()
"""
    done = subprocess.run(
        [sys.executable, "-c", program, str(tmp_path)], cwd=ROOT, capture_output=True, text=True, check=True, timeout=60
    )
    assert dict(json.loads(done.stdout.splitlines()[-1])) == {
        "/_localaws/capacity/hosting": False,
        "/_localaws/caller-address": False,
        "/_localaws/function-spares": False,
        "/_localaws/functions/code/{name}/{archive}": False,
        "/_localaws/pulse": False,
        "/_localaws/spares": False,
    }


def test_what_changes_something_needs_the_token_and_an_unknown_path_is_no_bucket(localaws: RunningLocalAws) -> None:
    for path in ("launch-failures?type=t&count=0", "capacity?type=t&available=unlimited", "capacity/hosting"):
        assert send(localaws.url, "POST", f"/_localaws/{path}", {}, b"{}").status == 401
        assert send(localaws.url, "POST", f"/_localaws/{path}", dict(bearer()), b"{}").status == 200
    assert send(localaws.url, "GET", "/_localaws/health").status == 200
    assert send(localaws.url, "GET", "/_localaws/nothing").status == 404
    for method, path in (("GET", "nothing"), ("PUT", "nothing"), ("POST", "health"), ("DELETE", "capacity/hosting")):
        assert send(localaws.url, method, f"/_localaws/{path}", dict(bearer())).status == 404


def test_the_token_of_a_path_opens_that_path_and_no_other(localaws: RunningLocalAws) -> None:
    path = "/_localaws/permissions"
    token = {"Authorization": f"Bearer {token_of(path)}"}
    assert send(localaws.url, "GET", path, token).status == 200
    assert send(localaws.url, "POST", "/_localaws/capacity?type=t&available=unlimited", token, b"{}").status == 401
    assert send(localaws.url, "GET", path, {"Authorization": f"Bearer {token_of('/_localaws/x')}"}).status == 401


def test_a_link_is_for_one_path_and_ten_minutes() -> None:
    now = [1000.0]
    links = Links(clock=lambda: now[0])
    query = dict(part.split("=") for part in links.query_for("/a").split("&"))
    assert links.admits("/a", query) and not links.admits("/b", query) and not Links().admits("/a", query)
    assert not links.admits("/a", {**query, "expires": str(int(query["expires"]) + 1)})
    assert not links.admits("/a", {}) and not links.admits("/a", {"expires": "x", "token": "é"})
    now[0] += LINK_SECONDS + 1
    assert not links.admits("/a", query)


# --- the aws command line ---------------------------------------------------------------------------------------------


def test_the_aws_command_line_is_let_in_by_the_environment_that_start_prints(
    localaws: RunningLocalAws, tmp_path: Path
) -> None:
    program, bucket = str(Path(sys.executable).with_name("aws")), f"cli-{uuid.uuid4().hex[:8]}"
    localaws.client("s3").create_bucket(Bucket=bucket)
    content = os.urandom(20_000)
    (tmp_path / "file").write_bytes(content)

    def aws(*arguments: str) -> str:
        environment = {**localaws.environment, "HOME": str(tmp_path)}
        return subprocess.run(
            [program, *arguments], env=environment, capture_output=True, text=True, check=True, timeout=120
        ).stdout

    aws("s3", "cp", str(tmp_path / "file"), f"s3://{bucket}/a b+c")
    assert hashlib.sha256(localaws.client("s3").get_object(Bucket=bucket, Key="a b+c")["Body"].read()).digest() == (
        hashlib.sha256(content).digest()
    )
    assert KEY.secret_access_key not in aws("sts", "get-caller-identity")
