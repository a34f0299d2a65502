"""Buckets that the Host header names, as moto reads it."""

from types import SimpleNamespace


def bucket_of(host: str) -> str:
    """Return the bucket that a Host header names, empty if the path names it."""
    from moto.s3.responses import S3Response
    from moto.s3.utils import bucket_name_from_url

    asked = SimpleNamespace(headers={"host": host}, url=f"http://{host}/")
    return str(bucket_name_from_url(asked.url)) if S3Response.subdomain_based_buckets(asked) else ""
