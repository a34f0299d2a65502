"""SageMaker's Model Registry in the place of moto's: what a backend keeps, and the refusals of AWS.

A package is `Completed` at once. On AWS, one with a name of its own is validated first; a validation profile, which
would run a transform job, is refused by name.
"""

import re
import threading
from collections.abc import Mapping
from typing import Any

from localaws.errors import AwsError
from localaws.partition import partition
from localaws.sagemaker.registry.records import ModelPackage, PackageGroup

PENDING = "PendingManualApproval"
_GIVEN = re.compile(r"(?:arn:[^:]+:sagemaker:[^:]*:[^:]*:[a-z-]+/)?(?P<name>[^/]+)(?:/(?P<version>[0-9]{1,5}))?")


def refusal(text: str) -> AwsError:
    """Return SageMaker's ValidationException."""
    return AwsError("ValidationException", text)


class ModelRegistry:
    """Keeps groups by name and packages by ARN in moto's own attributes: tagging reads the groups there."""

    account_id: str
    region_name: str
    model_package_groups: dict[str, PackageGroup]
    model_packages: dict[str, ModelPackage]
    _registry_lock = threading.Lock()

    def create_group(self, given: Mapping[str, Any]) -> PackageGroup:
        """Keep a new group.

        Raises:
            AwsError: ValidationException, there is one of this name.
        """
        name = given["ModelPackageGroupName"]
        arn = self._registry_arn("model-package-group", name)
        with self._registry_lock:
            if name in self.model_package_groups:
                raise refusal(f"Model Package Group already exists: {arn}")
            group = PackageGroup(name, arn, given.get("ModelPackageGroupDescription"), list(given.get("Tags") or []))
            self.model_package_groups[name] = group
        return group

    def find_group(self, given: str) -> PackageGroup:
        """Return the group of a name or an ARN.

        Raises:
            AwsError: ValidationException, there is none.
        """
        name = given.rpartition("/")[2]
        group = self.model_package_groups.get(name)
        if group is None or (":" in given and given != group.arn):
            raise refusal(f"ModelPackageGroup {self._registry_arn('model-package-group', name)} does not exist.")
        return group

    def delete_group(self, name: str) -> None:
        """Forget a group.

        Raises:
            AwsError: ValidationException, there is none; ConflictException, it has packages.
        """
        with self._registry_lock:
            group = self.find_group(name)
            if self.packages_of(group.name):
                text = f"Model Package Group {group.arn} cannot be deleted because it still has Model Packages."
                raise AwsError("ConflictException", text)
            del self.model_package_groups[group.name]

    def packages_of(self, group: str) -> list[ModelPackage]:
        """Return the packages of a group, the first version first."""
        return [package for package in self.model_packages.values() if package.group == group]

    def create_package(self, given: Mapping[str, Any]) -> ModelPackage:
        """Keep a new package; the same ClientToken gives the package that the first request with it made.

        Raises:
            AwsError: ValidationException, its group does not exist, there is one of its name, or both or neither of
                name and group are given.
        """
        name, group = given.get("ModelPackageName"), given.get("ModelPackageGroupName")
        if name and group:
            raise refusal(
                "Both ModelPackageName and ModelPackageGroupName are provided in the input. Cannot determine which one "
                "to use."
            )
        if not name and not group:
            raise refusal("Missing ARN.")
        with self._registry_lock:
            earlier = self._with_token(given.get("ClientToken"))
            if earlier is not None:
                return earlier
            package = self._versioned(given, group) if group else self._named(given, str(name))
            self.model_packages[package.arn] = package
        return package

    def _with_token(self, token: str | None) -> ModelPackage | None:
        found = (each for each in self.model_packages.values() if token and each.given.get("ClientToken") == token)
        return next(found, None)

    def _versioned(self, given: Mapping[str, Any], name: str) -> ModelPackage:
        if given.get("Tags"):
            raise refusal("Tags are not supported on versioned Model Packages; put them on the Model Package Group.")
        group = self.find_group(name)
        group.versions += 1
        arn = self._registry_arn("model-package", f"{group.name.lower()}/{group.versions}")
        status, metadata = (
            given.get("ModelApprovalStatus") or PENDING,
            dict(given.get("CustomerMetadataProperties") or {}),
        )
        return ModelPackage(arn, group.name, group.versions, given, status, metadata, [])

    def _named(self, given: Mapping[str, Any], name: str) -> ModelPackage:
        arn = self._registry_arn("model-package", name.lower())
        if arn in self.model_packages:
            raise refusal(f"Model Package already exists: {arn}")
        if given.get("ModelApprovalStatus"):
            raise refusal("ModelApprovalStatus is only for versioned Model Packages.")
        metadata = dict(given.get("CustomerMetadataProperties") or {})
        return ModelPackage(arn, None, None, given, None, metadata, list(given.get("Tags") or []))

    def find_package(self, given: str) -> ModelPackage:
        """Return the package of an ARN or a name.

        Raises:
            AwsError: ValidationException, there is none.
        """
        match = _GIVEN.fullmatch(given)
        last = "" if match is None else "/".join(filter(None, (match["name"].lower(), match["version"])))
        package = self.model_packages.get(self._registry_arn("model-package", last))
        if package is None or (given.startswith("arn:") and given.lower() != package.arn.lower()):
            raise refusal(f"ModelPackage {given} does not exist.")
        return package

    def delete_package(self, given: str) -> None:
        """Forget a package; models that were made from it stay.

        Raises:
            AwsError: ValidationException, there is none.
        """
        del self.model_packages[self.find_package(given).arn]

    def packaged_container(self, container: Mapping[str, Any]) -> dict[str, Any]:
        """Return a container of CreateModel in which a package's own container stands for `ModelPackageName`.

        Raises:
            AwsError: ValidationException, there is no such package, it has not exactly one container, or the request
                names an image or data beside it.
        """
        named = container.get("ModelPackageName")
        if not named:
            return dict(container)
        package = self.find_package(named)
        beside = sorted(
            {"Image", "ModelDataUrl", "ModelDataSource"} & {name for name, value in container.items() if value}
        )
        if beside:
            raise refusal(f"{', '.join(beside)} cannot be given together with ModelPackageName.")
        if len(package.containers) != 1:
            raise refusal(f"Model Package {package.arn} has {len(package.containers)} containers; localaws runs one.")
        packaged = dict(package.containers[0])
        environment = {**(packaged.get("Environment") or {}), **(container.get("Environment") or {})}
        return {**packaged, **container, "Environment": environment, "ModelPackageName": None}

    def _registry_arn(self, kind: str, name: str) -> str:
        return f"arn:{partition()}:sagemaker:{self.region_name}:{self.account_id}:{kind}/{name}"
