"""The ARNs of the resources that an operation is about, from its parameters and the reference's templates.

A name that a required resource lacks is `*`, as is the id of what does not exist yet. SageMaker's ARNs are lower-case.
"""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator, Mapping
from typing import Any

from localaws.errors import AwsError
from localaws.permissions import catalog
from localaws.permissions.asking import NO_RESOURCE, Place, Resource
from localaws.permissions.catalog import Action, Use
from localaws.permissions.operations import Operation
from localaws.permissions.reduced import Elsewhere, as_policies_name_it
from localaws.violations import one_violation

_VARIABLE = re.compile(r"\$\{(\w+)\}")
_FIXED = {"Partition", "Region", "Account"}
_ARNS = ("ResourceArn", "ResourceARN", "resourceArn", "Resource", "PolicySourceArn")
_OTHERWISE = {  # what the variables of ARNs are called in requests
    "ec2:SecurityGroupId": ("GroupId", "GroupIds"),
    "ec2:KeyPairName": ("KeyName", "KeyNames"),
    "ec2:NaclId": ("NetworkAclId",),
    "ec2:LocalGatewayRoutetableId": ("LocalGatewayRouteTableId",),
    "sagemaker:AutoMLJobJobName": ("AutoMLJobName",),
    "sagemaker:MlflowTrackingServerName": ("TrackingServerName",),
    "sagemaker:ModelPackageName": ("ModelPackageGroupName", "ModelPackageArn", "ModelPackageArnList"),
    "ssm:ParameterNameWithoutLeadingSlash": ("Name", "Names", "ResourceId"),
    "ssm:DocumentName": ("Name",),
    **{f"sagemaker:{each}JobDefinitionName": ("JobDefinitionName",) for each in ("DataQuality", "ModelQuality")},
    **{f"sagemaker:{each}JobDefinitionName": ("JobDefinitionName",) for each in ("ModelBias", "ModelExplainability")},
    "sagemaker:ClusterId": ("ClusterName", "ClusterArn"),
    "sagemaker:RandomString": ("PipelineExecutionArn",),
    "cloudwatch:InsightRuleName": ("RuleName", "RuleNames"),
    "cloudwatch:MetricStreamName": ("Name", "Names"),
    "ec2:PlacementGroupName": ("GroupName",),
    "ec2:VpcFlowLogId": ("FlowLogIds",),
    "ssm:PatchBaselineIdResourceId": ("BaselineId", "ResourceId"),
    "ssm:ResourceId": ("WindowId", "OpsItemId", "OpsMetadataArn", "SettingId"),
    "lambda:CodeSigningConfigId": ("CodeSigningConfigArn",),
    "lambda:Alias": ("Qualifier",),
    "lambda:Version": ("Qualifier",),
}
_OPAQUE = {"application-autoscaling:ResourceId"}  # AWS makes these ids, and no request has them
_PUBLIC_PARAMETERS = "aws/"  # of AWS's own account, which their ARNs leave out


def resources_of(operation: Operation, action: Action, place: Place) -> list[Resource]:
    """Return the resources of an action: those that it requires, and others that the parameters name.

    Raises:
        AwsError: ValidationException, what has to be an ARN is none.
        Elsewhere: it is another service's.
    """
    prefix = action.name.partition(":")[0]
    uses = [each for each in action.uses if each.kind]
    if not uses:
        return [NO_RESOURCE]
    if whole := [str(given) for name in _ARNS if (given := operation.parameters.get(name))]:
        return [of_arn(prefix, each) for each in whole]
    typed = str(operation.parameters.get("ResourceType", "")).lower() if prefix == "ssm" else ""
    uses = [each for each in uses if each.kind.replace("-", "") == typed] or uses
    found = [each for use in uses for each in _of_use(use, prefix, operation.parameters, place)]
    return list(dict.fromkeys(found)) or [NO_RESOURCE]


def filled(prefix: str, kind: str, values: Mapping[str, str], place: Place) -> Resource:
    """Return the resource whose template has these values; a variable without one is `*`."""
    fixed = {"Partition": place.partition, "Region": place.region, "Account": place.account_id}
    text = _VARIABLE.sub(lambda found: ({**fixed, **values}).get(found[1], "*"), catalog.template(prefix, kind))
    return Resource(kind, text)


def named(parameters: Mapping[str, Any], prefix: str, variable: str) -> list[str]:
    """Return the values of a template's variable: of parameters of that name, of its plural, or called otherwise."""
    if f"{prefix}:{variable}" in _OPAQUE:
        return []
    lower = variable[0].lower() + variable[1:]
    names = (variable, lower, f"{variable}s", f"{lower}s", *_OTHERWISE.get(f"{prefix}:{variable}", ()))
    return list(dict.fromkeys(each for name in names for each in _texts(parameters.get(name))))


def _of_use(use: Use, prefix: str, parameters: Mapping[str, Any], place: Place) -> Iterator[Resource]:
    *rest, last = _variables(prefix, use.kind) or ("",)
    outer = {name: named(parameters, prefix, name) for name in rest}
    values = {name: _spelled(prefix, given[0]) for name, given in outer.items() if given}
    every = named(parameters, prefix, last) if last else []
    if not use.is_required and (not every or len(values) < len(rest)):
        return
    for each in every or ["*"]:
        if each.startswith("arn:"):
            yield Resource(use.kind, as_policies_name_it(each, prefix))
        else:
            yield public(filled(prefix, use.kind, {**values, last: _spelled(prefix, each)}, place), place)


def of_arn(prefix: str, given: str) -> Resource:
    """Return the resource of an ARN, which has to be one of the service's.

    Raises:
        AwsError: ValidationException, it is no ARN at all.
        Elsewhere: it is another service's.
    """
    if not given.startswith("arn:"):
        raise AwsError("ValidationException", one_violation(given, "resourceArn", "Member must be an ARN"))
    arn = as_policies_name_it(given, prefix)
    kind = _kind(prefix, arn)
    if not kind:
        raise Elsewhere(given, f"is no resource of {prefix}'s")
    return Resource(kind, arn)


def _spelled(prefix: str, name: str) -> str:
    if prefix == "ssm":
        return name.partition(":")[0].strip("/") or "*"  # after the colon is a version or a label
    return name.lower() if prefix == "sagemaker" else name


def public(resource: Resource, place: Place) -> Resource:
    """Return a parameter of SSM that is AWS's own without an account in its ARN; another resource as it is."""
    own = place.arn("ssm", f"parameter/{_PUBLIC_PARAMETERS}")
    if not resource.arn.startswith(own):
        return resource
    return Resource(resource.kind, resource.arn.replace(f":{place.account_id}:", "::", 1))


def _texts(value: Any) -> list[str]:
    if isinstance(value, str):
        return [value] if value else []
    return [each for each in value if isinstance(each, str) and each] if isinstance(value, list) else []


@functools.cache
def _variables(prefix: str, kind: str) -> tuple[str, ...]:
    return tuple(each for each in _VARIABLE.findall(catalog.template(prefix, kind)) if each not in _FIXED)


@functools.lru_cache(maxsize=1024)
def _kind(prefix: str, arn: str) -> str:
    """Return the type of resource whose ARNs look like this one: the most particular, empty if there is none."""
    found = [kind for kind in catalog.kinds(prefix) if _pattern(prefix, kind).fullmatch(arn)]
    return max(found, key=lambda kind: len(catalog.template(prefix, kind)), default="")


@functools.cache
def _pattern(prefix: str, kind: str) -> re.Pattern[str]:
    """Return the regular expression of a template: at odd places of the split are the variables."""
    parts = enumerate(_VARIABLE.split(catalog.template(prefix, kind)))
    any_of = {True: "[^:]*", False: "[^:/]+" if prefix == "sagemaker" else ".+"}
    return re.compile("".join(any_of[part in _FIXED] if place % 2 else re.escape(part) for place, part in parts))
