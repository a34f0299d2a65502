"""What Application Auto Scaling calls, in a process of its own: it is not reached over HTTP."""

import os
import subprocess
import sys
from pathlib import Path

from tests.conftest import ROOT
from tests.keys import for_environment, give_keys
from tests.localaws.functions.functions_kit import zipped
from tests.localaws.functions.provisioned_kit import HOLD
from tests.localaws.roles import trust

SCALER = """
import json, socket, sys, threading, time
from pathlib import Path
import boto3, uvicorn
from localaws import functions, iam, s3
from localaws.core import Core
from localaws.errors import AwsError
from localaws.auth.root_key import keep
from localaws.front import build_app
from localaws.settings import Settings
listener = socket.create_server(("127.0.0.1", 0))
settings = Settings(home=Path(sys.argv[1]), port=listener.getsockname()[1])
core = Core(settings)
routes = [route for service in (s3, iam, functions) for route in service.install(core)]
server = uvicorn.Server(uvicorn.Config(build_app(core, routes, keep(settings.home)), lifespan="off"))
thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]}, daemon=True)
thread.start()
def client(service):
    return boto3.client(service, endpoint_url=settings.url, region_name="us-east-1")
name, role = "scaled", client("iam").create_role(RoleName="r", AssumeRolePolicyDocument=sys.argv[2])["Role"]["Arn"]
code = {"Handler": "handler.handler", "Runtime": "python3.11", "Code": {"ZipFile": Path(sys.argv[3]).read_bytes()}}
client("lambda").create_function(FunctionName=name, Role=role, Publish=True, **code)
client("lambda").create_alias(FunctionName=name, Name="live", FunctionVersion="1")
capacity, resource = functions.ProvisionedCapacity(core), f"function:{name}:live"
said = [capacity.get_capacity(resource)]
capacity.set_capacity(resource, 2)
said.append(capacity.get_capacity(resource))
deadline = time.monotonic() + 20
while capacity.get_state(resource).status != "READY" and time.monotonic() < deadline:
    time.sleep(0.02)
said.append(capacity.get_state(resource).status)
for resource_id, executions in ((resource, 950), (f"function:{name}:none", 1), ("endpoint/x/variant/y", 1)):
    try:
        capacity.set_capacity(resource_id, executions)
    except AwsError as error:
        said.append(error.code)
capacity.set_capacity(resource, 0)
said.append(capacity.get_capacity(resource))
server.should_exit = True
thread.join(10)
core.shutdown()
print(json.dumps(said))
"""


def test_a_scaler_reads_and_sets_capacity_by_resource_id(tmp_path: Path) -> None:
    archive = tmp_path / "function.zip"
    give_keys(tmp_path / "home")
    archive.write_bytes(zipped(HOLD))
    command = [sys.executable, "-c", SCALER, str(tmp_path / "home"), trust("lambda"), str(archive)]
    environment = {**os.environ, **for_environment()}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines()[-1] == (
        '[0, 2, "READY", "InvalidParameterValueException", "ResourceNotFoundException", "ValidationException", 0]'
    )
