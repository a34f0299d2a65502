"""The configurations of function URLs: which function or alias an address leads to, who may call it, and its CORS.

Source: https://docs.aws.amazon.com/lambda/latest/dg/urls-configuration.html. The texts of errors are those of AWS, as
localstack's tests recorded them. Not emulated, and refused by name: response streaming.
"""

from __future__ import annotations

import secrets
import string
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any, Protocol

from localaws.errors import AwsError
from localaws.functions import validation
from localaws.functions.deployment import LATEST
from localaws.functions.naming import FunctionName
from localaws.functions.requests import Target
from localaws.functions.service import FunctionService
from localaws.functions.url_config import BUFFERED, UrlConfig
from localaws.paging import page_of
from localaws.partition import partition

METHODS = ("GET", "PUT", "HEAD", "POST", "PATCH", "DELETE", "*")
PAGE_LIMIT = 50
ID_LENGTH = 32
_ID_CHARACTERS = string.ascii_lowercase + string.digits


class Functions(Protocol):
    """The functions of one account and region."""

    region_name: str
    account_id: str

    def resolve(self, name: FunctionName) -> Target:
        """Return what a name leads to.

        Raises:
            AwsError: it does not exist.
        """


class FunctionUrls:
    """Creates, changes and deletes the URLs of one account's functions in one region."""

    def __init__(self, service: FunctionService, functions: Functions) -> None:
        self._configs = service.url_configs
        self._settings = service.core.settings
        self._functions = functions

    def create(self, name: FunctionName, request: Mapping[str, Any]) -> dict[str, Any]:
        """Give a function or an alias a URL.

        Raises:
            AwsError: it does not exist, has one, or the request asks for what is not emulated.
        """
        _check(request)
        key = self._key(name)
        arn, now = self._arn(key), _now()
        if key in self._configs:
            text = (
                f"Failed to create function url config for [functionArn = {arn}]. "
                "Error message:  FunctionUrlConfig exists for this Lambda function"
            )
            raise AwsError("ResourceConflictException", text, status=409)
        url_id = "".join(secrets.choice(_ID_CHARACTERS) for _ in range(ID_LENGTH))
        settings = self._settings
        url = f"http://{url_id}.lambda-url.{settings.region}.localhost:{settings.port}/"
        config = UrlConfig(url_id, key, arn, url, request["AuthType"], request.get("Cors") or None, now, now)
        self._configs[key] = config
        return _without(config.shown(), "LastModifiedTime")

    def get(self, name: FunctionName) -> dict[str, Any]:
        """Return a URL's configuration.

        Raises:
            AwsError: there is none.
        """
        return self._find(name).shown()

    def update(self, name: FunctionName, request: Mapping[str, Any]) -> dict[str, Any]:
        """Change who may call a URL, or its CORS, which an empty one takes away.

        Raises:
            AwsError: there is none, or the request asks for what is not emulated.
        """
        _check(request)
        present = self._find(name)
        cors = (request["Cors"] or None) if "Cors" in request else present.cors
        auth_type = request.get("AuthType") or present.auth_type
        changed = replace(present, auth_type=auth_type, cors=cors, modified=_now())
        self._configs[present.function] = changed
        return changed.shown()

    def delete(self, name: FunctionName) -> None:
        """Take a URL away; its address is never used again.

        Raises:
            AwsError: there is none.
        """
        del self._configs[self._find(name).function]

    def page(self, name: str, size: int, marker: str | None) -> dict[str, Any]:
        """Return the URLs of a function and its aliases, in pages.

        Raises:
            AwsError: there is no such function, or no such page.
        """
        self._key(FunctionName(name, None))
        own = [config.shown() for key, config in sorted(self._configs.items(), key=str) if key.name == name]
        items, following = page_of(own, marker, min(size, PAGE_LIMIT), service="lambda")
        return {"FunctionUrlConfigs": list(items), **({"NextMarker": following} if following else {})}

    def forget(self, name: str, qualifier: str | None = None) -> None:
        """Take away the URL of an alias, or all of a function that is deleted."""
        for key in list(self._configs):
            if key.name == name and qualifier in (None, key.qualifier):
                self._configs.pop(key, None)

    def _find(self, name: FunctionName) -> UrlConfig:
        config = self._configs.get(self._key(name))
        if config is None:
            raise AwsError("ResourceNotFoundException", "The resource you requested does not exist.", status=404)
        return config

    def _key(self, name: FunctionName) -> FunctionName:
        """Return what the configuration is kept under: `$LATEST` is the function itself."""
        key = FunctionName(name.name, None if name.qualifier == LATEST else name.qualifier)
        is_version = key.qualifier is not None and key.qualifier.isdigit()
        try:
            target = self._functions.resolve(key)
        except AwsError:
            target = None
        if target is None or is_version:
            raise AwsError("ResourceNotFoundException", "Function does not exist", status=404)
        return key

    def _arn(self, key: FunctionName) -> str:
        qualifier = f":{key.qualifier}" if key.qualifier else ""
        place = f"arn:{partition()}:lambda:{self._functions.region_name}:{self._functions.account_id}"
        return f"{place}:function:{key.name}{qualifier}"


def _check(request: Mapping[str, Any]) -> None:
    if request.get("InvokeMode", BUFFERED) != BUFFERED:
        raise validation.unsupported(f"InvokeMode={request['InvokeMode']}")
    for method in (request.get("Cors") or {}).get("AllowMethods", ()):
        if method not in METHODS:
            raise validation.invalid(f"Value {method} at 'cors.allowMethods' is none of {', '.join(METHODS)}.")


def _without(shown: Mapping[str, Any], name: str) -> dict[str, Any]:
    return {key: value for key, value in shown.items() if key != name}


def _now() -> str:
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
