"""A file over SSH: paramiko's own SFTP put, OpenSSH's scp, and ours.

    .venv/bin/python benchmarks/ssh_transfer.py [--megabytes 200] [--rounds 7]

Starts an OpenSSH server of its own on 127.0.0.1, with an empty home, so that no start-up file of a shell plays a part.
A: `SFTPClient.put` of a `paramiko.Transport` as it comes. B: `scp`, as typed. C: `tasks.ssh.transfer.put`, by
which the far side also computes the sha256, makes the file durable (fsync) and only then names it; A and B do not. The
three take turns with the same file of random bytes, each from connect to disconnect, with one handshake and the host
key verified; medians. After each, outside the time, the sha256 of what arrived is checked. Not measured: a network.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import importlib.util
import io
import os
import socket
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import paramiko

from tasks.run.machine import hardware
from tasks.run.progress import LineProgress
from tasks.ssh.remote import Remote
from tasks.ssh.transfer import put

GOAL_SFTP, GOAL_SCP = 2.5, 1.0


def main() -> None:
    """Measure and print."""
    arguments = parse()
    with tempfile.TemporaryDirectory(prefix="ssh-transfer-") as made, sshd_kit().running_sshd() as sshd:
        source, target = Path(made) / "source", Path(made) / "target"
        source.write_bytes(os.urandom(arguments.megabytes * 1_000_000))
        with source.open("rb") as file:
            sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        print(f"{arguments.megabytes} MB of random bytes, {arguments.rounds} rounds, {hardware()}", flush=True)
        print(f"{version()}, paramiko {paramiko.__version__}", flush=True)
        ways: tuple[Callable[[Any, Path, Path], None], ...] = (by_sftp, by_scp, by_ours)
        seconds: list[list[float]] = [[], [], []]
        for number in range(arguments.rounds):
            for way, spent in zip(ways, seconds, strict=True):
                spent.append(measure(way, sshd, source, target, sha256))
            print(f"round {number + 1}: " + ", ".join(f"{spent[-1]:.3f} s" for spent in seconds), flush=True)
        report(seconds, arguments.megabytes)


def parse() -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--megabytes", type=int, default=200)
    parser.add_argument("--rounds", type=int, default=7)
    return parser.parse_args()


def measure(way: Callable[[Any, Path, Path], None], sshd: Any, source: Path, target: Path, sha256: str) -> float:
    """Return the seconds of one transfer; stop unless the file arrived whole, by one handshake."""
    target.unlink(missing_ok=True)
    os.sync()  # what the last one left to be written is not charged to the next
    logins = sshd.logins()
    begun = time.perf_counter()
    way(sshd, source, target)
    seconds = time.perf_counter() - begun
    with target.open("rb") as file:
        if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
            raise SystemExit(f"{way.__name__}: another file arrived")
    if sshd.logins() - logins != 1:
        raise SystemExit(f"{way.__name__}: {sshd.logins() - logins} handshakes")
    return seconds


def by_sftp(sshd: Any, source: Path, target: Path) -> None:
    """A: paramiko with all its defaults."""
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
    """B: OpenSSH, with no configuration but the key and the host's."""
    known = ["-o", f"UserKnownHostsFile={sshd.known_hosts()}", "-o", "StrictHostKeyChecking=yes"]
    command = ["scp", "-q", "-F", "none", "-i", str(sshd.key_path), *known, "-P", str(sshd.port)]
    subprocess.run([*command, str(source), f"{sshd.user}@{sshd.address}:{target}"], check=True)


def by_ours(sshd: Any, source: Path, target: Path) -> None:
    """C: ours, as a flow does it, with its progress going nowhere."""
    with Remote(sshd.login()) as remote:
        put(remote, source, str(target), progress=functools.partial(LineProgress, out=io.StringIO()))


def report(seconds: list[list[float]], megabytes: int) -> None:
    sftp, scp, ours = (statistics.median(spent) for spent in seconds)
    rounds = len(seconds[0])
    print(f"paramiko's SFTP put {sftp:6.3f} s  {megabytes / sftp:5.0f} MB/s (median of {rounds})")
    print(f"scp                 {scp:6.3f} s  {megabytes / scp:5.0f} MB/s")
    print(f"tasks.ssh.transfer.put  {ours:6.3f} s  {megabytes / ours:5.0f} MB/s")
    print(f"against paramiko's SFTP put {sftp / ours:5.2f} x  (goal: {GOAL_SFTP:g} x)")
    print(f"against scp                 {scp / ours:5.2f} x  (goal: {GOAL_SCP:g} x)")


def version() -> str:
    """Return OpenSSH's own words for its version."""
    return subprocess.run(["ssh", "-V"], capture_output=True, text=True, check=True).stderr.strip()


def sshd_kit() -> Any:
    """Return the tests' kit that runs an sshd, without making the tests a package."""
    path = Path(__file__).resolve().parents[1] / "tests" / "sshd.py"
    specification = importlib.util.spec_from_file_location("sshd_kit", path)
    if specification is None or specification.loader is None:
        raise SystemExit(f"{path} is missing")
    kit = importlib.util.module_from_spec(specification)
    sys.modules[specification.name] = kit  # dataclasses look their module up
    specification.loader.exec_module(kit)
    return kit


if __name__ == "__main__":
    main()
