"""Condition keys of a request: its tags and parameters, and tags of the resource, which are looked up when asked for.

Only keys that the reference names for the action and its resource have values, as on AWS. Keys about the caller and
the time are not here.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any
from urllib.parse import parse_qs

from localaws.permissions import catalog, key_circumstances, stored
from localaws.permissions.asking import Place, Wanted
from localaws.permissions.function_names import function_arn
from localaws.permissions.launches import specifications
from localaws.permissions.operations import Asked, Operation
from localaws.permissions.parameters import items_of, structures_of
from localaws.permissions.s3_actions import object_tags
from localaws.permissions.s3_bodies import has_document, values_of
from localaws.policies.context import Context, Values

REGION = "aws:requestedregion"
_REQUEST_TAG, _TAG_KEYS = ("aws:requesttag/", "s3:requestobjecttag/"), ("aws:tagkeys", "s3:requestobjecttagkeys")
_RESOURCE_TAG = ("aws:resourcetag/", "s3:existingobjecttag/", "s3:buckettag/")
_TAGS = ("Tags", "tags", "ResourceTags")
_REMOVED = ("TagKeys", "tagKeys")
_SETTING_A_BOUNDARY = {f"iam:{each}" for each in ("CreateRole", "CreateUser")} | {
    f"iam:Put{each}PermissionsBoundary" for each in ("Role", "User")
}

_TUNED = "TrainingJobDefinition"

_PARAMETERS: Mapping[str, tuple[str, ...]] = {  # a key: where its values are; a list on the way means each of its items
    "application-autoscaling:scalable-dimension": ("ScalableDimension",),
    "application-autoscaling:service-namespace": ("ServiceNamespace",),
    "cloudwatch:alarmactions": ("AlarmActions",),
    "cloudwatch:namespace": ("Namespace",),
    "ec2:associatepublicipaddress": ("NetworkInterfaces.AssociatePublicIpAddress",),
    "ec2:availabilityzone": ("Placement.AvailabilityZone", "AvailabilityZone"),
    "ec2:ebsoptimized": ("EbsOptimized",),
    "ec2:encrypted": ("Encrypted", "BlockDeviceMappings.Ebs.Encrypted"),
    "ec2:imageid": ("ImageId",),
    "ec2:instanceid": ("InstanceIds", "InstanceId"),
    "ec2:instancemarkettype": ("InstanceMarketOptions.MarketType",),
    "ec2:instancetype": ("InstanceType",),
    "ec2:keypairname": ("KeyName",),
    "ec2:metadatahttpendpoint": ("MetadataOptions.HttpEndpoint",),
    "ec2:metadatahttpputresponsehoplimit": ("MetadataOptions.HttpPutResponseHopLimit",),
    "ec2:metadatahttptokens": ("MetadataOptions.HttpTokens",),
    "ec2:placementgroup": ("Placement.GroupName",),
    "ec2:tenancy": ("Placement.Tenancy",),
    "ec2:volumeiops": ("Iops", "BlockDeviceMappings.Ebs.Iops"),
    "ec2:volumesize": ("Size", "BlockDeviceMappings.Ebs.VolumeSize"),
    "ec2:volumetype": ("VolumeType", "BlockDeviceMappings.Ebs.VolumeType"),
    "iam:awsservicename": ("AWSServiceName",),
    "iam:policyarn": ("PolicyArn",),
    "lambda:codesigningconfigarn": ("CodeSigningConfigArn",),
    "lambda:functionurlauthtype": ("AuthType", "FunctionUrlAuthType"),
    "lambda:layer": ("Layers",),
    "lambda:principal": ("Principal",),
    "lambda:securitygroupids": ("VpcConfig.SecurityGroupIds",),
    "lambda:subnetids": ("VpcConfig.SubnetIds",),
    "sagemaker:directinternetaccess": ("DirectInternetAccess",),
    "sagemaker:instancetypes": (
        *("InstanceType", "ResourceConfig.InstanceType", "ResourceConfig.InstanceGroups.InstanceType"),
        *("ProductionVariants.InstanceType", "TransformResources.InstanceType"),
        *("ProcessingResources.ClusterConfig.InstanceType", f"{_TUNED}.ResourceConfig.InstanceType"),
    ),
    "sagemaker:intercontainertrafficencryption": (
        "EnableInterContainerTrafficEncryption",
        f"{_TUNED}.EnableInterContainerTrafficEncryption",
    ),
    "sagemaker:maxruntimeinseconds": (
        "StoppingCondition.MaxRuntimeInSeconds",
        f"{_TUNED}.StoppingCondition.MaxRuntimeInSeconds",
    ),
    "sagemaker:networkisolation": ("EnableNetworkIsolation", f"{_TUNED}.EnableNetworkIsolation"),
    "sagemaker:outputkmskey": ("OutputDataConfig.KmsKeyId", f"{_TUNED}.OutputDataConfig.KmsKeyId"),
    "sagemaker:rootaccess": ("RootAccess",),
    "sagemaker:volumekmskey": (
        *("KmsKeyId", "ResourceConfig.VolumeKmsKeyId"),
        f"{_TUNED}.ResourceConfig.VolumeKmsKeyId",
    ),
    "sagemaker:vpcsecuritygroupids": (
        *("VpcConfig.SecurityGroupIds", "SecurityGroupIds"),
        f"{_TUNED}.VpcConfig.SecurityGroupIds",
    ),
    "sagemaker:vpcsubnets": ("VpcConfig.Subnets", "SubnetId", f"{_TUNED}.VpcConfig.Subnets"),
    "ssm:overwrite": ("Overwrite",),
    "ssm:recursive": ("Recursive",),
    "s3:delimiter": ("Delimiter",),
    "s3:max-keys": ("MaxKeys",),
    "s3:prefix": ("Prefix",),
    "s3:versionid": ("VersionId",),
    "sts:externalid": ("ExternalId",),
    "sts:rolesessionname": ("RoleSessionName",),
    "sts:sourceidentity": ("SourceIdentity",),
    "sts:transitivetagkeys": ("TransitiveTagKeys",),
}
_CONDITIONAL = {"s3:if-match", "s3:if-none-match"}  # headers of these names
_COMPLETING = {"PutObject", "CopyObject", "CompleteMultipartUpload"}  # after which there is an object
_LOCKS = {"s3:object-lock-legal-hold", "s3:object-lock-mode", "s3:object-lock-retain-until-date"}


def context_of(asked: Asked, operation: Operation, wanted: Wanted, place: Place) -> Context:
    """Return the circumstances of one question."""
    reader = _Reader(asked, operation, wanted, place)
    return Context({REGION: [place.region], **wanted.values}, (reader.value,))


class _Reader:
    """Finds a key's values when they are asked for."""

    def __init__(self, asked: Asked, operation: Operation, wanted: Wanted, place: Place) -> None:
        self._asked, self._operation, self._wanted, self._place = asked, operation, wanted, place

    def value(self, key: str) -> Values | None:
        """Return the values of a key in lower case, None where the request has none."""
        resource = self._wanted.resource
        if key.startswith("aws:resourcetag/") or catalog.has_key(self._wanted.action, resource.kind, key):
            return self._tag(key) or self._own(key) or self._parameter(key)
        return None

    def _tag(self, key: str) -> Values | None:
        name = key.partition("/")[2]
        if key.startswith(_REQUEST_TAG):
            return _lowered(self._given(), name)
        if key in _TAG_KEYS:
            return list(self._given()) or [each for name in _REMOVED for each in _at(self._parameters, [name])]
        if key.startswith(_RESOURCE_TAG) or ":resourcetag/" in key:
            return _lowered(self._tags(), name)
        return None

    def _tags(self) -> Mapping[str, str]:
        """Return the resource's tags; a scalable target is asked about by what it scales, not by its ARN."""
        if self._operation.service == "application-autoscaling":
            return stored.scalable_target_tags(self._wanted.resource.arn, self._parameters, self._place)
        return stored.tags_of(self._wanted.resource, self._place)

    def _own(self, key: str) -> Values | None:
        """Return the values of a key that need more than a parameter."""
        if found := _OWN.get(key):
            return _strings(found(self._parameters, self._place, self._wanted))
        if key == f"ec2:{self._wanted.resource.kind.replace('-', '')}id" and key not in _PARAMETERS:
            return [each for each in [self._wanted.resource.arn.rpartition("/")[2]] if each != "*"] or None
        if key.startswith("kms:"):
            given, arn = self._parameters if self._operation.service == "kms" else {}, self._wanted.resource.arn
            return _strings(key_circumstances.value_of(key.removeprefix("kms:"), given, arn, self._place))
        if key.startswith("s3:"):
            return _strings(_of_s3(key, self._asked, self._operation, self._place))
        return None

    def _parameter(self, key: str) -> Values | None:
        found = [each for path in _PARAMETERS.get(key, ()) for each in _at(self._parameters, path.split("."))]
        return found or None

    @property
    def _parameters(self) -> Mapping[str, Any]:
        return self._operation.parameters

    def _given(self) -> Mapping[str, str]:
        """Return the tags that the request gives to the question's resource."""
        if self._operation.service == "s3":
            return object_tags(self._operation, self._asked)
        found = next((self._parameters[name] for name in _TAGS if self._parameters.get(name)), None)
        if found is None and self._operation.service == "ec2":
            kind = self._wanted.resource.kind
            every = [each for each in specifications(self._parameters) if each.get("ResourceType") == kind]
            found = [tag for each in every for tag in items_of(each.get("Tags"))]
        return _tags_from(found)


def _tags_from(given: Any) -> Mapping[str, str]:
    """Return tags by key, from AWS's list of `Key` and `Value` (KMS: `TagKey` and `TagValue`) or its mapping."""
    if isinstance(given, dict):
        return {str(key): str(value) for key, value in given.items()}
    named = [(each, "Tag" if "TagKey" in each else "") for each in structures_of(given)]
    return {str(each.get(f"{start}Key", "")): str(each.get(f"{start}Value", "")) for each, start in named}


def _of_s3(key: str, asked: Asked, operation: Operation, place: Place) -> str | None:
    name = key.removeprefix("s3:")
    if name == "locationconstraint" or (key in _LOCKS and has_document(operation.name)):
        return values_of(operation, asked.body).get(name)
    if name.startswith("x-amz-") or key in _CONDITIONAL:
        return asked.headers.get(name)
    if key in _LOCKS:
        return asked.headers.get(f"x-amz-{name}")
    if name in ("authtype", "signatureversion", "signatureage"):
        return _signature(asked).get(name)
    if name == "objectcreationoperation":
        return str(operation.name in _COMPLETING).lower()
    return place.account_id if name == "resourceaccount" else None


def _signature(asked: Asked) -> Mapping[str, str]:
    """Return where the signature is and its version, and in a query its age; nothing of a request that is not signed.

    The age is in milliseconds, and 0 in version 2.
    Source: https://docs.aws.amazon.com/AmazonS3/latest/API/bucket-policy-s3-sigv4-conditions.html
    """
    given, is_in_query = asked.headers.get("authorization", ""), "Signature=" in asked.query
    if not given and not is_in_query:
        return {}
    is_version_2 = given.startswith("AWS ") or (not given and "AWSAccessKeyId=" in asked.query)
    version = {"signatureversion": "AWS" if is_version_2 else "AWS4-HMAC-SHA256"}
    if given:
        return {**version, "authtype": "REST-HEADER"}
    age = 0.0 if is_version_2 else (time.time() - _signed_at(asked.query)) * 1000
    return {**version, "authtype": "REST-QUERY-STRING", "signatureage": str(max(0, round(age)))}


def _signed_at(query: str) -> float:
    """Return the Unix time of a signature in a query, which was checked."""
    return datetime.strptime(parse_qs(query)["X-Amz-Date"][0], "%Y%m%dT%H%M%S%z").timestamp()


def _profile(parameters: Mapping[str, Any], place: Place, _: Wanted) -> list[str] | None:
    given = parameters.get("IamInstanceProfile")
    if not isinstance(given, dict):
        return None
    found = [str(each.arn) for each in stored.profiles(place, given)]
    return found or ([str(given["Arn"])] if given.get("Arn") else None)


def _subnet(parameters: Mapping[str, Any], place: Place, _: Wanted) -> str | None:
    found = parameters.get("SubnetId")
    return place.arn("ec2", f"subnet/{found}") if found else None


def _vpc(parameters: Mapping[str, Any], place: Place, _: Wanted) -> str | None:
    found = parameters.get("VpcId") or stored.subnet_vpc(place, str(parameters.get("SubnetId", "")))
    return place.arn("ec2", f"vpc/{found}") if found else None


def _boundary(parameters: Mapping[str, Any], place: Place, wanted: Wanted) -> str | None:
    if wanted.action in _SETTING_A_BOUNDARY:  # any other request may carry the parameter, and nobody reads it
        return parameters.get("PermissionsBoundary") or None
    return stored.boundary_of(wanted.resource.arn, place)


def _function(parameters: Mapping[str, Any], place: Place, _: Wanted) -> str | None:
    found = parameters.get("FunctionName")
    return function_arn(found, "", place) if isinstance(found, str) else None


_OWN: Mapping[str, Callable[[Mapping[str, Any], Place, Wanted], str | list[str] | None]] = {
    "ec2:instanceprofile": _profile,
    "ec2:region": lambda _, place, __: place.region,
    "ec2:subnet": _subnet,
    "ec2:vpc": _vpc,
    "iam:permissionsboundary": _boundary,
    "lambda:functionarn": _function,
}


def _lowered(tags: Mapping[str, str], name: str) -> Values | None:
    return next(([value] for key, value in tags.items() if key.lower() == name), None)


def _at(value: Any, path: list[str]) -> list[str]:
    if isinstance(value, list):
        return [found for each in value for found in _at(each, path)]
    if not path:
        return _strings(value) or []
    return _at(value.get(path[0]), path[1:]) if isinstance(value, Mapping) else []


def _strings(value: Any) -> Values | None:
    if value is None:
        return None
    every = value if isinstance(value, list) else [value]
    return [str(each).lower() if isinstance(each, bool) else str(each) for each in every if not isinstance(each, dict)]
