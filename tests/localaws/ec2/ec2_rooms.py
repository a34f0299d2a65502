"""An account of the server under test in which instances are launched, and ways to see what became of them."""

import json
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from typing import Any, Self

import paramiko
from botocore.exceptions import ClientError

from tests.conftest import RunningLocalAws
from tests.keys import bearer
from tests.localaws.ec2.ssh_client import banner, connected
from tests.polling import wait_until

IMAGE_PARAMETER = "/aws/service/deeplearning/ami/x86_64/oss-nvidia-driver-gpu-pytorch-2.7-ubuntu-22.04/latest/ami-id"
CALLER = "127.0.0.1/32"


@contextmanager
def refused(code: str, text: str = "") -> Iterator[None]:
    """Expect an error with this code whose message holds this text."""
    try:
        yield
    except ClientError as error:
        found = error.response["Error"]
        assert (found["Code"], text in found["Message"]) == (code, True), found
    else:
        raise AssertionError(f"not refused with {code}")


@dataclass
class Ec2Room:
    """An account with groups, keys and instances; the instances end with the `with` block."""

    server: RunningLocalAws
    _instances: list[str] = field(default_factory=list)

    @property
    def ec2(self) -> Any:
        return self.server.client("ec2")

    @property
    def image(self) -> str:
        found: str = self.server.client("ssm").get_parameter(Name=IMAGE_PARAMETER)["Parameter"]["Value"]
        return found

    def name(self) -> str:
        return f"room-{uuid.uuid4().hex[:10]}"

    def group(self, *ports: int) -> str:
        """Make a group that lets the caller in at these TCP ports."""
        group: str = self.ec2.create_security_group(GroupName=self.name(), Description="a test's")["GroupId"]
        for port in ports:
            self.ec2.authorize_security_group_ingress(GroupId=group, IpPermissions=[tcp(port, cidr=CALLER)])
        return group

    def launch(self, **changes: Any) -> str:
        """Launch one instance; return its id."""
        return self.launch_all(**changes)[0]

    def launch_all(self, **changes: Any) -> list[str]:
        return [each["InstanceId"] for each in self.run(**changes)]

    def run(self, **changes: Any) -> list[dict[str, Any]]:
        """Launch instances; return them as RunInstances does."""
        request = {"ImageId": self.image, "InstanceType": "c5.large", "MinCount": 1, "MaxCount": 1, **changes}
        found: list[dict[str, Any]] = self.ec2.run_instances(**request)["Instances"]
        self._instances += [each["InstanceId"] for each in found]
        return found

    def describe(self, instance_id: str) -> dict[str, Any]:
        (reservation,) = self.ec2.describe_instances(InstanceIds=[instance_id])["Reservations"]
        described: dict[str, Any] = reservation["Instances"][0]
        return described

    def state(self, instance_id: str) -> str:
        name: str = self.describe(instance_id)["State"]["Name"]
        return name

    def until(self, instance_id: str, *states: str) -> dict[str, Any]:
        """Wait for one of the states; return a description that was begun in it.

        An answer that was begun before may hold the new state beside what the instance had in the one before.
        """
        what = f"{instance_id} {' or '.join(states)}"
        wait_until(lambda: self.state(instance_id), what, holds=lambda state: state in states)
        return self.describe(instance_id)

    def running(self, **changes: Any) -> dict[str, Any]:
        """Launch one instance and return its description when it runs; any other end fails."""
        described = self.until(self.launch(**changes), "running", "terminated", "stopped")
        assert described["State"]["Name"] == "running", described["StateReason"]
        return described

    def ssh_port(self) -> int:
        port: int = json.loads((self.server.home / "server.json").read_text())["ssh_port"]
        return port

    def is_open(self, address: str) -> bool:
        """Return whether the instance at a public address greets at the SSH port."""
        try:
            return banner(address, self.ssh_port()) == b"SSH-"
        except OSError:
            return False

    def ssh(self, address: str, key: paramiko.PKey) -> AbstractContextManager[paramiko.SSHClient]:
        """Log in as `ubuntu`; the host key is whatever the instance shows."""
        return connected(address, self.ssh_port(), key)

    def post(self, path: str) -> tuple[int, dict[str, Any]]:
        """Call one of localaws's own routes; return the status and the answer."""
        request = urllib.request.Request(f"{self.server.url}/_localaws/{path}", method="POST", headers=dict(bearer()))
        try:
            with urllib.request.urlopen(request, timeout=60) as reply:
                return reply.status, json.loads(reply.read())
        except urllib.error.HTTPError as error:
            return error.code, json.loads(error.read())

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        """Terminate what was launched and wait for its end."""
        for instance_id in self._instances:
            self.ec2.modify_instance_attribute(InstanceId=instance_id, DisableApiTermination={"Value": False})
        if self._instances:
            self.ec2.terminate_instances(InstanceIds=self._instances)
        for instance_id in self._instances:
            self.until(instance_id, "terminated")


def tcp(port: int, *, cidr: str | None = None, group: str | None = None) -> dict[str, Any]:
    """Return a permission for one TCP port."""
    source: dict[str, Any] = {"IpRanges": [{"CidrIp": cidr}]} if cidr else {"UserIdGroupPairs": [{"GroupId": group}]}
    return {"IpProtocol": "tcp", "FromPort": port, "ToPort": port, **source}
