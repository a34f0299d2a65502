"""The errors of endpoints: why a deployment failed, and the AWS-shaped answers of `InvokeEndpoint`."""

import json
from dataclasses import dataclass

FAILURE_REASON_LIMIT = 1024  # characters, AWS's own limit on FailureReason
MESSAGE_LIMIT = 2048


class DeploymentFailed(Exception):
    """An endpoint's fleet could not be started; the message becomes FailureReason."""


@dataclass(eq=False)
class InvokeError(Exception):
    """An error answer of `InvokeEndpoint`: `code` as in botocore's `Error.Code`, `status` is the HTTP status."""

    code: str
    message: str
    status: int = 400
    original_status: int | None = None
    original_message: str = ""
    log_group_arn: str = ""

    def body(self) -> bytes:
        """Return the JSON body that botocore reads."""
        fields: dict[str, object] = {"message": self.message[:MESSAGE_LIMIT], "Message": self.message[:MESSAGE_LIMIT]}
        if self.original_status is not None:
            fields |= {
                "OriginalStatusCode": self.original_status,
                "OriginalMessage": self.original_message[:MESSAGE_LIMIT],
                "LogStreamArn": self.log_group_arn,
            }
        return json.dumps(fields).encode()


def failure_reason(message: str, log_tail: list[str]) -> str:
    """Return `message` followed by as much of the end of the log as fits in AWS's 1,024 characters."""
    if not log_tail:
        return message[:FAILURE_REASON_LIMIT]
    lead = f"{message} Last lines of its log: "
    room = max(0, FAILURE_REASON_LIMIT - len(lead))
    return (lead + "\n".join(log_tail)[-room:])[:FAILURE_REASON_LIMIT]
