"""The keys that this server issued: its root user's, those of IAM users and those of STS's sessions."""

from dataclasses import dataclass, field
from datetime import UTC
from typing import Any

from localaws.auth.root_key import RootKey
from localaws.partition import partition


@dataclass(frozen=True)
class Key:
    """What signs a request. A session has a token, and an end as a Unix time by the real clock."""

    secret: str = field(repr=False)
    token: str | None = field(default=None, repr=False)
    ends_at: float | None = None


@dataclass(frozen=True)
class Holder:
    """Whose a key is: an IAM user's, or of a role's session (moto's); the root user's if neither."""

    user_name: str | None = None
    session: Any = None


class Keys:
    """Finds keys by their ids; asked on the event loop, while other threads issue and delete them."""

    def __init__(self, root: RootKey, account_id: str) -> None:
        self._root_id = root.access_key_id
        self._root = Key(root.secret_access_key)
        self._account_id = account_id
        self._sessions: dict[str, Any] = {}
        self._read = 0

    def find(self, access_key_id: str) -> Key | None:
        """Return a key, None for one that was never issued, is inactive or deleted, itself or its user."""
        if access_key_id == self._root_id:
            return self._root
        from moto.iam.models import iam_backends

        backend = iam_backends[self._account_id][partition()]
        found = backend.access_keys.get(access_key_id)
        if found is None or found.status != "Active":
            return None
        if found.user_name is not None:  # moto keeps the keys of a user that it deletes
            is_someones = any(found in user.access_keys for user in list(backend.users.values()))
            return Key(found.secret_access_key) if is_someones else None
        session = self._session(access_key_id)
        if session is None:
            return None
        return Key(found.secret_access_key, session.session_token, session.expiration.replace(tzinfo=UTC).timestamp())

    def holder(self, access_key_id: str) -> Holder:
        """Return whose a key is that was found."""
        from moto.iam.models import iam_backends

        if access_key_id == self._root_id:
            return Holder()
        key = iam_backends[self._account_id][partition()].access_keys[access_key_id]
        return Holder(key.user_name) if key.user_name is not None else Holder(session=self._session(access_key_id))

    def _session(self, access_key_id: str) -> Any:
        from moto.sts.models import sts_backends

        sessions = sts_backends[self._account_id][partition()].assumed_roles  # only ever grows
        if self._read < len(sessions):
            new = sessions[self._read :]
            self._sessions.update((each.access_key_id, each) for each in new)
            self._read += len(new)
        return self._sessions.get(access_key_id)
