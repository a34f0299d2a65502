"""Makes an instance's disk before the first boot; afterwards only the instance writes to it."""

import shutil
from collections.abc import Sequence
from ipaddress import IPv4Address
from pathlib import Path

from localaws.ec2.addresses import PRIVATE_BEGIN
from localaws.ec2.host_keys import HostKey
from localaws.ec2.ssh_service import host_key_path, shell
from localaws.ec2.ubuntu_release import UbuntuRelease
from localaws.programs.layout import CLOUD, RUN, USER, USER_HOME, USER_ID

FOLDERS = (
    *("dev", "proc", "sys", "run", "root", "mnt", "media", "srv", "boot", "opt", "etc/ssh"),
    *("var/log", "var/cache", "var/spool", f"{CLOUD}/instances", f"{USER_HOME.lstrip('/')}/.ssh"),
)
OPEN_FOLDERS = ("tmp", "var/tmp")
NOT_COPIED = ("passwd", "group", "shadow", "gshadow", "hosts", "hostname", "sudoers", "resolv", "machine-id", "mtab")
RELEASE_FILES = ("os-release", "lsb-release", "debian_version", "issue")  # which would tell the host's system
NEIGHBOURS = 200
LARGEST_COPIED_BYTES = 1 << 20


def make(root: Path, *, hostname: str, private_address: str, release: UbuntuRelease) -> None:
    """Make the folders and the files in /etc; an instance's one user is root and, by SSH, ubuntu.

    What the files say of the system is the image's `release`; the programs are this machine's.
    """
    for name in FOLDERS:
        (root / name).mkdir(parents=True, exist_ok=True)
    for name in OPEN_FOLDERS:
        (root / name).mkdir(parents=True)
        (root / name).chmod(0o1777)
    (root / "var/run").symlink_to("/run")
    _copy_etc(root / "etc")
    for name, text in (
        ("passwd", _passwd()),
        ("group", f"root:x:0:\n{USER}:x:{USER_ID}:\nnogroup:x:65534:\n"),
        ("hosts", f"127.0.0.1 localhost\n{private_address} {hostname}.ec2.internal {hostname}\n{_neighbours()}"),
        ("hostname", f"{hostname}\n"),
        *release.files().items(),
    ):
        (root / "etc" / name).write_text(text)


def add_keys(root: Path, host_keys: Sequence[HostKey], authorized_keys: Sequence[str]) -> None:
    """Write the keys that the instance shows, and those it lets in."""
    for key in host_keys:
        path = root / host_key_path(key.kind).lstrip("/")
        path.touch(mode=0o600)
        path.write_text(key.private)
        path.with_suffix(".pub").write_text(f"{key.public}\n")
    path = root / USER_HOME.lstrip("/") / ".ssh"
    path.chmod(0o700)
    (path / "authorized_keys").touch(mode=0o600)
    (path / "authorized_keys").write_text("".join(f"{line.strip()}\n" for line in authorized_keys))


def add_environment(root: Path, prefix: Path) -> None:
    """Have /opt/pytorch lead to the Python environment where the instance has no disk of its own."""
    (root / "opt/pytorch").symlink_to(prefix)
    (root / RUN.lstrip("/")).mkdir(parents=True, exist_ok=True)


def _neighbours() -> str:
    """Return the names that AWS's resolver gives a network's addresses, of as many as a machine may ever run."""
    first = int(PRIVATE_BEGIN)
    addresses = [str(IPv4Address(number)) for number in range(first, first + NEIGHBOURS)]
    names = [(each, f"ip-{each.replace('.', '-')}") for each in addresses]
    return "".join(f"{address} {name}.ec2.internal {name}\n" for address, name in names)


def _passwd() -> str:
    return (
        f"root:x:0:0:root:/root:{shell()}\n"
        f"{USER}:x:{USER_ID}:{USER_ID}:Ubuntu:{USER_HOME}:{shell()}\n"
        "sshd:x:110:65534::/run/sshd:/usr/sbin/nologin\n"
        "nobody:x:65534:65534:nobody:/nonexistent:/usr/sbin/nologin\n"
    )


def _copy_etc(etc: Path) -> None:
    """Copy what is directly in the host's /etc and says nothing of who uses the host; its folders are shown instead."""
    for entry in Path("/etc").iterdir():
        if entry.name.startswith((*NOT_COPIED, *RELEASE_FILES, ".")):
            continue
        if entry.is_symlink():
            (etc / entry.name).symlink_to(entry.readlink())
        elif entry.is_file() and entry.stat().st_mode & 0o004 and entry.stat().st_size <= LARGEST_COPIED_BYTES:
            shutil.copyfile(entry, etc / entry.name)
