"""Chooses and configures an instance's SSH server: OpenSSH's where it is installed, else localaws's own."""

import functools
import json
import os
import re
import shutil
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from localaws.errors import LocalAwsError
from localaws.programs import FOLDER
from localaws.programs.disk import SHOWN
from localaws.programs.layout import PROGRAMS, SSH_PORT, USER, USER_HOME
from localaws.settings import Settings

SYSTEM_FOLDERS = "/usr/local/sbin:/usr/sbin:/sbin"
VERSION_SECONDS = 10.0
PENALTIES_SINCE = (9, 8)


class NoSshServer(LocalAwsError):
    """The SSH server that the settings ask for cannot be had."""


@dataclass(frozen=True)
class SshService:
    """How to start it in an instance: the command there, and what goes into `/etc/ssh/sshd_config`."""

    command: list[str]
    configuration: str


def find_sshd() -> str | None:
    """Return the path of OpenSSH's server, if an instance can see it."""
    found = shutil.which("sshd", path=f"{os.environ.get('PATH', '')}:{SYSTEM_FOLDERS}")
    return found if found and Path(found).parts[1] in SHOWN else None


def openssh(sshd: str, key_kinds: list[str], environment: Mapping[str, str]) -> SshService:
    """Return OpenSSH's server, whose logins get `environment`."""
    keys = "".join(f"HostKey {host_key_path(kind)}\n" for kind in key_kinds)
    names = " ".join(f'{name}="{value}"' for name, value in environment.items())
    penalties = "PerSourcePenalties no\n" if _version(sshd) >= PENALTIES_SINCE else ""  # all come from one address here
    configuration = (
        f"Port {SSH_PORT}\n{keys}SetEnv {names}\n{penalties}"
        "UsePAM no\nStrictModes no\nPidFile none\nPasswordAuthentication no\nKbdInteractiveAuthentication no\n"
        "AuthorizedKeysFile .ssh/authorized_keys\nUseDNS no\nPrintMotd no\nX11Forwarding no\n"
        "AcceptEnv LANG LC_*\nSubsystem sftp internal-sftp\n"
    )
    return SshService([sshd, "-D", "-e", "-f", "/etc/ssh/sshd_config"], configuration)


def embedded(
    root: Path | None, address: tuple[str, int], key_kinds: list[str], environment: Mapping[str, str]
) -> SshService:
    """Return localaws's own server. `root`: the instance's folder where it has no disk of its own, else None."""
    place = str(root) if root else ""
    config = {
        "address": address,
        "host_keys": [f"{place}{host_key_path(kind)}" for kind in key_kinds],
        "authorized_keys": f"{place}{USER_HOME}/.ssh/authorized_keys",
        "user": USER,
        "home": f"{place}{USER_HOME}",
        "environment": {"SHELL": shell(), "USER": USER, "LOGNAME": USER, "HOME": f"{place}{USER_HOME}", **environment},
        "root": place or None,
    }
    programs = str(FOLDER) if root else PROGRAMS
    return SshService([sys.executable, "-I", programs, "ssh_server", json.dumps(config)], "")


def choose(settings: Settings, *, is_isolated: bool) -> str | None:
    """Return the path of OpenSSH's server if that is what instances have, None for the embedded one.

    Raises:
        NoSshServer: the settings insist on OpenSSH's and it is not to be had.
    """
    sshd = find_sshd() if is_isolated else None  # it logs in users that only an instance's own /etc/passwd has
    if settings.ssh_server == "openssh" and sshd is None:
        why = "it is not installed (`apt install openssh-server`)" if is_isolated else "this system has no namespaces"
        raise NoSshServer(f"OpenSSH's server cannot be used: {why}. Use ssh_server=auto for localaws's own.")
    return None if settings.ssh_server == "embedded" else sshd


def host_key_path(kind: str) -> str:
    """Return where in an instance the host key of a kind (ed25519, ecdsa, rsa) is."""
    return f"/etc/ssh/ssh_host_{kind}_key"


def shell() -> str:
    """Return the login shell of instances."""
    return "/bin/bash" if Path("/bin/bash").exists() else "/bin/sh"


@functools.cache
def _version(sshd: str) -> tuple[int, int]:
    asked = subprocess.run([sshd, "-V"], capture_output=True, text=True, timeout=VERSION_SECONDS, check=False)
    found = re.search(r"OpenSSH_(\d+)\.(\d+)", asked.stderr + asked.stdout)
    return (int(found[1]), int(found[2])) if found else (0, 0)
