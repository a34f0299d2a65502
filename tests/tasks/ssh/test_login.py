"""Tests of the login: keys that cannot be used, unexpected host keys, and servers that are not running."""

import shutil
import socket
import threading
from pathlib import Path

import paramiko
import pytest

from tasks.run.errors import ConnectionLost, HostKeyRefused, LoginRefused
from tasks.ssh.connection import Obstacle, connect
from tasks.ssh.remote import Remote
from tests.chaos_proxy import ChaosProxy
from tests.polling import wait_until
from tests.sshd import Sshd, make_key, public_key, running_sshd


def refusal(sshd: Sshd, key_path: Path) -> LoginRefused:
    with pytest.raises(LoginRefused) as caught:
        connect(sshd.login(key_path=key_path))
    return caught.value


@pytest.mark.parametrize("kind", ["ed25519", "rsa", "ecdsa"])
def test_every_kind_of_key_that_ec2_and_openssh_make_lets_in(sshd: Sshd, tmp_path: Path, kind: str) -> None:
    key = make_key(tmp_path / "key", kind=kind)
    with (sshd.folder / "authorized_keys").open("a") as keys:
        keys.write(public_key(key) + "\n")
    with Remote(sshd.login(key_path=key)) as remote:
        assert remote.run("echo in").stdout == b"in\n"


def test_a_pem_key_as_aws_hands_it_out_lets_in(sshd: Sshd, tmp_path: Path) -> None:
    made = paramiko.RSAKey.generate(2048)
    made.write_private_key_file(str(tmp_path / "key.pem"))
    with (sshd.folder / "authorized_keys").open("a") as keys:
        keys.write(f"ssh-rsa {made.get_base64()}\n")
    with Remote(sshd.login(key_path=tmp_path / "key.pem")) as remote:
        assert remote.run("echo in").stdout == b"in\n"


def test_keys_without_a_comment_are_read_whatever_their_length(sshd: Sshd, tmp_path: Path) -> None:
    for number in range(16):
        key = make_key(tmp_path / f"key-{number}", kind="ecdsa")
        read = sshd.login(key_path=key).private_key()
        assert f"{read.get_name()} {read.get_base64()}" == public_key(key)


@pytest.mark.parametrize("mode", [0o644, 0o640, 0o604])
def test_a_key_that_others_may_read_is_refused_with_the_chmod_that_helps(sshd: Sshd, tmp_path: Path, mode: int) -> None:
    key = Path(shutil.copy(sshd.key_path, tmp_path / "key"))
    key.chmod(mode)
    error = refusal(sshd, key)
    assert f"{mode:04o}" in error.why
    assert error.next_command == f"chmod 600 {key}"


def test_a_missing_key_is_refused_by_its_path(sshd: Sshd, tmp_path: Path) -> None:
    error = refusal(sshd, tmp_path / "absent")
    assert str(tmp_path / "absent") in error.what
    assert error.why == "No such file or directory"


def test_a_key_with_a_passphrase_is_refused_with_the_command_that_takes_it_off(sshd: Sshd, tmp_path: Path) -> None:
    error = refusal(sshd, make_key(tmp_path / "key", passphrase="secret"))
    assert "passphrase" in error.why
    assert error.next_command == f"ssh-keygen -p -N '' -f {tmp_path}/key"


def test_a_file_that_is_no_private_key_is_refused_as_one(sshd: Sshd, tmp_path: Path) -> None:
    key = tmp_path / "key"
    for content in (b"hello", bytes(range(256)), (sshd.folder / "key.pub").read_bytes()):
        key.write_bytes(content)
        key.chmod(0o600)
        assert "it is not a private key in OpenSSH or PEM format" in refusal(sshd, key).why


def test_a_key_that_the_server_does_not_know_is_refused_after_one_try(tmp_path: Path) -> None:
    with running_sshd() as own:
        error = refusal(own, make_key(tmp_path / "key"))
        assert "does not accept this key for this user" in error.why
        assert own.log().count("Connection from") == 1


def test_a_user_that_the_server_does_not_know_is_refused(sshd: Sshd) -> None:
    with pytest.raises(LoginRefused) as caught:
        connect(sshd.login(user="nobody-of-that-name"))
    assert "nobody-of-that-name@" in caught.value.what


def test_another_host_key_is_refused_and_not_even_the_users_name_is_sent() -> None:
    with running_sshd() as known, running_sshd() as other:
        with pytest.raises(HostKeyRefused) as caught:
            connect(other.login(host_key=known.host_key))
        assert "another machine answers there" in caught.value.why
        wait_until(other.log, "the end of the login", holds=lambda log: "[preauth]" in log)
        assert f"user {other.user}" not in other.log()
        assert other.logins() == 0


def test_a_host_without_a_key_of_the_pinned_kind_is_another_host(sshd: Sshd, tmp_path: Path) -> None:
    with pytest.raises(HostKeyRefused, match="i-0123456789abcdef0") as caught:
        connect(sshd.login(host_key=public_key(make_key(tmp_path / "key", kind="ecdsa"))))
    assert "the server has no host key of kind ecdsa-sha2-nistp256" in caught.value.why


def test_a_changed_host_key_after_a_loss_is_refused_when_reconnecting() -> None:
    with running_sshd() as first, Remote(first.login()) as remote:
        remote.run("true")
        (first.folder / "host_key").unlink()
        make_key(first.folder / "host_key")
        remote.run("kill -HUP 1")  # the listener, first in its namespace, reads its keys again
        wait_until(first.log, "the second start", holds=lambda log: log.count("Server listening") >= 2)
        with pytest.raises(HostKeyRefused):
            remote.reconnect()


@pytest.mark.parametrize("host_key", ["", "ssh-ed25519", "ssh-ed25519 !!!", "ssh-ed25519 AAAA", "foo AAAA"])
def test_a_pinned_key_that_is_none_is_refused_before_any_connection(
    sshd: Sshd, proxy: ChaosProxy, host_key: str
) -> None:
    with pytest.raises(HostKeyRefused, match="host key"):
        connect(sshd.login(port=proxy.port, host_key=host_key))
    assert proxy.accepted == 0


def obstacle(sshd: Sshd, proxy: ChaosProxy, seconds: float = 0.5) -> str | None:
    with pytest.raises(ConnectionLost) as caught:
        connect(sshd.login(port=proxy.port), connect_seconds=seconds)
    return caught.value.obstacle


def test_a_closed_port_is_told_from_a_server_that_says_nothing_and_from_one_that_hangs_up(
    sshd: Sshd, proxy: ChaosProxy
) -> None:
    proxy.hang()
    assert obstacle(sshd, proxy) == Obstacle.NO_BANNER
    proxy.pass_on()
    proxy.reset_after_bytes = 10
    assert obstacle(sshd, proxy) == Obstacle.CUT
    proxy.reset_after_bytes = 1200
    assert obstacle(sshd, proxy) == Obstacle.CUT
    proxy.refuse()
    assert obstacle(sshd, proxy) == Obstacle.REFUSED


def test_a_connect_that_nobody_answers_times_out(sshd: Sshd) -> None:
    with socket.socket() as full:
        full.bind(("127.0.0.1", 0))
        full.listen(0)
        port = full.getsockname()[1]
        waiting = [socket.socket() for _ in range(3)]
        for client in waiting:  # the queue of the listener is full: the kernel drops what comes next
            client.setblocking(False)
            client.connect_ex(("127.0.0.1", port))
        with pytest.raises(ConnectionLost) as caught:
            connect(sshd.login(port=port), connect_seconds=0.3)
        for client in waiting:
            client.close()
    assert caught.value.obstacle == Obstacle.TIMED_OUT


def test_an_address_that_is_none_is_unreachable(sshd: Sshd) -> None:
    with pytest.raises(ConnectionLost) as caught:
        connect(sshd.login(address="no such address"))
    assert caught.value.obstacle == Obstacle.UNREACHABLE


def test_failed_attempts_leave_no_thread_behind(sshd: Sshd, proxy: ChaosProxy) -> None:
    before = set(threading.enumerate())
    proxy.hang()
    obstacle(sshd, proxy, seconds=0.2)
    proxy.pass_on()
    proxy.reset_after_bytes = 1200
    obstacle(sshd, proxy)
    assert set(threading.enumerate()) - before == set()
