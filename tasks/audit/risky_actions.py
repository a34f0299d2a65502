"""Actions by which an identity gets more rights than it was given, or data out of the account.

Source: cloudsplaining 0.9.1 (https://github.com/salesforce/cloudsplaining; its package says MIT, its LICENSE file is
BSD 3-Clause), `shared/constants.py`. These are its facts without its code: of its 59 ways, the 46 that contain no other
one. They go back to Rhino Security Labs and to https://pathfinding.cloud (Datadog).
"""

from __future__ import annotations

PASSING = "iam:PassRole"

_ALONE = """
    iam:CreateAccessKey iam:CreateLoginProfile iam:UpdateLoginProfile iam:AddUserToGroup iam:CreatePolicyVersion
    iam:SetDefaultPolicyVersion iam:AttachUserPolicy iam:AttachGroupPolicy iam:AttachRolePolicy iam:PutUserPolicy
    iam:PutGroupPolicy iam:PutRolePolicy iam:UpdateAssumeRolePolicy glue:UpdateDevEndpoint lambda:UpdateFunctionCode
    sagemaker:CreatePresignedNotebookInstanceUrl
"""
_TOGETHER = """
    bedrock-agentcore:StartCodeInterpreterSession bedrock-agentcore:InvokeCodeInterpreter
    cloudformation:CreateChangeSet cloudformation:ExecuteChangeSet
    ec2:ModifyInstanceAttribute ec2:StopInstances ec2:StartInstances
    ec2:CreateLaunchTemplateVersion ec2:ModifyLaunchTemplate
    ec2-instance-connect:SendSSHPublicKey ec2:DescribeInstances
    ecs:ExecuteCommand ecs:DescribeTasks
    sagemaker:CreateNotebookInstanceLifecycleConfig sagemaker:StopNotebookInstance sagemaker:UpdateNotebookInstance \
        sagemaker:StartNotebookInstance
"""
_BY_PASSING = """
    ec2:RunInstances
    ec2:RequestSpotInstances
    lambda:CreateFunction lambda:InvokeFunction
    lambda:CreateFunction lambda:CreateEventSourceMapping
    lambda:CreateFunction lambda:AddPermission
    glue:CreateDevEndpoint
    glue:CreateJob glue:StartJobRun
    glue:CreateJob glue:CreateTrigger
    glue:UpdateJob glue:StartJobRun
    glue:UpdateJob glue:CreateTrigger
    cloudformation:CreateStack
    cloudformation:CreateStackSet cloudformation:CreateStackInstances
    cloudformation:UpdateStackSet
    codebuild:CreateProject codebuild:StartBuild
    codebuild:CreateProject codebuild:StartBuildBatch
    datapipeline:CreatePipeline
    apprunner:CreateService
    ecs:RegisterTaskDefinition ecs:CreateService
    ecs:RegisterTaskDefinition ecs:RunTask
    ecs:RegisterTaskDefinition ecs:StartTask
    sagemaker:CreateNotebookInstance
    sagemaker:CreateTrainingJob
    sagemaker:CreateProcessingJob
"""


def _lines(table: str) -> list[tuple[str, ...]]:
    return [tuple(line.split()) for line in table.strip().splitlines()]


ESCALATIONS: tuple[tuple[str, ...], ...] = (
    *((action,) for action in _ALONE.split()),
    *_lines(_TOGETHER),
    *((PASSING, *way) for way in _lines(_BY_PASSING)),
)
"""Each is a way that needs all of its actions; with PassRole, the caller passes a role to what the others make."""

EXFILTRATIONS = (
    *("s3:GetObject", "ssm:GetParameter", "ssm:GetParameters", "ssm:GetParametersByPath"),
    "secretsmanager:GetSecretValue",
)

_PASSED_TO = {"ecs": "ecs-tasks.amazonaws.com", "apprunner": "tasks.apprunner.amazonaws.com"}


def passed_to(way: tuple[str, ...]) -> str:
    """Return the service to which a way passes a role, as a principal; "" where it passes none."""
    service = way[1].split(":")[0] if way[0] == PASSING else ""
    return _PASSED_TO.get(service, f"{service}.amazonaws.com") if service else ""
