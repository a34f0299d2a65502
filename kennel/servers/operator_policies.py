"""What the operator of the embedded AWS is allowed, which is what one of a real account needs.

A server that another release of kennel started has that release's policies, and one that was started with another
KENNEL_BUCKET is for that bucket; so they are renewed when they differ.
"""

from __future__ import annotations

import contextlib
import json
import os
import re
from pathlib import Path
from typing import Any

from kennel.servers.localaws_record import localaws_home, running_record
from tasks.run.naming import RESOURCE_PREFIX
from tasks.run.record_store import write_atomically
from tasks.run.sealed import Damaged, parse_json, read_regular

USER, BOUNDARY = "operator", "boundary"
_BUCKET = re.compile(rb'"arn:[a-z-]*:s3:::([a-z0-9.-]+)"')


def write_policies(home: Path, account_id: str, region: str) -> Path:
    """Write the documents by their names as JSON, and return the file, which localaws reads when it starts."""
    file = _file(home)
    file.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    write_atomically(file, _content(account_id, region, _bucket()))
    return file


def renew_policies(home: Path, account_id: str) -> str | None:
    """Give the operator of a running server the policies that it needs now; return what to say if it had others.

    A server of a release that had no operator stays as it is.
    """
    record = running_record(home)
    if record is None or not record.get("operator_access_key_id"):
        return None
    content, before = _content(account_id, record["region"], _bucket()), b""
    with contextlib.suppress(OSError, Damaged):
        before = read_regular(_file(home))
    if before == content:
        return None
    is_of = (name for name in _buckets(before) if before == _content(account_id, record["region"], name))
    of_bucket = next(is_of, None)
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        iam = _root_client(record)
        for name, document in parse_json(content).items():
            _put(iam, f"arn:{iam.meta.partition}:iam::{account_id}:policy/{name}", name, document)
        write_atomically(_file(home), content)
    except (ClientError, BotoCoreError) as error:
        return f"WARNING: the operator of the embedded AWS keeps {_those_of(of_bucket)}: {error}"
    return f"the operator of the embedded AWS had {_those_of(of_bucket)}; it has those of this command now"


def _those_of(bucket: str | None) -> str:
    """Return what is different about policies; `bucket` None: more than the bucket ("": none) that is named."""
    if bucket is None:
        return "the policies of another release of kennel"
    own = f"KENNEL_BUCKET is {_bucket()}" if _bucket() else "KENNEL_BUCKET is not set"
    return f"the policies for {f'bucket {bucket}' if bucket else 'no bucket of yours'} ({own})"


def _bucket() -> str:
    return os.environ.get("KENNEL_BUCKET", "")


def _buckets(policies: bytes) -> list[str]:
    """Return the buckets that policies may be for: those that they name, or none ("")."""
    return ["", *dict.fromkeys(name.decode() for name in _BUCKET.findall(policies))]


def _file(home: Path) -> Path:
    return localaws_home(home) / "operator.json"


def _content(account_id: str, region: str, bucket: str) -> bytes:
    from tasks.account.operator_policy import Account, operator_policies

    policies = operator_policies(Account(account_id, region, bucket=bucket))
    named = {f"{RESOURCE_PREFIX}{name}": document for name, document in policies.items()}
    return json.dumps(named, indent=1).encode()


def _root_client(record: dict[str, Any]) -> Any:
    import boto3

    return boto3.client(
        "iam",
        endpoint_url=f"http://127.0.0.1:{record['port']}",
        region_name=record["region"],
        aws_access_key_id=record["access_key_id"],
        aws_secret_access_key=record["secret_access_key"],
    )


def _put(iam: Any, arn: str, name: str, document: Any) -> None:
    """Make or change a policy, and attach it to the operator unless it is the roles' boundary."""
    text = json.dumps(document)
    try:
        before = iam.get_policy(PolicyArn=arn)["Policy"]["DefaultVersionId"]
    except iam.exceptions.NoSuchEntityException:
        iam.create_policy(PolicyName=name, PolicyDocument=text)
    else:
        iam.create_policy_version(PolicyArn=arn, PolicyDocument=text, SetAsDefault=True)
        iam.delete_policy_version(PolicyArn=arn, VersionId=before)
    if not name.endswith(BOUNDARY):
        iam.attach_user_policy(UserName=USER, PolicyArn=arn)
