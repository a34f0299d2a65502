"""A function as moto keeps it, with its code unpacked on disk and a `Deployment` that never changes."""

from __future__ import annotations

import base64
import binascii
import copy
import shutil
import tempfile
import time
import uuid
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import moto.awslambda.models as moto_models

from localaws.errors import AwsError
from localaws.functions import validation
from localaws.functions.deployment import LATEST, Deployment
from localaws.functions.front import CODE_PATH
from localaws.functions.package import BadPackageError, Package, unpack
from localaws.functions.service import FunctionService

_MISSING = {f"NoSuch{each}": f"The specified {each.lower()} does not exist." for each in ("Bucket", "Key")}
_LambdaFunction: Any = moto_models.LambdaFunction  # its annotations are not all true


class ExecutingFunction(_LambdaFunction):  # type: ignore[misc]
    """$LATEST or one published version. Making one unpacks its code, so that it is Active when it exists.

    Raises: AwsError InvalidParameterValueException for code that cannot be deployed.
    """

    deployment: Deployment
    package: Package
    source_description: str  # of a published version: $LATEST's description at that time

    def __init__(self, account_id: str, spec: dict[str, Any], region: str, service: FunctionService) -> None:
        self._service = service
        super().__init__(account_id=account_id, spec=spec, region=region, version=LATEST)
        self.last_published = 0
        self.created = time.time()
        self.renew()

    def __deepcopy__(self, memo: dict[int, Any]) -> ExecutingFunction:
        return copy.copy(self)

    def renew(self) -> None:
        """Make a new deployment of what the function is now; its revision is new as well."""
        vpc = self.vpc_config or {}
        self.deployment = Deployment(
            name=self.function_name,
            version=str(self.version),
            arn=self.function_arn,
            revision=str(uuid.uuid4()),
            runtime=self.run_time,
            handler=self.handler,
            role=self.role,
            code_directory=self.package.directory,
            environment=dict(self.environment_vars or {}),
            timeout_seconds=self.timeout,
            memory_mb=self.memory_size,
            subnets=tuple(vpc.get("SubnetIds", ())),
            security_groups=tuple(vpc.get("SecurityGroupIds", ())),
        )

    def is_same_as_published(self, version: ExecutingFunction) -> bool:
        """Whether code and configuration are what they were when `version` was published."""
        here, there = (replace(each.deployment, version="", arn="", revision="") for each in (self, version))
        return here == there and self.description == version.source_description

    def next_version(self, description: str) -> ExecutingFunction:
        """Return the next version: a copy that no update reaches."""
        self.last_published += 1
        version = copy.copy(self)
        version.set_version(self.last_published)
        version.source_description = self.description
        version.description = description or self.description
        version.renew()
        return version

    @property
    def vpc_config(self) -> dict[str, Any] | None:
        """Its subnets and groups with their VPC's id; moto has one id for all."""
        return self._vpc_config  # type: ignore[no-any-return]

    def get_configuration(self, on_create: bool = False) -> dict[str, Any]:
        """Return the function's configuration in AWS's shape; CreateFunction's has the ARN of the function itself.

        Source: localstack's provider, whose answers are compared with AWS's (`map_config_out` in `create_function`).
        """
        configuration: dict[str, Any] = super().get_configuration(on_create=False)
        if on_create:
            configuration["FunctionArn"] = configuration["FunctionArn"].removesuffix(f":{self.version}")
        configuration["RevisionId"] = self.deployment.revision
        configuration["LoggingConfig"] = {"LogFormat": "Text", "LogGroup": f"/aws/lambda/{self.function_name}"}
        return configuration

    @property
    def shows_tags(self) -> bool:
        """Whether its tags are shown by now."""
        return self._service.core.shows_tags(self.created)

    def get_code(self) -> dict[str, Any]:
        """Return configuration, tags and a location the zip can be had from."""
        code: dict[str, Any] = super().get_code()
        core, path = self._service.core, f"{CODE_PATH}/{self.function_name}/{self.package.archive.name}"
        location = f"{core.settings.url}{path}?{core.links.query_for(path)}"
        if not self.shows_tags:
            code.pop("Tags", None)
        code["Code"] = {"RepositoryType": "S3", "Location": location}
        if self.reserved_concurrency is not None:  # 0 is a reservation too
            code["Concurrency"] = {"ReservedConcurrentExecutions": self.reserved_concurrency}
        return code

    def _set_function_code(self, updated_spec: Mapping[str, Any]) -> None:
        validation.check_code(updated_spec)
        self.package = self._fetch(updated_spec)
        self.code = {key: value for key, value in updated_spec.items() if key in ("S3Bucket", "S3Key")}
        self.code_bytes = b""
        self.code_size = self.package.size_bytes
        self.code_sha_256 = self.package.code_sha256
        self.code_digest = f"sha256:{self.package.directory.name}"

    def _fetch(self, source: Mapping[str, Any]) -> Package:
        folder = Path(tempfile.mkdtemp(prefix="package-"))
        archive = folder / "function.zip"
        try:
            if source.get("ZipFile"):
                archive.write_bytes(base64.b64decode(source["ZipFile"], validate=True))
            else:
                self._service.core.objects.download(source["S3Bucket"], source["S3Key"], archive)
            return unpack(archive, self._service.code_folder(self.function_name))
        except AwsError as error:
            text = _MISSING.get(error.code, error.message)
            raise validation.invalid(
                f"Error occurred while GetObject. S3 Error Code: {error.code}. S3 Error Message: {text}"
            ) from error
        except (BadPackageError, binascii.Error) as error:
            raise validation.invalid(str(error)) from error
        finally:
            shutil.rmtree(folder)
