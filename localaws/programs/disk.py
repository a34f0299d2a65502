"""Builds the disk that an instance sees: a folder of its own, with the host's programs mounted read-only.

Shown of the host, read-only: /usr and what belongs to it, the folders in /etc and /opt, and the Python environment
that localaws runs in, at its own path and at /opt/pytorch. Nothing else of the host is visible: not its home and
temporary folders, /run, /var, nor devices other than the harmless ones and accelerators. Runs in the instance's first
process.
"""

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path

from localaws.programs import namespaces
from localaws.programs.layout import ENVIRONMENT, POWER_NAMES, PROGRAMS, RUN, SHIMS
from localaws.programs.namespaces import MS_BIND, MS_NODEV, MS_NOEXEC, MS_NOSUID, MS_PRIVATE, MS_REC, mount

SHOWN = ("usr", "bin", "sbin", "lib", "lib32", "lib64", "libx32", "nix", "gnu")
OWN_IN_ETC = ("ssh", "cloud", "sudoers.d")
DEVICES = ("null", "zero", "full", "random", "urandom", "tty", "nvidia*", "kfd", "dri")
COVERED = ("/proc/sysrq-trigger", "/proc/keys", "/proc/key-users")
PROGRAM_FOLDERS = ("/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
LOCAL_PROGRAMS = "/usr/local/sbin"  # the first folder of the usual PATH, and empty on most hosts


def enter(root: Path, *, prefix: Path, base_prefix: Path, programs: Path, shims: Path) -> None:
    """Make `root` this process's root.

    Raises:
        OSError: the kernel refuses a mount; the message names it.
    """
    mount("none", "/", None, MS_REC | MS_PRIVATE)
    mount(str(root), str(root), None, MS_BIND | MS_REC)
    _show_host(root)
    _show_python(root, prefix, base_prefix)
    _make_run(root, programs, shims)
    _make_devices(root)
    mount("proc", str(root / "proc"), "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC)
    _show(Path("/sys"), root / "sys")
    _become_root(root)
    _guard_proc()
    _cover_programs()


def _show_host(root: Path) -> None:
    for name in SHOWN:
        if Path("/", name).exists():
            _show(Path("/", name), root / name)
    for parent, own in (("etc", OWN_IN_ETC), ("opt", (Path(ENVIRONMENT).name,))):
        for entry in Path("/", parent).iterdir():
            if entry.name not in own and entry.is_dir() and not entry.is_symlink():
                _show(entry, root / parent / entry.name)


def _show_python(root: Path, prefix: Path, base_prefix: Path) -> None:
    seen = {
        folder: None for each in (base_prefix, prefix) for folder in (each.resolve(), each)
    }  # a link's target first
    for folder in seen:
        if folder.parts[1] not in SHOWN:
            _show(folder, root / folder.relative_to("/"))
    _show(prefix.resolve(), root / ENVIRONMENT.lstrip("/"))


def _show(source: Path, place: Path) -> None:
    """Let a file or folder of the host be seen at `place`; a link is copied, what the instance has there wins."""
    if source.is_symlink():
        if not os.path.lexists(place):
            place.symlink_to(source.readlink())
        return
    if place.is_symlink():
        return
    if source.is_dir():
        place.mkdir(parents=True, exist_ok=True)
    else:
        place.touch()
    mount(str(source), str(place), None, MS_BIND | MS_REC)
    namespaces.make_read_only(str(place))


def _make_run(root: Path, programs: Path, shims: Path) -> None:
    mount("none", str(root / "run"), "tmpfs", MS_NOSUID | MS_NODEV, "mode=755")
    for source, place in ((programs, PROGRAMS), (shims, SHIMS)):
        _show(source, root / place.lstrip("/"))
    if Path(LOCAL_PROGRAMS).is_dir():
        _show(shims, root / LOCAL_PROGRAMS.lstrip("/"))


def _make_devices(root: Path) -> None:
    folder = root / "dev"
    mount("none", str(folder), "tmpfs", MS_NOSUID, "mode=755")
    for pattern in DEVICES:
        for device in Path("/dev").glob(pattern):
            place = folder / device.name
            place.mkdir() if device.is_dir() else place.touch()
            mount(str(device), str(place), None, MS_BIND | MS_REC)
            namespaces.make_read_only(str(place))  # as in `container_view.py`
    for name, options in (("shm", "mode=1777"), ("pts", "newinstance,ptmxmode=0666,mode=0620")):
        (folder / name).mkdir()
        kind = "tmpfs" if name == "shm" else "devpts"
        mount("none", str(folder / name), kind, MS_NOSUID | (MS_NODEV if name == "shm" else MS_NOEXEC), options)
    for name, target in (("ptmx", "pts/ptmx"), ("fd", "/proc/self/fd"), ("stdin", "/proc/self/fd/0")):
        (folder / name).symlink_to(target)
    for number, name in enumerate(("stdout", "stderr"), 1):
        (folder / name).symlink_to(f"/proc/self/fd/{number}")


def _become_root(root: Path) -> None:
    os.chdir(root)
    namespaces.call("pivot_root", b".", b".")
    namespaces.unmount(".")
    os.chdir("/")


def _guard_proc() -> None:
    """Keep the host's switches, which its root may use without any capability, and names of keys, from an instance."""
    for name in ("sys", "irq", "bus"):
        if (place := Path("/proc", name)).is_dir():
            mount(str(place), str(place), None, MS_BIND | MS_REC)
            namespaces.make_read_only(str(place))
    for covered in COVERED:
        if Path(covered).exists():
            mount("/dev/null", covered, None, MS_BIND)


def _cover_programs() -> None:
    """Put the shims over the host's programs of their names, wherever a command may look for those."""
    shims = [entry.name for entry in Path(SHIMS).iterdir()]
    if not os.path.lexists("/usr/sbin/shutdown") and not Path("/usr/sbin").is_symlink():
        _make_places(Path("/usr/sbin"), POWER_NAMES[:-1])
    for folder in PROGRAM_FOLDERS:
        for name in shims:
            with contextlib.suppress(FileNotFoundError):  # a link to nowhere
                if os.path.lexists(f"{folder}/{name}"):
                    mount(f"{SHIMS}/{name}", f"{folder}/{name}", None, MS_BIND)


def _make_places(folder: Path, names: Iterable[str]) -> None:
    """Make `folder`, which cannot be written, anew with files called `names` in it as well."""
    staging = Path(RUN, folder.name)
    staging.mkdir()
    for entry in folder.iterdir():
        _show(entry, staging / entry.name)
    for name in names:
        (staging / name).touch()
    mount(str(staging), str(folder), None, MS_BIND | MS_REC)
