"""moto's Lambda backend with functions that run.

moto keeps the functions, versions, aliases, policies and tags. This class makes them executable, adds what moto gets
wrong or lacks (versions, revisions, concurrency) and refuses what would only appear to work.
"""

from __future__ import annotations

import json
import shutil
import uuid
from collections.abc import Mapping
from typing import Any, ClassVar
from urllib.parse import unquote

import moto.awslambda.models as moto_models
from moto.core.utils import iso_8601_datetime_with_nanoseconds
from moto.iam.models import iam_backends

from localaws.errors import AwsError, NoSuchRole
from localaws.functions import naming, url_conditions, validation, vpc
from localaws.functions.concurrency import RefusedError, Resource
from localaws.functions.deployment import LATEST
from localaws.functions.function import ExecutingFunction
from localaws.functions.launch import PRINCIPAL
from localaws.functions.naming import FunctionName
from localaws.functions.provisioning import Provisioning
from localaws.functions.requests import AsyncPolicy, Target
from localaws.functions.service import FunctionService
from localaws.functions.urls import FunctionUrls
from localaws.iam.principals import unknown_principals
from localaws.partition import partition
from localaws.permissions.roles import Role

_NO_PRINCIPAL = "The provided principal was invalid. Please check the principal and try again."

_SAME_ROLE = "Specified versions must be associated with the same execution role"
"""AWS's words; source: https://github.com/serverless-heaven/serverless-aws-alias/issues/64"""

_LambdaBackend: Any = moto_models.LambdaBackend  # its annotations are not all true


class ExecutingLambda(_LambdaBackend):  # type: ignore[misc]
    """Lambda of one account and region."""

    __module__ = moto_models.__name__  # moto finds a backend's urls by it
    service: ClassVar[FunctionService]  # set by install; moto makes the instances

    @property
    def provisioning(self) -> Provisioning:
        """The provisioned concurrency of its functions."""
        return Provisioning(self.service, self)

    @property
    def urls(self) -> FunctionUrls:
        """The URLs of its functions."""
        return FunctionUrls(self.service, self)

    def reset(self) -> None:
        """Forget all functions and end their processes."""
        self.service.url_configs.clear()
        for name in self._lambdas._functions:
            self.provisioning.forget(name)
        self.service.remove_environments(lambda _: True)
        shutil.rmtree(self.service.folder / "code", ignore_errors=True)
        super().reset()

    # The invocation side

    def resolve(self, name: FunctionName) -> Target:
        """Return what a name and qualifier lead to: one deployment, or two that an alias shares calls between.

        Raises: AwsError ResourceNotFoundException with AWS's text.
        """
        arn = f"arn:{partition()}:lambda:{self.region_name}:{self.account_id}:function:{name.name}"
        qualified = f"{arn}:{name.qualifier}" if name.qualifier else arn
        entry = self._lambdas._functions.get(name.name)
        if entry is None:
            raise AwsError("ResourceNotFoundException", f"Function not found: {qualified}", status=404)
        latest: ExecutingFunction = entry["latest"]
        policy, resource = _async_policy(latest), Resource(name.name, name.qualifier)
        if name.qualifier in (None, LATEST):
            return Target(resource, False, qualified, ((latest.deployment, 1.0),), policy)
        alias = self._lambdas._aliases[arn].get(name.qualifier)
        weights = _weights(alias) if alias is not None else {str(name.qualifier): 1.0}
        found = {str(version.version): version.deployment for version in entry["versions"]} | {
            LATEST: latest.deployment
        }
        if not weights.keys() <= found.keys():
            raise AwsError("ResourceNotFoundException", f"Function not found: {qualified}", status=404)
        choices = tuple((found[version], weight) for version, weight in weights.items())
        return Target(resource, alias is not None, qualified, choices, policy)

    # Functions and versions

    def create_function(self, spec: dict[str, Any]) -> ExecutingFunction:
        """Create a function; it is Active when this returns, its code is unpacked.

        Raises: AwsError for what Lambda refuses and for what localaws does not carry out.
        """
        self._require_region()
        validation.check_required(spec)
        validation.check_request(spec)
        self._require_assumable(spec["Role"], spec["FunctionName"])
        whole = {**spec, "VpcConfig": self._checked_vpc(spec, spec["Role"])}
        function = ExecutingFunction(self.account_id, whole, self.region_name, self.service)
        self._lambdas.put_function(function)
        return self.publish_version(spec["FunctionName"]) if spec.get("Publish") else function

    def list_tags(self, resource_arn: str) -> dict[str, str]:
        """Return the tags of a function; those of a new one may not be shown yet."""
        function = self._get_resource_by_arn(resource_arn)
        tags: dict[str, str] = function.tags
        return tags if not isinstance(function, ExecutingFunction) or function.shows_tags else {}

    def publish_version(self, function_name: str, description: str = "") -> ExecutingFunction:
        """Publish $LATEST; when nothing has changed since the last version, return that one."""
        latest: ExecutingFunction = self._lambdas.get_function_by_name_or_arn_forbid_qualifier(function_name)
        versions: list[ExecutingFunction] = self._lambdas._functions[latest.function_name]["versions"]
        if versions and latest.is_same_as_published(versions[-1]):
            return versions[-1]
        version = latest.next_version(description or "")
        versions.append(version)
        self._lambdas._arns[version.function_arn] = version
        return version

    def update_function_code(self, function_name: str, qualifier: str, body: dict[str, Any]) -> dict[str, Any]:
        """Unpack new code; environments of the old code end, the busy ones when they are done."""
        validation.check_request(body)
        latest = self._latest_for_update(function_name, qualifier, body)
        if body.get("DryRun"):
            configuration: dict[str, Any] = latest.get_configuration()
            return configuration
        latest._set_function_code(body)
        return self._updated(latest, publish=bool(body.get("Publish")))

    def update_function_configuration(self, function_name: str, qualifier: str, body: dict[str, Any]) -> dict[str, Any]:
        """Change $LATEST's configuration; its environments end, the busy ones when they are done."""
        validation.check_request(body)
        latest = self._latest_for_update(function_name, qualifier, body)
        if "Role" in body:
            self._require_assumable(body["Role"], latest.function_name)
        if "VpcConfig" in body:
            body = {**body, "VpcConfig": self._checked_vpc(body, body.get("Role", latest.role))}
        latest.update_configuration(body)
        return self._updated(latest, publish=False)

    def _updated(self, latest: ExecutingFunction, *, publish: bool) -> dict[str, Any]:
        old = latest.deployment.revision
        latest.last_modified = iso_8601_datetime_with_nanoseconds()
        latest.renew()
        self.service.retire(old)
        shown = self.publish_version(latest.function_name) if publish else latest
        configuration: dict[str, Any] = shown.get_configuration()
        return configuration

    def _latest_for_update(self, function_name: str, qualifier: str | None, body: dict[str, Any]) -> ExecutingFunction:
        function: ExecutingFunction = self.get_function(function_name, qualifier)
        if function.version != LATEST:
            raise validation.invalid("Only the $LATEST version of a function can be updated.")
        require_revision(body.get("RevisionId"), function.deployment.revision)
        return function

    def delete_function(self, function_name: str, qualifier: str | None = None) -> None:
        """Delete a function or one version; its processes are gone when this returns."""
        function: ExecutingFunction = self.get_function(function_name, qualifier)
        name, version = function.function_name, str(function.version)
        is_whole = qualifier is None and ":" not in function_name.split(":function:")[-1]
        if not is_whole and version == LATEST:
            raise validation.invalid("$LATEST version cannot be deleted without deleting the function.")
        if not is_whole:
            self._require_no_alias(function, version)
        super().delete_function(function_name, qualifier)
        if is_whole:
            self.provisioning.forget(name)
            self.urls.forget(name)
            self.service.concurrency.forget(name)
        else:
            self.provisioning.delete(name, version)
        self.service.remove_environments(
            lambda deployment: deployment.name == name and (is_whole or deployment.version == version)
        )
        if is_whole:
            shutil.rmtree(self.service.code_folder(name), ignore_errors=True)

    def _require_no_alias(self, function: ExecutingFunction, version: str) -> None:
        for alias in self.list_aliases(function.function_name):
            if version in _weights(alias):
                raise AwsError(
                    "ResourceConflictException",
                    f"Function version {version} is referenced by alias {alias.name}: point it elsewhere first.",
                    status=409,
                )

    def list_versions_by_function(self, function_name: str) -> Any:
        """Return $LATEST and the versions, of a function that is named in any way."""
        return super().list_versions_by_function(naming.parse(unquote(function_name), None).name)

    # Aliases

    def create_alias(
        self, name: str, function_name: str, function_version: str, description: str, routing_config: Any
    ) -> Any:
        """Create an alias; weights may lead to one further version."""
        self._check_routing(function_name, function_version, _additional(routing_config))
        return super().create_alias(name, function_name, function_version, description, routing_config)

    def update_alias(
        self, name: str, function_name: str, function_version: str, description: str, routing_config: Any
    ) -> Any:
        """Move an alias or change its weights; its revision id changes."""
        present = self.get_alias(name, function_name)
        version = function_version or present.function_version
        others = _additional(present.routing_config if routing_config is None else routing_config)
        self._check_routing(function_name, version, others)
        function: ExecutingFunction = self.get_function(function_name)
        self.provisioning.check_move(function.function_name, name, [version, *others])
        alias = super().update_alias(name, function_name, function_version, description, routing_config)
        alias.revision_id = str(uuid.uuid4())
        self.provisioning.follow(function.function_name, name)
        return alias

    def delete_alias(self, name: str, function_name: str) -> None:
        """Delete an alias, what is provisioned for it, and its URL."""
        function: ExecutingFunction = self.get_function(function_name)
        super().delete_alias(name, function_name)
        self.urls.forget(function.function_name, name)
        self.provisioning.delete(function.function_name, name)

    def _check_routing(self, function_name: str, version: str, weights: Mapping[str, float]) -> None:
        """Refuse what AWS refuses of an alias with these weights, beyond the bounds that the operation's model has."""
        if len(weights) > 1:
            raise validation.invalid("Number of items in AdditionalVersionWeights cannot be greater than 1.")
        for other in weights:
            if version == LATEST:
                raise validation.invalid("$LATEST is not supported for an alias pointing to more than 1 version")
            if other == version:
                raise validation.invalid(
                    f"Invalid function version {other}. Function version {other} is already included."
                )
            if self.get_function(function_name, other).role != self.get_function(function_name, version).role:
                raise validation.invalid(_SAME_ROLE)

    # Concurrency and asynchronous events

    def put_function_concurrency(self, function_name: str, reserved_concurrency: int) -> int:
        """Reserve concurrency: it binds from the next invocation on."""
        function: ExecutingFunction = self.get_function(function_name)
        if ":" in function_name.split(":function:")[-1]:
            raise validation.invalid(
                "This operation is permitted on Lambda functions only. Aliases and versions do not support this "
                "operation. Please specify either a function name or an unqualified function ARN."
            )
        try:
            self.service.concurrency.reserve(function.function_name, int(reserved_concurrency))
        except RefusedError as error:
            raise validation.invalid(str(error)) from error
        function.reserved_concurrency = int(reserved_concurrency)
        return int(reserved_concurrency)

    def delete_function_concurrency(self, function_name: str) -> None:
        """Give the function back to the unreserved pool."""
        function: ExecutingFunction = self.get_function(function_name)
        self.service.concurrency.unreserve(function.function_name)
        function.reserved_concurrency = None

    def put_function_event_invoke_config(self, function_name: str, config: dict[str, Any]) -> dict[str, Any]:
        """Set retries and age of asynchronous events; destinations are not carried out."""
        destinations = config.get("DestinationConfig") or {}
        if any((destinations.get(kind) or {}).get("Destination") for kind in ("OnSuccess", "OnFailure")):
            raise validation.unsupported("DestinationConfig")
        self.get_function(function_name).event_invoke_config.clear()
        answer: dict[str, Any] = super().put_function_event_invoke_config(function_name, config)
        return answer

    # Checks

    def add_permission(self, function_name: str, qualifier: str, raw: str) -> Any:
        """Add a statement to the function's policy; a user or role that it names exists.

        Raises:
            AwsError: InvalidParameterValueException for one that does not, or for a condition on a function URL that
                is not of the action; ResourceConflictException for an id that is there.
        """
        request = json.loads(raw)
        named = {"Statement": {"Principal": {"AWS": request.get("Principal", "")}}}
        if unknown_principals(iam_backends[self.account_id][partition()], named):
            raise AwsError("InvalidParameterValueException", _NO_PRINCIPAL)
        conditions = url_conditions.taken_from(request)
        present = self.get_function(function_name, qualifier).policy.statements
        url_conditions.require_new(request["StatementId"], qualifier, present)
        statement = super().add_permission(function_name, qualifier, json.dumps(request))
        return url_conditions.added(statement, conditions)

    def _require_region(self) -> None:
        region = self.service.core.settings.region
        if self.region_name != region:
            raise validation.invalid(f"localaws runs Lambda functions in {region} only, not in {self.region_name}.")

    def _checked_vpc(self, spec: Mapping[str, Any], role_arn: Any) -> dict[str, Any] | None:
        core = self.service.core
        return vpc.checked(core, self.region_name, spec.get("VpcConfig"), Role(core.authority, role_arn, "Lambda"))

    def _require_assumable(self, role_arn: str, name: str) -> None:
        """A role that Lambda may not assume is refused, as AWS does."""
        arn = f"arn:{partition()}:lambda:{self.region_name}:{self.account_id}:function:{name}"
        try:
            self.service.core.credentials.require(role_arn, PRINCIPAL, arn)
        except NoSuchRole as error:
            raise validation.invalid("The role defined for the function cannot be assumed by Lambda.") from error


def require_revision(wanted: str | None, present: str) -> None:
    """Refuse a change that was made for another revision.

    Raises: AwsError PreconditionFailedException.
    """
    if wanted and wanted != present:
        raise AwsError(
            "PreconditionFailedException",
            "The Revision Id provided does not match the latest Revision Id. Call the GetFunction/GetAlias API to "
            "retrieve the latest Revision Id",
            status=412,
        )


def _additional(routing_config: Mapping[str, Any] | None) -> dict[str, float]:
    return (routing_config or {}).get("AdditionalVersionWeights") or {}


def _weights(alias: Any) -> dict[str, float]:
    additional = _additional(alias.routing_config)
    return {**additional, alias.function_version: 1.0 - sum(additional.values())}


def _async_policy(function: ExecutingFunction) -> AsyncPolicy:
    if not function.event_invoke_config:
        return AsyncPolicy()
    config = function.event_invoke_config[0].config
    return AsyncPolicy(config.get("MaximumRetryAttempts", 2), config.get("MaximumEventAgeInSeconds", 21_600))
