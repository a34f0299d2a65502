"""An instance is a machine: SSH with keys, a disk, user data and power, over OpenSSH's server and the embedded one."""

import json
import shlex
from collections.abc import Iterator

import paramiko
import pytest

from localaws.ec2.ssh_service import find_sshd
from tests.localaws.ec2.machine_rooms import (
    Guest,
    Rooms,
    new_private_key,
    read_key,
    rooms_at,
    run,
)
from tests.localaws.prying import PRY, kept
from tests.polling import wait_until

OPENSSH = find_sshd() is not None
SERVERS = [
    pytest.param(
        ("openssh", None), id="openssh", marks=pytest.mark.skipif(not OPENSSH, reason="OpenSSH is not installed")
    ),
    pytest.param(("embedded", None), id="embedded"),
    pytest.param(("embedded", "refused by the test"), id="without-namespaces"),
]


@pytest.fixture(scope="module", params=SERVERS)
def rooms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    ssh_server, refusal = request.param
    with rooms_at(tmp_path_factory.mktemp("home"), ssh_server=ssh_server, refusal=refusal) as rooms:
        yield rooms


@pytest.fixture(scope="module")
def guest(rooms: Rooms) -> Guest:
    script = "#!/bin/bash\necho hello from $(whoami)\ntouch /home/ubuntu/made-by-user-data\n"
    return rooms.guest(script).boot()


def test_a_login_with_the_key_works_and_a_wrong_key_is_refused(guest: Guest) -> None:
    said = guest.run("echo $USER; cd; pwd")
    assert (said.status, said.output.split()[0]) == (0, "ubuntu")
    assert said.output.split()[1].endswith("/home/ubuntu")
    with pytest.raises(paramiko.AuthenticationException), guest.client(read_key(new_private_key())):
        pass


def test_commands_have_their_exit_status_output_and_errors(guest: Guest) -> None:
    with guest.client() as client:
        assert run(client, "exit 7").status == 7
        assert run(client, "no-such-program").status == 127
        said = run(client, "echo out; echo error >&2; cat </dev/null")
        assert (said.output, said.errors) == ("out\n", "error\n")
        assert run(client, "kill -9 $$").status == -1


def test_a_machine_gets_at_no_memory_message_key_or_device_of_the_user(guest: Guest, rooms: Rooms) -> None:
    """The port is free in its own network."""
    if rooms.machines.refusal is not None:
        pytest.skip("without namespaces it is this machine")
    with kept() as given:
        said = guest.run(f"/opt/pytorch/bin/python -c {shlex.quote(PRY + f'print(grabbed({given}) + nested())')}")
    assert (said.output, said.errors) == ("['a port']\n", "")


def test_what_is_written_to_a_command_reaches_it_until_it_is_closed(guest: Guest) -> None:
    with guest.client() as client:
        stdin, stdout, _ = client.exec_command("wc -c", timeout=20)
        stdin.write(b"x" * 300_000)
        stdin.channel.shutdown_write()
        assert stdout.read().split() == [b"300000"]


def test_megabytes_on_both_streams_at_once_arrive_whole(guest: Guest) -> None:
    with guest.client() as client:
        channel = client.get_transport().open_session()  # type: ignore[union-attr]
        channel.exec_command("head -c 4000000 /dev/zero & head -c 4000000 /dev/zero >&2; wait")
        sizes = {"out": 0, "err": 0}

        def drain() -> bool:
            while channel.recv_ready():
                sizes["out"] += len(channel.recv(1 << 16))
            while channel.recv_stderr_ready():
                sizes["err"] += len(channel.recv_stderr(1 << 16))
            return sizes == {"out": 4_000_000, "err": 4_000_000}

        wait_until(drain, "all has arrived")


def test_a_terminal_is_a_terminal(guest: Guest) -> None:
    with guest.client() as client:
        _, stdout, _ = client.exec_command("tty && stty size && exit 5", get_pty=True, timeout=20)
        name, size = stdout.read().decode().split("\r\n")[:2]
        assert name.startswith("/dev/") and size == "24 80"
        assert stdout.channel.recv_exit_status() == 5


def test_files_go_there_and_back_by_sftp(guest: Guest) -> None:
    content = bytes(range(256)) * 400
    with guest.client() as client, client.open_sftp() as files:
        with files.open("relative.bin", "wb") as file:
            file.write(content)
        with files.open("/home/ubuntu/relative.bin", "rb") as file:
            assert file.read() == content
        files.rename("/home/ubuntu/relative.bin", "/tmp/moved.bin")
        assert files.stat("/tmp/moved.bin").st_size == len(content)
        assert run(client, "wc -c < /tmp/moved.bin").output.split() == [str(len(content))]


def test_user_data_ran_and_its_output_is_on_the_console_and_in_the_log(guest: Guest) -> None:
    said = guest.run("cloud-init status --wait && ls /home/ubuntu && cat /var/log/cloud-init-output.log")
    assert said.status == 0, said
    assert "status: done" in said.output and "made-by-user-data" in said.output and "hello from " in said.output
    assert "hello from " in guest.machine.console().decode()
    assert guest.run("test -f /var/lib/cloud/instance/boot-finished").status == 0


def test_the_console_ends_with_the_host_keys_as_cloud_init_prints_them(guest: Guest) -> None:
    console = guest.until_says("-----END SSH HOST KEY KEYS-----")
    with guest.client() as client:
        host_key = client.get_transport().get_remote_server_key()  # type: ignore[union-attr]
    assert "ec2: -----BEGIN SSH HOST KEY FINGERPRINTS-----" in console
    assert f"{host_key.get_name()} {host_key.get_base64()} root@ip-" in console


def test_logins_have_the_environment_of_a_deep_learning_image(guest: Guest, rooms: Rooms) -> None:
    program = "import os, sys; print(sys.version_info[:2], os.environ['AWS_ENDPOINT_URL'], os.environ['PIP_NO_INDEX'])"
    said = guest.run(f'/opt/pytorch/bin/python -c "{program}"')
    assert said.output == f"(3, 11) {rooms.core.settings.url} 1\n", said
    assert not guest.run("echo $PATH").output.startswith("/opt/pytorch")


def test_cloud_config_gives_the_host_key_files_and_commands(rooms: Rooms) -> None:
    private = new_private_key()
    host_key = read_key(private)
    config = {
        "ssh_keys": {
            "ed25519_private": private,
            "ed25519_public": f"ssh-ed25519 {host_key.get_base64()}",
        },
        "ssh_deletekeys": True,
        "write_files": [
            {"path": "/home/ubuntu/written", "content": "aGVsbG8=", "encoding": "b64", "permissions": "0600"}
        ],
        "bootcmd": ["echo early > /home/ubuntu/early"],
        "runcmd": [["sh", "-c", "echo late with $0 > /home/ubuntu/late", "a b"], "cat /home/ubuntu/early"],
        "packages": ["nginx"],
    }
    guest = rooms.guest("#cloud-config\n" + json.dumps(config)).boot()
    with guest.client() as client:
        assert client.get_transport().get_remote_server_key() == host_key  # type: ignore[union-attr]
        said = run(client, "cloud-init status --wait; cd; cat written early late; stat -c %a written")
    assert said.output.split("status: done\n")[1] == "helloearly\nlate with a b\n600\n"
    console = guest.machine.console().decode()
    assert "cloud-config key 'packages' is not emulated" in console
    assert f"ssh-ed25519 {host_key.get_base64()} root@" in console
    guest.machine.destroy()


def test_ports_are_forwarded_as_by_any_ssh_server(guest: Guest) -> None:
    with guest.client() as client:
        listening = (
            "import socket; s = socket.create_server(('127.0.0.1', 0)); print(s.getsockname()[1], flush=True); "
            "c = s.accept()[0]; c.sendall(b'forwarded'); c.close()"
        )
        _, stdout, _ = client.exec_command(f'/opt/pytorch/bin/python -c "{listening}"', timeout=20)
        port = int(stdout.readline())
        with client.get_transport().open_channel("direct-tcpip", ("127.0.0.1", port), ("127.0.0.1", 0)) as channel:  # type: ignore[union-attr]
            channel.settimeout(10)
            assert channel.recv(100) == b"forwarded"


def others_reached(transport: paramiko.Transport, guest: Guest) -> list[str]:
    """Return on which address of an instance but the loopback a forwarded port listens that is asked for on all."""
    try:
        port = transport.request_port_forward("0.0.0.0", 0)
    except paramiko.SSHException:
        return []
    address = guest.private
    dialling = f"import socket; socket.create_connection(('{address}', {port}), 5)"
    return [address] if guest.run(f'/opt/pytorch/bin/python -c "{dialling}"').status == 0 else []


def test_a_port_of_an_instance_leads_back_through_the_session(guest: Guest) -> None:
    with guest.client() as client:
        transport = client.get_transport()
        assert transport is not None
        port = transport.request_port_forward("127.0.0.1", 0)
        assert others_reached(transport, guest) == []
        dialling = f"import socket; socket.create_connection(('127.0.0.1', {port})).sendall(b'from there')"
        client.exec_command(f'/opt/pytorch/bin/python -c "{dialling}"', timeout=20)
        channel = transport.accept(20)
        assert channel is not None
        channel.settimeout(20)
        assert channel.recv(100) == b"from there"
