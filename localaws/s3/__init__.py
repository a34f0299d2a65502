"""S3 over moto's state and wire protocol, with objects on disk, checked digests and real bucket policies.

Exact: path and virtual-host style, multipart, ranges, conditional puts (`If-None-Match: *`, `If-Match`; atomic),
`Content-MD5`, `x-amz-content-sha256` and the checksums CRC32, SHA1, SHA256 of a body, aws-chunked bodies,
`x-amz-expected-bucket-owner`, bucket policies with conditions on `aws:SecureTransport`. Not emulated: CRC32C and
CRC64NVME are stored but not checked; identity policies and ACLs, but for reading without a signature, are not enforced.
"""

from starlette.routing import BaseRoute

from localaws.core import Core


def install(core: Core) -> list[BaseRoute]:
    """Put the keys, multipart uploads, buckets and responses of this package in the place of moto's."""
    from localaws.s3.backend import install_backend

    install_backend(core.settings.home / "objects", core.settings.region)
    return []
