"""A real OpenSSH server for a test: on a free loopback port, with keys of its own, for the user who runs the test.

It runs in a process namespace of its own, so that whatever its sessions started ends with it. As root it also gets a
mount namespace, in which /run holds the empty folder that sshd demands; no file of the system is touched. Sessions have
an empty home, so that no start-up file of the shell's plays a part.
"""

import getpass
import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tasks.ssh.login import Login
from tests.polling import wait_until

SSHD = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")

_CONFIG = """
ListenAddress {address}
Port {port}
HostKey {folder}/host_key
AuthorizedKeysFile {folder}/authorized_keys
PidFile none
UsePAM no
StrictModes no
PermitRootLogin prohibit-password
PasswordAuthentication no
KbdInteractiveAuthentication no
MaxStartups 100
MaxSessions 100
LogLevel VERBOSE
PrintMotd no
SetEnv HOME={folder}/home
Subsystem sftp internal-sftp
"""

_AS_ROOT = 'mount -t tmpfs tmpfs /run && mkdir -m 755 /run/sshd && exec "$@"'


@dataclass(frozen=True)
class Sshd:
    """A server that answers. `host_key` is "ssh-ed25519 AAAA…", `key_path` the private key that it lets in."""

    address: str
    port: int
    user: str
    host_key: str
    key_path: Path
    folder: Path

    def log(self) -> str:
        """Return what the server wrote so far."""
        return (self.folder / "log").read_text()

    def logins(self) -> int:
        """Return how many times somebody was let in, which is the number of whole handshakes."""
        return self.log().count("Accepted publickey")

    def login(self, **changes: Any) -> Login:
        """Return what our own client needs, with some of it changed."""
        known: dict[str, Any] = {"name": "i-0123456789abcdef0", "address": self.address, "port": self.port}
        known |= {"user": self.user, "key_path": self.key_path, "host_key": self.host_key}
        return Login(**known | changes)

    def known_hosts(self) -> Path:
        """Return a file by which OpenSSH's own clients verify this server."""
        path = self.folder / "known_hosts"
        path.write_text(f"[{self.address}]:{self.port} {self.host_key}\n")
        return path


@contextmanager
def running_sshd(*, address: str = "127.0.0.1", port: int | None = None, extra: str = "") -> Iterator[Sshd]:
    """Run a server until the block ends; `extra` are lines of sshd_config, `port` None for a free one."""
    assert SSHD is not None, "there is no sshd: make apt"
    with tempfile.TemporaryDirectory(prefix="sshd-") as made:
        folder = Path(made)
        (folder / "home").mkdir()
        make_key(folder / "host_key")
        make_key(folder / "key")
        shutil.copy(folder / "key.pub", folder / "authorized_keys")
        server, chosen = _start(SSHD, folder, address, port, extra)
        try:
            yield Sshd(address, chosen, getpass.getuser(), public_key(folder / "host_key"), folder / "key", folder)
        finally:
            server.kill()  # unshare takes the namespace and all that is in it with it
            server.wait(60)


def make_key(path: Path, *, kind: str = "ed25519", passphrase: str = "") -> Path:
    """Make a key pair at `path` and `path`.pub; return the private one's path."""
    command = ["ssh-keygen", "-q", "-t", kind, "-N", passphrase, "-C", "", "-f", str(path)]
    subprocess.run(command, check=True, stdin=subprocess.DEVNULL)
    return path


def public_key(path: Path) -> str:
    """Return the public half of a key made by `make_key`: its kind and its base64, without a comment."""
    return " ".join(path.with_name(path.name + ".pub").read_text().split()[:2])


def _start(sshd: str, folder: Path, address: str, port: int | None, extra: str) -> tuple[subprocess.Popen[bytes], int]:
    for _ in range(10):  # a port that was free a moment ago may be taken by now
        chosen = port or _free_port(address)
        config = _CONFIG.format(address=address, port=chosen, folder=folder)
        (folder / "config").write_text(f"{extra}\n{config}")  # sshd keeps the first value of a setting
        (folder / "log").write_text("")
        server = _spawn([sshd, "-D", "-f", str(folder / "config"), "-E", str(folder / "log")])
        if _answers(server, folder / "log"):
            return server, chosen
        server.kill()
        server.wait(60)
        if "Address already in use" not in (folder / "log").read_text() or port is not None:
            break
    raise AssertionError(f"sshd did not start: {(folder / 'log').read_text()}")


def _spawn(command: list[str]) -> subprocess.Popen[bytes]:
    namespaces = ["--pid", "--fork", "--kill-child", "--mount-proc"]
    if os.geteuid() == 0:
        prefix = ["unshare", "--mount", *namespaces, "sh", "-c", _AS_ROOT, "sh"]
    else:
        prefix = ["unshare", "--user", "--map-current-user", *namespaces]
    return subprocess.Popen([*prefix, *command], stdin=subprocess.DEVNULL)


def _answers(server: subprocess.Popen[bytes], log: Path) -> bool:
    def is_up() -> bool:
        return "Server listening on" in log.read_text()

    wait_until(lambda: is_up() or server.poll() is not None, "sshd to listen", every=0.01)
    return server.poll() is None


def _free_port(address: str) -> int:
    with socket.socket() as probe:
        probe.bind((address, 0))
        return int(probe.getsockname()[1])
