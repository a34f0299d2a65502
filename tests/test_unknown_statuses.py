"""The tests' proxy finds the statuses of a reply in botocore's descriptions, in JSON and in XML."""

import json

from botocore.parsers import create_parser

from tests.aws_requests import service_model
from tests.unknown_statuses import UNKNOWN, with_unknown_statuses


def test_every_status_of_a_json_reply_is_changed_and_nothing_else() -> None:
    model = service_model("lambda").operation_model("GetFunction")
    reply = {"Configuration": {"FunctionName": "f", "State": "Active", "LastUpdateStatus": "Successful"}}
    changed, shapes = with_unknown_statuses(model, json.dumps(reply).encode())
    assert json.loads(changed)["Configuration"] == {"FunctionName": "f", "State": UNKNOWN, "LastUpdateStatus": UNKNOWN}
    assert shapes == {"State", "LastUpdateStatus"}


def test_the_state_of_an_instance_is_found_in_ec2s_xml() -> None:
    model = service_model("ec2").operation_model("DescribeInstances")
    state = "<instanceState><code>16</code><name>running</name></instanceState>"
    items = f"<item><instancesSet><item><instanceId>i-1</instanceId>{state}</item></instancesSet></item>"
    space = 'xmlns="http://ec2.amazonaws.com/doc/2016-11-15/"'
    body = f"<DescribeInstancesResponse {space}><reservationSet>{items}</reservationSet></DescribeInstancesResponse>"
    changed, shapes = with_unknown_statuses(model, body.encode())
    parsed = create_parser("ec2").parse({"body": changed, "headers": {}, "status_code": 200}, model.output_shape)
    (instance,) = parsed["Reservations"][0]["Instances"]
    assert (instance["InstanceId"], instance["State"]) == ("i-1", {"Code": 16, "Name": UNKNOWN})
    assert shapes == {"InstanceStateName"}


def test_an_error_is_left_as_it_is() -> None:
    model = service_model("sagemaker").operation_model("DescribeEndpoint")
    body = b'{"__type": "ValidationException", "message": "Could not find endpoint"}'
    assert with_unknown_statuses(model, body)[1] == set()
