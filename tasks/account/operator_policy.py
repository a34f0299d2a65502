"""The least that a person who runs kennel has to be allowed, by feature, bound to kennel's names where AWS supports it.

Beside the features' policies stands the boundary of kennel's roles: without it on a role, the others do not allow to
make the role or to give it a policy, because that would allow everything.

An action whose resources cannot be named before the call, or that AWS grants on all resources only, is on `*`.
Sources: https://docs.aws.amazon.com/service-authorization/latest/reference/reference.html
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from tasks.account import role_boundary
from tasks.account.role_policies import literal
from tasks.run.naming import RESOURCE_PREFIX
from tasks.run.partitions import partition_of
from tasks.run.vpc_config import LAMBDA_VPC_ACTIONS, SAGEMAKER_VPC_ACTIONS

Statement = dict[str, Any]

BOUNDARY = "boundary"
"""The name, among the policies, of the roles' boundary; made like the others, and not attached to the operator."""

OF_ALARMS = frozenset({"Budgets"})
"""The statements that only `--budget-alarm` needs."""

_PACKAGE_GROUP = "model-package-group"
_ALARM_ACTIONS = [
    *("PutMetricAlarm", "DescribeAlarms", "DeleteAlarms", "DescribeAlarmHistory"),
    *("TagResource", "ListTagsForResource"),
]

_OWN_METRICS = {"StringEquals": {"cloudwatch:namespace": "kennel"}}

LONGEST_POLICY = 6144
"""The most characters, without white space, that IAM allows a managed policy."""


@dataclass(frozen=True)
class Account:
    """Where kennel is to be run; `prefix` is how the names of its resources begin, `bucket` may be one of yours.

    `sources` are the archives (`s3://bucket/photos.zip`) or prefixes (`s3://bucket/photos/`) that photos are read from.
    """

    account_id: str
    region: str
    prefix: str = RESOURCE_PREFIX
    bucket: str = ""
    sources: tuple[str, ...] = ()

    @property
    def partition(self) -> str:
        """The partition of the region: "aws", "aws-cn", "aws-us-gov", ..."""
        return partition_of(self.region)

    def arn(self, service: str, resource: str) -> str:
        """Return the ARN of resources in this account and region."""
        return f"arn:{self.partition}:{service}:{self.region}:{self.account_id}:{resource}"

    def iam(self, resource: str) -> str:
        """Return the ARN of resources of IAM."""
        return f"arn:{self.partition}:iam::{self.account_id}:{resource}"

    def keys(self) -> list[str]:
        """Return the ARN of every key of KMS, one of which the user may name."""
        return [self.arn("kms", "key/*")]

    def through(self, service: str) -> Mapping[str, Any]:
        """Return the condition that a service uses a key in the caller's name."""
        return {"StringLike": {"kms:ViaService": f"{service}.{self.region}.*"}}

    def s3(self, objects: str = "") -> list[str]:
        """Return the ARNs of the buckets, or of objects in them."""
        names = [f"{self.prefix}*", *([self.bucket] if self.bucket else [])]
        return [f"arn:{self.partition}:s3:::{name}{objects}" for name in names]

    def source_buckets(self) -> list[str]:
        """Return the ARNs of the buckets of the sources that are listed: an archive is read without that."""
        places = [uri.removeprefix("s3://").partition("/") for uri in self.sources]
        listed = sorted({bucket for bucket, _, key in places if _is_prefix(key)})
        return [f"arn:{self.partition}:s3:::{bucket}" for bucket in listed]

    def source_objects(self) -> list[str]:
        """Return the ARN of each source's objects: one archive, or all below a prefix."""
        places = [uri.removeprefix("s3://") for uri in self.sources]
        ends = ["*" if _is_prefix(place.partition("/")[2]) else "" for place in places]
        return [f"arn:{self.partition}:s3:::{literal(place)}{end}" for place, end in zip(places, ends, strict=True)]


def _is_prefix(key: str) -> bool:
    return not key or key.endswith("/")


def operator_policies(account: Account) -> dict[str, dict[str, Any]]:
    """Return the policy document of each feature by its name, and the roles' boundary; each fits IAM's limit."""
    return {
        name: {"Version": "2012-10-17", "Statement": [_statement(*each) for each in rows]}
        for name, rows in _features(account).items()
    }


Row = tuple[str, str, list[str], list[str]] | tuple[str, str, list[str], list[str], Mapping[str, Any]]


def _statement(sid: str, service: str, names: list[str], on: list[str], condition: Any = None) -> Statement:
    actions = [f"{service}:{name}" for name in names]
    condition = {"Condition": condition} if condition else {}
    return {"Sid": sid, "Effect": "Allow", "Action": actions, "Resource": on, **condition}


def _features(account: Account) -> dict[str, list[Row]]:
    return {
        "stage": _stage(account),
        "sagemaker": _sagemaker(account),
        "ec2": _ec2(account),
        "serving": _serving(account),
        "scaling": _scaling(account),
        "notebook": _notebook(account),
        "permissions": _permissions(account),
        "teardown": _teardown(account),
        "audit": _audit(),
        BOUNDARY: _boundary(account),
    }


_LIFECYCLE = ("GetLifecycleConfiguration", "PutLifecycleConfiguration")


def _stage(account: Account) -> list[Row]:
    bucket = [
        *("CreateBucket", "ListBucket", "GetBucketTagging", "PutBucketTagging"),
        *("GetBucketPublicAccessBlock", "PutBucketPublicAccessBlock", "GetEncryptionConfiguration"),
        *("PutEncryptionConfiguration", "GetBucketOwnershipControls", "PutBucketOwnershipControls"),
        *("GetBucketPolicy", "PutBucketPolicy", *_LIFECYCLE),
    ]
    networks = ["Vpcs", "Subnets", "SecurityGroups", "RouteTables", "VpcEndpoints", "InstanceTypeOfferings"]
    objects = ["GetObject", "PutObject", "PutObjectTagging", "DeleteObject", "AbortMultipartUpload"]
    return [
        ("Caller", "sts", ["GetCallerIdentity"], ["*"]),
        ("Quotas", "servicequotas", ["ListServiceQuotas"], ["*"]),
        ("Simulation", "iam", ["SimulatePrincipalPolicy"], [account.iam("role/*"), account.iam("user/*")]),
        ("AnyRole", "iam", ["GetRole"], [account.iam("role/*")]),
        ("Images", "ecr", ["BatchGetImage"], [f"arn:{account.partition}:ecr:{account.region}:*:repository/*"]),
        ("Key", "kms", ["DescribeKey"], account.keys()),
        ("SealObjects", "kms", ["Decrypt", "GenerateDataKey"], account.keys(), account.through("s3")),
        ("Network", "ec2", [f"Describe{each}" for each in networks], ["*"]),
        ("Prices", "pricing", ["GetProducts"], ["*"]),
        ("Bucket", "s3", bucket, account.s3()),
        ("Objects", "s3", objects, account.s3("/*")),
        *_sources(account),
        *_budgets(account),
    ]


def _sources(account: Account) -> list[Row]:
    """Return what reading photos from buckets of S3 needs; without such sources nothing."""
    buckets, objects = account.source_buckets(), account.source_objects()
    return [
        *([("ListSources", "s3", ["ListBucket"], buckets)] if buckets else []),
        *([("ReadSources", "s3", ["GetObject"], objects)] if objects else []),
    ]


def _roles(account: Account, sid: str, services: Mapping[str, str]) -> list[Row]:
    """Return what a feature's roles need; `services`: to which one each is passed, by the end of the role's name."""
    each_kind = {end: account.iam(f"role/{account.prefix}*-{end}") for end in services}
    roles, boundary = [*each_kind.values()], account.iam(f"policy/{role_boundary.NAME}")
    changes = ["CreateRole", "PutRolePermissionsBoundary", "UpdateAssumeRolePolicy", "PutRolePolicy"]
    return [
        (f"{sid}Roles", "iam", ["GetRole", "ListRoleTags", "TagRole", "GetRolePolicy"], roles),
        (f"{sid}BoundedRoles", "iam", changes, roles, _bounded(account)),
        (f"{sid}Boundary", "iam", ["GetPolicy"], [boundary]),
        *(
            (f"Pass{end.capitalize()}Role", "iam", ["PassRole"], [each_kind[end]], _passed_to(service))
            for end, service in services.items()
        ),
    ]


def _passed_to(service: str) -> Mapping[str, Any]:
    return {"StringEquals": {"iam:PassedToService": f"{service}.amazonaws.com"}}


def _bounded(account: Account) -> Mapping[str, Any]:
    """Return the condition that a role has the boundary, or gets it."""
    return {"StringEquals": {"iam:PermissionsBoundary": account.iam(f"policy/{role_boundary.NAME}")}}


def _sagemaker(account: Account) -> list[Row]:
    jobs = ["CreateTrainingJob", "DescribeTrainingJob", "StopTrainingJob", "AddTags", "ListTags"]
    stagings = [f"{verb}ProcessingJob" for verb in ("Create", "Describe", "Stop")]
    searches = [f"{verb}HyperParameterTuningJob" for verb in ("Create", "Describe", "Stop")]
    searches += ["ListTrainingJobsForHyperParameterTuningJob", "AddTags", "ListTags"]
    own_searches = [account.arn("sagemaker", f"hyper-parameter-tuning-job/{account.prefix}*")]
    registry = [
        *(f"{verb}ModelPackage{end}" for verb in ("Create", "Describe") for end in ("", "Group")),
        *("ListModelPackages", "UpdateModelPackage", "AddTags", "ListTags"),
    ]
    packages = [account.arn("sagemaker", f"{each}/{account.prefix}*") for each in ("model-package", _PACKAGE_GROUP)]
    groups = [account.arn("logs", f"log-group:/aws/sagemaker/{each}Jobs:*") for each in ("Training", "Processing")]
    own_stagings = [account.arn("sagemaker", f"processing-job/{account.prefix}*")]
    granted = {"Bool": {"kms:GrantIsForAWSResource": "true"}}
    return [
        *_roles(account, "Training", {"training": "sagemaker", "staging": "sagemaker"}),
        ("TrainingVolumes", "kms", ["CreateGrant"], account.keys(), granted),
        ("TrainingJobs", "sagemaker", jobs, [account.arn("sagemaker", f"training-job/{account.prefix}*")]),
        ("TuningJobs", "sagemaker", searches, own_searches),
        ("StagingJobs", "sagemaker", [*stagings, "AddTags", "ListTags"], own_stagings),
        ("Registry", "sagemaker", registry, packages),
        ("FindModels", "sagemaker", ["ListModelPackageGroups", "ListEndpoints"], ["*"]),
        ("TrainingLogs", "logs", ["DescribeLogStreams", "GetLogEvents", "FilterLogEvents"], groups),
    ]


def _ec2(account: Account) -> list[Row]:
    profiles = [account.iam(f"instance-profile/{account.prefix}*")]
    profile = [*("CreateInstanceProfile", "GetInstanceProfile"), "AddRoleToInstanceProfile", "TagInstanceProfile"]
    looks = [
        *("DescribeInstances", "DescribeImages", "DescribeVpcs", "DescribeKeyPairs", "DescribeSecurityGroups"),
        *("DescribeSubnets", "DescribeInstanceTypeOfferings"),
    ]
    made = [account.arn("ec2", f"{each}/*") for each in ("instance", "volume", "network-interface")]
    named = [account.arn("ec2", f"key-pair/{account.prefix}*"), account.arn("ec2", "security-group/*")]
    used = [
        account.arn("ec2", "subnet/*"),
        account.arn("ec2", "vpc/*"),
        f"arn:{account.partition}:ec2:{account.region}::image/*",
    ]
    tagged = {"StringEquals": {"aws:ResourceTag/kennel:project": "kennel"}}
    creating = {"StringEquals": {"ec2:CreateAction": ["RunInstances", "ImportKeyPair", "CreateSecurityGroup"]}}
    volumes = ["CreateGrant", "Decrypt", "GenerateDataKeyWithoutPlaintext", "ReEncryptFrom", "ReEncryptTo"]
    parameters = [f"arn:{account.partition}:ssm:{account.region}::parameter/aws/service/*"]
    return [
        *_roles(account, "Instance", {"instance": "ec2", "load": "ec2"}),
        ("InstanceProfiles", "iam", profile, profiles),
        ("Look", "ec2", [*looks, "GetConsoleOutput"], ["*"]),
        ("Launch", "ec2", ["RunInstances"], [*made, *named, *used]),
        ("Access", "ec2", ["ImportKeyPair", "CreateSecurityGroup"], [*named, *used]),
        ("TagWhatIsMade", "ec2", ["CreateTags"], [*made, *named], creating),
        ("Rules", "ec2", ["AuthorizeSecurityGroupIngress", "RevokeSecurityGroupIngress"], named[1:], tagged),
        ("Volumes", "kms", volumes, account.keys(), account.through("ec2")),
        ("Terminate", "ec2", ["TerminateInstances"], made, tagged),
        ("Image", "ssm", ["GetParameter", "GetParametersByPath"], parameters),
    ]


def _serving(account: Account) -> list[Row]:
    kinds = ("model", "endpoint-config", "endpoint")
    own = [account.arn("sagemaker", f"{each}/{account.prefix}*") for each in kinds]
    makes = [f"{verb}{each}" for each in ("Model", "EndpointConfig", "Endpoint") for verb in ("Create", "Describe")]
    endpoint = ["UpdateEndpoint", "UpdateEndpointWeightsAndCapacities", "InvokeEndpoint", "AddTags", "ListTags"]
    function = [
        *("CreateFunction", "GetFunction", "GetFunctionConfiguration", "UpdateFunctionCode"),
        *("UpdateFunctionConfiguration", "PublishVersion", "ListVersionsByFunction", "CreateAlias", "GetAlias"),
        *("UpdateAlias", "InvokeFunction", "TagResource", "ListTags", "AddPermission", "RemovePermission"),
        "GetPolicy",
        *(f"{verb}FunctionUrlConfig" for verb in ("Create", "Get", "Update", "Delete")),
        *("PutFunctionConcurrency", "GetFunctionConcurrency", "DeleteFunctionConcurrency"),
    ]
    groups = [
        account.arn("logs", f"log-group:{each}/{account.prefix}*")
        for each in ("/aws/sagemaker/Endpoints", "/aws/lambda")
    ]
    logs = [
        *("CreateLogGroup", "TagResource", "PutRetentionPolicy", "ListTagsForResource"),
        *("DescribeLogStreams", "GetLogEvents", "FilterLogEvents"),
    ]
    return [
        *_roles(account, "Serving", {"endpoint": "sagemaker", "classify": "lambda"}),
        ("Endpoints", "sagemaker", [*makes, *endpoint], own),
        ("Functions", "lambda", function, [account.arn("lambda", f"function:{account.prefix}*")]),
        ("ServingVolumes", "kms", ["CreateGrant"], account.keys(), {"Bool": {"kms:GrantIsForAWSResource": "true"}}),
        ("ServingLogs", "logs", logs, groups),
        ("KeptRequests", "s3", ["GetBucketTagging", *_LIFECYCLE], account.s3()),
        ("ListLogGroups", "logs", ["DescribeLogGroups"], [account.arn("logs", "log-group:*")]),
        ("CanaryAlarms", "cloudwatch", _ALARM_ACTIONS, [account.arn("cloudwatch", f"alarm:{account.prefix}*")]),
        ("CanaryMetrics", "cloudwatch", ["GetMetricData"], ["*"]),
        ("CanaryAnswers", "cloudwatch", ["PutMetricData"], ["*"], _OWN_METRICS),
    ]


def _scaling(account: Account) -> list[Row]:
    function = [account.arn("lambda", f"function:{account.prefix}*")]
    concurrency = [
        f"{verb}{name}"
        for name in ("FunctionConcurrency", "ProvisionedConcurrencyConfig")
        for verb in ("Put", "Get", "Delete")
    ]
    targets = [
        *("RegisterScalableTarget", "DescribeScalableTargets", "PutScalingPolicy", "DescribeScalingPolicies"),
        *("DescribeScalingActivities", "DeregisterScalableTarget"),
    ]
    alarms = [account.arn("cloudwatch", f"alarm:{each}*") for each in ("TargetTracking-", account.prefix)]
    linked = account.iam("role/aws-service-role/sagemaker.application-autoscaling.amazonaws.com/*")
    only = {"StringLike": {"iam:AWSServiceName": "sagemaker.application-autoscaling.amazonaws.com"}}
    return [
        ("Concurrency", "lambda", concurrency, function),
        ("AccountLimits", "lambda", ["GetAccountSettings"], ["*"]),
        ("ScalableTargets", "application-autoscaling", targets, ["*"]),
        ("Alarms", "cloudwatch", _ALARM_ACTIONS, alarms),
        ("Metrics", "cloudwatch", ["GetMetricData", "GetMetricStatistics"], ["*"]),
        ("OwnMetrics", "cloudwatch", ["PutMetricData"], ["*"], _OWN_METRICS),
        ("ServiceRole", "iam", ["CreateServiceLinkedRole"], [linked], only),
    ]


def _notebook(account: Account) -> list[Row]:
    kinds = ("notebook-instance", "notebook-instance-lifecycle-config")
    own = [account.arn("sagemaker", f"{each}/{account.prefix}*") for each in kinds]
    verbs = ("Create", "Describe", "Update", "Delete")
    names = [f"{verb}NotebookInstance{end}" for end in ("", "LifecycleConfig") for verb in verbs]
    more = [
        *("StartNotebookInstance", "StopNotebookInstance", "CreatePresignedNotebookInstanceUrl"),
        *("AddTags", "ListTags"),
    ]
    return [*_roles(account, "Notebook", {"notebook": "sagemaker"}), ("Notebooks", "sagemaker", [*names, *more], own)]


def _budgets(account: Account) -> list[Row]:
    own = f"arn:{account.partition}:budgets::{account.account_id}:budget/{account.prefix}*"
    return [
        ("Budgets", "budgets", ["ModifyBudget", "TagResource", "ListTagsForResource"], [own]),
    ]


def _permissions(account: Account) -> list[Row]:
    roles = [account.iam(f"role/{account.prefix}*")]
    return [
        ("UsedPolicies", "iam", ["GetRolePolicy", "GenerateServiceLastAccessedDetails"], roles),
        ("TightenedPolicies", "iam", ["PutRolePolicy"], roles, _bounded(account)),
        ("UsedReport", "iam", ["GetServiceLastAccessedDetails"], ["*"]),
    ]


def _teardown(account: Account) -> list[Row]:
    roles, profiles = account.iam(f"role/{account.prefix}*"), account.iam(f"instance-profile/{account.prefix}*")
    looks = ["ListRolePolicies", "ListAttachedRolePolicies", "ListRoleTags", "ListInstanceProfilesForRole"]
    removes = ["DeleteRole", "DeleteRolePolicy", "DetachRolePolicy"]
    lists = [
        f"List{each}"
        for each in (
            "TrainingJobs",
            "HyperParameterTuningJobs",
            "ProcessingJobs",
            "Models",
            "EndpointConfigs",
            "Endpoints",
            "NotebookInstances",
            "NotebookInstanceLifecycleConfigs",
            "ModelPackageGroups",
        )
    ]
    kinds = ("model", "endpoint-config", "endpoint", "hyper-parameter-tuning-job", "model-package", _PACKAGE_GROUP)
    own = [account.arn("sagemaker", f"{each}/{account.prefix}*") for each in kinds]
    groups = [
        account.arn("logs", "log-group:/aws/sagemaker/*"),
        account.arn("logs", f"log-group:/aws/lambda/{account.prefix}*"),
    ]
    tagged = {"StringEquals": {"aws:ResourceTag/kennel:project": "kennel"}}
    urls = ["GetFunctionUrlConfig", "DeleteFunctionUrlConfig", "RemovePermission"]
    function, alarms = ["DeleteFunction", "DeleteAlias", *urls], [account.arn("cloudwatch", f"alarm:{account.prefix}*")]
    removed = ["Model", "EndpointConfig", "Endpoint", "HyperParameterTuningJob", "ModelPackage", "ModelPackageGroup"]
    return [
        ("FindRoles", "iam", ["ListRoles", "ListInstanceProfiles"], ["*"]),
        ("RemoveRoles", "iam", [*looks, *removes], [roles]),
        ("RemoveProfiles", "iam", ["RemoveRoleFromInstanceProfile", "DeleteInstanceProfile"], [profiles]),
        ("FindSageMaker", "sagemaker", lists, ["*"]),
        ("RemoveSageMaker", "sagemaker", [f"Delete{each}" for each in removed], own),
        ("FindAlarms", "cloudwatch", ["DescribeAlarms"], ["*"]),
        ("RemoveAlarms", "cloudwatch", ["DeleteAlarms", "ListTagsForResource"], alarms),
        ("FindFunctions", "lambda", ["ListFunctions"], ["*"]),
        ("RemoveFunctions", "lambda", function, [account.arn("lambda", f"function:{account.prefix}*")]),
        ("RemoveLogs", "logs", ["DescribeLogStreams", "DeleteLogGroup", "DeleteLogStream"], groups),
        ("RemoveKeys", "ec2", ["DeleteKeyPair"], [account.arn("ec2", f"key-pair/{account.prefix}*")]),
        ("RemoveGroups", "ec2", ["DeleteSecurityGroup"], [account.arn("ec2", "security-group/*")], tagged),
        ("FindBuckets", "s3", ["ListAllMyBuckets"], ["*"]),
        ("RemoveBucket", "s3", ["DeleteBucket", "ListBucketMultipartUploads", *_LIFECYCLE], account.s3()),
    ]


def _audit() -> list[Row]:
    kinds = ("NotebookInstance", "Model", "TrainingJob", "ProcessingJob", "Domain", "Pipeline")
    identities = [
        *("GetAccountAuthorizationDetails", "ListInstanceProfiles", "GenerateCredentialReport", "GetCredentialReport"),
        *("GetAccountSummary", "ListAccessKeys", "GenerateServiceLastAccessedDetails", "GetServiceLastAccessedDetails"),
    ]
    buckets = ["GetBucketPublicAccessBlock", "GetBucketPolicy", "GetBucketAcl", "GetAccountPublicAccessBlock"]
    return [
        ("AuditIdentities", "iam", identities, ["*"]),
        ("AuditFunctions", "lambda", ["ListFunctions", "ListAliases", "GetPolicy"], ["*"]),
        (
            "AuditSageMaker",
            "sagemaker",
            [*(f"Describe{each}" for each in kinds), *(f"List{each}s" for each in kinds)],
            ["*"],
        ),
        ("AuditInstances", "ec2", ["DescribeRegions", "DescribeInstances", "DescribeLaunchTemplateVersions"], ["*"]),
        ("AuditBuckets", "s3", ["ListAllMyBuckets", *buckets], ["*"]),
    ]


def _boundary(account: Account) -> list[Row]:
    """Return the most that any of kennel's roles may do: what the roles of all runs together are allowed."""
    groups = [
        account.arn("logs", f"log-group:{each}")
        for each in ("/aws/sagemaker/*", f"/aws/lambda/{account.prefix}*", f"/aws/lambda/{account.prefix}*:*")
    ]
    images = [f"arn:{account.partition}:ecr:{account.region}:*:repository/*"]  # AWS's, or one of the account's own
    layers = ["BatchCheckLayerAvailability", "BatchGetImage", "GetDownloadUrlForLayer"]
    namespaces = {"StringLike": {"cloudwatch:namespace": "/aws/sagemaker/*"}}
    endpoints = [account.arn("sagemaker", f"endpoint/{account.prefix}*")]
    functions = [account.arn("lambda", f"function:{account.prefix}*")]
    notebooks = [account.arn("sagemaker", f"notebook-instance/{account.prefix}*")]
    lines = ["CreateLogGroup", "CreateLogStream", "PutLogEvents", "DescribeLogStreams"]
    interfaces = sorted({*SAGEMAKER_VPC_ACTIONS, *LAMBDA_VPC_ACTIONS})
    return [
        ("RoleObjects", "s3", ["GetObject", "PutObject", "AbortMultipartUpload"], account.s3("/*")),
        *([("RoleSources", "s3", ["GetObject"], account.source_objects())] if account.sources else []),
        ("RoleLists", "s3", ["ListBucket"], account.s3()),
        ("RoleLogs", "logs", lines, groups),
        ("RoleMetrics", "cloudwatch", ["PutMetricData"], ["*"], namespaces),
        ("RoleAlarms", "cloudwatch", ["DescribeAlarms"], [account.arn("cloudwatch", f"alarm:{account.prefix}*")]),
        ("RoleEndpoints", "sagemaker", ["InvokeEndpoint"], endpoints),
        ("RoleFunctions", "lambda", ["InvokeFunction"], functions),
        ("RoleNotebooks", "sagemaker", ["StopNotebookInstance"], notebooks),
        ("RoleImages", "ecr", layers, images),
        ("RoleRegistry", "ecr", ["GetAuthorizationToken"], ["*"]),
        ("RoleKeys", "kms", ["Decrypt", "Encrypt", "GenerateDataKey"], account.keys(), account.through("s3")),
        ("RoleVolumes", "kms", ["CreateGrant"], account.keys(), {"Bool": {"kms:GrantIsForAWSResource": "true"}}),
        ("RoleInterfaces", "ec2", interfaces, ["*"]),
    ]
