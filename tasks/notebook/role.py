"""The role of a run's notebook instance: read what the run has in S3, write its logs, stop exactly itself.

Whoever works in the notebook works with this role, so it holds nothing that changes the run: jobs and endpoints are
started by `kennel`, not from there.
"""

from __future__ import annotations

from tasks.account.roles import ROLE_NAME_LIMIT, RoleSpec, Statement, run_prefix
from tasks.run import naming
from tasks.run.aws import Aws
from tasks.run.records import DatasetRef

LOG_GROUP = "/aws/sagemaker/NotebookInstances"
"""One for all notebook instances of an account; SageMaker writes `<instance>/<file>` streams with the role's rights."""


def notebook_name(run_id: str) -> str:
    """Return the name of a run's notebook instance."""
    return naming.resource_name(run_id, "notebook")


def notebook_arn(aws: Aws, run_id: str) -> str:
    """Return the ARN that a run's notebook instance has or will have (SageMaker writes names in lower case there)."""
    return f"arn:aws:sagemaker:{aws.region}:{aws.account_id}:notebook-instance/{notebook_name(run_id).lower()}"


def notebook_role(aws: Aws, run_id: str, dataset: DatasetRef | None) -> RoleSpec:
    """Describe the role; `dataset` is readable too when the run has one."""
    readable = [(aws.bucket, run_prefix(run_id)), *([(dataset.bucket, dataset.prefix)] if dataset else [])]
    statements = (
        {
            "Sid": "ReadOwnObjects",
            "Effect": "Allow",
            "Action": ["s3:GetObject"],
            "Resource": [f"arn:aws:s3:::{bucket}/{prefix}/*" for bucket, prefix in readable],
        },
        *(_listing(f"List{number}", bucket, prefix) for number, (bucket, prefix) in enumerate(readable)),
        *_logs(aws, notebook_name(run_id)),
        {
            "Sid": "StopItself",
            "Effect": "Allow",
            "Action": ["sagemaker:StopNotebookInstance"],
            "Resource": [notebook_arn(aws, run_id)],
        },
    )
    name = naming.resource_name(run_id, "notebook", limit=ROLE_NAME_LIMIT)
    return RoleSpec(name, "sagemaker.amazonaws.com", statements, f"Notebook instance of run {run_id}", aws.account_id)


def _listing(sid: str, bucket: str, prefix: str) -> Statement:
    return {
        "Sid": sid,
        "Effect": "Allow",
        "Action": ["s3:ListBucket"],
        "Resource": [f"arn:aws:s3:::{bucket}"],
        "Condition": {"StringLike": {"s3:prefix": [f"{prefix}/*"]}},
    }


def _logs(aws: Aws, name: str) -> tuple[Statement, ...]:
    """Create the shared group if nobody has yet, and write the streams of this instance only."""
    group = f"arn:aws:logs:{aws.region}:{aws.account_id}:log-group:{LOG_GROUP}"
    describe = ["logs:CreateLogGroup", "logs:DescribeLogStreams"]
    write = ["logs:CreateLogStream", "logs:PutLogEvents"]
    return (
        {"Sid": "LogGroup", "Effect": "Allow", "Action": describe, "Resource": [group, f"{group}:*"]},
        {"Sid": "WriteLogs", "Effect": "Allow", "Action": write, "Resource": [f"{group}:log-stream:{name}/*"]},
    )
