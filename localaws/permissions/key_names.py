"""The ARNs of KMS's keys, which requests name by id, ARN, alias or an alias's ARN; a ciphertext names its own."""

from __future__ import annotations

import base64
import binascii
from typing import Any

from localaws.kms.keys import find_key
from localaws.permissions.asking import Place, Resource
from localaws.permissions.catalog import Action
from localaws.permissions.operations import Operation
from localaws.permissions.resources import resources_of

_ID_CHARACTERS = 36  # with which moto's ciphertexts begin
_NAMES = ("KeyId", "TargetKeyId", "SourceKeyId", "DestinationKeyId")


def keys_of(operation: Operation, action: Action, place: Place) -> list[Resource]:
    """Return the resources of an action of KMS's."""
    if not any(each.kind == "key" for each in action.uses):
        return resources_of(operation, action, place)
    given = [str(each) for name in _NAMES if (each := operation.parameters.get(name))]
    given = given or [_named_in(operation.parameters.get("CiphertextBlob"))]
    found = [Resource("key", _arn(each, place)) for each in given if each]
    alias = operation.parameters.get("AliasName")
    if alias and any(each.kind == "alias" for each in action.uses):
        found.append(Resource("alias", place.arn("kms", str(alias))))
        if held := find_key(place.account_id, place.region, str(alias)):  # that it is taken from
            found.append(Resource("key", held.arn))
    return found or resources_of(operation, action, place)


def _arn(name: str, place: Place) -> str:
    key = find_key(place.account_id, place.region, name)
    if key is not None:
        return key.arn
    return name if name.startswith("arn:") else place.arn("kms", f"key/{name}")


def _named_in(ciphertext: Any) -> str:
    try:
        return base64.b64decode(str(ciphertext or ""))[:_ID_CHARACTERS].decode("ascii")
    except (binascii.Error, UnicodeDecodeError):
        return ""
