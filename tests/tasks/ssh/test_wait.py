"""Tests of waiting for SSH: the diagnosis is logged, and a problem that waiting cannot solve is raised at once."""

import itertools
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from tasks.run.errors import ConnectionLost, HostKeyRefused, LoginRefused, RemoteFailed, WaitTimedOut
from tasks.run.waiting import Waiting
from tasks.ssh.connection import Obstacle
from tasks.ssh.remote import Remote
from tasks.ssh.wait import LOGIN_GRACE_SECONDS, InstanceFacts, _LoginWait, wait_for_ssh
from tests.chaos_proxy import ChaosProxy
from tests.sshd import Sshd, make_key, public_key, running_sshd

UP = InstanceFacts("running", address="127.0.0.1", port_open_to_us=True)


@dataclass
class Time:
    """A clock that only `sleep` advances, with the logged lines; `at` maps the number of a pause to an action."""

    now: float = 0.0
    pauses: list[float] = field(default_factory=list)
    said: list[str] = field(default_factory=list)
    at: dict[int, Callable[[], object]] = field(default_factory=dict)
    attempt_seconds: float = 10.0

    def sleep(self, seconds: float) -> None:
        self.now += seconds
        self.pauses.append(seconds)
        self.at.get(len(self.pauses), lambda: None)()

    def wait(self, sshd: Sshd, *facts: InstanceFacts, seconds: float = 600.0, **login: object) -> Remote:
        """Wait for a login; each attempt gets the next of `facts`, and the last one is repeated."""
        left = list(facts or (UP,))

        def look() -> InstanceFacts:
            return left.pop(0) if len(left) > 1 else left[0]

        return wait_for_ssh(
            sshd.login(**login),
            look,
            deadline_seconds=seconds,
            attempt_seconds=self.attempt_seconds,
            waiting=Waiting(self.said.append, clock=lambda: self.now, sleep=self.sleep),
        )


def test_a_machine_that_is_up_lets_in_at_once_under_the_address_that_was_found(sshd: Sshd) -> None:
    time_ = Time()
    with time_.wait(sshd, address="192.0.2.1") as remote:
        assert remote.run("echo in").stdout == b"in\n"
        assert remote.login.address == "127.0.0.1"
    assert (time_.pauses, time_.said) == ([], [])


def test_every_step_of_a_boot_is_said_in_words_of_its_own(sshd: Sshd, proxy: ChaosProxy) -> None:
    proxy.refuse()
    time_ = Time(at={3: proxy.pass_on})
    steps = InstanceFacts("pending"), InstanceFacts("running"), UP
    with time_.wait(sshd, *steps, port=proxy.port) as remote:
        assert remote.run("echo in").stdout == b"in\n"
    assert [line.partition(": ")[2].rpartition(",")[0] for line in time_.said] == [
        "the instance is pending",
        "the instance is running and has no address yet",
        f"127.0.0.1:{proxy.port} refuses connections: the SSH server is not running yet",
    ]
    assert not any("retry" in line.lower() for line in time_.said)


def test_a_port_that_no_group_opens_is_blamed_on_the_groups(sshd: Sshd, proxy: ChaosProxy) -> None:
    proxy.refuse()
    with pytest.raises(WaitTimedOut) as caught:
        Time().wait(sshd, InstanceFacts("running", None, "127.0.0.1", False), seconds=20, port=proxy.port)
    assert f"no security group of the instance allows a connection from here to port {proxy.port}" in caught.value.why
    assert "groupSet --instance-id i-0123456789abcdef0" in caught.value.next_command


def test_a_server_that_hangs_before_its_banner_is_said_to_be_starting(sshd: Sshd, proxy: ChaosProxy) -> None:
    proxy.hang()
    time_ = Time(at={1: proxy.pass_on}, attempt_seconds=5.0)
    time_.wait(sshd, seconds=1.0, port=proxy.port).close()
    assert "accepts connections, but the SSH server sends nothing" in time_.said[0]


def test_a_port_closed_then_a_hang_then_a_reset_then_a_login(sshd: Sshd, proxy: ChaosProxy) -> None:
    proxy.refuse()

    def hang() -> None:
        proxy.pass_on()
        proxy.hang()

    def cut() -> None:
        proxy.pass_on()
        proxy.reset_after_bytes = 100

    def behave() -> None:
        proxy.reset_after_bytes = None

    time_ = Time(at={3: hang, 4: cut, 6: behave}, attempt_seconds=5.0)
    time_.wait(sshd, seconds=20, port=proxy.port).close()
    kinds = [next(k for k in ("refuses", "sends nothing", "ended the handshake") if k in line) for line in time_.said]
    assert [kind for kind, _ in itertools.groupby(kinds)] == ["refuses", "sends nothing", "ended the handshake"]


def test_the_pauses_grow_and_are_jittered_and_never_pass_the_deadline(sshd: Sshd, proxy: ChaosProxy) -> None:
    proxy.refuse()
    time_ = Time()
    with pytest.raises(WaitTimedOut, match="no login within 120 s"):
        time_.wait(sshd, seconds=120, port=proxy.port)
    assert 12 <= len(time_.pauses) <= 45
    assert max(time_.pauses) <= 8.0
    assert len(set(time_.pauses)) == len(time_.pauses)
    assert sum(time_.pauses) == pytest.approx(120.0)


def test_a_long_wait_is_never_silent(sshd: Sshd, proxy: ChaosProxy) -> None:
    proxy.refuse()
    time_ = Time()
    with pytest.raises(WaitTimedOut):
        time_.wait(sshd, seconds=120, port=proxy.port)
    assert len(time_.said) >= 120 // 16


def test_the_end_of_the_console_is_part_of_the_last_word(sshd: Sshd, proxy: ChaosProxy) -> None:
    proxy.refuse()
    facts = InstanceFacts("running", None, "127.0.0.1", True, "Booting\nKernel panic - not syncing\n")
    with pytest.raises(WaitTimedOut) as caught:
        Time().wait(sshd, facts, seconds=10, port=proxy.port)
    assert caught.value.why.endswith("the console's last line: Kernel panic - not syncing")
    assert caught.value.next_command.startswith("aws ec2 get-console-output")


@pytest.mark.parametrize("state", ["terminated", "shutting-down", "stopped"])
def test_an_instance_that_ended_fails_at_once_with_its_reason(sshd: Sshd, state: str) -> None:
    time_ = Time()
    with pytest.raises(RemoteFailed, match=f"the instance is {state}") as caught:
        time_.wait(sshd, InstanceFacts(state, "Server.SpotInstanceTermination"))
    assert caught.value.why == "Server.SpotInstanceTermination"
    assert time_.pauses == []


def test_another_host_key_fails_at_once(sshd: Sshd) -> None:
    time_ = Time()
    with running_sshd() as other, pytest.raises(HostKeyRefused):
        time_.wait(sshd, port=other.port)
    assert time_.pauses == []


def test_a_key_that_cannot_be_used_here_fails_before_anything_is_looked_at(sshd: Sshd, tmp_path: Path) -> None:
    def look() -> InstanceFacts:
        raise AssertionError("it was looked at")

    with pytest.raises(LoginRefused, match="absent"):
        wait_for_ssh(sshd.login(key_path=tmp_path / "absent"), look, deadline_seconds=9)


def test_a_key_that_user_data_is_still_writing_is_waited_for(tmp_path: Path) -> None:
    key = make_key(tmp_path / "key")
    with running_sshd() as own:
        allowed = own.folder / "authorized_keys"
        time_ = Time(at={2: lambda: allowed.write_text(public_key(key) + "\n")})
        time_.wait(own, key_path=key).close()
    assert len(time_.pauses) == 2
    assert "user data may still be writing the key" in time_.said[0]


def test_a_key_that_is_still_refused_after_the_grace_period_fails(sshd: Sshd, tmp_path: Path) -> None:
    time_ = Time()
    with pytest.raises(LoginRefused, match=str(tmp_path)):
        time_.wait(sshd, key_path=make_key(tmp_path / "key"))
    assert LOGIN_GRACE_SECONDS <= time_.now < LOGIN_GRACE_SECONDS + 10


def test_a_key_that_is_refused_when_the_boot_is_over_fails_at_once(sshd: Sshd, tmp_path: Path) -> None:
    time_ = Time()
    over = InstanceFacts("running", None, "127.0.0.1", True, "Cloud-init v. 24.1 finished at Mon. Up 31.20 seconds\n")
    with pytest.raises(LoginRefused):
        time_.wait(sshd, over, key_path=make_key(tmp_path / "key"))
    assert time_.pauses == []


def test_a_real_wait_ends_at_its_deadline(sshd: Sshd, proxy: ChaosProxy) -> None:
    proxy.hang()
    begun = time.monotonic()
    with pytest.raises(WaitTimedOut):
        wait_for_ssh(sshd.login(port=proxy.port), lambda: UP, deadline_seconds=1.0, waiting=Waiting(lambda _: None))
    assert 1.0 <= time.monotonic() - begun < 30


def test_every_obstacle_that_a_connect_can_meet_has_words_of_its_own(sshd: Sshd) -> None:
    waiting = _LoginWait(sshd.login(), 60, 10, Waiting(lambda _: None))
    met = [ConnectionLost("ssh", "x", "the reason", "y", obstacle) for obstacle in Obstacle]
    words = {waiting._diagnose_lost_connection(error, sshd.login(), UP).words for error in met}
    assert len(words) == len(Obstacle)
