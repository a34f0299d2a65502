"""What a service does in a role's name, decided and recorded as calls of that role.

`Role` asks for one action; `ObjectsOfRole` and `LogsOfRole` are S3 and CloudWatch Logs as a role reaches them.
"""

from __future__ import annotations

import threading
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import BinaryIO

from localaws.kms import sealing
from localaws.kms.keys import Key
from localaws.logs import Logs
from localaws.objects import ObjectInfo, Objects
from localaws.partition import partition
from localaws.permissions import stored
from localaws.permissions.asking import Place, Resource
from localaws.permissions.authority import Authority
from localaws.permissions.questions import Question
from localaws.permissions.request_keys import REGION
from localaws.policies.context import Context


class Role:
    """A role as a service uses it, by a session of its own."""

    def __init__(self, authority: Authority, arn: str, session_name: str) -> None:
        self._authority, self.arn, self._session_name = authority, arn, session_name

    def require(self, action: str, resource: str, values: Mapping[str, list[str]] | None = None) -> None:
        """Decide and record one call.

        Raises:
            AwsError: AccessDenied with AWS's sentence, if the role may not and decisions are enforced.
        """
        self._authority.as_role(self.arn, self._session_name, self._question(action, resource, values))

    def may(self, action: str, resource: str, values: Mapping[str, list[str]] | None = None) -> bool:
        """Decide and record one call; return whether it is to be carried out."""
        return self._authority.lets_role(self.arn, self._session_name, self._question(action, resource, values))

    def _question(self, action: str, resource: str, values: Mapping[str, list[str]] | None) -> Question:
        told = {REGION: [self._authority.region], **(values or {})}
        return Question(action, resource, self._authority.account_id, Context(told))

    def log_arn(self, group: str, stream: str = "") -> str:
        """Return the ARN on which CloudWatch Logs decides."""
        where = f"{self._authority.region}:{self._authority.account_id}"
        return f"arn:{partition()}:logs:{where}:log-group:{group}:log-stream:{stream}"


class ObjectsOfRole(Objects):
    """S3 from inside the server, for what a role may.

    Each method also raises AwsError, AccessDenied, for what the role may not.
    """

    def __init__(self, account_id: str, region: str, role: Role, kms_key: str | None = None) -> None:
        super().__init__(account_id, region, kms_key)
        self._role = role

    def list(self, bucket: str, prefix: str) -> list[ObjectInfo]:
        """Return every object under `prefix`, in key order."""
        self._role.require("s3:ListBucket", f"arn:{partition()}:s3:::{bucket}", {"s3:prefix": [prefix]})
        return super().list(bucket, prefix)

    def download(self, bucket: str, key: str, path: Path) -> None:
        """Write the object to `path`."""
        found = Resource("object", f"arn:{partition()}:s3:::{bucket}/{key}")
        tags = stored.tags_of(found, Place(self._account_id, self._region))
        told = {f"s3:existingobjecttag/{name.lower()}": [value] for name, value in tags.items()}
        self._role.require("s3:GetObject", found.arn, told)
        self._require_key(sealing.OPEN, sealing.key_of_object(self._account_id, self._region, bucket, key), bucket, key)
        super().download(bucket, key, path)

    def store(self, file: BinaryIO, bucket: str, key: str) -> None:
        """Store what is left to read of the file as an object."""
        algorithm = None if self._kms_key is None else "aws:kms"
        sealed = sealing.key_for_new(self._account_id, self._region, bucket, algorithm, self._kms_key)
        header = "s3:x-amz-server-side-encryption"
        told = {header: [algorithm], f"{header}-aws-kms-key-id": [sealed.arn]} if algorithm and sealed else {}
        self._role.require("s3:PutObject", f"arn:{partition()}:s3:::{bucket}/{key}", told)
        self._require_key(sealing.SEAL, sealed, bucket, key)
        super().store(file, bucket, key)

    def _require_key(self, action: str, found: Key | None, bucket: str, key: str) -> None:
        if found is not None and not found.is_aws_managed:
            values = sealing.circumstances(self._region, self._account_id, bucket, key)
            self._role.require(action, found.arn, values)


class LogsOfRole:
    """CloudWatch Logs for what a role may: what it may not write is lost, as on AWS, where the log stays empty."""

    def __init__(self, logs: Logs, role: Role) -> None:
        self._logs, self._role = logs, role
        self._lock = threading.Lock()
        self._made: dict[tuple[str, str], bool] = {}

    def write(self, group: str, stream: str, lines: Iterable[str]) -> None:
        """Append lines to a stream, made with its group when missing."""
        if self._has_stream(group, stream) and self._role.may("logs:PutLogEvents", self._role.log_arn(group, stream)):
            self._logs.write(group, stream, lines)

    def _has_stream(self, group: str, stream: str) -> bool:
        with self._lock:
            if (group, stream) not in self._made:
                self._made[group, stream] = self._make(group, stream)
            return self._made[group, stream]

    def _make(self, group: str, stream: str) -> bool:
        arn = self._role.log_arn(group)
        has_group = self._logs.has_group(group) or self._role.may("logs:CreateLogGroup", arn)
        return has_group and self._role.may("logs:CreateLogStream", self._role.log_arn(group, stream))
