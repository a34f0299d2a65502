"""moto's keys, multipart uploads and buckets: contents in files, bucket policies evaluated with their conditions.

moto makes these objects by the names in its models module: the classes here take those names before the first request.
"""

import binascii
import copy
import hashlib
import secrets
import sys
from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any, ClassVar, cast

import moto.s3.models as moto_models
from moto.iam.access_control import PermissionResult
from moto.iam.models import iam_backends
from moto.s3.exceptions import (
    EntityTooSmall,
    InvalidContinuationToken,
    InvalidPart,
    MalformedXML,
    MethodNotAllowed,
    S3ClientError,
)
from moto.s3.models import s3_backends
from moto.settings import S3_UPLOAD_PART_MIN_SIZE

from localaws.errors import AwsError
from localaws.iam.principals import unknown_principals
from localaws.kms.keys import usable_key
from localaws.kms.sealing import KMS, check_wanted, wanted_encryption
from localaws.object_contents import (
    CHECKSUMS,
    INLINE_BYTES,
    REPLACING,
    Content,
    GoneError,
    Seal,
    Slice,
    Staged,
    Store,
    base64_of,
    checksum,
    pieces_of,
)
from localaws.paging import name_in, token_of_name
from localaws.partition import partition
from localaws.policies.conditions import UnknownOperator
from localaws.policies.documents import read_document, resource_policy_of
from localaws.s3.deletions import may
from localaws.s3.key_store import OrderedKeyStore, finished_by, require_length
from localaws.s3.pages import is_marker, objects_in, taken, versions_in
from localaws.s3.responses import ExecutingS3Response

MD5_CHARACTERS = 32  # after which an ETag has the number of parts
_MOTO_VALUE: Any = moto_models.FakeKey.__dict__["value"]


class StoredKey(moto_models.FakeKey):
    """A key whose content is a file unless it is small; `value` is then a `Slice`, not bytes."""

    __module__ = moto_models.__name__
    store: ClassVar[Store]
    _path: Path | None = None
    _crc32: int = 0

    @property
    def value(self) -> Any:
        """The content: bytes, or a `Slice` of a file.

        Raises:
            GoneError: the key was replaced or deleted since it was looked up.
        """
        try:
            if self._path is None:
                return _MOTO_VALUE.fget(self)
            return Slice.of(self._path, self.contentsize, Seal(self._crc32, self._lose))
        except (FileNotFoundError, ValueError):
            raise GoneError(self.name) from None

    @value.setter
    def value(self, content: Content | Staged | str) -> None:
        content = content.encode() if isinstance(content, str) else content  # moto's own log of requests is text
        if isinstance(content, bytes) and len(content) <= INLINE_BYTES:
            _MOTO_VALUE.fset(self, content)
            return
        staged = content if isinstance(content, Staged) else self._own(content)
        self._path, self.contentsize, self._crc32 = staged.take(), staged.size_bytes, staged.crc32
        if self._etag is None:
            self._etag = staged.md5

    @property
    def md5_raw(self) -> bytes:
        """The 16 bytes of the ETag of a key that was not uploaded in parts."""
        return binascii.unhexlify(self.etag.strip('"'))

    def release(self) -> None:
        """Remove the content; the size stays."""
        if self._path is not None:
            self._path.unlink(missing_ok=True)

    def _lose(self) -> None:
        """Take an object whose content was damaged out of its bucket: whoever needs it sees that, and makes it anew."""
        print(f"localaws: s3://{self.bucket_name}/{self.name} was damaged on the disk, and is gone", file=sys.stderr)
        bucket = s3_backends[self.account_id][partition()].buckets.get(str(self.bucket_name))
        with REPLACING:
            every = [] if bucket is None else list(bucket.keys.getlist(self.name, []))
            left = [each for each in every if each is not self]
            if bucket is not None and len(left) < len(every):
                bucket.keys.setlist(self.name, left) if left else bucket.keys.pop(self.name)

    def dispose(self, garbage: bool = False) -> None:
        """Remove the content: the key was replaced or deleted."""
        self.release()
        self.disposed = True
        super().dispose(garbage)

    def __deepcopy__(self, memo: dict[int, Any]) -> "StoredKey":
        """Be the copy: moto lists versions as deep copies of all keys, and each would copy its file."""
        return self

    def _own(self, content: Content) -> Staged:
        return self.store.write(pieces_of(content))


class FileMultipart(moto_models.FakeMultipart):
    """A multipart upload whose parts become one file without passing through memory."""

    __module__ = moto_models.__name__
    _made: tuple[str, str, int] | None = None

    def complete(self, body: Iterator[tuple[int, str]]) -> Any:
        """Return the whole content, its ETag and its checksum (type, base64, number of parts), or None for that.

        Raises:
            InvalidPart, EntityTooSmall, MalformedXML: as S3 does.
        """
        parts = self._checked(list(body))
        staged = StoredKey.store.concatenate(part.value for part in parts)
        etag = hashlib.md5(b"".join(part.md5_raw for part in parts), usedforsecurity=False).hexdigest()
        self._made = self._checksum(parts, staged)
        return staged, f"{etag}-{len(parts)}", self._made

    def finish(self, made: Any) -> None:
        """Give the object what moto gives it only after it can be found."""
        made.set_metadata(copy.copy(self.metadata))
        made.set_acl(self.acl)
        if self._made:
            made.checksum_algorithm = self.metadata.get("x-amz-checksum-algorithm")
            made.checksum_type, made.checksum_value, made.checksum_parts = self._made

    def _checked(self, listed: list[tuple[int, str]]) -> list[Any]:
        if not listed:
            raise MalformedXML
        parts = [self.parts.get(number) for number, _ in listed]
        for part, (_, etag) in zip(parts, listed, strict=True):
            if part is None or part.etag.strip('"') != etag.strip('"'):
                raise InvalidPart
        if any(part.contentsize < S3_UPLOAD_PART_MIN_SIZE for part in parts[:-1] if part):
            raise EntityTooSmall
        return parts

    def _checksum(self, parts: list[Any], staged: Staged) -> tuple[str, str, int] | None:
        algorithm = self.metadata.get("x-amz-checksum-algorithm")
        if algorithm not in CHECKSUMS:
            return None
        if self.metadata.get("x-amz-checksum-type", "COMPOSITE") == "FULL_OBJECT":
            return "FULL_OBJECT", base64_of(checksum(algorithm, staged.whole())), 1
        composite = checksum(algorithm, [checksum(algorithm, pieces_of(part.value)) for part in parts])
        return "COMPOSITE", base64_of(composite), len(parts)


class PolicedBucket(moto_models.FakeBucket):
    """A bucket whose requests were decided before moto, but for each key of DeleteObjects, which is decided here."""

    __module__ = moto_models.__name__

    def __init__(self, *about: Any, **more: Any) -> None:
        super().__init__(*about, **more)
        self.keys = OrderedKeyStore()

    def get_permission(self, _: str, __: str) -> Any:
        """Return whether an action on a resource may be: DENIED only for a key that is one of several to be deleted."""
        return PermissionResult.PERMITTED if may() else PermissionResult.DENIED


class UnsupportedPolicyError(S3ClientError):
    """A policy is none, or has something that localaws does not evaluate."""

    def __init__(self, why: str) -> None:
        super().__init__("MalformedPolicy", why)


class UnknownPrincipalError(S3ClientError):
    """A policy names a user or role that does not exist."""

    def __init__(self) -> None:
        super().__init__("MalformedPolicy", "Invalid principal in policy")


class ExecutingS3(moto_models.S3Backend):
    """moto's S3, whose finished uploads give back their parts' room on disk."""

    __module__ = moto_models.__name__
    region: ClassVar[str]  # whose keys of KMS it uses

    @property
    def flask_paths(self) -> dict[str, Any]:
        """The paths and what answers them: moto's, answered by this package's responses."""
        paths = super().flask_paths
        return {path: getattr(ExecutingS3Response, handler.__name__) for path, handler in paths.items()}

    def put_bucket_policy(self, bucket_name: str, policy: bytes) -> None:
        """Store a policy; one with something that is not evaluated is refused.

        Raises:
            UnsupportedPolicyError: it is no policy, or has what is not evaluated; the message names it.
            UnknownPrincipalError: a user or role that it names does not exist.
        """
        try:
            document = read_document(policy)
            resource_policy_of("bucket policy", document)
        except UnknownOperator as error:
            raise UnsupportedPolicyError(f"localaws does not evaluate the condition operator {error}.") from None
        except ValueError as error:
            raise UnsupportedPolicyError(str(error)) from None
        if unknown_principals(iam_backends[self.account_id][partition()], document):
            raise UnknownPrincipalError
        super().put_bucket_policy(bucket_name, policy)

    def put_bucket_encryption(self, bucket_name: str, encryption: dict[str, Any]) -> None:
        """Set a bucket's default; a key goes with the encryption that uses it.

        Raises:
            AwsError: InvalidArgument.
        """
        rule = encryption["Rule"]["ApplyServerSideEncryptionByDefault"]
        if rule.get("KMSMasterKeyID") and rule["SSEAlgorithm"] not in KMS:
            text = "a KMSMasterKeyID is not applicable if the default sse algorithm is not aws:kms or aws:kms:dsse"
            raise AwsError("InvalidArgument", text)
        super().put_bucket_encryption(bucket_name, encryption)

    def put_object(self, bucket_name: str, key_name: str, value: Any, *others: Any, **more: Any) -> Any:
        """Store an object; what `undisturbed` reads meanwhile is the old one or the new one.

        The ETag of one that is sealed with a key of KMS is no digest of its content, as on AWS.

        Raises:
            AwsError: there is no such key, it is disabled, or named without what it is for; the object's name is too
                long.
        """
        require_length(key_name)
        sealed = self._sealed(bucket_name, more.pop("encryption", None), more.pop("kms_key_id", None))
        put: Any = super().put_object
        with REPLACING, finished_by(_hide_digest) if sealed["kms_key_id"] else nullcontext():
            return put(bucket_name, key_name, value, *others, **more, **sealed)

    def create_multipart_upload(self, bucket_name: str, *wanted: Any) -> Any:
        """Begin an upload, whose key is chosen now."""
        *others, algorithm, key = wanted
        sealed = self._sealed(bucket_name, algorithm, key)
        make: Any = super().create_multipart_upload
        return make(bucket_name, *others, sealed["encryption"], sealed["kms_key_id"])

    def _sealed(self, bucket_name: str, algorithm: str | None, key: str | None) -> Any:
        check_wanted(algorithm, key)
        algorithm, name = wanted_encryption(self.get_bucket(bucket_name), algorithm, key)
        return {"encryption": algorithm, "kms_key_id": None if name is None else self._usable(name)}

    def _usable(self, name: str) -> str:
        return usable_key(self.account_id, self.region, name).arn

    def require_opened(self, stored: Any) -> None:
        """Return if an object (None: there is none) can be read.

        Raises:
            AwsError: the key that it is sealed with is not there any more, or disabled.
        """
        if getattr(stored, "encryption", None) in KMS and stored.kms_key_id:
            self._usable(stored.kms_key_id)

    def delete_bucket(self, bucket_name: str) -> Any:
        """Delete an empty bucket with its tags, which moto would give to the next bucket of this name."""
        deleted = super().delete_bucket(bucket_name)
        if deleted is not None:
            self.tagger.delete_all_tags_for_resource(deleted.arn)
        return deleted

    def list_objects(
        self, bucket: Any, prefix: str | None, delimiter: str | None, marker: str | None, max_keys: int | None
    ) -> Any:
        """Return a page's objects, its common prefixes, whether there are more, and the marker of the next page."""
        after = (name_in(marker) or marker) if marker else ""
        found, is_truncated, token = self._page(bucket, prefix or "", delimiter or "", after, max_keys)
        keys = [each for each in found if not isinstance(each, str)]
        return keys, [each for each in found if isinstance(each, str)], is_truncated, token

    def list_objects_v2(
        self,
        bucket: Any,
        prefix: str | None,
        delimiter: str | None,
        continuation_token: str | None,
        start_after: str | None,
        max_keys: int,
    ) -> Any:
        """Return a page's objects and common prefixes in order, whether there are more, and the next page's token.

        Raises:
            InvalidContinuationToken: no page had this token.
        """
        after = name_in(continuation_token) if continuation_token else start_after or ""
        if after is None:
            raise InvalidContinuationToken
        return self._page(bucket, prefix or "", delimiter or "", after, max_keys)

    def _page(self, bucket: Any, prefix: str, delimiter: str, after: str, size: int | None) -> Any:
        if not isinstance(bucket, PolicedBucket):
            raise MethodNotAllowed
        keys: Any = bucket.keys
        found, is_truncated = taken(objects_in(keys, prefix, delimiter, after), size)
        if not is_truncated:
            return found, False, None
        return found, True, token_of_name(found[-1] if isinstance(found[-1], str) else found[-1].name)

    def list_object_versions(
        self,
        bucket_name: str,
        delimiter: str | None = None,
        key_marker: str | None = None,
        max_keys: int | None = 1000,
        prefix: str = "",
        version_id_marker: str | None = None,
    ) -> Any:
        """Return a page's versions, common prefixes and delete markers, and the two markers of the next page."""
        keys: Any = self.get_bucket(bucket_name).keys
        every = versions_in(keys, prefix, delimiter or "", key_marker or "", version_id_marker)
        found, is_truncated = taken(every, max_keys)
        versions = [each for each in found if not isinstance(each, str) and not is_marker(each)]
        markers = [each for each in found if not isinstance(each, str) and is_marker(each)]
        last: Any = found[-1] if is_truncated else None
        following = (last, None) if last is None or isinstance(last, str) else (last.name, last.version_id)
        return versions, [each for each in found if isinstance(each, str)], markers, *following

    def delete_object(self, bucket_name: str, key_name: str, *others: Any, **more: Any) -> Any:
        """Delete an object, with its tags if nothing of it is left; `undisturbed` reads meanwhile find it or not."""
        with REPLACING:
            there = self.get_bucket(bucket_name).keys.get(key_name)
            deleted = super().delete_object(bucket_name, key_name, *others, **more)
            if isinstance(there, StoredKey) and key_name not in self.get_bucket(bucket_name).keys:
                self.tagger.delete_all_tags_for_resource(there.arn)
        return deleted

    def copy_object(self, src_key: Any, dest_bucket_name: str, dest_key_name: str, *others: Any, **more: Any) -> None:
        """Copy an object; its checksum keeps its kind: clients must not take a composite one for a whole one."""
        self.require_opened(src_key)
        given = more.get("metadata") if more.get("mdirective") == "REPLACE" else src_key.metadata

        def finish(made: Any) -> None:
            made.set_metadata(copy.copy(given))
            if src_key.checksum_value:
                made.checksum_value, made.checksum_algorithm = src_key.checksum_value, src_key.checksum_algorithm
            made.checksum_type, made.checksum_parts = src_key.checksum_type, src_key.checksum_parts

        with finished_by(finish):
            super().copy_object(src_key, dest_bucket_name, dest_key_name, *others, **more)

    def upload_part_copy(self, *target: Any, **source: Any) -> Any:
        """Store a part of another object as one of an upload's."""
        bucket, name, version = (source[f"src_{each}"] for each in ("bucket_name", "key_name", "version_id"))
        self.require_opened(self.get_object(bucket, name, version_id=version))
        return super().upload_part_copy(*target, **source)

    def complete_multipart_upload(self, bucket_name: str, multipart_id: str, body: Any) -> Any:
        """Make the object, then remove what its parts held."""
        upload: Any = self.get_bucket(bucket_name).multiparts.get(multipart_id)
        with finished_by(lambda made: upload.finish(made)):
            key = super().complete_multipart_upload(bucket_name, multipart_id, body)
        for part in upload.parts.values() if upload else ():
            cast(StoredKey, part).release()
        return key


def _hide_digest(made: Any) -> None:
    """Replace the ETag of an object that is sealed with a key of KMS, which is no digest on AWS."""
    made._etag = secrets.token_hex(16) + made.etag.strip('"')[MD5_CHARACTERS:]


def install_backend(folder: Path, region: str) -> None:
    """Have moto make this module's classes, with contents in `folder`, which is emptied."""
    StoredKey.store = Store(folder)
    StoredKey.store.clear()
    ExecutingS3.region = region
    moto_models.FakeKey = StoredKey  # type: ignore[misc]
    moto_models.FakeMultipart = FileMultipart  # type: ignore[misc]
    moto_models.FakeBucket = PolicedBucket  # type: ignore[misc]
    moto_models.s3_backends.backend = ExecutingS3
