"""Receives the body of a PUT: decodes it if it is aws-chunked, checks it against the client's digests, and keeps
a large one in a file.
"""

import hashlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Protocol

from localaws.auth.chunks import ChunkSignatures
from localaws.errors import AwsError
from localaws.object_contents import CHECKSUMS, CHUNK_BYTES, INLINE_BYTES, Staged, Store, base64_of


class Input(Protocol):
    """A WSGI input."""

    def read(self, size: int = -1) -> bytes: ...

    def readline(self, limit: int = -1) -> bytes: ...


@dataclass(frozen=True)
class Received:
    """A checked body. `checksums` are headers (`x-amz-checksum-crc32`) that the client sent as a trailer."""

    body: bytes | Staged
    checksums: Mapping[str, str]


def receive(
    source: Input, headers: Mapping[str, str], store: Store, signatures: ChunkSignatures | None = None
) -> Received:
    """Read a request's body to its end; `headers` have lower-case names. `signatures` checks those of its chunks.

    Raises:
        AwsError: IncompleteBody, BadDigest, XAmzContentSHA256Mismatch, InvalidDigest, MissingContentLength,
            SignatureDoesNotMatch.
    """
    declared = headers.get("x-amz-content-sha256", "UNSIGNED-PAYLOAD")
    decoder: _Plain | _AwsChunked
    if declared.startswith("STREAMING-") or "aws-chunked" in headers.get("content-encoding", ""):
        decoder = _AwsChunked(source, _length(headers, "x-amz-decoded-content-length"), signatures)
    else:
        decoder = _Plain(source, _length(headers, "content-length"))
    checks = _Checks(headers, decoder.expected_trailer(headers))
    body = _keep(checks.watch(decoder.pieces()), store)
    try:
        checks.verify({**headers, **decoder.trailer})
    except AwsError:
        if isinstance(body, Staged):
            body.discard()
        raise
    return Received(body, decoder.trailer)


def _keep(pieces: Iterator[bytes], store: Store) -> bytes | Staged:
    head = bytearray()
    for piece in pieces:
        head += piece
        if len(head) > INLINE_BYTES:
            break
    else:
        return bytes(head)
    return store.write(_chain(bytes(head), pieces))


def _chain(first: bytes, rest: Iterator[bytes]) -> Iterator[bytes]:
    yield first
    yield from rest


def _length(headers: Mapping[str, str], name: str) -> int:
    value = headers.get(name, "")
    if not value.isdigit():
        raise AwsError("MissingContentLength", f"You must provide the {name} HTTP header.", status=411)
    return int(value)


class _Plain:
    trailer: Mapping[str, str] = {}

    def __init__(self, source: Input, size_bytes: int) -> None:
        self._source = source
        self._left = size_bytes

    def expected_trailer(self, _: Mapping[str, str]) -> str:
        return ""

    def pieces(self) -> Iterator[bytes]:
        while self._left:
            piece = self._source.read(min(CHUNK_BYTES, self._left))
            if not piece:
                raise _incomplete()
            self._left -= len(piece)
            yield piece


class _AwsChunked:
    """The encoding of streamed bodies, lines ending in CR LF: `hex-size[;chunk-signature=…]`, data, …, `0`, trailer."""

    def __init__(self, source: Input, size_bytes: int, signatures: ChunkSignatures | None) -> None:
        self._source = source
        self._size = size_bytes
        self._signatures = signatures
        self.trailer: dict[str, str] = {}

    def expected_trailer(self, headers: Mapping[str, str]) -> str:
        return headers.get("x-amz-trailer", "").lower()

    def pieces(self) -> Iterator[bytes]:
        received, size = 0, -1
        while size:
            size, signature = self._chunk_head()
            received += size
            digest = hashlib.sha256()
            for piece in _Plain(self._source, size).pieces():
                if self._signatures is not None:
                    digest.update(piece)
                yield piece
            if self._signatures is not None:
                self._signatures.check_chunk(digest.hexdigest(), signature)
            if size:
                self._source.readline()
        if received != self._size:
            raise _incomplete()
        self._read_trailer()

    def _chunk_head(self) -> tuple[int, bytes]:
        size, _, extension = self._source.readline().strip().partition(b";")
        try:
            return int(size, 16), extension.removeprefix(b"chunk-signature=")
        except ValueError:
            raise _incomplete() from None

    def _read_trailer(self) -> None:
        signature, lines = b"", []
        while line := self._source.readline().strip():
            name, _, value = line.partition(b":")
            if name.lower() == b"x-amz-trailer-signature":
                signature = value.strip()
                continue
            lines.append(b"%b:%b\n" % (name.lower(), value.strip()))
            if name.lower().startswith(b"x-amz-checksum-"):
                self.trailer[name.lower().decode("latin1")] = value.strip().decode("latin1")
        if self._signatures is not None and (lines or signature):
            self._signatures.check_trailer(b"".join(lines), signature)


class _Checks:
    """The digests a client may ask to be checked, computed while the body passes by."""

    def __init__(self, headers: Mapping[str, str], trailer: str) -> None:
        names = {name for name in headers if name.startswith("x-amz-checksum-")} | {trailer}
        self._wanted = {algorithm for algorithm in CHECKSUMS if f"x-amz-checksum-{algorithm.lower()}" in names}
        self._digests: dict[str, Any] = {algorithm: CHECKSUMS[algorithm]() for algorithm in self._wanted}
        declared = headers.get("x-amz-content-sha256", "")
        if len(declared) == 64:
            self._digests.setdefault("SHA256", hashlib.sha256())
        if "content-md5" in headers:
            self._digests["MD5"] = hashlib.md5(usedforsecurity=False)

    def watch(self, pieces: Iterator[bytes]) -> Iterator[bytes]:
        for piece in pieces:
            for digest in self._digests.values():
                digest.update(piece)
            yield piece

    def verify(self, headers: Mapping[str, str]) -> None:
        declared = headers.get("x-amz-content-sha256", "")
        if len(declared) == 64 and self._digests["SHA256"].hexdigest() != declared:
            raise AwsError(
                "XAmzContentSHA256Mismatch",
                "The provided 'x-amz-content-sha256' header does not match what was computed.",
            )
        if "MD5" in self._digests and base64_of(self._digests["MD5"].digest()) != headers["content-md5"].strip():
            raise AwsError("BadDigest", "The Content-MD5 you specified did not match what we received.")
        for algorithm in self._wanted:
            stated = headers.get(f"x-amz-checksum-{algorithm.lower()}")
            if stated != base64_of(self._digests[algorithm].digest()):
                raise AwsError("BadDigest", f"The {algorithm} you specified did not match the calculated checksum.")


def _incomplete() -> AwsError:
    return AwsError(
        "IncompleteBody", "You did not provide the number of bytes specified by the Content-Length HTTP header."
    )
