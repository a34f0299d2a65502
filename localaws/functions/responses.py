"""Lambda's control plane on the wire: moto's responses, the operations that localaws carries out, and no others."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import unquote

from moto.awslambda.responses import LambdaResponse
from moto.core.utils import camelcase_to_underscores

from localaws.errors import AwsError
from localaws.functions import naming, validation
from localaws.functions.backend import require_revision
from localaws.functions.deployment import LATEST
from localaws.functions.provisioning import PAGE_LIMIT
from localaws.functions.urls import PAGE_LIMIT as URLS_LIMIT
from localaws.paging import page_of

Answer = tuple[int, dict[str, Any], str]

OPERATIONS = frozenset(
    {
        "create_function",
        "get_function",
        "get_function_configuration",
        "update_function_code",
        "update_function_configuration",
        "delete_function",
        "list_functions",
        "publish_version",
        "list_versions_by_function",
        "create_alias",
        "get_alias",
        "update_alias",
        "delete_alias",
        "list_aliases",
        "add_permission",
        "get_policy",
        "remove_permission",
        "list_tags",
        "tag_resource",
        "untag_resource",
        "put_function_concurrency",
        "get_function_concurrency",
        "delete_function_concurrency",
        "put_provisioned_concurrency_config",
        "get_provisioned_concurrency_config",
        "delete_provisioned_concurrency_config",
        "list_provisioned_concurrency_configs",
        "put_function_event_invoke_config",
        "get_function_event_invoke_config",
        "update_function_event_invoke_config",
        "delete_function_event_invoke_config",
        "list_function_event_invoke_configs",
        "create_function_url_config",
        "get_function_url_config",
        "update_function_url_config",
        "delete_function_url_config",
        "list_function_url_configs",
        "get_account_settings",
    }
)


_LambdaResponse: Any = LambdaResponse  # its annotations are not all true


class ExecutingLambdaResponse(_LambdaResponse):  # type: ignore[misc]
    """Parses requests and shapes answers."""

    def call_action(self) -> Answer:
        """Run the operation; one that is not carried out is refused by its name."""
        operation = self._get_action()
        try:
            if operation is None or camelcase_to_underscores(operation) not in OPERATIONS:
                raise AwsError(
                    "UnsupportedOperationException",
                    f"localaws does not emulate the Lambda operation {operation or self.path}.",
                )
            answer: Answer = super().call_action()
        except AwsError as error:
            headers = {"x-amzn-ErrorType": error.code, "Content-Type": "application/json", "status": str(error.status)}
            return (
                error.status,
                headers,
                json.dumps({"Type": "User", "Message": error.message, "message": error.message}),
            )
        return answer

    def publish_version(self) -> Answer:
        """Publish $LATEST if it is what the caller means by CodeSha256 and RevisionId."""
        name = unquote(self.path.split("/")[-2])
        latest = self.backend.get_function(name)
        wanted = self._get_param("CodeSha256")
        if wanted and wanted != latest.package.code_sha256:
            raise validation.invalid(
                f"CodeSHA256 ({wanted}) is different from current CodeSHA256 in $LATEST ({latest.package.code_sha256})."
                " Please try again with the CodeSHA256 in $LATEST."
            )
        require_revision(self._get_param("RevisionId"), latest.deployment.revision)
        version = self.backend.publish_version(name, self._get_param("Description") or "")
        return 201, {"status": 201}, json.dumps(version.get_configuration())

    def get_alias(self) -> Answer:
        """Answer GetAlias; AWS says 200 where moto says 201."""
        return _with_status(super().get_alias(), 200)

    def update_alias(self) -> Answer:
        """Answer UpdateAlias, minding the caller's RevisionId."""
        function_name, name = unquote(self.path.rsplit("/")[-3]), unquote(self.path.rsplit("/", 2)[-1])
        require_revision(self.json_body.get("RevisionId"), self.backend.get_alias(name, function_name).revision_id)
        return _with_status(super().update_alias(), 200)

    def delete_alias(self) -> Answer:
        """Answer DeleteAlias with 204."""
        return _with_status(super().delete_alias(), 204, body="")

    def put_function_event_invoke_config(self) -> Any:
        """Answer PutFunctionEventInvokeConfig; one for a single version or alias is not carried out."""
        if self.querystring.get("Qualifier"):
            raise validation.unsupported("PutFunctionEventInvokeConfig's Qualifier")
        return super().put_function_event_invoke_config()

    def get_function_concurrency(self) -> Answer:
        """Answer GetFunctionConcurrency; a function without a reservation has no such member."""
        reserved = self.backend.get_function_concurrency(unquote(self.path.rsplit("/", 2)[-2]))
        return 200, {}, json.dumps({} if reserved is None else {"ReservedConcurrentExecutions": reserved})

    def put_provisioned_concurrency_config(self) -> Answer:
        """Answer PutProvisionedConcurrencyConfig: environments are being started."""
        wanted = self.json_body.get("ProvisionedConcurrentExecutions")
        shown = self.backend.provisioning.put(*self._version_or_alias(), wanted)
        return 202, {"status": 202}, json.dumps(shown)

    def get_provisioned_concurrency_config(self) -> Answer:
        """Answer GetProvisionedConcurrencyConfig with what there is now."""
        return 200, {}, json.dumps(self.backend.provisioning.get(*self._version_or_alias()))

    def delete_provisioned_concurrency_config(self) -> Answer:
        """Answer DeleteProvisionedConcurrencyConfig; there need not be one."""
        self.backend.provisioning.delete_of(*self._version_or_alias())
        return 204, {"status": 204}, ""

    def list_functions(self) -> Answer:
        """Answer ListFunctions, in pages."""
        most, marker = self._get_param("MaxItems"), self._get_param("Marker")
        every = list(self.backend.list_functions(self._get_param("FunctionVersion")))
        page, following = page_of(every, marker, min(int(most or PAGE_LIMIT), PAGE_LIMIT), service="lambda")
        listed: dict[str, Any] = {"Functions": [each.get_configuration() for each in page]}
        return 200, {}, json.dumps({**listed, "NextMarker": following} if following else listed)

    def list_provisioned_concurrency_configs(self) -> Answer:
        """Answer ListProvisionedConcurrencyConfigs, in pages."""
        most, marker = self._get_param("MaxItems"), self._get_param("Marker")
        name = naming.parse(unquote(self.path.rsplit("/", 2)[-2]), None).name
        page = self.backend.provisioning.page(name, int(most or PAGE_LIMIT), marker)
        return 200, {}, json.dumps(page)

    def create_function_url_config(self) -> Answer:
        """Answer CreateFunctionUrlConfig."""
        return 201, {"status": 201}, json.dumps(self.backend.urls.create(self._function_or_alias(), self.json_body))

    def get_function_url_config(self) -> Answer:
        """Answer GetFunctionUrlConfig."""
        return 200, {}, json.dumps(self.backend.urls.get(self._function_or_alias()))

    def update_function_url_config(self) -> Answer:
        """Answer UpdateFunctionUrlConfig."""
        return 200, {}, json.dumps(self.backend.urls.update(self._function_or_alias(), self.json_body))

    def delete_function_url_config(self) -> Answer:
        """Answer DeleteFunctionUrlConfig."""
        self.backend.urls.delete(self._function_or_alias())
        return 204, {"status": 204}, ""

    def list_function_url_configs(self) -> Answer:
        """Answer ListFunctionUrlConfigs, in pages."""
        most, marker = self._get_param("MaxItems"), self._get_param("Marker")
        name = self._function_or_alias().name
        return 200, {}, json.dumps(self.backend.urls.page(name, int(most or URLS_LIMIT), marker))

    def _function_or_alias(self) -> naming.FunctionName:
        return naming.parse(unquote(self.path.rsplit("/", 2)[-2]), self.querystring.get("Qualifier", [None])[0])

    def _version_or_alias(self) -> tuple[str, str]:
        name = naming.parse(unquote(self.path.rsplit("/", 2)[-2]), self._get_param("Qualifier"))
        return name.name, name.qualifier or LATEST

    def get_account_settings(self) -> str:
        """Answer GetAccountSettings with the concurrency that binds."""
        concurrency = self.backend.service.concurrency
        functions = list(self.backend.list_functions())
        return json.dumps(
            {
                "AccountLimit": {
                    "TotalCodeSize": 80_530_636_800,
                    "CodeSizeUnzipped": 262_144_000,
                    "CodeSizeZipped": 52_428_800,
                    "ConcurrentExecutions": concurrency.account_limit,
                    "UnreservedConcurrentExecutions": concurrency.unreserved_limit,
                },
                "AccountUsage": {
                    "TotalCodeSize": sum(function.code_size for function in functions),
                    "FunctionCount": len(functions),
                },
            }
        )


def _with_status(answer: tuple[int, dict[str, Any], str], status: int, *, body: str | None = None) -> Answer:
    _, headers, content = answer
    return status, {**headers, "status": status}, content if body is None else body
