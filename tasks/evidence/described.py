"""Asks AWS about what the ledger of a run names, by describing calls only; all are in the operator's policy."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from tasks.account.encryption import default_encryption
from tasks.account.policy_documents import many
from tasks.account.roles import role_policy
from tasks.evidence.record import Described
from tasks.run.aws import Aws
from tasks.run.errors import AwsFailed, aws_boundary
from tasks.run.handle import Run
from tasks.run.ledger_contents import LedgerRow
from tasks.serving.autoscaling import describe_scaling

Facts = Mapping[str, object]


@dataclass(frozen=True)
class Look:
    """How a kind of resource is described: the operation that is shown, and what asks it."""

    call: str
    ask: Callable[[Aws, LedgerRow], Facts]


def described_resources(run: Run) -> Iterator[Described]:
    """Yield what AWS answers about each resource of the run that exists; a refusal is a fact like others.

    Raises:
        LedgerRefused: the ledger is damaged.
    """
    for row in run.ledger.live():
        if row.kind in LOOKS:
            yield Described(row.kind, row.name, LOOKS[row.kind].call, _asked(run.aws, row, LOOKS[row.kind]))


def _asked(aws: Aws, row: LedgerRow, look: Look) -> dict[str, str]:
    try:
        with aws_boundary(f"evidence: {row.kind} {row.name}"):
            return {name: str(value) for name, value in look.ask(aws, row).items() if value is not None}
    except AwsFailed as error:
        return {"not described": f"{error.what}: {error.why}"}
    except (AttributeError, LookupError, TypeError, ValueError) as error:
        return {"not described": f"the answer is not of the usual form ({type(error).__name__}: {error})"}


def _bucket(aws: Aws, row: LedgerRow) -> Facts:
    client = aws.client("s3")
    block = client.get_public_access_block(Bucket=row.name)["PublicAccessBlockConfiguration"]
    sealed = default_encryption(aws, row.name) or {}
    blocked = "blocked" if block and all(block.values()) else "not blocked in every way"
    return {"public access": blocked, "encryption": sealed.get("SSEAlgorithm")}


def _role(aws: Aws, row: LedgerRow) -> Facts:
    policy = role_policy(aws.client("iam"), row.name) or {}
    actions = {action for each in many(policy.get("Statement")) for action in many(each.get("Action"))}
    return {"may": ", ".join(sorted(actions)) or "nothing"}


def _training_job(aws: Aws, row: LedgerRow) -> Facts:
    found = aws.client("sagemaker").describe_training_job(TrainingJobName=row.name)
    machines = found.get("ResourceConfig", {})
    return {
        "status": found["TrainingJobStatus"],
        "on": f"{machines.get('InstanceCount')} × {machines.get('InstanceType')}",
        "billable seconds": found.get("BillableTimeInSeconds"),
        "model": found.get("ModelArtifacts", {}).get("S3ModelArtifacts"),
    }


def _processing_job(aws: Aws, row: LedgerRow) -> Facts:
    found = aws.client("sagemaker").describe_processing_job(ProcessingJobName=row.name)
    machines = found.get("ProcessingResources", {}).get("ClusterConfig", {})
    return {
        "status": found["ProcessingJobStatus"],
        "on": f"{machines.get('InstanceCount')} × {machines.get('InstanceType')}",
    }


def _endpoint(aws: Aws, row: LedgerRow) -> Facts:
    found = aws.client("sagemaker").describe_endpoint(EndpointName=row.name)
    counts = (
        f"{each['VariantName']}: {each.get('CurrentInstanceCount')} of {each.get('DesiredInstanceCount')}"
        for each in found.get("ProductionVariants", ())
    )
    return {
        "status": found["EndpointStatus"],
        "configuration": found["EndpointConfigName"],
        "instances": ", ".join(counts),
    }


def _scalable_target(aws: Aws, row: LedgerRow) -> Facts:
    _, endpoint, _, variant = row.name.split("/")
    found = describe_scaling(aws, endpoint, variant)
    if found is None:
        return {"registered": "no"}
    policies = (
        f"{each.metric} at {each.target}, cooldowns {each.scale_out_cooldown} s out and {each.scale_in_cooldown} s in"
        for each in found.policies
    )
    return {"instances": f"{found.minimum} to {found.maximum}", "policy": "; ".join(policies) or "none"}


def _function(aws: Aws, row: LedgerRow) -> Facts:
    client: Any = aws.client("lambda")
    found = client.get_function_configuration(FunctionName=row.name)
    reserved = client.get_function_concurrency(FunctionName=row.name).get("ReservedConcurrentExecutions")
    return {
        "state": found.get("State"),
        "runtime": found.get("Runtime"),
        "memory": f"{found['MemorySize']} MB",
        "role": found.get("Role"),
        "reserved concurrency": "none" if reserved is None else reserved,
    }


def _alias(aws: Aws, row: LedgerRow) -> Facts:
    function, _, alias = row.name.partition(":")
    found = aws.client("lambda").get_alias(FunctionName=function, Name=alias)
    return {"version": found["FunctionVersion"]}


def _url(aws: Aws, row: LedgerRow) -> Facts:
    function, _, alias = row.name.partition(":")
    found = aws.client("lambda").get_function_url_config(FunctionName=function, Qualifier=alias)
    return {"address": found["FunctionUrl"], "authentication": found["AuthType"]}


def _provisioned(aws: Aws, row: LedgerRow) -> Facts:
    function, _, alias = row.name.partition(":")
    found = aws.client("lambda").get_provisioned_concurrency_config(FunctionName=function, Qualifier=alias)
    asked = found.get("RequestedProvisionedConcurrentExecutions")
    return {
        "status": found["Status"],
        "available": f"{found.get('AvailableProvisionedConcurrentExecutions')} of {asked}",
    }


def _instance(aws: Aws, row: LedgerRow) -> Facts:
    answer = aws.client("ec2").describe_instances(InstanceIds=[row.identifier])
    found = answer["Reservations"][0]["Instances"][0]
    return {"state": found["State"]["Name"], "type": found.get("InstanceType"), "image": found.get("ImageId")}


def _notebook(aws: Aws, row: LedgerRow) -> Facts:
    found = aws.client("sagemaker").describe_notebook_instance(NotebookInstanceName=row.name)
    return {"status": found["NotebookInstanceStatus"], "type": found.get("InstanceType")}


LOOKS: Mapping[str, Look] = {
    "bucket": Look("s3:GetPublicAccessBlock", _bucket),
    "role": Look("iam:GetRolePolicy", _role),
    "training-job": Look("sagemaker:DescribeTrainingJob", _training_job),
    "processing-job": Look("sagemaker:DescribeProcessingJob", _processing_job),
    "instance": Look("ec2:DescribeInstances", _instance),
    "notebook-instance": Look("sagemaker:DescribeNotebookInstance", _notebook),
    "endpoint": Look("sagemaker:DescribeEndpoint", _endpoint),
    "scalable-target": Look("application-autoscaling:DescribeScalingPolicies", _scalable_target),
    "function": Look("lambda:GetFunctionConfiguration", _function),
    "function-alias": Look("lambda:GetAlias", _alias),
    "function-url": Look("lambda:GetFunctionUrlConfig", _url),
    "provisioned-concurrency": Look("lambda:GetProvisionedConcurrencyConfig", _provisioned),
}
