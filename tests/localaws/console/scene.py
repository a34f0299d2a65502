"""An account in which there is one of everything that the console shows, with secrets that it must not show."""

import http.client
import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

from botocore.exceptions import ClientError

from localaws.record import read_record
from tests.conftest import RunningLocalAws
from tests.localaws.ec2.ec2_rooms import CALLER, IMAGE_PARAMETER, tcp
from tests.localaws.functions.functions_kit import Functions
from tests.localaws.sagemaker.endpoints.endpoint_models import Workbench
from tests.localaws.sagemaker.processing.processing_rooms import ProcessingRoom
from tests.localaws.sagemaker.training.training_rooms import Room, make_room
from tests.localaws.sagemaker.tuning.tuning_rooms import BOWL, TuningRoom
from tests.polling import wait_until

CANARY = "canary" + uuid.uuid4().hex
"""Stands where a secret stands: in environments, in a parameter with a telling name, in what programs print."""

TRAIN = f"print('password={CANARY}'); print('X-Amz-Signature={CANARY}&x=1'); print('loss=0.25;')"
HANDLER = f"""
def handler(event, context):
    print("Authorization: Bearer {CANARY}")
    return {{}}
"""


@dataclass(frozen=True)
class Scene:
    """The names of what there is, and the address of the console."""

    server: RunningLocalAws
    address: str
    job: str
    tuning: str
    processing: str
    endpoint: str
    function: str
    instance: str
    bucket: str
    role: str

    @property
    def pages(self) -> list[str]:
        """The address of each page, relative to the console's."""
        return [
            *("", "jobs", f"job?name={self.job}", f"tuning?name={self.tuning}"),
            *(f"processing?name={self.processing}", "endpoints"),
            *(f"endpoint?name={self.endpoint}", "functions", f"function?name={self.function}", "instances"),
            *(f"instance?id={self.instance}", "notebooks", "buckets", f"bucket?name={self.bucket}", "roles"),
            *(f"role?arn={self.role}", "alarms", "alarms?name=busy", "metrics"),
            *("metrics?namespace=scene&metric=Load&of=", "requests", "requests?show=failed"),
        ]


def address_of(server: RunningLocalAws) -> str:
    """Return the console's address of a server that runs."""
    record = read_record(server.home)
    assert record is not None
    return record.console_url


def get(
    url: str, headers: Mapping[str, str] | None = None, method: str = "GET"
) -> tuple[int, http.client.HTTPMessage, str]:
    """Return status, headers and text of an answer."""
    parts = urlsplit(url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=60)
    try:
        query = f"?{parts.query}" if parts.query else ""
        connection.request(method, parts.path + query, headers=dict(headers or {}))
        answer = connection.getresponse()
        return answer.status, answer.msg, answer.read().decode()
    finally:
        connection.close()


def make_scene(server: RunningLocalAws) -> Scene:
    """Make one of everything, and wait until it is there."""
    room = make_room(server)
    job = room.start(
        TRAIN,
        metrics=[{"Name": "loss", "Regex": "loss=(.*?);"}],
        Environment={"HF_TOKEN": CANARY},
        HyperParameters={"epochs": "3", "api_key": CANARY},
    )
    tuning = TuningRoom(room).start(BOWL, ResourceLimits={"MaxNumberOfTrainingJobs": 1, "MaxParallelTrainingJobs": 1})
    processing = ProcessingRoom(room).start(TRAIN, Environment={"HF_TOKEN": CANARY})
    server.client("iam").attach_role_policy(
        RoleName=room.role.rpartition("/")[2], PolicyArn="arn:aws:iam::aws:policy/AmazonS3ReadOnlyAccess"
    )
    bench = Workbench(server, room.role)
    endpoint = bench.start(bench.config({"ModelName": _model(bench, room)}))
    function, instance = _function(server), _instance(server)
    _notebook(server, room.role)
    _alarm(server)
    _denied(server)
    room.put("folder/photo.jpg", b"x" * 1_500)
    room.end_of(job)
    TuningRoom(room).end_of(tuning)
    ProcessingRoom(room).end_of(processing)
    assert bench.settled(endpoint)["EndpointStatus"] == "InService"
    _scaled(server, endpoint)
    bench.invoke(endpoint)
    return Scene(
        server, address_of(server), job, tuning, processing, endpoint, function, instance, room.bucket, room.role
    )


def _model(bench: Workbench, room: Room) -> str:
    server = bench.localaws
    server.client("s3").create_bucket(Bucket="endpoint-models")
    assert room.bucket
    return bench.model(environment={"DATABASE_PASSWORD": CANARY})


def _function(server: RunningLocalAws) -> str:
    functions = Functions.of(server)
    name = functions.make(HANDLER, Environment={"Variables": {"PLAIN_NAME": CANARY}}, Publish=True)
    functions.aws.create_alias(FunctionName=name, Name="live", FunctionVersion="1")
    functions.aws.put_provisioned_concurrency_config(
        FunctionName=name, Qualifier="live", ProvisionedConcurrentExecutions=1
    )
    functions.aws.put_function_concurrency(FunctionName=name, ReservedConcurrentExecutions=5)
    functions.invoke(name)
    return name


def _instance(server: RunningLocalAws) -> str:
    ec2 = server.client("ec2")
    image = server.client("ssm").get_parameter(Name=IMAGE_PARAMETER)["Parameter"]["Value"]
    group = ec2.create_security_group(GroupName="scene", Description="the console's")["GroupId"]
    ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(22, cidr=CALLER)])
    user_data = f"#!/bin/sh\necho secret={CANARY}\n"
    launched = ec2.run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        InstanceType="m5.large",
        SecurityGroupIds=[group],
        UserData=user_data,
    )
    return str(launched["Instances"][0]["InstanceId"])


def _notebook(server: RunningLocalAws, role: str) -> None:
    server.client("sagemaker").create_notebook_instance(
        NotebookInstanceName="scene", InstanceType="ml.t3.medium", RoleArn=role
    )


def _alarm(server: RunningLocalAws) -> None:
    cloudwatch = server.client("cloudwatch")
    cloudwatch.put_metric_data(Namespace="scene", MetricData=[{"MetricName": "Load", "Value": 3.0}])
    cloudwatch.put_metric_alarm(
        AlarmName="busy",
        Namespace="scene",
        MetricName="Load",
        Statistic="Average",
        Period=60,
        EvaluationPeriods=1,
        Threshold=1.0,
        ComparisonOperator="GreaterThanThreshold",
    )
    cloudwatch.set_alarm_state(AlarmName="busy", StateValue="ALARM", StateReason="set by hand")


def _denied(server: RunningLocalAws) -> None:
    """Ask for something as a role that may do nothing."""
    iam = server.client("iam")
    trust = {"Effect": "Allow", "Principal": {"AWS": "*"}, "Action": "sts:AssumeRole"}
    document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
    user = iam.create_user(UserName="nobody")["User"]
    iam.create_role(RoleName="powerless", AssumeRolePolicyDocument=document)
    key = iam.create_access_key(UserName=user["UserName"])["AccessKey"]
    import boto3

    s3 = boto3.client(
        "s3",
        endpoint_url=server.url,
        region_name="us-east-1",
        aws_access_key_id=key["AccessKeyId"],
        aws_secret_access_key=key["SecretAccessKey"],
    )

    def is_denied() -> bool:
        try:
            s3.list_buckets()
        except ClientError as error:
            return bool(error.response["Error"]["Code"] == "AccessDenied")
        return False

    wait_until(is_denied, "a denial")


def _scaled(server: RunningLocalAws, endpoint: str) -> None:
    scaling: Any = server.client("application-autoscaling")
    target = {
        "ServiceNamespace": "sagemaker",
        "ResourceId": f"endpoint/{endpoint}/variant/AllTraffic",
        "ScalableDimension": "sagemaker:variant:DesiredInstanceCount",
    }
    scaling.register_scalable_target(**target, MinCapacity=1, MaxCapacity=3)
    scaling.put_scaling_policy(
        **target,
        PolicyName="track",
        PolicyType="TargetTrackingScaling",
        TargetTrackingScalingPolicyConfiguration={
            "TargetValue": 60.0,
            "PredefinedMetricSpecification": {"PredefinedMetricType": "SageMakerVariantInvocationsPerInstance"},
        },
    )
