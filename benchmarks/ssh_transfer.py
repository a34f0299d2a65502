"""Compare three ways to send a file over SSH: paramiko's SFTP put, OpenSSH's scp, and `tasks.ssh.transfer.put`.

    .venv/bin/python benchmarks/ssh_transfer.py [--megabytes 200] [--rounds 7]

The benchmark starts its own OpenSSH server on 127.0.0.1, with an empty home so that no shell start-up file is read. A
is `SFTPClient.put` of a `paramiko.Transport` with its defaults. B is the `scp` command. C is `tasks.ssh.transfer.put`,
where the receiving side also computes the sha256, calls fsync and renames the file at the end; A and B do none of this.

The three send the same file of random bytes in turns. Each is timed from connect to disconnect, with one handshake and
a verified host key; the medians are printed. The sha256 of the received file is checked after each transfer, outside
the timing. There is no real network between the two sides.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import io
import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko

from benchmarks.figures import Figure, arguments, of, publish, ratio_of
from tasks.run.progress import LineProgress
from tasks.ssh.remote import Remote
from tasks.ssh.transfer import put

GOAL_SFTP, GOAL_SCP = "goal >= 2.5", "goal >= 1"


def main() -> None:
    """Measure all ways in turns and print the medians."""
    given = parse()
    with tempfile.TemporaryDirectory(prefix="ssh-transfer-") as made, sshd_kit().running_sshd() as sshd:
        source, target = Path(made) / "source", Path(made) / "target"
        source.write_bytes(os.urandom(given.megabytes * 1_000_000))
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        ways: tuple[Callable[[Any, Path, Path], None], ...] = (by_sftp, by_scp, by_ours)
        seconds: list[list[float]] = [[], [], []]
        for number in range(given.rounds):
            for way, spent in zip(ways, seconds, strict=True):
                spent.append(measure(way, sshd, source, target, sha256))
            print(f"round {number + 1}: " + ", ".join(f"{spent[-1]:.3f} s" for spent in seconds), flush=True)
        publish(figures_of(seconds, given.megabytes), [f"{version()}, paramiko {paramiko.__version__}."])


def parse() -> argparse.Namespace:
    """Parse the command line."""
    parser = arguments(__doc__)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def measure(way: Callable[[Any, Path, Path], None], sshd: Any, source: Path, target: Path, sha256: str) -> float:
    """Return the seconds of one transfer.

    Raises:
        SystemExit: the received file differs, or there was not exactly one handshake.
    """
    target.unlink(missing_ok=True)
    os.sync()  # so that pending writes of one transfer do not slow the next
    logins = sshd.logins()
    begun = time.perf_counter()
    way(sshd, source, target)
    seconds = time.perf_counter() - begun
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise SystemExit(f"{way.__name__}: the received file differs from the source")
    if sshd.logins() - logins != 1:
        raise SystemExit(f"{way.__name__}: there were {sshd.logins() - logins} handshakes instead of one")
    return seconds


def by_sftp(sshd: Any, source: Path, target: Path) -> None:
    """Send the file by way A: paramiko with its defaults."""
    login = sshd.login()
    transport = paramiko.Transport(socket.create_connection((sshd.address, sshd.port)))
    try:
        transport.connect(hostkey=login.pinned_key(), username=sshd.user, pkey=login.private_key())
        sftp = transport.open_sftp_client()
        assert sftp is not None
        sftp.put(str(source), str(target))
        sftp.close()
    finally:
        transport.close()


def by_scp(sshd: Any, source: Path, target: Path) -> None:
    """Send the file by way B: scp, configured with only the user's key and the host key."""
    known = ["-o", f"UserKnownHostsFile={sshd.known_hosts()}", "-o", "StrictHostKeyChecking=yes"]
    command = ["scp", "-q", "-F", "none", "-i", str(sshd.key_path), *known, "-P", str(sshd.port)]
    subprocess.run([*command, str(source), f"{sshd.user}@{sshd.address}:{target}"], check=True)


def by_ours(sshd: Any, source: Path, target: Path) -> None:
    """Send the file by way C: our transfer as flows use it, with its progress discarded."""
    with Remote(sshd.login()) as remote:
        put(remote, source, str(target), progress=functools.partial(LineProgress, out=io.StringIO()))


def figures_of(seconds: list[list[float]], megabytes: int) -> list[Figure]:
    """Return the speed-ups, and the seconds of each way."""
    sftp, scp, ours = seconds
    return [
        ratio_of(f"SFTP, {megabytes} MB", ours, sftp, GOAL_SFTP),
        ratio_of(f"scp, {megabytes} MB", ours, scp, GOAL_SCP),
        of(f"paramiko's SFTP put, {megabytes} MB", sftp, "s"),
        of(f"scp itself, {megabytes} MB", scp, "s"),
        of(f"tasks.ssh.transfer.put, {megabytes} MB", ours, "s"),
    ]


def version() -> str:
    """Return the output of `ssh -V`."""
    return subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()


def sshd_kit() -> Any:
    """Import tests/sshd.py, which runs an sshd; the tests are not a package."""
    path = Path(__file__).resolve().parents[1] / "tests" / "sshd.py"
    specification = importlib.util.spec_from_file_location("sshd_kit", path)
    if specification is None or specification.loader is None:
        raise SystemExit(f"{path} cannot be imported")
    kit = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = kit  # dataclasses look up their module here
    specification.loader.exec_module(kit)
    return kit


if __name__ == "__main__":
    main()
