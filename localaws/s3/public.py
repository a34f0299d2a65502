"""Says which objects anyone may read without a signature: by the bucket's policy, or by the object's ACL.

The circumstances are those of any request. Source of who asks:
https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_policies_variables.html
"""

from typing import Any

from localaws.permissions.circumstances import HERE, time_of
from localaws.permissions.operations import Asked
from localaws.permissions.questions import Place, Question, UnknownAction, questions_of
from localaws.policies.context import Context
from localaws.policies.decision import ALLOWED, ANYONE, EXPLICIT_DENY, Identity, Request, decide
from localaws.policies.documents import policy

_READ = "s3:GetObject"
_NOBODY = {"aws:userid": ["anonymous"], "aws:principaltype": ["Anonymous"]}
_PARAMETERS = {"x-id"}  # a version is another permission, and what a response_ parameter changes needs a signature


def may_anyone_read(asked: Asked, place: Place) -> bool:
    """Return whether a GET or HEAD without a signature is of an object that is open to everyone."""
    if not {each.partition("=")[0] for each in asked.query.split("&") if each} <= _PARAMETERS:
        return False
    try:
        questions = questions_of(asked, place)
    except UnknownAction:
        return False
    return [each.action for each in questions] == [_READ] and _is_public(questions[0], place)


def _is_public(question: Question, place: Place) -> bool:
    from moto.s3.models import s3_backends

    backend = s3_backends[place.account_id][place.partition]
    bucket_name, _, key_name = question.resource.rpartition(":::")[2].partition("/")
    bucket: Any = backend.buckets.get(bucket_name)
    key = backend.get_object(bucket_name, key_name) if bucket is not None else None
    if key is None:
        return False
    blocked: Any = bucket.public_access_block
    effect = _effect(bucket, question)
    if effect == EXPLICIT_DENY:
        return False
    if effect == ALLOWED and not (blocked and blocked.restrict_public_buckets):
        return True
    return bool(key.acl and key.acl.public_read) and not (blocked and blocked.ignore_public_acls)


def _effect(bucket: Any, question: Question) -> str:
    if bucket.policy is None:
        return ""
    context = Context({**HERE, **_NOBODY}, (question.context.get, time_of))
    request = Request(question.action, question.resource, context)
    return decide(ANYONE, Identity(), request, policy("bucket policy", bytes(bucket.policy).decode())).effect
