"""moto's S3 responses, with bodies that arrived as files, atomic conditions and the expected bucket owner."""

from typing import Any

import moto.s3.responses as moto_responses
from moto.s3.exceptions import NoSuchUpload, S3ClientError
from moto.s3.utils import metadata_from_headers

from localaws.object_contents import CHECKSUMS, REPLACING, undisturbed
from localaws.permissions.gate import DELETABLE
from localaws.permissions.s3_bodies import READING, check
from localaws.s3.deletions import decided
from localaws.s3.key_store import finished_by, require_length
from localaws.s3.listing import MOST_KEYS, has_owners

_OUT_OF_RANGE = "Argument maxKeys must be an integer between 0 and 2147483647"
_MOST_INTEGER = 2**31 - 1
BODY = "localaws.s3.body"  # WSGI environment: the body that was received before moto


class ExecutingS3Response(moto_responses.S3Response):
    """One request to S3."""

    def setup_class(  # type: ignore[override]  # as moto's own override of its base
        self, request: Any, full_url: str | None = None, headers: Any = None
    ) -> None:
        """Take the body that was received before moto, if one was."""
        super().setup_class(request, full_url, headers)
        self._deletable = request.environ["asgi.scope"].get(DELETABLE, iter(()))
        staged = request.environ.get(BODY)
        if staged is not None:
            self.body = staged

    def put_object(self) -> Any:
        """Store an object; its conditions and the storing are one step, so of two conditional puts one wins."""
        with REPLACING, finished_by(self._describe):
            return super().put_object()

    def _describe(self, made: Any) -> None:
        """Give a new object what moto gives it only after it can be found."""
        metadata = metadata_from_headers(self.headers)
        metadata.update(metadata_from_headers(self.querystring))
        made.set_metadata(metadata)
        made.set_acl(self._acl_from_headers(self.headers) or self.backend.get_bucket(self.bucket_name).acl)
        made.website_redirect_location = self.headers.get("x-amz-website-redirect-location")
        made.checksum_algorithm = self.headers.get("x-amz-sdk-checksum-algorithm") or self._given() or None

    def _given(self) -> str | None:
        return next((each for each in CHECKSUMS if f"x-amz-checksum-{each.lower()}" in self.headers), None)

    def _get_checksum(self, response_headers: dict[str, Any]) -> tuple[str, str | None]:
        """Keep a checksum that was given without naming its algorithm, which moto would forget."""
        given = self._given()
        if given is None or self.headers.get("x-amz-sdk-checksum-algorithm"):
            return super()._get_checksum(response_headers)
        header = f"x-amz-checksum-{given.lower()}"
        response_headers[header] = value = str(self.headers[header])
        return given, value

    def get_object(self) -> Any:
        """Answer with the object as it was or as it is while it is being replaced, never with a mixture."""
        if self._get_int_param("partNumber") and self._is_joined():
            text = "localaws does not support PartNumber of GetObject for an object that was uploaded in parts."
            raise S3ClientError("NotImplemented", text)
        self._require_opened()
        return undisturbed(super().get_object)

    def _is_joined(self) -> bool:
        key = self.backend.get_object(self.bucket_name, self.parse_key_name())
        return key is not None and key.multipart is not None

    def _require_opened(self) -> None:
        version = self._get_param("versionId")
        backend: Any = self.backend
        backend.require_opened(self.backend.get_object(self.bucket_name, self.parse_key_name(), version_id=version))

    def copy_object(self) -> Any:
        """Copy an object on disk."""
        if "x-amz-checksum-algorithm" in self.headers:
            raise S3ClientError("NotImplemented", "localaws does not support ChecksumAlgorithm of CopyObject.")
        return undisturbed(super().copy_object)

    def upload_part(self) -> Any:
        """Store a part; an unknown upload is NoSuchUpload."""
        upload = self._get_param("uploadId")
        if upload not in self.backend.get_bucket(self.bucket_name).multiparts:
            raise NoSuchUpload(upload_id=upload)
        return super().upload_part()

    def _key_response_post(self, request: Any, body: Any, bucket_name: str, query: Any, key_name: str) -> Any:
        self._check_upload(query, bucket_name, key_name)
        if "select" in query:
            check(READING, body)
            self._require_opened()
        if self.headers.get("If-None-Match"):
            with REPLACING:
                return super()._key_response_post(request, body, bucket_name, query, key_name)
        return super()._key_response_post(request, body, bucket_name, query, key_name)

    def _check_upload(self, query: Any, bucket_name: str, key_name: str) -> None:
        upload = query.get("uploadId", [None])[0]
        if upload is None or upload in self.backend.get_bucket(bucket_name).multiparts:
            return
        existing = self.backend.get_object(bucket_name, key_name)
        if existing is None or existing.multipart is None or existing.multipart.id != upload:
            raise NoSuchUpload(upload_id=upload)

    def list_objects(self) -> Any:
        """Answer with a page of no more than S3's most."""
        self._limit_page()
        return super().list_objects()

    def list_objects_v2(self) -> Any:
        """Answer with a page of no more than S3's most; with owners if they were asked for."""
        self._limit_page()
        if not has_owners(self.querystring.get("fetch-owner", [""])[0]):
            self.querystring.pop("fetch-owner", None)
        return super().list_objects_v2()

    def list_object_versions(self) -> Any:
        """Answer with a page of no more than S3's most."""
        self._limit_page()
        return super().list_object_versions()

    def _limit_page(self) -> None:
        """Replace the size that was asked for, which moto takes as it is, by what S3 makes of it."""
        given = self.querystring.pop("max-keys", [""])[0]
        if not given:
            return
        if not 0 <= int(given) <= _MOST_INTEGER:
            raise S3ClientError("InvalidArgument", _OUT_OF_RANGE)
        self.querystring["max-keys"] = [str(min(int(given), MOST_KEYS))]

    def _key_response(self, request: Any, full_url: str) -> Any:
        self._check_owner()
        require_length(self.parse_key_name())
        self._check_key_of_upload()
        return super()._key_response(request, full_url)

    def _bucket_response(self, request: Any, full_url: str) -> Any:
        self._check_owner()
        return super()._bucket_response(request, full_url)

    def _bucket_response_delete_keys(self, bucket_name: str, authenticated: bool = True) -> Any:
        """Delete the objects of a body that were decided to be deletable, no other."""
        with decided(self._deletable):
            return super()._bucket_response_delete_keys(bucket_name, authenticated)

    def _check_key_of_upload(self) -> None:
        """Refuse any request for an upload that was begun for another key; permissions are asked for the key."""
        upload, bucket = self._get_param("uploadId"), self.backend.buckets.get(self.bucket_name)
        begun = bucket.multiparts.get(upload) if upload and bucket is not None else None
        if begun is not None and begun.key_name != self.parse_key_name():
            raise NoSuchUpload(upload_id=upload)

    def _check_owner(self) -> None:
        expected = self.headers.get("x-amz-expected-bucket-owner")
        if expected and self.bucket_name in self.backend.buckets and expected != self.current_account:
            raise OwnerMismatchError


class OwnerMismatchError(S3ClientError):
    """The bucket is another account's than the request expects."""

    def __init__(self) -> None:
        super().__init__("AccessDenied", "Access Denied")
