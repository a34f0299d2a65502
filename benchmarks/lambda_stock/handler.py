"""The Lambda function a user would write: boto3, its client made once outside the handler."""

import base64
import os
from typing import Any

import boto3

CLIENT = boto3.client("sagemaker-runtime")


def handler(event: dict[str, str], context: object) -> dict[str, Any]:  # noqa: ARG001 Lambda passes it
    """Answer with the endpoint's scores."""
    reply = CLIENT.invoke_endpoint(
        EndpointName=os.environ["ENDPOINT_NAME"], ContentType="image/jpeg", Body=base64.b64decode(event["image"])
    )
    headers = {"Content-Type": "application/json"}
    return {"statusCode": 200, "headers": headers, "body": reply["Body"].read().decode()}
