"""Fill the record of an account by calls that change nothing.

IAM and S3 are looked at whole; Lambda, SageMaker and EC2 in the regions that are named, or in all that are enabled.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

from tasks.account.policy_documents import read_policy
from tasks.audit.account import Account, Bucket
from tasks.audit.identities import credentials, identities, last_accessed, profiles
from tasks.audit.looking import Look
from tasks.audit.regions import enabled_regions, look_at_regions
from tasks.run.aws import Aws
from tasks.run.errors import aws_boundary
from tasks.run.waiting import REAL_TIME, Waiting

DEADLINE_SECONDS = 900.0


def collect(
    aws: Aws,
    *,
    unused_days: int,
    regions: Sequence[str] = (),
    deadline_seconds: float = DEADLINE_SECONDS,
    waiting: Waiting = REAL_TIME,
) -> Account:
    """Look at the account, in these regions or in all that are enabled, and return what was seen.

    SageMaker's jobs of the last `unused_days` count as users of their roles. After the deadline nothing more is looked
    at, and what was not becomes a note, as does what is denied or not emulated.

    Raises:
        AwsFailed: IAM refused GetAccountAuthorizationDetails, or AWS does not answer any more.
        WaitTimedOut: the deadline passed before the identities were read.
    """
    look, now = Look(aws, deadline_seconds, waiting), datetime.now(UTC)
    since = now - timedelta(days=unused_days)
    with aws_boundary("audit: identities"):
        found, service_linked = identities(look)
    own_profiles = look.read("instance profiles", lambda: profiles(look), "ec2")
    enabled = () if regions else enabled_regions(look)
    names = tuple(dict.fromkeys(regions)) or enabled or (aws.region,)
    others = () if enabled else (f"not looked at: Lambda, SageMaker and EC2 of other regions than {', '.join(names)}",)
    in_regions = look_at_regions(look, names, since, own_profiles)
    rows = look.read("the credential report", lambda: credentials(look))
    owners = [each for each in found if each.created < since and any(p.arn is None for p in each.policies)]
    accessed = look.read("last accesses", lambda: last_accessed(look, owners).items())
    buckets = look.read("buckets", lambda: _buckets(look))
    return Account(
        account_id=aws.account_id,
        partition=aws.partition,
        regions=names,
        seen_at=now,
        identities=found,
        service_linked=service_linked,
        profiles=own_profiles,
        uses=tuple(use for each in in_regions for use in each.uses),
        unseen=frozenset(look.unseen).union(*(each.unseen for each in in_regions)),
        functions=tuple(policy for each in in_regions for policy in each.functions),
        buckets=buckets,
        credentials=rows,
        last_accessed=dict(accessed),
        notes=(*look.notes, *(note for each in in_regions for note in each.notes), *others),
    )


def _buckets(look: Look) -> Iterator[Bucket]:
    """Yield the buckets; each is a part of its own, because its policy may deny the caller this one."""
    ask = partial(look.one, "s3control", "get_public_access_block", AccountId=look.aws.account_id)
    whole = dict(look.read("the account's public access block", lambda: _blocks(ask()).items()))
    for each in look.all("s3", "list_buckets", "Buckets"):
        look.in_time("get_bucket_policy")
        yield from look.read(f"bucket {each['Name']}", partial(_bucket, look, each["Name"], whole))


def _bucket(look: Look, name: str, whole: Mapping[str, bool]) -> Iterator[Bucket]:
    own = _blocks(look.one("s3", "get_public_access_block", Bucket=name))
    policy, acl = (look.one("s3", f"get_bucket_{what}", Bucket=name) for what in ("policy", "acl"))
    is_void = {key: own.get(key) or whole.get(key) for key in ("RestrictPublicBuckets", "IgnorePublicAcls")}
    grants: list[Any] = [] if acl is None or is_void["IgnorePublicAcls"] else acl["Grants"]
    document = {} if policy is None or is_void["RestrictPublicBuckets"] else read_policy(policy["Policy"])
    yield Bucket(name, document, tuple(each["Grantee"].get("URI", "") for each in grants))


def _blocks(answer: Mapping[str, Any] | None) -> Mapping[str, bool]:
    return {} if answer is None else answer["PublicAccessBlockConfiguration"]
