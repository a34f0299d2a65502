"""An instance boots, reboots, shuts itself down, is stopped, crashes and is destroyed; its port 22 opens and closes."""

import time
from collections.abc import Iterator

import pytest

from localaws.ec2.spec import Ingress
from tests.command_lines import command_line
from tests.localaws.ec2.machine_rooms import SSH_FROM_CALLER, Rooms, rooms_at, run
from tests.localaws.ec2.ssh_client import banner
from tests.polling import wait_until


@pytest.fixture(
    scope="module",
    params=[
        pytest.param(("auto", None), id="with-namespaces"),
        pytest.param(("embedded", "refused by the test"), id="without-namespaces"),
    ],
)
def rooms(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Rooms]:
    ssh_server, refusal = request.param
    with rooms_at(tmp_path_factory.mktemp("home"), ssh_server=ssh_server, refusal=refusal) as rooms:
        yield rooms


def test_a_failing_script_is_a_status_and_a_line_on_the_console(rooms: Rooms) -> None:
    guest = rooms.guest("#!/bin/sh\nexit 3\n").boot()
    said = guest.run("cloud-init status --wait")
    assert (said.status, "status: error" in said.output) == (1, True)
    assert "part-001: it ended with status 3" in guest.machine.console().decode()
    guest.machine.destroy()


def test_shutting_down_from_inside_ends_it_and_says_so(rooms: Rooms) -> None:
    guest = rooms.guest().boot()
    assert guest.run("sudo shutdown -h +600; sudo shutdown -c; shutdown --show").status == 1  # nothing is scheduled
    guest.run("sudo shutdown --no-wall -h now")
    assert wait_until(lambda: guest.endings, "it has ended") == ["shutdown"]
    with pytest.raises(ConnectionRefusedError):
        banner(guest.public, guest.ssh_port)
    guest.machine.destroy()


def test_minutes_until_a_shutdown_are_those_of_the_time_scale(rooms: Rooms) -> None:
    guest = rooms.guest().boot()
    before = time.monotonic()
    said = guest.run("sudo shutdown -h +1")  # 60 times faster: a second
    assert (said.status, "Shutdown scheduled in 1 minutes at time scale 60" in said.errors) == (0, True), said
    assert wait_until(lambda: guest.endings, "it has ended", seconds=20) == ["shutdown"]
    assert time.monotonic() - before >= 1.0
    guest.machine.destroy()


def test_a_reboot_is_no_end_and_user_data_does_not_run_again(rooms: Rooms) -> None:
    guest = rooms.guest("#!/bin/sh\necho once >> /home/ubuntu/count\n").boot()
    guest.run("cloud-init status --wait; touch mine; sudo reboot")
    wait_until(lambda: guest.machine.console().decode().count("finished at") == 2, "it has booted again")
    wait_until(guest.greets, "its SSH server greets again")
    said = guest.run("cat count; ls mine")
    assert (said.output, guest.endings, len(guest.running)) == ("once\nmine\n", [], 1)
    guest.machine.destroy()


def test_its_disk_outlives_stopping_and_its_processes_do_not(rooms: Rooms) -> None:
    guest = rooms.guest().boot()
    guest.run("echo kept > kept; setsid sleep 4711 < /dev/null > /dev/null 2>&1 &")
    processes = len(rooms.processes())
    guest.machine.stop(5.0)
    assert len(rooms.processes()) < processes
    with pytest.raises(ConnectionRefusedError):
        banner(guest.public, guest.ssh_port)
    guest.boot()
    said = guest.run("cat kept; pgrep -f 'sleep 471[1]' | wc -l")
    assert (said.output.split(), guest.endings) == (["kept", "0"], [])
    guest.machine.destroy()


def test_nothing_remains_of_a_destroyed_instance(rooms: Rooms) -> None:
    guest = rooms.guest("#!/bin/sh\nmkdir -p /home/ubuntu/a/b; chmod 0 /home/ubuntu/a; sleep 4712\n").boot()
    folder = rooms.core.settings.home / "instances" / guest.machine.spec.instance_id
    before = {process.pid for process in rooms.processes()}
    assert folder.is_dir() and before
    guest.machine.destroy()
    assert not folder.exists()
    assert not [process for process in rooms.processes() if "4712" in command_line(process)]
    assert guest.endings == []


def test_a_first_process_that_is_killed_is_a_crash(rooms: Rooms) -> None:
    guest = rooms.guest().boot()
    name = f"ec2/{guest.machine.spec.instance_id}"
    (process,) = [each for each in rooms.core.processes.running() if each.name == name]
    process.stop(0.0)
    assert wait_until(lambda: guest.endings, "it has ended")[0].startswith("crashed: its first process ended")
    guest.machine.destroy()


def test_a_closed_port_refuses_and_an_opened_one_lets_in(rooms: Rooms) -> None:
    guest = rooms.guest()
    guest.machine.allow([])
    guest.boot()
    with pytest.raises(ConnectionRefusedError):
        banner(guest.public, guest.ssh_port)
    for closed in (Ingress("tcp", 80, 443, ("0.0.0.0/0",), ()), Ingress("tcp", 22, 22, ("10.0.0.0/8",), ())):
        guest.machine.allow([closed])
        with pytest.raises(ConnectionRefusedError):
            banner(guest.public, guest.ssh_port)
    for opened in (
        SSH_FROM_CALLER,
        Ingress("-1", -1, -1, ("0.0.0.0/0",), ()),
        Ingress("tcp", 0, 100, ("127.0.0.0/8",), ()),
    ):
        guest.machine.allow([opened])
        assert banner(guest.public, guest.ssh_port) == b"SSH-"
    guest.machine.destroy()


def test_an_open_connection_outlives_the_rule_that_let_it_in(rooms: Rooms) -> None:
    guest = rooms.guest().boot()
    with guest.client() as client:
        guest.machine.allow([])
        assert run(client, "echo still here").output == "still here\n"
        with pytest.raises(ConnectionRefusedError):
            banner(guest.public, guest.ssh_port)
    guest.machine.destroy()


def test_addresses_are_free_and_come_back_when_an_instance_is_destroyed(rooms: Rooms) -> None:
    first, second = rooms.guest(), rooms.guest()
    assert first.public != second.public and first.private != second.private
    assert first.public.startswith("127.") and not first.public.startswith(("127.0.", "127.100."))
    freed = first.public
    first.machine.destroy()
    third = rooms.guest()
    assert third.public == freed
    for each in (second, third):
        each.machine.destroy()
