"""The Lambda function that a user would write with boto3, whose client is made once outside the handler."""

import base64
import os
from typing import Any

import boto3

CLIENT = boto3.client("sagemaker-runtime")


def handler(event: dict[str, str], context: object) -> dict[str, Any]:  # noqa: ARG001 Lambda passes it
    """Return the endpoint's scores for the image in the event."""
    reply = CLIENT.invoke_endpoint(
        EndpointName=os.environ["ENDPOINT_NAME"], ContentType="image/jpeg", Body=base64.b64decode(event["image"])
    )
    headers = {"Content-Type": "application/json"}
    return {"statusCode": 200, "headers": headers, "body": reply["Body"].read().decode()}
