"""Answers the requests that S3 gets most on the event loop, and leaves all others to moto's application.

These are PutObject, GetObject (ranges too), HeadObject, DeleteObject and ListObjectsV2 of clients such as boto3, once
the gates let them pass. The state is moto's, so moto answers every other request about the same objects. What cannot be
answered with success is left to moto too, with the body that was read: it alone says what is wrong.
"""

from __future__ import annotations

import copy
import hashlib
import io
import re
from collections.abc import Mapping
from typing import Any

from moto.s3.models import s3_backends
from starlette.concurrency import run_in_threadpool
from starlette.types import ASGIApp, Receive, Scope, Send

from localaws.auth.verifier import ANYONE, Signed
from localaws.object_contents import INLINE_BYTES, REPLACING, Staged, Store
from localaws.permissions.operations import UnknownOperation, asked_in
from localaws.s3 import answers
from localaws.s3.answers import Answer, Target
from localaws.s3.incoming import receive as receive_body
from localaws.s3.key_store import require_length
from localaws.s3.listing import list_objects

LARGEST_BYTES = 1 << 20  # of a body or content that is in memory as a whole while it is sent
MOST_KEYS_HERE = 10_000  # of a bucket that is listed on the event loop: a page may pass over many delete markers
_QUERY = re.compile(r"(x-id=\w+)?")
_ALWAYS = {
    *("accept", "accept-encoding", "amz-sdk-invocation-id", "amz-sdk-request", "authorization", "connection", "date"),
    *("content-length", "host", "user-agent", "x-amz-content-sha256", "x-amz-date", "x-amz-expected-bucket-owner"),
    *("x-amz-security-token", "x-amz-user-agent"),
}
_OF_CONTENT = {
    *("cache-control", "content-disposition", "content-encoding", "content-language", "content-md5", "content-type"),
    *("expect", "expires", "if-match", "if-none-match", "x-amz-decoded-content-length", "x-amz-sdk-checksum-algorithm"),
    *("x-amz-trailer", *(f"x-amz-checksum-{each}" for each in ("crc32", "crc32c", "crc64nvme", "sha1", "sha256"))),
}
HEADERS: Mapping[str, set[str]] = {  # by operation: what a request may have to be taken; others change what is done
    "PutObject": _ALWAYS | _OF_CONTENT,
    "GetObject": _ALWAYS | {"content-type", "range", "x-amz-checksum-mode"},
    "HeadObject": _ALWAYS | {"content-type", "x-amz-checksum-mode"},
    "DeleteObject": _ALWAYS | {"content-type"},
    "ListObjectsV2": _ALWAYS | {"content-type"},
}
_EMPTY = (hashlib.sha256().hexdigest(), "UNSIGNED-PAYLOAD")
_METADATA = re.compile(r"x-amz-meta-[a-z0-9_.-]+")


class FrequentRequests:
    """An ASGI application before `others`, which answers what this one leaves."""

    def __init__(self, others: ASGIApp, store: Store, account_id: str, partition: str) -> None:
        self._others, self._store = others, store
        self._account_id, self._partition = account_id, partition

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        name = operation_taken(scope)
        target = self._target(scope) if name else None
        body: bytes | None = None
        if name == "PutObject" and target is not None:
            body = await _read(receive)
            if body is None:
                return
        answer = await self._answer(scope, name, target, body) if target is not None else None
        if answer is None:
            await self._others(scope, receive if body is None else _again(body, receive), send)
            return
        headers = [(name.encode("latin1"), str(value).encode("latin1")) for name, value in answer.headers]
        await send({"type": "http.response.start", "status": answer.status, "headers": headers})
        await send({"type": "http.response.body", "body": b"" if scope["method"] == "HEAD" else answer.body})

    def _target(self, scope: Scope) -> Target | None:
        """Return what a request is about, None if there is no such bucket, or its requests are logged."""
        given = asked_in(scope, "s3").operation.parameters
        key = str(given.get("Key", ""))
        backend: Any = s3_backends[self._account_id][self._partition]
        bucket = backend.buckets.get(given["Bucket"])
        headers = asked_in(scope, "s3").headers
        owner = headers.get("x-amz-expected-bucket-owner", self._account_id)
        if bucket is None or bucket.logging or owner != self._account_id or "\n" in key:  # which moto finds no path for
            return None
        return Target(backend, bucket, key, headers)

    async def _answer(self, scope: Scope, name: str, target: Target, body: bytes | None) -> Answer | None:
        try:
            require_length(target.key)
            if name == "ListObjectsV2":
                return await listed(target, asked_in(scope, "s3").query)
            if name == "HeadObject":
                return answers.head_object(target)
            if name == "GetObject":
                return await _loaded(answers.get_object(target))
            return await self._changed(scope, target, body)
        except Exception:  # noqa: BLE001 it is moto's application that tells it, and prints what nobody expected
            return None

    async def _changed(self, scope: Scope, target: Target, body: bytes | None) -> Answer | None:
        """Store or delete an object, on the event loop if no file is touched and nobody has to be waited for."""
        there = getattr(target.bucket.keys.get(target.key), "contentsize", 0)
        if max(len(body or b""), there) <= INLINE_BYTES and REPLACING.acquire(blocking=False):
            try:
                return self._change(scope, target, body)
            finally:
                REPLACING.release()
        return await run_in_threadpool(self._change, scope, target, body)

    def _change(self, scope: Scope, target: Target, body: bytes | None) -> Answer | None:
        if body is None:
            return answers.delete_object(target)
        signed: Signed = scope["localaws.signed"]
        received = receive_body(io.BytesIO(body), target.headers, self._store, copy.copy(signed.chunks))
        headers = {**target.headers, **received.checksums}
        try:
            return answers.put_object(Target(target.backend, target.bucket, target.key, headers), received.body)
        finally:
            if isinstance(received.body, Staged):
                received.body.discard()


def operation_taken(scope: Scope) -> str:
    """Return the name of a request's operation if it is one that is answered here, as far as the request tells."""
    signed: Signed = scope["localaws.signed"]
    if signed is ANYONE or signed.service != "s3":
        return ""
    try:
        asked = asked_in(scope, "s3")
        name = asked.operation.name
    except UnknownOperation:
        return ""
    if name not in HEADERS or len(asked.headers) < len(scope["headers"]):  # one that is there twice is moto's to read
        return ""
    others = asked.headers.keys() - HEADERS[name]
    if name == "PutObject":
        is_known, has_its_body = all(map(_METADATA.fullmatch, others)), _is_short(asked.headers)
    else:
        is_known, has_its_body = not others, _has_no_body(asked.headers)
    is_taken = is_known and has_its_body and (name == "ListObjectsV2" or _QUERY.fullmatch(asked.query))
    return name if is_taken else ""


def _is_short(headers: Mapping[str, str]) -> bool:
    length = headers.get("content-length", "")
    return length.isascii() and length.isdigit() and int(length) <= LARGEST_BYTES


def _has_no_body(headers: Mapping[str, str]) -> bool:
    """Return whether a request has no body and has signed that; what has one is read and checked before moto."""
    return headers.get("content-length", "0") == "0" and headers.get("x-amz-content-sha256") in _EMPTY


async def _read(receive: Receive) -> bytes | None:
    """Read a body to its end, None if its sender went away."""
    read, is_more = bytearray(), True
    while is_more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        read += message.get("body", b"")
        is_more = message.get("more_body", False)
    return bytes(read)


def _again(body: bytes, receive: Receive) -> Receive:
    """Return what gives a body that was read, then whatever comes."""
    left = [body]

    async def next_message() -> dict[str, object]:
        return {"type": "http.request", "body": left.pop(), "more_body": False} if left else dict(await receive())

    return next_message


async def listed(target: Target, query: str) -> Answer | None:
    """Return a page, made by a thread if the bucket is large."""
    if len(target.bucket.keys) > MOST_KEYS_HERE:
        return await run_in_threadpool(list_objects, target, query)
    return list_objects(target, query)


async def _loaded(answer: Answer | None) -> Answer | None:
    """Return an answer with its body in memory, None if that would be too much."""
    if answer is None or isinstance(answer.body, bytes):
        return answer
    if len(answer.body) > LARGEST_BYTES:
        return None
    return Answer(answer.status, answer.headers, await run_in_threadpool(bytes, answer.body))
