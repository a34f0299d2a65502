"""Instances reach each other as security groups allow, localaws, and nothing else; their metadata is theirs alone."""

import http.server
import json
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import psutil
import pytest

from localaws.ec2.spec import Ingress
from tests.conftest import ROOT
from tests.localaws.ec2.machine_rooms import SSH_FROM_CALLER, Guest, Rooms, rooms_at
from tests.localaws.ec2.ssh_client import banner
from tests.localaws.roles import make_inside
from tests.polling import wait_until

PYTHON = "/opt/pytorch/bin/python"
CONNECT = "import socket, sys; socket.create_connection((sys.argv[1], int(sys.argv[2])), 5); print('reached')"
SERVE = (
    "import socket, sys; s = socket.create_server(('0.0.0.0', int(sys.argv[1]))); print('listens', flush=True)\n"
    "while True: s.accept()[0].close()"
)


HEAR = (
    "import socket; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind(('0.0.0.0', 9000))\n"
    "print('listens', flush=True); print(s.recvfrom(100)[1][0], flush=True)"
)
SPEAK = (
    "import socket, sys; s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM); s.bind((sys.argv[1], 0))\n"
    "s.sendto(b'x', (sys.argv[2], 9000))"
)
AS_ANOTHER = """
import sys
from pyroute2 import IPRoute
from localaws.programs.namespaces import enter
for namespace in [open(f"/proc/{sys.argv[3]}/ns/{kind}") for kind in ("user", "net")]:
    enter(namespace.fileno())
ip = IPRoute()
ip.addr("add", index=ip.link_lookup(ifname="eth0")[0], address=sys.argv[1], prefixlen=32)
"""
PRIVILEGED = """
import socket, struct
from pyroute2 import IPRoute
may, ip = [], IPRoute()
eth0 = ip.link_lookup(ifname="eth0")[0]
def look():
    network = dict(ip.get_links(eth0)[0]["attrs"])["IFLA_LINK_NETNSID"]
    link = struct.pack("=BxHiIIHHi", 0, 0, 1, 0, 0, 8, 46, network)  # 46: IFLA_TARGET_NETNSID
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as kernel:
        kernel.send(struct.pack("=IHHII", 16 + len(link), 18, 1, 1, 0) + link)  # 18: RTM_GETLINK
        answer = kernel.recv(65536)
    if answer[4] == 2:
        raise OSError(-struct.unpack("=i", answer[16:20])[0], "refused")
for name, call in {
    "take an address": lambda: ip.addr("add", index=eth0, address="10.9.9.9", prefixlen=32),
    "take a route": lambda: ip.route("add", dst="10.9.9.0", dst_len=24, oif=eth0),
    "see the others": look,
}.items():
    try:
        list(call() or ())
        may.append(name)
    except Exception as error:
        print(name, repr(error))
print("may:", may, flush=True)
"""


@pytest.fixture(scope="module")
def rooms(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    with rooms_at(tmp_path_factory.mktemp("home"), ssh_server="auto") as rooms:
        rooms.machines.new_addresses()
        if reason := rooms.machines.refusal:
            pytest.skip(f"no namespaces: {reason}")
        yield rooms


@pytest.fixture(scope="module")
def pair(rooms: Rooms) -> tuple[Guest, Guest]:
    first, second = rooms.guest(), rooms.guest()
    return first.boot(), second.boot()


@contextmanager
def serving(guest: Guest, *ports: int) -> Iterator[None]:
    """Have something listen in an instance, on all its addresses."""
    with guest.client() as client:
        for port in ports:
            _, stdout, stderr = client.exec_command(f'{PYTHON} -c "{SERVE}" {port}', timeout=20)
            assert stdout.readline() == "listens\n", stderr.read()
        yield
        client.exec_command("pkill -f create_server")[1].channel.recv_exit_status()


def reach(source: Guest, address: str, port: int) -> str:
    """Return "reached", or the last line of the error of connecting from an instance."""
    said = source.run(f'{PYTHON} -c "{CONNECT}" {address} {port}')
    return (said.output or said.errors).strip().splitlines()[-1]


def test_two_instances_listen_at_the_same_port_and_reach_each_other_only_where_allowed(
    pair: tuple[Guest, Guest],
) -> None:
    first, second = pair
    with serving(first, 7777), serving(second, 7777, 7778):
        assert reach(first, second.private, 7777) == "OSError: [Errno 113] No route to host"
        second.machine.allow([SSH_FROM_CALLER, Ingress("tcp", 7777, 7777, (), (first.private,))])
        assert reach(first, second.private, 7777) == "reached"
        assert reach(first, second.private, 7778) == "OSError: [Errno 113] No route to host"
        assert reach(second, first.private, 7777) == "OSError: [Errno 113] No route to host"
        second.machine.allow([SSH_FROM_CALLER, Ingress("-1", 0, 65535, (), (first.private,))])
        assert reach(first, second.private, 7778) == "reached"
        second.machine.allow([SSH_FROM_CALLER])
        assert reach(first, second.private, 7777) == "OSError: [Errno 113] No route to host"


def test_what_is_allowed_holds_over_a_restart(pair: tuple[Guest, Guest]) -> None:
    first, second = pair
    second.machine.allow([SSH_FROM_CALLER, Ingress("tcp", 7000, 8000, (), (first.private,))])
    second.machine.stop(5.0)
    second.boot()
    with serving(second, 7777):
        assert reach(first, second.private, 7777) == "reached"


def first_process_of(rooms: Rooms, guest: Guest) -> int:
    """Return the id of a process that has power over an instance's network, as nobody in the instance has."""
    folder = f"/{guest.machine.spec.instance_id}/"
    every = [each.pid for each in rooms.processes() if any(folder in argument for argument in each.cmdline())]
    return next(pid for pid in every if Path(f"/proc/{pid}/ns/net").readlink() != Path("/proc/self/ns/net").readlink())


def speak_as(source: str, pid: int, target: str) -> None:
    subprocess.run([sys.executable, "-c", AS_ANOTHER + SPEAK, source, target, str(pid)], cwd=ROOT, check=True)


def test_no_packet_comes_from_an_address_that_is_not_the_instance_s(rooms: Rooms, pair: tuple[Guest, Guest]) -> None:
    first, second = pair
    second.machine.allow([SSH_FROM_CALLER, Ingress("udp", 9000, 9000, (), (first.private,))])
    with second.client() as client:
        _, stdout, _ = client.exec_command(f'{PYTHON} -c "{HEAR}"', timeout=20)
        assert stdout.readline() == "listens\n"
        speak_as("10.9.9.9", first_process_of(rooms, first), second.private)
        first.run(f'{PYTHON} -c "{SPEAK}" {first.private} {second.private}')
        assert stdout.readline().strip() == first.private


@pytest.mark.parametrize("part", ["bootcmd", "runcmd"])
def test_user_data_has_no_power_over_the_network_that_instances_share(rooms: Rooms, part: str) -> None:
    guest = rooms.guest(f"#cloud-config\n{part}:\n- [{PYTHON}, -c, {json.dumps(PRIVILEGED)}]\n").boot()
    assert "may: []" in guest.until_says("may: ")


def test_localaws_is_reached_at_its_own_url_and_nothing_else_of_the_host_is(
    rooms: Rooms, pair: tuple[Guest, Guest]
) -> None:
    settings = rooms.core.settings
    with socket.create_server(("127.0.0.1", 0)) as secret, answering(settings.port) as paths:
        program = "import os, urllib.request as u; print(u.urlopen(os.environ['AWS_ENDPOINT_URL'] + '/here').read())"
        said = pair[0].run(f'{PYTHON} -c "{program}"')
        assert (said.output, paths) == ("b'answer'\n", ["/here"]), said
        assert "Connection refused" in reach(pair[0], "127.0.0.1", secret.getsockname()[1])
        assert "Network is unreachable" in reach(pair[0], "198.51.100.1", 443)


def test_the_hosts_files_are_out_of_sight_or_not_to_be_written(pair: tuple[Guest, Guest]) -> None:
    guest = pair[0]
    assert guest.run(f"ls {Path(__file__)}").status == 2
    assert guest.run(f"ls {Path.home()}").status in (0, 2)  # an instance's own /root may be there
    said = guest.run("touch /usr/bin/x /opt/pytorch/x /sys/x; echo 1 > /proc/sys/kernel/panic; touch /tmp/x /etc/x")
    assert said.errors.count("Read-only file system") == 4 and said.status == 0, said
    assert guest.run("ps -e -o pid= | wc -l").output.strip() in {"5", "6", "7", "8", "9"}


def test_metadata_wants_a_token_and_tells_who_the_instance_is(pair: tuple[Guest, Guest]) -> None:
    guest, spec = pair[0], pair[0].machine.spec
    program = (
        "import urllib.request as u, urllib.error as e\n"
        "def ask(path, method='GET', **headers):\n"
        "    request = u.Request('http://169.254.169.254/latest/' + path, method=method,\n"
        "        headers={k.replace('_', '-'): v for k, v in headers.items()})\n"
        "    try: return u.urlopen(request, timeout=5).read().decode()\n"
        "    except e.HTTPError as error: return str(error.code)\n"
        "print(ask('meta-data/instance-id'), ask('api/token', 'PUT'))\n"
        "print(ask('api/token', 'PUT', X_aws_ec2_metadata_token_ttl_seconds='21601'))\n"
        "token = ask('api/token', 'PUT', X_aws_ec2_metadata_token_ttl_seconds='60')\n"
        "told = lambda path: ask(path, X_aws_ec2_metadata_token=token)\n"
        "print(ask('meta-data/instance-id', X_aws_ec2_metadata_token='wrong'))\n"
        "for name in ('instance-id', 'instance-type', 'ami-id', 'local-ipv4', 'public-ipv4',\n"
        "    'placement/availability-zone', 'placement/region', 'spot/instance-action', 'iam/info', 'placement/'):\n"
        "    print(told('meta-data/' + name))\n"
        "import json; print(json.loads(told('dynamic/instance-identity/document'))['instanceId'], told('user-data'))\n"
    )
    with guest.client() as client, client.open_sftp() as files, files.open("ask.py", "w") as file:
        file.write(program)
    lines = guest.run(f"{PYTHON} ask.py").output.splitlines()
    assert lines[:3] == ["401 400", "400", "401"]
    assert lines[3:8] == [spec.instance_id, spec.instance_type, spec.ami_id, guest.private, guest.public]
    assert lines[8:12] == ["us-east-1a", "us-east-1", "404", "404"]
    assert lines[12:] == ["availability-zone", "region", f"{spec.instance_id} 404"]
    guest.machine.notify_interruption("terminate", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC))
    lines = guest.run(f"{PYTHON} ask.py").output.splitlines()
    assert json.loads(lines[10]) == {"action": "terminate", "time": "2026-01-02T03:04:05Z"}


def test_botos_own_provider_finds_the_roles_credentials(rooms: Rooms) -> None:
    arn = new_role(rooms, "machine-role")
    guest = rooms.guest(role_arn=arn, profile_arn=arn.replace(":role/", ":instance-profile/")).boot()
    program = (
        "import boto3; found = boto3.Session().get_credentials(); print(found.method, found.access_key[:4]);"
        "print(found.get_frozen_credentials().token[:1] != '')"
    )
    said = guest.run(f'{PYTHON} -c "{program}"')
    assert said.output == "iam-role ASIA\nTrue\n", said
    guest.machine.destroy()


def test_an_instance_that_may_ask_without_a_token_does(rooms: Rooms) -> None:
    guest = rooms.guest(requires_token=False).boot()
    program = "import urllib.request as u; print(u.urlopen('http://169.254.169.254/latest/meta-data/ami-id').read())"
    assert guest.run(f'{PYTHON} -c "{program}"').output == f"b'{guest.machine.spec.ami_id}'\n"
    guest.machine.destroy()


SERVER = """
import pathlib, sys, threading, time
from localaws.core import Core
from localaws.ec2.machine import Machines, MachineSpec
from localaws.settings import Settings
core, running = Core(Settings(pathlib.Path(sys.argv[1]))), threading.Event()
machines = Machines(core)
private, public = machines.new_addresses()
spec = MachineSpec("i-1", "c5.large", "ami-1", "us-east-1a", private, public, b"", None, None, None, True, False)
machines.make(spec, on_running=running.set, on_ended=print).boot()
running.wait(30)
print(*(process.pid for process in core.processes.running()), flush=True)
time.sleep(60)
"""


def test_instances_and_their_network_end_with_a_server_that_is_killed(tmp_path: Path) -> None:
    command = [sys.executable, "-c", SERVER, str(tmp_path)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, cwd=ROOT) as server:
        assert server.stdout
        leaders = [psutil.Process(int(pid)) for pid in server.stdout.readline().split()]
        family = leaders + [child for leader in leaders for child in leader.children(recursive=True)]
        assert (len(leaders), len(family) > 4) == (2, True)
        server.kill()
    wait_until(lambda: not [each for each in family if each.is_running()], "all have ended")


def test_an_address_that_another_program_has_is_passed_over(rooms: Rooms) -> None:
    first = rooms.guest()
    taken = first.public
    first.machine.destroy()
    with socket.create_server((taken, rooms.machines.ssh_port)):
        other = rooms.guest()
        assert other.public != taken
    with pytest.raises(ConnectionRefusedError):
        banner(taken, rooms.machines.ssh_port)
    other.machine.destroy()


@contextmanager
def answering(port: int) -> Iterator[list[str]]:
    """Be localaws for a while; the paths that were asked for."""
    paths: list[str] = []

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            paths.append(self.path)
            self.send_response(200)
            self.end_headers()
            self.wfile.write(b"answer")

        def log_message(self, *_: object) -> None:
            """Log nothing."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield paths
        server.shutdown()


def new_role(rooms: Rooms, name: str) -> str:
    """Make a role in moto's IAM of this process."""
    return make_inside(rooms.core.settings.account_id, name, "ec2")
