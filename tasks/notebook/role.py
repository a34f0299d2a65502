"""Describe the role of a run's notebook instance: it may read the run's objects, write its logs and stop itself.

Users of the notebook have the permissions of this role, so it allows nothing that changes the run. Jobs and endpoints
are started by `kennel` and not from the notebook.
"""

from __future__ import annotations

from tasks.account.role_policies import RoleSpec, Statement, list_statement, role_name, run_prefix
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.records import DatasetRef

LOG_GROUP = "/aws/sagemaker/NotebookInstances"
"""The log group of all notebook instances of an account; SageMaker writes `<instance>/<file>` streams with the role."""


def notebook_name(run_id: str) -> str:
    """Return the name of a run's notebook instance."""
    return naming.resource_name(run_id, "notebook")


def notebook_arn(aws: Aws, run_id: str) -> str:
    """Return the ARN of a run's notebook instance, which may not exist yet; SageMaker lowercases the name in it."""
    return aws.arn("sagemaker", f"notebook-instance/{notebook_name(run_id).lower()}")


def notebook_role(aws: Aws, run_id: str, dataset: DatasetRef | None) -> RoleSpec:
    """Describe the role; it may also read `dataset`, if the run has one.

    Raises:
        TargetRefused, AwsFailed: the caller's account could not be read, or is not the one that the user named.
    """
    readable = [(aws.bucket, run_prefix(run_id)), *([(dataset.bucket, dataset.prefix)] if dataset else [])]
    statements = (
        {
            "Sid": "ReadOwnObjects",
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": [aws.arn("s3", f"{bucket}/{prefix}/*") for bucket, prefix in readable],
        },
        *(list_statement(aws, f"List{number}", bucket, [prefix]) for number, (bucket, prefix) in enumerate(readable)),
        *_write_logs(aws, notebook_name(run_id)),
        {
            "Sid": "StopItself",
            "Effect": "Allow",
            "Action": ["sagemaker:StopNotebookInstance"],
            "Resource": [notebook_arn(aws, run_id)],
        },
    )
    name = role_name(run_id, "notebook")
    return RoleSpec(name, "sagemaker.amazonaws.com", statements, f"Notebook instance of run {run_id}", aws.account_id)


def _write_logs(aws: Aws, name: str) -> tuple[Statement, ...]:
    """Return the statements that allow creating the shared group and writing to this instance's streams only."""
    group = aws.arn("logs", f"log-group:{LOG_GROUP}")
    describe = ["logs:CreateLogGroup", "logs:DescribeLogStreams"]
    write = ["logs:CreateLogStream", "logs:PutLogEvents"]
    return (
        {"Sid": "LogGroup", "Effect": "Allow", "Action": describe, "Resource": [group, f"{group}:*"]},
        {"Sid": "WriteLogs", "Effect": "Allow", "Action": write, "Resource": [f"{group}:log-stream:{name}/*"]},
    )
