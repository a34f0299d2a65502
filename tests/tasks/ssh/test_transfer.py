"""Tests of file transfers over a real sshd: atomic on both ends, verified, and repeated after an interruption."""

import hashlib
import os
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tasks.run.errors import CommandFailed, ConnectionLost, RemoteFailed, WaitTimedOut
from tasks.run.progress import LineProgress
from tasks.ssh import programs
from tasks.ssh.remote import Remote
from tasks.ssh.transfer import Transfer, get, put
from tests.chaos_proxy import ChaosProxy
from tests.polling import wait_until
from tests.sshd import Sshd, running_sshd

SIZE = 3_000_001
CONTENT = os.urandom(SIZE)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

POOR = ("sh", "head", "wc", "sha256sum", "cut", "chmod", "sync", "mv", "rm", "stat", "tr", "tail", "cat", "bash")


@pytest.fixture(scope="module", params=["python3", "sh"])
def sshd(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Sshd]:
    """Start an sshd, once with python3 and once with a PATH of a few programs without python3."""
    extra = ""
    if request.param == "sh":
        folder = tmp_path_factory.mktemp("bin")
        for program in POOR:
            (folder / program).symlink_to(
                next(p for p in (Path("/usr/bin"), Path("/bin")) if (p / program).exists()) / program
            )
        extra = f"SetEnv PATH={folder} HOME={folder}"
    with running_sshd(extra=extra) as server:
        yield server


@pytest.fixture
def remote(sshd: Sshd) -> Iterator[Remote]:
    with Remote(sshd.login()) as connected:
        yield connected


@pytest.fixture
def local(tmp_path: Path) -> Path:
    path = tmp_path / "here" / "a file's name"
    path.parent.mkdir()
    path.write_bytes(CONTENT)
    return path


@pytest.fixture
def far(tmp_path: Path) -> Path:
    (tmp_path / "there").mkdir()
    return tmp_path / "there" / "it's $(far).bin"


def whole(transfer: Transfer) -> bool:
    return (transfer.size_bytes, transfer.sha256) == (SIZE, SHA256) and transfer.seconds > 0


def names(folder: Path) -> list[str]:
    return sorted(entry.name for entry in folder.iterdir())


def test_a_file_arrives_there_and_comes_back(remote: Remote, local: Path, far: Path, tmp_path: Path) -> None:
    assert whole(put(remote, local, str(far), progress=LineProgress))
    assert far.read_bytes() == CONTENT
    back = tmp_path / "new" / "folder" / "back"
    assert whole(get(remote, str(far), back, progress=LineProgress))
    assert back.read_bytes() == CONTENT
    assert (names(far.parent), names(back.parent)) == ([far.name], [back.name])


def test_an_empty_file_is_a_file(remote: Remote, tmp_path: Path) -> None:
    (tmp_path / "empty").touch()
    assert put(remote, tmp_path / "empty", f"{tmp_path}/there", progress=LineProgress).size_bytes == 0
    assert get(remote, f"{tmp_path}/there", tmp_path / "back", progress=LineProgress).size_bytes == 0
    assert (tmp_path / "back").read_bytes() == b""


@pytest.mark.parametrize(("mode", "becomes"), [(0o600, 0o600), (0o400, 0o600), (0o644, 0o644), (0o755, 0o644)])
def test_a_file_is_private_there_unless_others_could_read_it_and_here_always(
    remote: Remote, local: Path, far: Path, mode: int, becomes: int
) -> None:
    local.chmod(mode)
    put(remote, local, str(far), progress=LineProgress)
    assert far.stat().st_mode & 0o777 == becomes
    far.chmod(mode)
    get(remote, str(far), local.with_name("back"), progress=LineProgress)
    assert local.with_name("back").stat().st_mode & 0o777 == 0o600


def test_an_upload_that_is_cut_at_half_leaves_no_half_file_and_is_sent_again(
    through: Remote, proxy: ChaosProxy, local: Path, far: Path, caplog: pytest.LogCaptureFixture
) -> None:
    far.write_bytes(b"what was there")
    seen: list[bytes] = []
    reconnect = through.reconnect

    def look_and_reconnect() -> None:
        seen.append(far.read_bytes())
        proxy.reset_after_bytes = None
        reconnect()

    proxy.reset_after_bytes = SIZE // 2
    through.reconnect = look_and_reconnect  # type: ignore[method-assign]
    with caplog.at_level("INFO", "kennel"):
        assert whole(put(through, local, str(far), progress=LineProgress))
    assert seen == [b"what was there"]
    assert far.read_bytes() == CONTENT
    wait_until_named(far.parent, [far.name])
    assert "the transfer is repeated from the beginning" in caplog.text


def test_an_upload_that_is_cut_every_time_leaves_nothing(
    through: Remote, proxy: ChaosProxy, local: Path, far: Path
) -> None:
    proxy.reset_after_bytes = SIZE // 2
    with pytest.raises(ConnectionLost):
        put(through, local, str(far), progress=LineProgress)
    wait_until_named(far.parent, [])


def wait_until_named(folder: Path, expected: list[str]) -> None:
    """The far program notices the end of its input a moment after we do."""
    wait_until(lambda: names(folder), f"nothing but {expected}", holds=lambda found: found == expected)


def test_an_upload_into_silence_is_lost_and_sent_again(
    through: Remote, proxy: ChaosProxy, local: Path, far: Path
) -> None:
    reconnect = through.reconnect

    def heal() -> None:
        proxy.reset()  # so that the server, too, hears that the old connection is dead
        proxy.pass_on()
        reconnect()

    through.reconnect = heal  # type: ignore[method-assign]
    proxy.delay_seconds = 0.01
    threading.Timer(0.1, proxy.blackhole).start()
    assert whole(put(through, local, str(far), progress=LineProgress))
    wait_until_named(far.parent, [far.name])


def test_a_download_that_is_cut_at_half_leaves_no_half_file_and_is_fetched_again(
    through: Remote, proxy: ChaosProxy, far: Path, tmp_path: Path
) -> None:
    far.write_bytes(CONTENT)
    back = tmp_path / "back" / "file"
    reconnect = through.reconnect

    def look_and_reconnect() -> None:
        assert not back.exists()
        proxy.reset_after_bytes = None
        reconnect()

    proxy.reset_after_bytes = SIZE // 2
    through.reconnect = look_and_reconnect  # type: ignore[method-assign]
    assert whole(get(through, str(far), back, progress=LineProgress))
    assert (names(back.parent), back.read_bytes()) == ([back.name], CONTENT)


def test_a_download_that_is_cut_every_time_leaves_nothing(
    through: Remote, proxy: ChaosProxy, far: Path, tmp_path: Path
) -> None:
    far.write_bytes(CONTENT)
    proxy.reset_after_bytes = SIZE // 2
    with pytest.raises(ConnectionLost):
        get(through, str(far), tmp_path / "back" / "file", progress=LineProgress)
    assert names(tmp_path / "back") == []


def test_content_that_arrives_otherwise_than_it_was_sent_is_not_kept(remote: Remote, far: Path) -> None:
    command = programs.receive_command(str(far), 5, 0o600)
    wrong = hashlib.sha256(b"other").hexdigest().encode()
    completed = remote.run(command, stdin=b"hello" + wrong, check=False)
    assert completed.exit_status == programs.DIFFERS
    assert completed.stderr == b"the sha256 of the received content differs\n"
    assert names(far.parent) == []


def test_content_that_ends_early_is_not_kept(remote: Remote, far: Path) -> None:
    completed = remote.run(programs.receive_command(str(far), 9, 0o600), stdin=b"hello", check=False)
    assert completed.exit_status == programs.ENDED_EARLY
    assert completed.stderr == b"the input ended after 5 of 9 bytes\n"
    assert names(far.parent) == []


def test_a_file_that_does_not_exist_there_is_named_in_its_own_words(remote: Remote, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        get(remote, f"{tmp_path}/absent", tmp_path / "back", progress=LineProgress)
    assert "No such file" in caught.value.why
    assert names(tmp_path) == []


def test_a_folder_that_does_not_exist_there_is_named(remote: Remote, local: Path, tmp_path: Path) -> None:
    with pytest.raises(CommandFailed) as caught:
        put(remote, local, f"{tmp_path}/absent/file", progress=LineProgress)
    assert f"{tmp_path}/absent" in caught.value.why


def test_a_file_does_not_replace_a_folder(remote: Remote, local: Path, tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    with pytest.raises(CommandFailed):
        put(remote, local, f"{tmp_path}/folder", progress=LineProgress)
    assert names(tmp_path / "folder") == []


def test_a_full_disk_there_is_named_and_leaves_nothing(remote: Remote, local: Path, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    command = programs.receive_command(f"{small}/file", SIZE, 0o600)
    limited = ["sh", "-c", 'ulimit -f 1000; trap "" XFSZ; exec "$@"', "sh", *command]
    completed = remote.run(limited, stdin=CONTENT + SHA256.encode(), check=False)
    assert completed.exit_status == 1
    assert b"File too large" in completed.stderr
    assert names(small) == []


def test_a_far_shell_that_prints_of_its_own_is_an_error_that_says_so(local: Path, far: Path, tmp_path: Path) -> None:
    far.write_bytes(CONTENT)
    with (
        running_sshd(extra='ForceCommand echo Welcome; sh -c "$SSH_ORIGINAL_COMMAND"') as chatty,
        Remote(chatty.login()) as connected,
        pytest.raises(RemoteFailed, match="Welcome") as caught,
    ):
        get(connected, str(far), tmp_path / "back", progress=LineProgress)
    assert "start-up files must not print" in caught.value.why


def test_a_transfer_ends_at_its_deadline(through: Remote, proxy: ChaosProxy, local: Path, far: Path) -> None:
    proxy.delay_seconds = 0.05
    with pytest.raises(WaitTimedOut, match=r"did not end within 0\.3 s"):
        put(through, local, str(far), progress=LineProgress, deadline_seconds=0.3)
    wait_until_named(far.parent, [])


def test_many_files_need_one_handshake(local: Path, far: Path) -> None:
    with running_sshd() as own, Remote(own.login()) as connected:
        for number in range(5):
            put(connected, local, f"{far}.{number}", progress=LineProgress)
        assert own.logins() == 1
    assert len(names(far.parent)) == 5


@pytest.mark.parametrize(
    "extra", ["Ciphers aes256-ctr", "Ciphers aes256-gcm@openssh.com", "RekeyLimit 500K"], ids=["ctr", "gcm", "new keys"]
)
def test_content_is_right_under_every_cipher_and_through_new_keys(local: Path, far: Path, extra: str) -> None:
    with running_sshd(extra=extra) as own, Remote(own.login()) as connected:
        assert whole(put(connected, local, str(far), progress=LineProgress))
        assert whole(get(connected, str(far), local, progress=LineProgress))


def test_new_keys_that_this_side_asks_for_leave_the_content_right(remote: Remote, local: Path, far: Path) -> None:
    """A channel that the server closes while paramiko 5.1 waits for new keys loses it the connection after 30 s.

    Its thread then waits for itself (`Channel._handle_close`); the transfer goes on over another connection.
    """
    packets = remote.connect()._transport.packetizer
    packets.REKEY_BYTES = 500_000
    ciphers = [packets._cipher]
    for number in range(3):
        assert whole(put(remote, local, f"{far}.{number}", progress=LineProgress))
        ciphers.append(packets._cipher)
    assert len({id(cipher) for cipher in ciphers}) >= 2, "no keys were exchanged"


def test_commands_and_transfers_share_a_connection(remote: Remote, local: Path, far: Path) -> None:
    outputs: list[bytes] = []
    talking = threading.Thread(target=lambda: outputs.extend(remote.run("echo x").stdout for _ in range(30)))
    talking.start()
    for number in range(3):
        assert whole(put(remote, local, f"{far}.{number}", progress=LineProgress))
    talking.join()
    assert outputs == [b"x\n"] * 30
