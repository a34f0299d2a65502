"""Condition keys of KMS: what a request says of an encryption, and what the key is that it is about.

Source: https://docs.aws.amazon.com/kms/latest/developerguide/conditions-kms.html
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from localaws.permissions.asking import Place

_CONTEXT = "encryptioncontext:"
_GIVEN: Mapping[str, tuple[str, Any]] = {  # a key: the parameter, and what it is without one
    "bypasspolicylockoutsafetycheck": ("BypassPolicyLockoutSafetyCheck", False),
    "encryptionalgorithm": ("EncryptionAlgorithm", "SYMMETRIC_DEFAULT"),
    "macalgorithm": ("MacAlgorithm", None),
    "messagetype": ("MessageType", "RAW"),
    "rotationperiodindays": ("RotationPeriodInDays", None),
    "schedulekeydeletionpendingwindowindays": ("PendingWindowInDays", 30),
    "signingalgorithm": ("SigningAlgorithm", None),
}
_OF_A_KEY: Mapping[str, tuple[str, str, Any]] = {  # a key: moto's attribute, and the parameter of a key that is made
    "keyorigin": ("origin", "Origin", "AWS_KMS"),
    "keyspec": ("key_spec", "KeySpec", "SYMMETRIC_DEFAULT"),
    "keyusage": ("key_usage", "KeyUsage", "ENCRYPT_DECRYPT"),
    "multiregion": ("multi_region", "MultiRegion", False),
}


def value_of(name: str, given: Mapping[str, Any], arn: str, place: Place) -> Any:
    """Return the value of `kms:<name>` (in lower case), a list for several, None for none.

    `given` are the parameters of a request to KMS, empty for what another service asks of KMS; `arn` is the key's.
    """
    context = given.get("EncryptionContext") or {}
    if name.startswith(_CONTEXT) and isinstance(context, Mapping):
        wanted = name.removeprefix(_CONTEXT)
        return next((value for key, value in context.items() if str(key).lower() == wanted), None)
    if name == "encryptioncontextkeys":
        return list(context) or None
    if name == "requestalias":
        asked = str(given.get("KeyId", ""))
        return asked[asked.index("alias/") :] if "alias/" in asked else None
    if name == "calleraccount":
        return place.account_id
    if name in _GIVEN and given:
        parameter, otherwise = _GIVEN[name]
        return given.get(parameter, otherwise)
    return _of_key(name, given, arn, place)


def _of_key(name: str, given: Mapping[str, Any], arn: str, place: Place) -> Any:
    from moto.kms.models import kms_backends

    found: Any = kms_backends[place.account_id][place.region].keys.get(arn.rpartition("/")[2])
    if name == "resourcealiases":
        return sorted(found.aliases) or None if found is not None else None
    if name not in _OF_A_KEY:
        return None
    attribute, parameter, otherwise = _OF_A_KEY[name]
    return given.get(parameter, otherwise) if found is None else getattr(found, attribute)
