"""Tests of commands over a real sshd: results, deadlines, hostile arguments, large output, lost connections."""

import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from paramiko.common import MSG_CHANNEL_DATA, MSG_CHANNEL_EOF, MSG_CHANNEL_WINDOW_ADJUST
from paramiko.message import Message

from tasks.run.errors import CommandFailed, ConnectionLost, RemoteFailed, WaitTimedOut
from tasks.ssh import connection
from tasks.ssh.remote import Remote
from tests.chaos_proxy import ChaosProxy
from tests.polling import wait_until
from tests.sshd import Sshd, running_sshd
from tests.tasks.ssh.conftest import KEEPALIVE_SECONDS

MANY = 10 * 2**20


@pytest.fixture(scope="module")
def remote(sshd: Sshd) -> Iterator[Remote]:
    with Remote(sshd.login()) as connected:
        yield connected


def test_a_command_returns_its_output_its_errors_and_its_status(remote: Remote) -> None:
    completed = remote.run("echo out; echo err >&2; exit 3", check=False)
    assert (completed.stdout, completed.stderr, completed.exit_status) == (b"out\n", b"err\n", 3)
    assert 0 < completed.seconds < 60


def test_a_failed_command_is_an_error_with_its_own_words_and_the_command_that_leads_there(remote: Remote) -> None:
    with pytest.raises(CommandFailed, match="ended with status 7") as caught:
        remote.run("echo 'no space left' >&2; exit 7")
    assert caught.value.why == "no space left"
    assert caught.value.exit_code == 9
    assert caught.value.next_command.startswith("ssh -i ")


def test_a_command_that_a_signal_ends_is_told_from_a_lost_connection(remote: Remote) -> None:
    with pytest.raises(CommandFailed, match="was ended by a signal"):
        remote.run("kill -9 $$")
    assert remote.run("echo still there").stdout == b"still there\n"


def test_the_input_arrives_whole_while_the_output_is_read(remote: Remote) -> None:
    data = bytes(range(256)) * (MANY // 256)
    assert remote.run("cat", stdin=data).stdout == data


def test_a_command_may_end_without_reading_its_input(remote: Remote) -> None:
    assert remote.run("head -c 3", stdin=b"abcdef" * MANY).stdout == b"abc"


def test_10_mib_on_stdout_and_on_stderr_at_once_arrive_whole(remote: Remote) -> None:
    both = f"head -c {MANY} /dev/zero & head -c {MANY} /dev/zero >&2; wait"
    completed = remote.run(both, deadline_seconds=30)
    assert (len(completed.stdout), len(completed.stderr)) == (MANY, MANY)


def test_10_mib_on_stderr_before_a_word_on_stdout_do_not_block(remote: Remote) -> None:
    completed = remote.run(f"head -c {MANY} /dev/zero >&2; echo done", deadline_seconds=30)
    assert (completed.stdout, len(completed.stderr)) == (b"done\n", MANY)


def test_a_command_that_never_ends_is_left_at_its_deadline_with_what_came_so_far_counted(remote: Remote) -> None:
    begun = time.monotonic()
    with pytest.raises(WaitTimedOut, match=r"did not end within 3 s") as caught:
        remote.run("echo hello; sleep inf", deadline_seconds=3)
    assert time.monotonic() - begun < 30
    assert "6 bytes of stdout and 0 of stderr were received" in caught.value.why
    assert remote.run("echo next").stdout == b"next\n"


def test_a_child_that_holds_the_output_open_is_named_as_the_reason_for_a_missed_deadline(remote: Remote) -> None:
    with pytest.raises(WaitTimedOut) as caught:
        remote.run("sleep 300 & exit 4", deadline_seconds=3)
    assert "it ended with status 4, but a process that it started keeps its output open" in caught.value.why


def test_a_detached_command_is_not_waited_for(remote: Remote) -> None:
    assert remote.run("sleep 60 >/dev/null 2>&1 & echo started", deadline_seconds=30).stdout == b"started\n"


HOSTILE = st.text(st.characters(exclude_characters="\0", codec="utf-8"), max_size=30)


@settings(deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        HOSTILE | st.sampled_from(["; rm -rf ~ #", "$(id)", "`id`", "a\nb", "'", '"', "\\", "-n", "~", "*"]), max_size=6
    )
)
def test_arguments_arrive_as_data_whatever_they_contain(remote: Remote, arguments: list[str]) -> None:
    got = remote.run(["printf", r"%s\0", *arguments]).stdout
    assert got == b"".join(argument.encode() + b"\0" for argument in arguments or [""])


def test_an_argument_with_a_nul_is_refused_before_anything_is_sent(remote: Remote) -> None:
    with pytest.raises(CommandFailed, match="NUL"):
        remote.run(["echo", "safe\0; rm -rf ~"])


def test_a_file_is_written_whole_with_its_mode_and_read_from_an_offset(remote: Remote, tmp_path: Path) -> None:
    path = tmp_path / "it's $(here).txt"
    remote.write(str(path), b"0123456789", mode=0o640)
    assert path.read_bytes() == b"0123456789"
    assert path.stat().st_mode & 0o777 == 0o640
    assert remote.read_from(str(path), 4) == b"456789"
    assert remote.read_from(str(path), 4, 2) == b"45"
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]


def test_nothing_new_and_no_file_are_both_nothing(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "log").write_bytes(b"abc")
    assert remote.read_from(str(tmp_path / "log"), 3) == b""
    assert remote.read_from(str(tmp_path / "log"), 99) == b""
    assert remote.read_from(str(tmp_path / "absent"), 0) == b""


def test_a_folder_cannot_be_read_as_a_log(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed, match="is a folder"):
        remote.read_from(str(tmp_path), 0)


def test_a_file_that_cannot_be_written_leaves_what_was_there(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        remote.write(str(tmp_path / "absent" / "file"), b"x")
    assert "No such file or directory" in caught.value.why


def test_one_handshake_serves_many_commands_from_several_threads() -> None:
    with running_sshd() as own, Remote(own.login()) as connected:
        outputs: list[bytes] = []
        work = [threading.Thread(target=lambda: outputs.append(connected.run("echo x").stdout)) for _ in range(8)]
        for thread in work:
            thread.start()
        for thread in work:
            thread.join()
        assert outputs == [b"x\n"] * 8
        assert own.logins() == 1


@pytest.mark.parametrize("kind", [MSG_CHANNEL_EOF, MSG_CHANNEL_DATA, MSG_CHANNEL_WINDOW_ADJUST])
@pytest.mark.parametrize("cipher", ["aes128-gcm@openssh.com", "aes128-ctr"])
def test_what_is_said_on_a_channel_after_its_close_ends_no_connection(
    sshd: Sshd, monkeypatch: pytest.MonkeyPatch, kind: int, cipher: str
) -> None:
    """paramiko builds such a message before its thread sees the close, and may send it after; the server hangs up."""
    monkeypatch.setattr(connection, "CIPHERS", (cipher,))
    with Remote(sshd.login()) as remote:
        with remote.start("true", deadline_seconds=30) as exchange:
            exchange.drain()
            wait_until(lambda: exchange._channel.closed, "the channel to close")
            late = Message()
            late.add_byte(bytes([kind]))
            late.add_int(exchange._channel.remote_chanid)
            if kind != MSG_CHANNEL_EOF:
                late.add_int(0)
            wire = exchange._channel.transport
            assert wire is not None
            wire._send_user_message(late)  # type: ignore[attr-defined]  # as its channels do
            assert exchange.finish() == 0
        assert remote.run("echo on").stdout == b"on\n"
        assert wire.is_active(), "the same connection"
        assert [remote.run(["echo", str(number)]).stdout for number in range(3)] == [b"0\n", b"1\n", b"2\n"]


def test_closing_ends_every_thread_of_the_connection(sshd: Sshd) -> None:
    before = set(threading.enumerate())
    with Remote(sshd.login()) as connected:
        connected.run("true")
        assert set(threading.enumerate()) - before
    wait_until(lambda: set(threading.enumerate()) <= before, "the end of paramiko's cancelled timers")


def test_making_a_remote_connects_to_nothing(sshd: Sshd, proxy: ChaosProxy) -> None:
    Remote(sshd.login(port=proxy.port))
    assert proxy.accepted == 0


def test_a_reset_connection_is_lost_at_once_and_the_command_goes_on(
    through: Remote, proxy: ChaosProxy, tmp_path: Path
) -> None:
    running = through.start(f"echo began; exec sh -c 'sleep 1; echo ended >{tmp_path}/end'", deadline_seconds=20)
    with running as exchange:
        assert exchange.receive() == b"began\n"
        proxy.reset()
        exchange.drain()
        with pytest.raises(ConnectionLost, match="the connection was lost"):
            exchange.finish()
    through.reconnect()
    assert through.run("echo again").stdout == b"again\n"
    wait_until(lambda: through.read_from(f"{tmp_path}/end", 0), "the command", holds=lambda said: said == b"ended\n")


def test_output_that_was_cut_is_never_taken_for_the_whole(through: Remote, proxy: ChaosProxy) -> None:
    proxy.reset_after_bytes = 300_000
    with pytest.raises(ConnectionLost):
        through.run(f"head -c {MANY} /dev/zero")


def test_a_silent_link_is_noticed_within_twice_the_keepalive_interval(through: Remote, proxy: ChaosProxy) -> None:
    begun = time.monotonic()
    threading.Timer(0.2, proxy.blackhole).start()
    with pytest.raises(ConnectionLost) as caught:
        through.run("sleep inf", deadline_seconds=60)
    assert time.monotonic() - begun < 50, "not the command's own deadline"
    assert "the server sent nothing for 0.8 s, although it was asked for an answer" in caught.value.why
    proxy.pass_on()
    through.reconnect()
    assert through.run("echo again").stdout == b"again\n"


def test_a_long_silence_of_the_command_is_not_one_of_the_link(through: Remote) -> None:
    assert through.run(f"sleep {5 * KEEPALIVE_SECONDS}; echo awake").stdout == b"awake\n"


def test_a_command_after_the_loss_says_that_the_connection_was_lost(through: Remote, proxy: ChaosProxy) -> None:
    proxy.reset()
    with pytest.raises(ConnectionLost):
        through.run("true")
    with pytest.raises(ConnectionLost):
        through.run("true")


def test_a_server_that_opens_no_more_channels_is_an_error_with_its_reason() -> None:
    with (
        running_sshd(extra="MaxSessions 1") as own,
        Remote(own.login()) as connected,
        connected.start("sleep inf", deadline_seconds=30),
        pytest.raises(RemoteFailed) as caught,
    ):
        connected.run("true")
    assert "was not started" in caught.value.what


def test_the_command_line_that_errors_show_works_and_pins_the_same_host_key(sshd: Sshd) -> None:
    right = sshd.login().command_line("echo", "hello there")
    assert subprocess.run(right, shell=True, capture_output=True, check=True).stdout == b"hello there\n"
    wrong = sshd.login(host_key=sshd.host_key[:-4] + "AAAA").command_line("true")
    refused = subprocess.run(wrong, shell=True, capture_output=True, check=False)
    assert refused.returncode == 255
    assert b"REMOTE HOST IDENTIFICATION HAS CHANGED" in refused.stderr
