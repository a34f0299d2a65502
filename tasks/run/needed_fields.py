"""What kennel relies on in AWS's replies: a reply that lacks a field of this table is treated like one that was cut.

A path names members of botocore's output shape: `[]` goes into every item of a list, which may be empty, and `[+]` into
those of a list that may not be; `a|b` wants one of two; a `?` allows that the field is missing, not that it is of a
wrong type. The values of a map, and of a list of others than structures, are of their types too. What AWS leaves out
when a thing does not have it (tags, reasons of failures) is not here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime
from typing import Any

_PYTHON_TYPES: Mapping[str, type | tuple[type, ...]] = {
    "string": str,
    "structure": dict,
    "map": dict,
    "list": list,
    "integer": int,
    "long": int,
    "float": (int, float),
    "double": (int, float),
    "boolean": bool,
    "timestamp": datetime,
    "blob": bytes,
}

NEEDED: Mapping[str, tuple[str, ...]] = {
    "sts.GetCallerIdentity": ("Account", "Arn"),
    "budgets.ListTagsForResource": ("ResourceTags[].Key", "ResourceTags[].Value"),
    "iam.CreateInstanceProfile": ("InstanceProfile.Arn",),
    "iam.CreateRole": ("Role.Arn",),
    "iam.GetInstanceProfile": (
        "InstanceProfile.Arn",
        "InstanceProfile.InstanceProfileName",
        "InstanceProfile.Roles[].RoleName",
        "InstanceProfile.Roles[].Tags[]?.Key",
        "InstanceProfile.Roles[].Tags[]?.Value",
        "InstanceProfile.Tags[]?.Key",
        "InstanceProfile.Tags[]?.Value",
    ),
    "iam.GenerateServiceLastAccessedDetails": ("JobId",),
    "iam.GetServiceLastAccessedDetails": (
        "JobStatus",
        "Marker?",
        "ServicesLastAccessed[]?.ServiceNamespace",
        "ServicesLastAccessed[]?.TrackedActionsLastAccessed[]?.ActionName",
    ),
    "iam.GetRole": (
        "Role.Arn",
        "Role.RoleName",
        "Role.AssumeRolePolicyDocument",
        "Role.Tags[]?.Key",
        "Role.Tags[]?.Value",
    ),
    "iam.GetPolicy": ("Policy.Arn", "Policy.Tags[]?.Key", "Policy.Tags[]?.Value"),
    "iam.GetRolePolicy": ("PolicyDocument",),
    "iam.ListAttachedRolePolicies": ("AttachedPolicies[].PolicyArn",),
    "iam.ListInstanceProfiles": ("InstanceProfiles[].InstanceProfileName",),
    "iam.ListRolePolicies": ("PolicyNames",),
    "iam.ListRoleTags": ("Tags[].Key", "Tags[].Value"),
    "iam.ListRoles": ("Roles[].RoleName",),
    "iam.SimulatePrincipalPolicy": ("EvaluationResults[].EvalActionName", "EvaluationResults[].EvalDecision"),
    "service-quotas.ListServiceQuotas": ("Quotas[].QuotaName", "Quotas[].QuotaCode", "Quotas[].Value", "NextToken?"),
    "s3.CopyObject": ("CopyObjectResult.ETag",),
    "s3.CompleteMultipartUpload": ("ETag",),
    "s3.CreateMultipartUpload": ("UploadId",),
    "s3.DeleteObjects": ("Errors[]?.Key", "Errors[]?.Code", "Errors[]?.Message?"),
    "s3.GetBucketEncryption": ("ServerSideEncryptionConfiguration.Rules",),
    "s3.GetBucketLifecycleConfiguration": ("Rules",),
    "s3.GetBucketOwnershipControls": ("OwnershipControls.Rules",),
    "s3.GetBucketPolicy": ("Policy",),
    "s3.GetBucketTagging": ("TagSet[].Key", "TagSet[].Value"),
    "s3.GetObject": ("ETag", "ContentLength"),
    "s3.GetPublicAccessBlock": ("PublicAccessBlockConfiguration.BlockPublicAcls",),
    "s3.HeadObject": ("ETag", "ContentLength"),
    "s3.ListBuckets": ("Buckets[].Name",),
    "s3.ListMultipartUploads": ("Bucket", "IsTruncated", "Uploads[]?.Key", "Uploads[]?.UploadId"),
    "s3.ListObjectsV2": (
        "Name",
        "IsTruncated",
        "KeyCount",
        "Contents[]?.Key",
        "Contents[]?.Size",
        "Contents[]?.ETag",
        "CommonPrefixes[]?.Prefix",
    ),
    "s3.PutObject": ("ETag",),
    "s3.UploadPart": ("ETag",),
    "logs.DescribeLogGroups": ("logGroups[].logGroupName", "logGroups[].arn"),
    "logs.DescribeLogStreams": ("logStreams[].logStreamName",),
    "logs.FilterLogEvents": ("events[].message",),
    "logs.GetLogEvents": ("events[].message", "events[].timestamp", "events[].ingestionTime?", "nextForwardToken"),
    "logs.ListTagsForResource": ("tags",),
    "sagemaker.CreateEndpoint": ("EndpointArn",),
    "sagemaker.CreateEndpointConfig": ("EndpointConfigArn",),
    "sagemaker.CreateHyperParameterTuningJob": ("HyperParameterTuningJobArn",),
    "sagemaker.CreateModel": ("ModelArn",),
    "sagemaker.CreateModelPackage": ("ModelPackageArn",),
    "sagemaker.CreateModelPackageGroup": ("ModelPackageGroupArn",),
    "sagemaker.CreateNotebookInstance": ("NotebookInstanceArn",),
    "sagemaker.CreateNotebookInstanceLifecycleConfig": ("NotebookInstanceLifecycleConfigArn",),
    "sagemaker.CreatePresignedNotebookInstanceUrl": ("AuthorizedUrl",),
    "sagemaker.CreateProcessingJob": ("ProcessingJobArn",),
    "sagemaker.CreateTrainingJob": ("TrainingJobArn",),
    "sagemaker.DescribeEndpoint": ("EndpointName", "EndpointArn", "EndpointConfigName", "EndpointStatus"),
    "sagemaker.DescribeEndpointConfig": ("EndpointConfigName", "EndpointConfigArn", "ProductionVariants[].VariantName"),
    "sagemaker.DescribeHyperParameterTuningJob": (
        "HyperParameterTuningJobName",
        "HyperParameterTuningJobArn",
        "HyperParameterTuningJobStatus",
        "BestTrainingJob?.TrainingJobName",
        "HyperParameterTuningEndTime?",
    ),
    "sagemaker.ListTrainingJobsForHyperParameterTuningJob": (
        "TrainingJobSummaries[].TrainingJobName",
        "TrainingJobSummaries[].TrainingJobStatus",
        "TrainingJobSummaries[].TunedHyperParameters",
    ),
    "sagemaker.DescribeProcessingJob": (
        "ProcessingJobName",
        "ProcessingJobArn",
        "ProcessingJobStatus",
        "ProcessingResources.ClusterConfig.InstanceType",
        "ProcessingResources.ClusterConfig.InstanceCount",
        "ProcessingStartTime?",
        "ProcessingEndTime?",
        "CreationTime",
        "Environment?",
    ),
    "sagemaker.ListProcessingJobs": ("ProcessingJobSummaries[].ProcessingJobName",),
    "sagemaker.DescribeModel": ("ModelName", "ModelArn", "PrimaryContainer|Containers"),
    "sagemaker.DescribeModelPackage": (
        *("ModelPackageArn", "ModelPackageGroupName?", "ModelPackageVersion?", "CreationTime"),
        *("ModelApprovalStatus?", "InferenceSpecification?.Containers"),
    ),
    "sagemaker.DescribeModelPackageGroup": ("ModelPackageGroupName", "ModelPackageGroupArn"),
    "sagemaker.DescribeNotebookInstance": (
        "NotebookInstanceName",
        "NotebookInstanceArn",
        "NotebookInstanceStatus",
        "InstanceType",
    ),
    "sagemaker.DescribeNotebookInstanceLifecycleConfig": (
        "NotebookInstanceLifecycleConfigName",
        "NotebookInstanceLifecycleConfigArn",
    ),
    "sagemaker.DescribeTrainingJob": (
        *("TrainingJobName", "TrainingJobArn", "TrainingJobStatus", "CreationTime"),
        *("SecondaryStatus?", "BillableTimeInSeconds?"),
    ),
    "sagemaker.ListEndpointConfigs": ("EndpointConfigs[].EndpointConfigName",),
    "sagemaker.ListEndpoints": ("Endpoints[].EndpointName",),
    "sagemaker.ListHyperParameterTuningJobs": ("HyperParameterTuningJobSummaries[].HyperParameterTuningJobName",),
    "sagemaker.ListModelPackageGroups": ("ModelPackageGroupSummaryList[].ModelPackageGroupName",),
    "sagemaker.ListModelPackages": ("ModelPackageSummaryList[].ModelPackageArn",),
    "sagemaker.ListModels": ("Models[].ModelName",),
    "sagemaker.ListNotebookInstanceLifecycleConfigs": (
        "NotebookInstanceLifecycleConfigs[].NotebookInstanceLifecycleConfigName",
    ),
    "sagemaker.ListNotebookInstances": ("NotebookInstances[].NotebookInstanceName",),
    "sagemaker.ListTags": ("Tags[].Key", "Tags[].Value"),
    "sagemaker.ListTrainingJobs": ("TrainingJobSummaries[].TrainingJobName",),
    "sagemaker.UpdateEndpoint": ("EndpointArn",),
    "sagemaker.UpdateModelPackage": ("ModelPackageArn",),
    "cloudwatch.DescribeAlarmHistory": ("AlarmHistoryItems[].Timestamp", "AlarmHistoryItems[].HistorySummary"),
    "application-autoscaling.DescribeScalableTargets": (
        "ScalableTargets[].ResourceId",
        "ScalableTargets[].ScalableDimension",
        "ScalableTargets[].MinCapacity",
        "ScalableTargets[].MaxCapacity",
    ),
    "application-autoscaling.DescribeScalingActivities": (
        "ScalingActivities[].ActivityId",
        "ScalingActivities[].Cause",
        "ScalingActivities[].Description",
        "ScalingActivities[].StartTime",
        "ScalingActivities[].StatusCode",
    ),
    "application-autoscaling.DescribeScalingPolicies": (
        "ScalingPolicies[].PolicyName",
        "ScalingPolicies[].Alarms[]?.AlarmName",
    ),
    "cloudwatch.DescribeAlarms": (
        "MetricAlarms[].AlarmName",
        "MetricAlarms[].StateValue",
        "MetricAlarms[].StateReason",
    ),
    "cloudwatch.ListTagsForResource": ("Tags[].Key", "Tags[].Value"),
    "cloudwatch.GetMetricData": ("MetricDataResults[].Timestamps", "MetricDataResults[].Values"),
    "cloudwatch.GetMetricStatistics": ("Datapoints[].Sum",),
    "lambda.CreateAlias": ("AliasArn",),
    "lambda.CreateFunction": ("FunctionArn",),
    "lambda.CreateFunctionUrlConfig": ("FunctionUrl", "FunctionArn", "AuthType"),
    "lambda.GetAccountSettings": ("AccountLimit.ConcurrentExecutions", "AccountLimit.UnreservedConcurrentExecutions"),
    "lambda.GetAlias": ("AliasArn", "FunctionVersion"),
    "lambda.GetFunction": (
        "Configuration.FunctionName",
        "Configuration.FunctionArn",
        "Configuration.CodeSha256",
        "Tags?",
    ),
    "lambda.GetFunctionConfiguration": (
        *("FunctionArn", "CodeSha256", "MemorySize", "Version"),
        *("State?", "LastUpdateStatus?"),
    ),
    "lambda.GetFunctionUrlConfig": ("FunctionUrl", "FunctionArn", "AuthType"),
    "lambda.UpdateFunctionUrlConfig": ("FunctionUrl", "FunctionArn", "AuthType"),
    "lambda.AddPermission": ("Statement",),
    "lambda.GetProvisionedConcurrencyConfig": ("Status", "RequestedProvisionedConcurrentExecutions"),
    "lambda.GetPolicy": ("Policy",),
    "lambda.ListFunctions": ("Functions[].FunctionName",),
    "lambda.ListTags": ("Tags",),
    "lambda.PublishVersion": ("Version",),
    "lambda.UpdateAlias": ("AliasArn",),
    "kms.DescribeKey": ("KeyMetadata.Arn",),
    "ec2.CreateSecurityGroup": ("GroupId",),
    "ec2.DescribeImages": ("Images[].RootDeviceName", "Images[].BlockDeviceMappings"),
    "ec2.DescribeInstances": (
        "Reservations[].Instances[].InstanceId",
        "Reservations[].Instances[].InstanceType",
        "Reservations[].Instances[].LaunchTime",
        "Reservations[].Instances[].State.Name",
        "Reservations[].Instances[].Tags[]?.Key",
        "Reservations[].Instances[].Tags[]?.Value",
    ),
    "ec2.DescribeKeyPairs": (
        "KeyPairs[].KeyName",
        "KeyPairs[].KeyPairId",
        "KeyPairs[].Tags[]?.Key",
        "KeyPairs[].Tags[]?.Value",
    ),
    "ec2.DescribeRegions": ("Regions[].RegionName",),
    "ec2.DescribeSecurityGroups": (
        "SecurityGroups[].GroupId",
        "SecurityGroups[].GroupName",
        "SecurityGroups[].VpcId",
        "SecurityGroups[].Tags[]?.Key",
        "SecurityGroups[].Tags[]?.Value",
    ),
    "ec2.DescribeInstanceTypeOfferings": ("InstanceTypeOfferings[].InstanceType", "InstanceTypeOfferings[].Location"),
    "ec2.DescribeRouteTables": ("RouteTables[].RouteTableId",),
    "ec2.DescribeSubnets": (
        "Subnets[].SubnetId",
        "Subnets[].VpcId",
        "Subnets[].AvailabilityZone",
        "Subnets[].MapPublicIpOnLaunch",
    ),
    "ec2.DescribeVpcEndpoints": ("VpcEndpoints[].VpcEndpointId",),
    "ec2.DescribeVpcs": ("Vpcs[].VpcId",),
    "ssm.GetParameter": ("Parameter.Value",),
    "ssm.GetParametersByPath": ("Parameters[].Name", "Parameters[].Value"),
    "pricing.GetProducts": ("PriceList",),
    "ec2.ImportKeyPair": ("KeyPairId",),
    "ec2.RunInstances": ("Instances[+].InstanceId",),
}
"""By service and operation: what every reply must have."""

_INSTANCES = (
    "ProductionVariants[+].VariantName",
    "ProductionVariants[+].CurrentInstanceCount",
    "ProductionVariants[+].DesiredInstanceCount",
)
NEEDED_WHEN: Mapping[tuple[str, str, str], tuple[str, ...]] = {
    ("sagemaker.DescribeEndpoint", "EndpointStatus", "InService"): _INSTANCES,
    ("sagemaker.DescribeEndpoint", "EndpointStatus", "Updating"): _INSTANCES,
    ("sagemaker.DescribeTrainingJob", "TrainingJobStatus", "Completed"): (
        "ModelArtifacts.S3ModelArtifacts",
        "ResourceConfig.InstanceCount?",
        "TrainingEndTime",
        "TrainingTimeInSeconds",
        "FinalMetricDataList[]?.MetricName",
        "FinalMetricDataList[]?.Value",
    ),
}
"""By service and operation, field and the field's value: what a reply with that value must have as well."""

MAY_BE_EMPTY = frozenset({"Cause", "Description", "HistorySummary", "Message", "Value", "message"})
"""Fields that hold a text of somebody's, such as the value of a tag; every other text names something."""

FORMS: Mapping[str, tuple[str, str]] = {
    "Account": ("[0-9]{12}", "12 digits"),
    "Arn": ("arn:[a-z0-9-]+:[^:]+:[^:]*:[^:]*:.+", "an ARN"),
}
"""Fields whose text has a form: a regular expression, and the form in words."""

NOTHING_NEEDED = frozenset({"GetConsoleOutput", "GetFunctionConcurrency", "HeadBucket", "Invoke", "InvokeEndpoint"})
"""Reading operations of whose replies every field may be missing."""


def what_is_wrong(operation: str, reply: Mapping[str, Any], shape: Any) -> str | None:
    """Return in words which needed field of a reply is missing or of a wrong type, None if none is.

    `operation` is named as in the table, `shape` is botocore's output shape of it.
    """
    return _first(_wrong_at(path, reply, shape) for path in _needed(operation, reply))


def _needed(operation: str, reply: Mapping[str, Any]) -> Iterator[str]:
    yield from NEEDED.get(operation, ())
    for (name, field, value), paths in NEEDED_WHEN.items():
        if name == operation and reply.get(field) == value:
            yield from paths


def _wrong_at(path: str, reply: Any, shape: Any) -> str | None:
    if not isinstance(reply, Mapping):
        return f"it has {reply!r:.80} in place of what has {path}"
    here, _, below = path.partition(".")
    names = here.rstrip("?").removesuffix("[]").removesuffix("[+]").split("|")
    name = next((each for each in names if each in reply), names[0])
    found = reply.get(name)
    member = shape.members[name]
    if found is None and here.endswith("?"):
        return None
    if found is None or (found == [] and "[+]" in here) or (found == "" and name not in MAY_BE_EMPTY):
        return f"it lacks {name}"
    if not _is_a(found, member):
        return f"its {name} is {found!r:.80}, not a {_type_in_words(member)}"
    if name in FORMS and not re.fullmatch(FORMS[name][0], found):
        return f"its {name} is {found!r:.80}, not {FORMS[name][1]}"
    if member.type_name in ("integer", "long") and found < 0:
        return f"its {name} is {found!r:.80}, which is below 0"
    if not below:
        return None
    if member.type_name != "list":
        return _wrong_at(below, found, member)
    return _first(_wrong_at(below, each, member.member) for each in found)


def _is_a(found: Any, shape: Any) -> bool:
    """Tell whether a value has its shape's type, and what is in a map or list has its own."""
    expected: Any = _PYTHON_TYPES[shape.type_name]
    if not isinstance(found, expected):
        return False
    if shape.type_name == "map":
        return all(_is_a(key, shape.key) and _is_a(value, shape.value) for key, value in found.items())
    is_plain = shape.type_name != "list" or shape.member.type_name == "structure"
    return is_plain or all(_is_a(each, shape.member) for each in found)


def _type_in_words(shape: Any) -> str:
    if shape.type_name == "map":
        return f"map of {shape.value.type_name}s"
    return f"list of {shape.member.type_name}s" if shape.type_name == "list" else str(shape.type_name)


def _first(wrongs: Iterable[str | None]) -> str | None:
    return next((wrong for wrong in wrongs if wrong is not None), None)
