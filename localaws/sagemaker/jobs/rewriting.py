"""Rewrites /opt/ml, algo-1 and port 7777 in the staged scripts of a host without namespaces to what is really there.

Covers text files of the folders of a job's scripts, the command and the environment. Not covered: a path that a
script puts together at run time, and the names of other hosts than the first.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

from localaws.sagemaker.jobs.hosts import Host
from localaws.sagemaker.jobs.network import Network

REWRITABLE_BYTES = 1 << 20


def rewrite_staged(host: Host, network: Network, folders: Sequence[str]) -> int:
    """Rewrite the scripts in these folders of the host's /opt/ml in place; return how many files changed."""
    count = 0
    for folder in folders:
        for path in sorted((host.ml / folder).rglob("*")):
            if path.is_file() and path.stat().st_size <= REWRITABLE_BYTES:
                count += _rewrite_file(path, host, network)
    return count


def rewrite_command(command: Sequence[str], host: Host) -> list[str]:
    """Return the command with this host's paths."""
    return [part.replace("/opt/ml", str(host.ml)) for part in command]


def rewrite_environment(environment: Mapping[str, str], host: Host) -> dict[str, str]:
    """Return the environment with this host's paths."""
    return {name: value.replace("/opt/ml", str(host.ml)) for name, value in environment.items()}


def _rewrite_file(path: Path, host: Host, network: Network) -> bool:
    content = path.read_bytes()
    if b"\0" in content:
        return False
    changed = content.replace(b"/opt/ml", str(host.ml).encode())
    if path.name == "environment.py" and path.parent.name == "scripts":
        changed = changed.replace(b'SM_MASTER_ADDR = "algo-1"', b'SM_MASTER_ADDR = "127.0.0.1"')
        changed = changed.replace(b"SM_MASTER_PORT = 7777", f"SM_MASTER_PORT = {network.master_port}".encode())
    if changed != content:
        path.write_bytes(changed)
    return changed != content
